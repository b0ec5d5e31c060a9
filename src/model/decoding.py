"""The answer grammar: what the model may write next, one table for all rows of a batch.

An answer is empty, or a number and a unit of the question's entity: ``(END | digits ("." digits)? UNIT
END)``, after the space piece that ends the prompt. A state is an entity and a point in that grammar. The
tables are made once; at each step the written tokens are replayed through them, so that no Python runs per
token and row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from src.entities import ENTITY_UNITS
from src.model.prompts import completion, prompt

MAX_NEW_TOKENS = 16
_NEVER_WRITTEN = 2
"""The end token of the text model's pretraining, outside the grammar."""
WHOLE_DIGITS, DECIMALS, NUMBER_LENGTH = 6, 4, 10
"""Digits before and after the point, and characters in all: with a unit (4 tokens) and the end they fit."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was written for one row."""

    text: str  # canonical but for trailing zeros; may be empty
    confidence: float  # probability of the answer, of all that the grammar allows
    silence: float  # probability of the empty answer, likewise
    overridden: bool  # whether the model wanted something else at some step


class AnswerGrammar:
    """The tables for a tokenizer.

    ``mask`` bool (states, vocabulary): allowed next tokens; ``tokens`` int64 (columns - 1,) are those of the
    grammar, ``allowed`` bool (states, columns - 1) their part of the mask. ``step`` int64 (states, columns):
    the next state, where ``column`` int64 (vocabulary,) maps a token to its column; others (padding) change
    nothing. ``determined`` bool (states,): only one way is left, `tail`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.end = _tail_of(tokenizer, "height", "")[-1]
        self.start: dict[str, int] = {}
        self._edges: list[dict[int, int]] = []
        self._pieces: dict[str, list[int]] = {}  # of digits, the point and units
        done = self._state()
        for entity, units in ENTITY_UNITS.items():
            self.start[entity] = self._entity(entity, units, done)
            self._edges[self.start[entity]][self.end] = done
        self._edges[done][self.end] = done
        tokens = sorted({token for edges in self._edges for token in edges})
        self.column = torch.full((len(tokenizer),), len(tokens))
        self.column[tokens] = torch.arange(len(tokens))
        self.mask = torch.zeros((len(self._edges), len(tokenizer)), dtype=torch.bool)
        self.step = torch.arange(len(self._edges)).unsqueeze(1).repeat(1, len(tokens) + 1)
        for state, edges in enumerate(self._edges):
            for token, after in edges.items():
                self.mask[state, token] = True
                self.step[state, self.column[token]] = after
        self.tokens = torch.tensor(tokens)
        self.allowed = self.mask[:, self.tokens]
        self.determined = torch.tensor([self._is_determined(state) for state in range(len(self._edges))])

    def _state(self) -> int:
        self._edges.append({})
        return len(self._edges) - 1

    def _entity(self, entity: str, units: Sequence[str], done: int) -> int:
        """Add the states of an entity; return the one before the number."""
        digit = [_tail_of(self.tokenizer, entity, f"{i} {units[0]}")[0] for i in range(10)]
        point = _tail_of(self.tokenizer, entity, f"1.5 {units[0]}")[1]
        self._pieces |= {str(number): [token] for number, token in enumerate(digit)} | {".": [point]}
        unit_edges: dict[int, int] = {}
        for unit in units:
            tokens = _tail_of(self.tokenizer, entity, f"1 {unit}")[1:]
            self._pieces[unit] = tokens[:-1]
            edges = unit_edges
            for token in tokens[:-1]:
                if token not in edges:
                    edges[token] = self._state()
                edges = self._edges[edges[token]]
            edges[tokens[-1]] = done  # the end token
        start, zero = self._state(), self._state()
        whole = [self._state() for _ in range(WHOLE_DIGITS)]
        self._edges[start].update(dict.fromkeys(digit[1:], whole[0]) | {digit[0]: zero})
        for length, state in enumerate([zero, *whole]):  # zero counts as one digit
            digits = max(1, length)
            if 0 < length < WHOLE_DIGITS:
                self._edges[state].update(dict.fromkeys(digit, whole[length]))
            self._edges[state].update(unit_edges)
            before = self._edges[state][point] = self._state()
            for _ in range(min(DECIMALS, NUMBER_LENGTH - digits - 1)):
                after = self._state()
                self._edges[before].update(dict.fromkeys(digit, after))
                self._edges[after].update(unit_edges)
                before = after
        return start

    def _is_determined(self, state: int) -> bool:
        """Whether one way is left from here; the end itself is one."""
        seen = set()
        while len(self._edges[state]) == 1 and state not in seen:
            seen.add(state)
            (state,) = self._edges[state].values()
        return state in seen

    def tail(self, state: int) -> list[int]:
        """The tokens from a determined state to before the end."""
        tokens: list[int] = []
        while self.end not in self._edges[state]:
            ((token, state),) = self._edges[state].items()
            tokens.append(token)
        return tokens

    def path(self, entity: str, answer: str) -> list[tuple[int, int]]:
        """The tokens of a canonical answer, each with the state before it, to where one way is left.

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

    def replay(self, starts: torch.Tensor, written: torch.Tensor) -> torch.Tensor:
        """States int64 (rows,) after the tokens ``written`` (rows, steps) from the states ``starts``
        (rows,)."""
        states = starts
        for tokens in written.T:
            states = self.step[states, self.column[tokens]]
        return states

    def to(self, device: torch.device) -> "AnswerGrammar":
        """Move the tables."""
        for name in ("mask", "step", "column", "determined", "tokens", "allowed"):
            setattr(self, name, getattr(self, name).to(device))
        return self


def _tail_of(tokenizer: PreTrainedTokenizerBase, entity: str, answer: str) -> list[int]:
    """Token ids of an answer and its end, as they stand after the prompt."""
    start = tokenizer(prompt(entity)).input_ids
    return tokenizer(prompt(entity) + completion(answer)).input_ids[len(start) :]


def generate_in_grammar(
    model: Any, grammar: AnswerGrammar, entities: Sequence[str], to_the_limit: bool = False, **inputs: Any
) -> list[Decoded]:
    """Greedy answers of a model within the grammar, one per row of ``inputs`` (those of its ``generate``).

    Each row ends as soon as one way is left; ``to_the_limit``: after `MAX_NEW_TOKENS`, to measure speed.
    """
    guide = Guide(grammar, entities, inputs["input_ids"].shape[1])
    generated = model.generate(
        **inputs,
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=False,
        eos_token_id=[_NEVER_WRITTEN if to_the_limit else grammar.end],
        pad_token_id=0,
        logits_processor=LogitsProcessorList([guide]),
        stopping_criteria=StoppingCriteriaList([] if to_the_limit else [Determined(guide)]),
        return_dict_in_generate=True,
        output_scores=True,
    )
    return guide.decode(generated.sequences, generated.scores)


class Guide(LogitsProcessor):
    """Keeps the rows of a batch in the grammar: logits of tokens that are not allowed become -inf.

    ``prompt_length`` is that of the padded prompts.
    """

    def __init__(self, grammar: AnswerGrammar, entities: Sequence[str], prompt_length: int) -> None:
        device = grammar.step.device
        self.grammar, self.prompt_length = grammar, prompt_length
        self.starts = torch.tensor([grammar.start[entity] for entity in entities], device=device)
        self.overridden = torch.zeros(len(entities), dtype=torch.bool, device=device)

    def states(self, input_ids: torch.Tensor) -> torch.Tensor:
        """States int64 (rows,) after what was written."""
        return self.grammar.replay(self.starts, input_ids[:, self.prompt_length :])

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits float (rows, vocabulary)."""
        states = self.states(input_ids)
        allowed = self.grammar.mask[states]
        wanted = (
            allowed.gather(1, scores.argmax(dim=1, keepdim=True)).squeeze(1) | self.grammar.determined[states]
        )
        self.overridden |= ~wanted
        return scores.masked_fill(~allowed, -torch.inf)

    def decode(self, sequences: torch.Tensor, scores: Sequence[torch.Tensor]) -> list[Decoded]:
        """What greedy `generate` wrote: its ``sequences`` (rows, tokens) and processed ``scores``, one per
        step."""
        written = sequences[:, self.prompt_length :]
        states, log_chance = self.starts, torch.zeros(len(written), device=written.device)
        counted = torch.zeros_like(written, dtype=torch.bool)
        for step, (tokens, row_scores) in enumerate(zip(written.T, scores, strict=True)):
            open_rows = ~self.grammar.determined[states]
            chances = torch.log_softmax(row_scores.float(), dim=1)
            if step == 0:
                silence = chances[:, self.grammar.end].exp()
            log_chance += torch.where(open_rows, chances.gather(1, tokens.unsqueeze(1)).squeeze(1), 0.0)
            counted[:, step] = open_rows
            states = self.grammar.step[states, self.grammar.column[tokens]]
        ended = self.grammar.determined[states]
        columns = [log_chance.exp(), silence, self.overridden, ended, states]
        # One transfer for all of it; float64 holds each of these exactly. A token that does not count becomes
        # -1.
        tokens = written.where(counted, -1)
        table = torch.cat(
            [torch.stack([c.double() for c in columns], dim=1), tokens.double()], dim=1
        ).tolist()
        return [self._decoded(row) for row in table]

    def _decoded(self, row: list[float]) -> Decoded:
        """A row of the table; where the logits were no numbers, it may have left the grammar: no probability,
        then."""
        chance, silence, overridden, ended, state = row[:5]
        if not ended:
            return Decoded("", float("nan"), silence, bool(overridden))
        tokens = [*(int(token) for token in row[5:] if token >= 0), *self.grammar.tail(int(state))]
        text = str(self.grammar.tokenizer.decode([t for t in tokens if t != self.grammar.end])).strip()
        return Decoded(text, chance, silence, bool(overridden))


class Determined(StoppingCriteria):
    """Ends a row as soon as only one way is left; `Guide.decode` adds the rest."""

    def __init__(self, guide: Guide) -> None:
        self.guide = guide

    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        """Bool (rows,): which are ended."""
        return self.guide.grammar.determined[self.guide.states(input_ids)]
