"""Rows and options as the page's script takes them: JSON values."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from src.data.details import json_number
from src.metrics import comparable, unit_of
from src.reading.options import Option, rule_probabilities
from src.report.reasons import LabelCounts, failure_of, is_other_unit, why
from src.report.rows import TEST, TRAIN, Row

MOST_OPTIONS = 30
"""Options of a row that are shown, at most, so that tables full of numbers do not fill the page."""

PROBABILITIES = ((0.0, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.0))
"""Ranges of probabilities that rows are filtered and counted by; the last one with its end."""


def range_of(probability: float) -> str:
    """Return the range of `PROBABILITIES` as in the page's address, ``0.5-0.8``; empty for NaN."""
    fitting = (f"{low}-{high}" for low, high in reversed(PROBABILITIES) if probability >= low)
    return next(fitting, "")


def row_entry(row: Row, name: str, image: int, counts: LabelCounts, note: str) -> dict[str, Any]:
    """Return a row's entry.

    ``name``: its own on the page. ``image``: number of the page's image. ``counts``: see `reasons.why`.
    ``note``: what could not be shown, and why.
    """
    question = row.question
    rules, rules_probability = question.rules_answer
    shares, something_else = model_shares(question.options)
    is_known = row.truth is not None and row.table != TRAIN
    return {
        "id": name,
        "index": str(question.row),
        "table": row.table,
        "image": image,
        "link": question.link,
        "group": question.group,
        "entity": question.entity,
        "answer": row.answer,
        "source": question.source,
        "probability": json_number(round(row.probability, 4)),
        "range": range_of(row.probability),
        "model_answer": question.model_answer,
        "confidence": max((share for share in shares if share is not None), default=None),
        "something_else": round(something_else, 4),
        "rules": rules,
        "rules_probability": rules_probability,
        "reason": question.reason,
        "truth": row.truth,
        "verdict": row.verdict,
        "action": row.action,
        "other": row.other,
        "change": row.change,
        "outcome": row.outcome,
        "failure": failure_of(row),
        "other_unit": row.truth is not None and is_other_unit(row.answer, row.truth),
        "why": why(row, counts),
        "unit": f"{unit_of(row.truth or '')} > {unit_of(row.answer)}" if is_known else "",
        "asked": row.is_answered,
        "is_test": row.table == TEST,
        "options": option_entries(row, shares),
        "note": note,
    }


def model_shares(options: Sequence[Option]) -> tuple[list[float | None], float]:
    """Return each option's share of the model's probability of all options, and what it gives to no option.

    None where the model did not score an option.
    """
    scored = [math.exp(option.log_probability) for option in options if math.isfinite(option.log_probability)]
    total = sum(scored)
    if not total:
        return [None] * len(options), 0.0
    shares = (math.exp(option.log_probability) / total for option in options)
    return [json_number(share) for share in shares], max(0.0, 1 - total)


def option_entries(row: Row, shares: Sequence[float | None]) -> list[dict[str, Any]]:
    """Return a row's options in their order, each with what it is, where it stands and its scores.

    ``shares``: see `model_shares`. ``texts`` (its amount in several units), ``boxes`` (shares of the image),
    ``rules, model, combined`` (probabilities, None where not known), ``prior`` (of its amount among train
    labels, 1 is average), ``chosen``, ``truth``. The unlikeliest are left out where there are more than
    `MOST_OPTIONS`.
    """
    entries = []
    options = row.question.options
    for option, by_rules, by_model in zip(options, rule_probabilities(options), shares, strict=True):
        amounts = {comparable(text) for text in option.texts} or {""}
        entries.append(
            {
                "texts": option.texts[:4],
                "boxes": [rounded(box) for box in option.boxes[:6]],
                "rules": None if option.rule_logit is None else round(by_rules, 3),
                "model": by_model and round(by_model, 4),
                "prior": round(math.exp(option.log_prior), 2) if option.log_prior else None,
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
