"""Log-probabilities of the options of each question, and of abstaining, in one pass through the model.

The options of a question stand behind it side by side. Each sees the question and itself only, at the
positions that it would have alone. So the question runs once, and its cache is never copied (tree attention,
as in SpecInfer, Miao et al. 2023, arXiv:2305.09781). A plain pass over each option on a repeated cache gives
the same and takes twice as long.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from transformers import DynamicCache

from src.model.decoding import DONE, NEVER, AnswerGrammar, ModelAnswer


@dataclass(frozen=True, slots=True)
class OptionTree:
    """The tokens of all options of each question of a batch, option after option, right-padded.

    int64 (rows, width), but for ``initial``.
    """

    tokens: torch.Tensor  # padded with the end token
    states: torch.Tensor  # state of the grammar before each token
    option: torch.Tensor  # index of the token's option in its row, -1 for padding
    depth: torch.Tensor  # index of the token in its option
    initial: torch.Tensor
    """float32 (rows, most options of a row): 0, but `NEVER` where a row has no such option or the grammar no
    such answer. The log-probabilities of the tokens are added to it."""

    @classmethod
    def of(
        cls, grammar: AnswerGrammar, entities: Sequence[str], options: Sequence[Sequence[str]]
    ) -> "OptionTree":
        """Make the tree of the texts ``options`` of each question."""
        rows: list[list[tuple[int, int, int, int]]] = [[] for _ in entities]
        initial = torch.full((len(entities), max(1, *map(len, options))), NEVER)
        for row, (entity, texts) in enumerate(zip(entities, options, strict=True)):
            for number, text in enumerate(texts):
                path = grammar.path(entity, text)
                rows[row] += [(token, state, number, depth) for depth, (token, state) in enumerate(path)]
                if path:
                    initial[row, number] = 0.0
        width = max(1, *map(len, rows))
        table = torch.tensor([row + [(grammar.end, DONE, -1, 0)] * (width - len(row)) for row in rows])
        tokens, states, option, depth = table.unbind(-1)
        return cls(tokens, states, option, depth, initial).to(grammar.step.device)

    @property
    def most(self) -> int:
        """Options of the row that has most, at least 1."""
        return self.initial.shape[1]

    def to(self, device: torch.device) -> "OptionTree":
        """Return the tree on a device."""
        return OptionTree(*(getattr(self, field.name).to(device) for field in fields(self)))

    def mask(self, before: torch.Tensor, question: torch.Tensor) -> torch.Tensor:
        """Return the positions that the tokens of question and tree see.

        bool (rows, 1, q + width, b + q + width). ``before`` (rows, b) and ``question`` (rows, q) are masks of
        left-padded rows: 1 where a token is the row's own.
        """
        new = question.shape[1] + self.option.shape[1]
        before, question = (part.bool().unsqueeze(1).expand(-1, new, -1) for part in (before, question))
        same_option = self.option.unsqueeze(2) == self.option.unsqueeze(1)
        same_option = torch.nn.functional.pad(
            same_option, (0, 0, question.shape[2], 0)
        )  # none for the question
        return torch.cat([before, torch.cat([question, same_option], dim=2).tril()], dim=2).unsqueeze(1)

    def positions(self, before: torch.Tensor, question: torch.Tensor) -> torch.Tensor:
        """Return the position ids int64 (rows, q + width) of question and tree; arguments as of `mask`."""
        start = before.sum(dim=1, keepdim=True)
        of_question = (start + question.cumsum(dim=1) - 1).clamp(min=0)
        return torch.cat([of_question, start + question.sum(dim=1, keepdim=True) + self.depth], dim=1)

    def log_probabilities(
        self, grammar: AnswerGrammar, entities: Sequence[str], first: torch.Tensor, inside: torch.Tensor
    ) -> torch.Tensor:
        """Return log-probabilities float32 (rows, most options + 1): each option's and, last, of abstaining.

        They are relative to all that the grammar allows. ``first`` (rows, columns) and ``inside`` (rows,
        width, columns) are the logits of ``grammar.tokens`` after the question and after each token of the
        tree.
        """
        starts = torch.tensor([grammar.start[entity] for entity in entities], device=first.device)
        abstain = _log_softmax(grammar, first, starts)[:, grammar.column[grammar.end], None]
        logits = torch.where(self.depth.unsqueeze(2) == 0, first.unsqueeze(1), inside.roll(1, dims=1))
        columns = grammar.column[self.tokens].unsqueeze(2)
        tokens = _log_softmax(grammar, logits, self.states).gather(2, columns).squeeze(2)
        rows = torch.arange(len(starts), device=first.device).unsqueeze(1).expand_as(self.option)
        # Padding adds 0 to the last column: only the end token is allowed there.
        return torch.cat([self.initial, abstain], dim=1).index_put(
            (rows, self.option), tokens, accumulate=True
        )


def _log_softmax(grammar: AnswerGrammar, logits: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """Return float32 log-probabilities of the grammar's tokens in some states, by their logits."""
    return torch.log_softmax(logits.float().masked_fill(~grammar.allowed[states], -torch.inf), dim=-1)


def score_options(
    model: Any,
    grammar: AnswerGrammar,
    entities: Sequence[str],
    options: Sequence[Sequence[str]],
    *,
    cache: DynamicCache,
    before: torch.Tensor,
    questions: torch.Tensor,
    question_mask: torch.Tensor,
    **images: torch.Tensor,
) -> list[ModelAnswer]:
    """Return for each question the most probable of its options and the empty answer.

    ``cache`` holds what stands before the questions, with the mask ``before`` (rows, tokens), and is left as
    it was; ``questions`` int64 (rows, tokens) left-padded, with their mask; ``images``: the model's inputs of
    those in them. Log-probabilities equal those of a plain pass per option to 1e-4.
    """
    tree = OptionTree.of(grammar, entities, options)
    seen = tree.mask(before, question_mask)
    hidden = model.model(
        input_ids=torch.cat([questions, tree.tokens], dim=1),
        attention_mask=torch.zeros(seen.shape, dtype=model.dtype, device=seen.device).masked_fill_(
            ~seen, torch.finfo(model.dtype).min
        ),
        position_ids=tree.positions(before, question_mask),
        past_key_values=cache,
        use_cache=True,
        **images,
    ).last_hidden_state
    cache.crop(-seen.shape[2])
    logits = torch.nn.functional.linear(
        hidden[:, questions.shape[1] - 1 :], model.lm_head.weight[grammar.tokens]
    )
    table = tree.log_probabilities(grammar, entities, logits[:, 0], logits[:, 1:]).tolist()
    return [
        _best([*texts, ""], [*row[: len(texts)], row[-1]]) for texts, row in zip(options, table, strict=True)
    ]


def _best(texts: Sequence[str], log_probabilities: Sequence[float]) -> ModelAnswer:
    """Return the most probable of texts, of which the last is empty, with its share among them."""
    shares = torch.tensor(log_probabilities, dtype=torch.float64).softmax(dim=0).tolist()
    pairs = tuple(zip(texts, log_probabilities, strict=True))
    answer, confidence = max(zip(texts, shares, strict=True), key=lambda pair: pair[1])
    return ModelAnswer(answer, confidence, shares[-1], pairs)
