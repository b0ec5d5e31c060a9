"""The rows of the page: predicted questions with their truth, and which of many are shown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.data.questions import Question
from src.ensemble import MODEL_ALONE, PRIOR, Weights, combine, folds
from src.metrics import comparable

OUTCOMES = {"tp": "right", "tn": "rightly empty", "fp": "wrong", "fn": "missed"}
"""Counts of an answer (see `metrics`) and the page's words for them; the first two are right."""
WRONG = ("fp", "fn")
CHANGES = {
    "gained": "wrong in the other run, right here",
    "lost": "right in the other run, wrong here",
    "changed": "another answer there; neither is right, or the truth is not known",
}
"""What a change from another run's answer can be, and what to say of it."""
TEST, HELD_OUT, TRAIN = "test", "held out", "train"
"""Tables of the page's rows: of train.csv, those that were held out of training, and the others."""


@dataclass(frozen=True, slots=True)
class Row:
    """A question on the page, with what its prediction was made of.

    ``table``: `TEST`, `HELD_OUT` or `TRAIN`. ``truth``: None where it is not known; of a train row its label.
    ``weights``: those of the ensemble that predicted. ``verdict``, ``action``: the audit's, for train rows.
    ``other``: the answer of the run that this one is compared with; None where it has none.
    """

    question: Question
    table: str
    truth: str | None
    weights: Weights = PRIOR
    verdict: str = ""
    action: str = ""
    other: str | None = None

    @property
    def answer(self) -> str:
        """The prediction."""
        return self.question.prediction

    @property
    def probability(self) -> float:
        """The ensemble's probability of the answer; NaN without one."""
        return self.question.probability

    @property
    def is_answered(self) -> bool:
        """True if it was asked: it has no reason, and was not trained on."""
        return self.table != TRAIN and not self.question.reason

    @property
    def outcome(self) -> str:
        """A key of `OUTCOMES`; empty for a row that was trained on, and where the truth is not known."""
        return "" if self.table == TRAIN else outcome_of(self.answer, self.truth)

    @property
    def change(self) -> str:
        """A key of `CHANGES`; empty when the answers are equal, or the other run has none."""
        if self.other is None or comparable(self.answer) == comparable(self.other):
            return ""
        outcome, other_outcome = self.outcome, outcome_of(self.other, self.truth)
        if not outcome or {outcome, other_outcome} <= set(WRONG):
            return "changed"
        return "lost" if outcome in WRONG else "gained"

    @property
    def image(self) -> str:
        """The name of the model image."""
        return self.question.model_image.name


def outcome_of(answer: str, truth: str | None) -> str:
    """Return a key of `OUTCOMES`; empty when the truth is not known."""
    if truth is None:
        return ""
    expected, answered = comparable(truth), comparable(answer)
    if not answered:
        return "fn" if expected else "tn"
    return "tp" if answered == expected else "fp"


def test_rows(questions: Sequence[Question], truths: Mapping[int, str], weights: Weights) -> list[Row]:
    """Return the rows of answered test questions; ``truths`` by index, where they are known."""
    if not any(question.has_rule_logits for question in questions):
        weights = MODEL_ALONE
    return [Row(question, TEST, truths.get(question.row), weights) for question in questions]


def held_out_rows(questions: Sequence[Question]) -> list[Row]:
    """Return the rows of a training's held-out questions, predicted in folds; order is kept."""
    rows: dict[int, Row] = {}
    for here, weights in folds(questions):
        positions = np.flatnonzero(here).tolist()
        predicted = combine([questions[position] for position in positions], weights)
        for position, question in zip(positions, predicted, strict=True):
            rows[position] = Row(question, HELD_OUT, question.label, weights)
    return [rows[position] for position in sorted(rows)]


def shown_rows(rows: Sequence[Row], count: int, seed: int = 0) -> tuple[list[Row], str]:
    """Return at most ``count`` rows in order, and the words that tell how they were chosen, if they were.

    Wrong rows come first, then those that changed from another run; of the others come half the least sure
    and half at random.
    """
    if len(rows) <= count:
        return list(rows), ""
    wrong = [i for i, row in enumerate(rows) if row.outcome in WRONG][:count]
    changed = [i for i, row in enumerate(rows) if row.change and row.outcome not in WRONG]
    changed = changed[: count - len(wrong)]
    others = set(range(len(rows))).difference(wrong, changed)
    by_probability = sorted(others, key=lambda i: (math.isnan(rows[i].probability), rows[i].probability))
    places = count - len(wrong) - len(changed)
    unsure, sure = by_probability[: places // 2], by_probability[places // 2 :]
    sampled = np.random.default_rng(seed).permutation(len(sure))[: places - len(unsure)]
    kinds = {
        "wrong": len(wrong),
        "answered otherwise by the other run": len(changed),
        "least sure": len(unsure),
        "at random": len(sampled),
    }
    chosen = ", ".join(f"{number:,} {kind}" for kind, number in kinds.items() if number)
    shown = [rows[i] for i in sorted([*wrong, *changed, *unsure, *(sure[j] for j in sampled)])]
    return shown, f"{count:,} of {len(rows):,} rows: {chosen}"
