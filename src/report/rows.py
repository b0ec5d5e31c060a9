"""The rows of the page: questions with their truth, which of many are shown, and the options of each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.data.details import json_number
from src.data.questions import Question
from src.metrics import comparable
from src.reading.options import rule_probabilities

MOST_OPTIONS = 30
"""Options of a row that are shown, at most, so that tables full of numbers do not fill the page."""

OUTCOMES = {"tp": "right", "tn": "rightly empty", "fp": "wrong", "fn": "missed"}
"""Counts of an answer (see `metrics`) and the page's words for them; the first two are right."""


@dataclass(frozen=True, slots=True)
class Row:
    """A question on the page. ``answer``: the prediction, for a train row the held-out answer.

    ``truth``: None where it is not known; of a train row its label. ``verdict``, ``action``: the audit's, for
    train rows. ``is_answered``: not for a row with a reason, nor for one that was trained on.
    """

    question: Question
    table: str  # test, train
    answer: str
    probability: float
    truth: str | None
    is_answered: bool
    source: str = ""
    verdict: str = ""
    action: str = ""

    @property
    def outcome(self) -> str:
        """A key of `OUTCOMES`; empty when the truth is not known, or nobody answered."""
        return outcome_of(self.answer, self.truth) if self.is_answered or self.table == "test" else ""

    @property
    def image(self) -> str:
        """The name of the model image."""
        return self.question.model_image.name


def outcome_of(answer: str, truth: str | None) -> str:
    """Return a key of `OUTCOMES`; empty when the truth is not known."""
    if truth is None:
        return ""
    wanted, given = comparable(truth), comparable(answer)
    if not given:
        return "fn" if wanted else "tn"
    return "tp" if given == wanted else "fp"


def test_rows(questions: Sequence[Question], truths: Mapping[int, str]) -> list[Row]:
    """Return the rows of answered test questions; ``truths`` by index, where they are known."""
    return [
        Row(
            question,
            "test",
            question.prediction,
            question.probability,
            truths.get(question.row),
            not question.reason,
            question.source,
        )
        for question in questions
    ]


def shown_rows(rows: Sequence[Row], count: int, seed: int = 0) -> list[Row]:
    """Return at most ``count``: all that are wrong, of the others half the least sure, half sampled; in
    order."""
    if len(rows) <= count:
        return list(rows)
    wrong = [i for i, row in enumerate(rows) if row.outcome in ("fp", "fn")][:count]
    others = set(range(len(rows))).difference(wrong)
    by_probability = sorted(others, key=lambda i: (math.isnan(rows[i].probability), rows[i].probability))
    places = count - len(wrong)
    unsure, sure = by_probability[: places // 2], by_probability[places // 2 :]
    sampled = np.random.default_rng(seed).permutation(len(sure))[: places - len(unsure)]
    return [rows[i] for i in sorted([*wrong, *unsure, *(sure[j] for j in sampled)])]


def row_entry(row: Row, image_number: int, note: str) -> dict[str, Any]:
    """Return a row as the page's script takes it; ``note``: what could not be shown, and why."""
    question = row.question
    rules, rules_probability = question.rules_answer
    return {
        "index": str(question.row),
        "table": row.table,
        "picture": image_number,
        "link": question.link,
        "entity": question.entity,
        "answer": row.answer,
        "source": row.source,
        "probability": json_number(row.probability),
        "model_answer": question.model_answer,
        "confidence": json_number(question.confidence),
        "rules": rules,
        "rules_probability": rules_probability,
        "reason": question.reason,
        "truth": row.truth,
        "verdict": row.verdict,
        "action": row.action,
        "outcome": row.outcome,
        "asked": row.is_answered,
        "options": option_entries(row),
        "note": note,
    }


def option_entries(row: Row) -> list[dict[str, Any]]:
    """Return a row's options in their order, each with what it is, where it stands and its probabilities.

    ``texts`` (its amount in several units), ``boxes`` (shares of the image), ``rules, model, combined``
    (probabilities, None where not known), ``chosen``, ``truth``. The unlikeliest are left out where there are
    more than `MOST_OPTIONS`.
    """
    entries = []
    options = row.question.options
    for option, by_rules in zip(options, rule_probabilities(options), strict=True):
        amounts = {comparable(text) for text in option.texts} or {""}
        model = math.exp(option.log_probability)
        entries.append(
            {
                "texts": option.texts[:4],
                "boxes": [rounded(box) for box in option.boxes[:6]],
                "rules": None if option.rule_logit is None else round(by_rules, 3),
                "model": json_number(round(model, 4)),
                "combined": json_number(round(option.probability, 4)),
                "chosen": row.is_answered and comparable(row.answer) in amounts,
                "truth": row.truth is not None and comparable(row.truth) in amounts,
            }
        )
    likeliest = sorted(entries, key=lambda e: (e["chosen"], e["truth"], e["rules"] or 0.0))[-MOST_OPTIONS:]
    return [entry for entry in entries if entry in likeliest]


def rounded(shares: Sequence[float] | np.ndarray) -> list[float]:
    """Return shares of an image, to a tenth of a pixel."""
    return [round(float(share), 4) for share in shares]
