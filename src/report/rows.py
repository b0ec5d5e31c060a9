"""The rows of the page: what was asked and answered, which of many rows are shown, what was weighed."""

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from src.entities import ENTITY_UNITS
from src.metrics import comparable
from src.reading.candidates import Candidate
from src.reading.layout import Box, Layout
from src.reading.lines import ParsedLine
from src.reading.options import TEMPERATURE, logits, options


@dataclass(slots=True)
class Row:
    """A question about a picture, its answer and all that is known of how it came about. Empty: does not
    apply."""

    index: str  # of the test row; of a train row its position, from 0
    table: str  # test, train
    picture: str  # name of the processed picture
    link: str
    entity: str
    answer: str
    source: str = ""
    chance: float | None = None
    model_answer: str = ""
    confidence: float | None = None
    silence: float | None = None
    rules: str = ""
    rules_score: float | None = None
    reason: str = ""
    truth: str | None = None
    verdict: str = ""  # of the audit, for train rows
    action: str = ""  # what is done with a train row
    outcome: str = ""
    asked: bool = True  # whether anyone answered: not a row with a reason, nor one that was trained on
    options: list[dict[str, Any]] = field(default_factory=list)
    weighed: list[tuple[str, float]] = field(
        default_factory=list
    )  # the model's probability of each possible answer
    note: str = ""  # what could not be shown, and why


MOST_OPTIONS = 30
"""Of a row; so that tables full of numbers do not fill the page."""

OUTCOMES = {
    "tp": "right",
    "tn": "rightly silent",
    "fp": "wrong",
    "fn": "missed",
}
"""What an answer counts as (see `metrics`) -> how the page calls it; the first two are right."""


def outcome_of(answer: str, truth: str | None) -> str:
    """A key of `OUTCOMES`; empty when the truth is not known."""
    if truth is None:
        return ""
    wanted, given = comparable(truth), comparable(answer)
    if not given:
        return "fn" if wanted else "tn"
    return "tp" if given == wanted else "fp"


def number(value: object) -> float | None:
    """A cell as a number; None when it holds none that is finite."""
    try:
        parsed = float(str(value))
    except ValueError:
        return None
    return parsed if math.isfinite(parsed) else None


def test_rows(details: pd.DataFrame, truths: dict[int, str]) -> list[Row]:
    """The rows of a details table (see `predict.predict`); ``truths`` by index, where they are known."""
    rows = []
    for cells in details.to_dict("records"):
        truth = truths.get(int(cells["index"]))
        row = Row(
            index=str(cells["index"]),
            table="test",
            picture=cells.get("picture", ""),
            link=cells["image_link"],
            entity=cells["entity_name"],
            answer=cells["prediction"],
            source=cells.get("source", ""),
            model_answer=cells.get("model_answer", ""),
            rules=cells.get("rules", ""),
            reason=cells.get("reason", ""),
            asked=not cells.get("reason", ""),
            truth=truth,
            outcome=outcome_of(cells["prediction"], truth),
        )
        for name in ("chance", "confidence", "silence", "rules_score"):
            setattr(row, name, number(cells.get(name, "")))
        if "model_answer" not in cells:
            row.confidence = None
        with contextlib.suppress(ValueError, TypeError, KeyError):  # of a run before there was such a column
            row.weighed = [(text, number(chance) or 0.0) for text, chance, *_ in json.loads(cells["weighed"])]
        rows.append(row)
    return rows


def shown_rows(rows: Sequence[Row], count: int, seed: int = 0) -> list[Row]:
    """At most ``count``: all that are wrong, of the rest half the least sure, half drawn at random; order is
    kept."""
    if len(rows) <= count:
        return list(rows)
    wrong = [i for i, row in enumerate(rows) if row.outcome in ("fp", "fn")][:count]
    rest = sorted(
        set(range(len(rows))).difference(wrong), key=lambda i: (rows[i].chance is None, rows[i].chance)
    )
    left = count - len(wrong)
    unsure, others = rest[: left // 2], rest[left // 2 :]
    drawn = np.random.default_rng(seed).permutation(len(others))[: left - len(unsure)]
    return [rows[i] for i in sorted([*wrong, *unsure, *(others[j] for j in drawn)])]


def weighed(row: Row, found: Sequence[ParsedLine], drawn: Layout | None) -> list[dict[str, Any]]:
    """The options of a row's question in reading order, silence last, each with what it is and where it
    stands.

    ``texts`` (the same amount in several units), ``boxes`` (shares of the picture), ``rules`` (their
    probability, as in `options.answer`), ``model`` (its probability of it, where it is known), ``chosen``,
    ``truth``. None for an unknown entity; the unlikeliest are left out where there are more than
    `MOST_OPTIONS`.
    """
    if row.entity not in ENTITY_UNITS:
        return []
    groups = options(found, row.entity)
    values = [*logits(groups, row.entity, drawn), 0.0]
    top = max(values)
    weights = [math.exp((value - top) / TEMPERATURE) for value in values]
    entries = []
    for group, weight in zip([*groups, []], weights, strict=True):
        texts = list(dict.fromkeys(str(candidate.quantity) for candidate in group))
        same = {comparable(text) for text in texts} or {""}
        entries.append(
            {
                "texts": texts[:4],
                "boxes": [rounded(candidate.box) for candidate in group[:6]],
                "rules": round(weight / sum(weights), 3),
                "model": _by_model(row, same),
                "chosen": row.asked and comparable(row.answer) in same,
                "truth": row.truth is not None and comparable(row.truth) in same,
            }
        )
    kept = sorted(
        range(len(entries)), key=lambda i: (entries[i]["chosen"], entries[i]["truth"], entries[i]["rules"])
    )[-MOST_OPTIONS:]
    return [entries[i] for i in sorted(kept)]


def _by_model(row: Row, same: set[Any]) -> float | None:
    """The model's probability of an option, by its texts; where only its answer is known, of that."""
    if row.weighed:
        return max((chance for text, chance in row.weighed if comparable(text) in same), default=None)
    return row.confidence if row.asked and comparable(row.model_answer) in same else None


def rounded(shares: Sequence[float] | np.ndarray) -> list[float]:
    """Shares of a picture, to a tenth of a pixel."""
    return [round(float(share), 4) for share in shares]


def candidate_boxes(found: Sequence[ParsedLine], entities: Sequence[str]) -> list[Box]:
    """Where the candidates of the questions stand."""
    groups: list[Candidate] = [c for entity in entities for group in options(found, entity) for c in group]
    return list(dict.fromkeys(candidate.box for candidate in groups))
