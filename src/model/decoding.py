"""The answer grammar: the tokens that the model may write next, in one table for all rows of a batch.

An answer is empty, or a number and a unit of the question's entity: ``(END | digits ("." digits)? UNIT
END)``, after the space piece that ends the prompt. A state is an entity and a point in that grammar. The
tables are made once. Each step replays the written tokens through them, so no Python runs per token and row.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, ProcessorMixin, StoppingCriteriaList

from src.entities import ENTITIES
from src.model.family import family_of
from src.model.prompts import prompt_for
from src.reading.quantity import canonical

MAX_NEW_TOKENS = 16
"""Tokens of the longest answer: a number of 10 characters, a unit of 4 tokens, and the end."""
NEVER = -50.0
"""Lowest log-probability of an answer, and that of an option that the grammar does not have."""
_NUMBER = re.compile(r"(?=.{1,10}$)(0|[1-9]\d{0,5})(\.\d{0,4})?")
"""Every beginning of a number: at most 6 digits before the point, 4 after it, and 10 characters in all."""
DONE = 0
"""The state after the end token."""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """The model's answer to a question and the log-probabilities that it rests on."""

    answer: str  # canonical; may be empty
    confidence: float  # its probability: among the options, or in the whole grammar if there are none
    abstain: float  # probability of the empty answer, likewise
    log_probabilities: tuple[tuple[str, float], ...]
    """Text and log-probability in the whole grammar: the options in order, then the empty answer. Without
    options: the empty answer, then the free-form answer unless it is empty."""
    overridden: bool = False  # whether the grammar forbade what the model wanted at some step

    @property
    def is_finite(self) -> bool:
        """True if all probabilities are numbers."""
        values = (value for _, value in self.log_probabilities)
        return math.isfinite(self.confidence) and all(map(math.isfinite, values))


class AnswerGrammar:
    """The tables of the grammar for a processor's tokenizer.

    - ``start``: the state before the answer, by entity; ``end``: the id of the end token,
      ``pad`` that of the padding.
    - ``mask`` bool (states, vocabulary): the tokens allowed next. ``tokens`` int64 (columns - 1,): ids of the
      grammar's tokens; ``allowed`` bool (states, columns - 1): their part of the mask.
    - ``column`` int64 (vocabulary,): the column of each token; the last one stands for all tokens outside the
      grammar. ``step`` int64 (states, columns): the next state; tokens outside the grammar change nothing.
    - ``determined`` bool (states,): whether only one continuation is left, see `tail`.
    """

    def __init__(self, processor: ProcessorMixin) -> None:
        self.processor: Any = processor
        self.pad, self.vocabulary = self.processor.tokenizer.pad_token_id, len(self.processor.tokenizer)
        self.end = _answer_ids(processor, "height", "")[-1]
        self._pieces: dict[str, list[int]] = {}  # token ids of each digit, the point and each unit
        self._edges: list[dict[int, int]] = []  # of each state: the next state by token
        self._edges[self._new_state()][self.end] = DONE
        self.start = {name: self._add_entity(name, entity.units) for name, entity in ENTITIES.items()}
        edges = [(state, *edge) for state, edges in enumerate(self._edges) for edge in edges.items()]
        states, tokens, next_states = torch.tensor(edges).T
        self.tokens = tokens.unique()
        self.column = torch.full((self.vocabulary,), len(self.tokens))
        self.column[self.tokens] = torch.arange(len(self.tokens))
        self.mask = torch.zeros((len(self._edges), self.vocabulary), dtype=torch.bool)
        self.mask[states, tokens] = True
        self.allowed = self.mask[:, self.tokens]
        self.step = torch.arange(len(self._edges)).unsqueeze(1).repeat(1, len(self.tokens) + 1)
        self.step[states, self.column[tokens]] = next_states
        self.determined = torch.tensor([self._is_determined(state) for state in range(len(self._edges))])

    def _new_state(self) -> int:
        self._edges.append({})
        return len(self._edges) - 1

    def _add_entity(self, entity: str, units: Sequence[str]) -> int:
        """Add the states of an entity; return the one before the answer."""
        after_number: dict[int, int] = {}  # the edges that begin a unit
        for unit in units:
            self._pieces[unit] = _answer_ids(self.processor, entity, f"1 {unit}")[1:-1]
            edges = after_number
            for token in self._pieces[unit]:
                if token not in edges:
                    edges[token] = self._new_state()
                edges = self._edges[edges[token]]
            edges[self.end] = DONE
        characters = {
            str(digit): _answer_ids(self.processor, entity, f"{digit} {units[0]}")[0] for digit in range(10)
        }
        characters["."] = _answer_ids(self.processor, entity, f"1.5 {units[0]}")[1]
        self._pieces |= {character: [token] for character, token in characters.items()}
        # Numbers of one shape (0, 9, 99, 9.9) have one state.
        start = self._new_state()
        shapes, states = [""], {"": start}
        for shape in shapes:
            edges = self._edges[states[shape]]
            for character, token in characters.items():
                if not _NUMBER.fullmatch(shape + character):
                    continue
                longer = re.sub(r"\d", "0" if (shape + character)[0] == "0" else "9", shape + character)
                if longer not in states:
                    states[longer] = self._new_state()
                    shapes.append(longer)
                edges[token] = states[longer]
            if shape[-1:].isdigit():
                edges.update(after_number)
        self._edges[start][self.end] = DONE
        return start

    def _is_determined(self, state: int) -> bool:
        edges = self._edges[state]
        return state == DONE or (len(edges) == 1 and self._is_determined(*edges.values()))

    def tail(self, state: int) -> list[int]:
        """Return the tokens from a determined state to before the end."""
        tokens: list[int] = []
        while self.end not in self._edges[state]:
            ((token, state),) = self._edges[state].items()
            tokens.append(token)
        return tokens

    def path(self, entity: str, answer: str) -> list[tuple[int, int]]:
        """Return the tokens of a canonical answer before its end, each with the state before it.

        Empty when the grammar has no such answer.
        """
        number, _, unit = answer.partition(" ")
        path, state = [], self.start[entity]
        for token in [token for piece in (*number, unit) for token in self._pieces.get(piece, [-1])]:
            if token not in self._edges[state]:
                return []
            path.append((token, state))
            state = self._edges[state][token]
        return path if self.end in self._edges[state] else []

    def to(self, device: torch.device) -> "AnswerGrammar":
        """Move the tables to a device."""
        for name in ("mask", "step", "column", "determined", "tokens", "allowed"):
            setattr(self, name, getattr(self, name).to(device))
        return self


def _answer_ids(processor: Any, entity: str, answer: str) -> list[int]:
    """Return the token ids of an answer and its end, as they stand after the prompt."""
    tokenizer, prompt = processor.tokenizer, prompt_for(processor)(entity)
    start = tokenizer(prompt).input_ids
    return tokenizer(prompt + answer + family_of(processor).end).input_ids[len(start) :]


def generate_in_grammar(
    model: Any, grammar: AnswerGrammar, entities: Sequence[str], to_the_limit: bool = False, **inputs: Any
) -> list[ModelAnswer]:
    """Return greedy free-form answers of a model, one per row of ``inputs`` (those of its ``generate``).

    Each row ends as soon as one continuation is left. With ``to_the_limit``, which is for measuring speed, it
    ends after `MAX_NEW_TOKENS`.
    """
    guide = Guide(grammar, entities, inputs["input_ids"].shape[1])
    generated = model.generate(
        **inputs,
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=False,
        eos_token_id=[grammar.pad if to_the_limit else grammar.end],
        pad_token_id=grammar.pad,
        logits_processor=LogitsProcessorList([guide]),
        stopping_criteria=StoppingCriteriaList([] if to_the_limit else [guide.is_determined]),
        return_dict_in_generate=True,
        output_scores=True,
    )
    return guide.answers(generated.sequences, generated.scores)


class Guide(LogitsProcessor):
    """A processor that keeps the rows of a batch in the grammar: forbidden tokens get the logit -inf.

    ``prompt_length`` is that of the padded prompts.
    """

    def __init__(self, grammar: AnswerGrammar, entities: Sequence[str], prompt_length: int) -> None:
        device = grammar.step.device
        self.grammar, self.entities, self.prompt_length = grammar, entities, prompt_length
        self.starts = torch.tensor([grammar.start[entity] for entity in entities], device=device)
        self.overridden = torch.zeros(len(entities), dtype=torch.bool, device=device)

    def states(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return the states int64 (rows,) after what was written."""
        states = self.starts
        for tokens in input_ids[:, self.prompt_length :].T:
            states = self.grammar.step[states, self.grammar.column[tokens]]
        return states

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the logits ``scores``, float (rows, vocabulary), with -inf for forbidden tokens."""
        states = self.states(input_ids)
        allowed = self.grammar.mask[states]
        is_allowed = allowed.gather(1, scores.argmax(dim=1, keepdim=True)).squeeze(1)
        self.overridden |= ~(is_allowed | self.grammar.determined[states])
        return scores.masked_fill(~allowed, -torch.inf)

    def is_determined(self, input_ids: torch.Tensor, scores: object = None, **_: object) -> torch.Tensor:
        """Tell which rows have only one continuation left, bool (rows,): a stopping criterion."""
        return self.grammar.determined[self.states(input_ids)]

    def answers(self, sequences: torch.Tensor, scores: Sequence[torch.Tensor]) -> list[ModelAnswer]:
        """Return the answers in what greedy ``generate`` returned.

        ``sequences`` int64 (rows, tokens); ``scores``: for each step the processed logits (rows, vocabulary).
        An answer whose probability is no number is empty.
        """
        grammar, written = self.grammar, sequences[:, self.prompt_length :]
        empty = torch.log_softmax(scores[0].float(), dim=1)[:, grammar.end]
        states, total = self.starts, torch.zeros_like(empty)
        for tokens, logits in zip(written.T, scores, strict=True):
            chosen = torch.log_softmax(logits.float(), dim=1).gather(1, tokens.unsqueeze(1)).squeeze(1)
            total += chosen.where(~grammar.determined[states], 0.0)  # the rest is forced, or padding
            states = grammar.step[states, grammar.column[tokens]]
        columns = written, states, total.clamp(min=NEVER), empty.clamp(min=NEVER), self.overridden
        answers = []
        for row in zip(self.entities, *(column.tolist() for column in columns), strict=True):
            entity, ids, state, log_confidence, log_abstain, overridden = row
            text, pairs = "", [("", log_abstain)]
            if math.isfinite(log_confidence):
                ids = [token for token in ids if token not in (grammar.pad, grammar.end)] + grammar.tail(
                    state
                )
                text = canonical(str(grammar.processor.tokenizer.decode(ids)).strip(), entity)
            if text:
                pairs.append((text, log_confidence))
            confidence, abstain = math.exp(log_confidence), math.exp(log_abstain)
            answers.append(ModelAnswer(text, confidence, abstain, tuple(pairs), overridden))
        return answers
