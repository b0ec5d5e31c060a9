"""What the model makes of options that are given: the probability of each, and of silence, in one pass.

All options of a question are put behind it side by side, each seeing the question and its own tokens only, at
the positions it would have alone: the question is run once and its cache never copied (tree attention, as in
SpecInfer, Miao et al. 2023, arXiv:2305.09781).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from src.model.decoding import AnswerGrammar, Decoded
from src.reading.quantity import canonical

NEVER = -50.0
"""The log probability of an option that the grammar does not have: a number of too many digits."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What could be answered to a question, and what the model makes of each."""

    answer: str
    confidence: float  # probability of the answer: among the options, or of all that the grammar allows where none are
    silence: float  # of the empty answer, likewise
    chances: tuple[tuple[str, float], ...]
    """Text and log probability, of all that the grammar allows: options in order and silence, or silence and
    what it wrote."""
    overridden: bool = False  # whether it wanted to write something else at some step

    @property
    def is_finite(self) -> bool:
        """Whether all probabilities are numbers."""
        return all(math.isfinite(value) for _, value in self.chances)


def put_together(
    entity: str, options: Sequence[str], chances: Sequence[float], written: Decoded | None
) -> Weighed:
    """Return what `weigh` gives for a question with ``options``, or what the model wrote where it has
    none."""
    if written is not None:
        text = canonical(written.text, entity)
        pairs = [("", _log(written.silence))]
        if text or not math.isfinite(written.confidence):
            pairs.append((text, _log(written.confidence)))
        return Weighed(text, written.confidence, written.silence, tuple(pairs), written.overridden)
    pairs = list(zip([*options, ""], chances, strict=True))
    total = sum(math.exp(value) for _, value in pairs)
    best, chance = max(pairs, key=lambda pair: pair[1])
    share, silence = (math.exp(value) / total if total else math.nan for value in (chance, chances[-1]))
    return Weighed(best, share, silence, tuple(pairs))


def _log(chance: float) -> float:
    return max(NEVER, math.log(chance)) if chance > 0 else NEVER if chance == 0 else math.nan


@dataclass(frozen=True, slots=True)
class Tree:
    """The options of each question of a batch, side by side, right-padded; int64 (rows, width) but for
    ``most``."""

    tokens: torch.Tensor
    states: torch.Tensor  # of the grammar before each token
    option: torch.Tensor  # each token's option in its row, -1 for padding
    depth: torch.Tensor  # its place in its option
    most: int  # options that a row has

    @classmethod
    def of(cls, grammar: AnswerGrammar, entities: Sequence[str], options: Sequence[Sequence[str]]) -> "Tree":
        """Of the answers that could be given to each question."""
        rows = [
            [
                (token, state, number, depth)
                for number, text in enumerate(texts)
                for depth, (token, state) in enumerate(grammar.path(entity, text))
            ]
            for entity, texts in zip(entities, options, strict=True)
        ]
        width = max(1, *map(len, rows))
        table = torch.tensor(
            [row + [(0, 0, -1, 0)] * (width - len(row)) for row in rows], device=grammar.step.device
        )
        tokens, states, option, depth = table.unbind(-1)
        return cls(tokens, states, option, depth, max(map(len, options)))

    def to(self, device: torch.device) -> "Tree":
        """On a device."""
        parts = [part.to(device) for part in (self.tokens, self.states, self.option, self.depth)]
        return Tree(parts[0], parts[1], parts[2], parts[3], self.most)

    def mask(self, before: torch.Tensor, question: torch.Tensor) -> torch.Tensor:
        """Which positions the tokens of question and tree see: bool (rows, 1, q + width, b + q + width).

        ``before`` (rows, b) and ``question`` (rows, q), left-padded: 1 where a token is the row's own.
        """
        rows, asked, width = len(self.tokens), question.shape[1], self.tokens.shape[1]
        before, question = before.bool().unsqueeze(1), question.bool().unsqueeze(1)
        earlier = torch.ones(asked, asked, dtype=torch.bool, device=question.device).tril()
        later = torch.zeros(rows, asked, width, dtype=torch.bool, device=question.device)
        of_question = torch.cat([before.expand(-1, asked, -1), question & earlier, later], dim=2)
        same = self.option.unsqueeze(2) == self.option.unsqueeze(1)
        same &= self.depth.unsqueeze(2) >= self.depth.unsqueeze(1)
        of_tree = torch.cat([before.expand(-1, width, -1), question.expand(-1, width, -1), same], dim=2)
        return torch.cat([of_question, of_tree], dim=1).unsqueeze(1)

    def positions(self, before: torch.Tensor, question: torch.Tensor) -> torch.Tensor:
        """Position ids int64 (rows, q + width) of question and tree."""
        start = before.sum(dim=1, keepdim=True)
        asked = (start + question.cumsum(dim=1) - 1).clamp(min=0)
        return torch.cat([asked, start + question.sum(dim=1, keepdim=True) + self.depth], dim=1)

    def log_chances(
        self, grammar: AnswerGrammar, entities: Sequence[str], first: torch.Tensor, inside: torch.Tensor
    ) -> torch.Tensor:
        """Log probabilities float32 (rows, most options of a row + 1) of each option and, last, of silence.

        `NEVER` where a row has no such option or the grammar no such answer. ``first`` (rows, columns) and
        ``inside`` (rows, width, columns) are the logits of ``grammar.tokens`` after the question and after
        each of the tokens.
        """
        starts = torch.tensor([grammar.start[entity] for entity in entities], device=first.device)
        silence = _log_chances(grammar, first, starts)[:, grammar.column[grammar.end]]
        earlier = torch.where(self.depth.unsqueeze(2) == 0, first.unsqueeze(1), inside.roll(1, dims=1))
        own = self.option >= 0
        chances = _log_chances(grammar, earlier[own], self.states[own])
        chances = chances.gather(1, grammar.column[self.tokens[own]].unsqueeze(1)).squeeze(1)
        sums = torch.zeros(len(entities), max(1, self.most), dtype=chances.dtype, device=chances.device)
        places = own.nonzero()[:, 0], self.option[own]
        written = torch.zeros_like(sums, dtype=torch.bool).index_put_(places, torch.ones_like(own[own]))
        sums = sums.index_put(places, chances, accumulate=True).masked_fill(~written, NEVER)
        return torch.cat([sums, silence.unsqueeze(1)], dim=1)


def weigh(
    model: Any,
    grammar: AnswerGrammar,
    entities: Sequence[str],
    options: Sequence[Sequence[str]],
    cache: DynamicCache,
    before: torch.Tensor,
    questions: torch.Tensor,
    question_mask: torch.Tensor,
    **pictures: torch.Tensor,
) -> list[list[float]]:
    """Log probabilities of each question's options in order, and of silence last, of all that the grammar
    allows.

    ``cache`` holds what stands before the questions, with the mask ``before`` (rows, tokens), and is left as
    it was; ``questions`` int64 (rows, tokens) left-padded, with their mask; ``pictures``: the model's inputs
    of those in them. Equal to a plain pass per option (to 1e-4).
    """
    tree = Tree.of(grammar, entities, options)
    asked = questions.shape[1]
    seen = tree.mask(before, question_mask)
    hidden = model.model(
        input_ids=torch.cat([questions, tree.tokens], dim=1),
        attention_mask=torch.zeros(seen.shape, dtype=model.dtype, device=seen.device).masked_fill_(
            ~seen, torch.finfo(model.dtype).min
        ),
        position_ids=tree.positions(before, question_mask),
        past_key_values=cache,
        use_cache=True,
        **pictures,
    ).last_hidden_state
    cache.crop(-seen.shape[2])
    logits = torch.nn.functional.linear(hidden[:, asked - 1 :], model.lm_head.weight[grammar.tokens])
    table = tree.log_chances(grammar, entities, logits[:, 0], logits[:, 1:]).tolist()  # one transfer
    return [[*row[: len(texts)], row[-1]] for texts, row in zip(options, table, strict=True)]


def _log_chances(grammar: AnswerGrammar, logits: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """Log probabilities float32 (positions, columns) of the grammar's tokens, by their logits, in these
    states."""
    return torch.log_softmax(logits.float().masked_fill(~grammar.allowed[states], -torch.inf), dim=1)
