"""The top of the page: scores, reliability, units, times, what was skipped; of all rows, shown or not."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from src import metrics
from src.data.folders import DataFolder, ProcessedFolder
from src.data.processed import read_manifest
from src.data.questions import Question
from src.data.tables import read_table
from src.report.rows import Row

_BINS = 5


def summary(rows: Sequence[Row], held_out: Sequence[Question], times: Mapping[str, float]) -> dict[str, Any]:
    """Return what the page's template shows: ``scores, of, reliability, units, times``.

    Scores are of the test rows where their truth is known, else of the model on held-out train rows; ``of``
    says which.
    """
    scored_on = "test rows"
    answers = [(r.question.entity, r.truth, r.answer, r.probability) for r in rows if r.truth is not None]
    if not answers:
        scored_on = "held-out train rows, by the model alone"
        answers = [(q.entity, q.label, q.model_answer, q.confidence) for q in held_out]
    if not answers:
        return {"scores": [], "of": "", "reliability": [], "units": None, "times": dict(times)}
    table = pd.DataFrame(answers, columns=["entity", "truth", "answer", "probability"])
    entities, truths, predictions = (table[name].tolist() for name in ("entity", "truth", "answer"))
    return {
        "scores": metrics.table(entities, truths, predictions).to_dict("records"),
        "of": scored_on,
        "reliability": reliability(table),
        "units": _units(truths, predictions),
        "times": dict(times),
    }


def reliability(answers: pd.DataFrame) -> list[dict[str, float]]:
    """Return ``rows``, mean ``probability`` and share ``right`` for each fifth of the probabilities that has
    rows."""
    rows = answers[answers["probability"].notna()]
    pairs = zip(rows["answer"], rows["truth"], strict=True)
    right = [metrics.comparable(answer) == metrics.comparable(truth) for answer, truth in pairs]
    probability = rows["probability"].astype(float)
    fifth = (probability * _BINS).clip(upper=_BINS - 1).astype(int)
    table = pd.DataFrame({"fifth": fifth, "probability": probability, "right": right})
    grouped = table.groupby("fifth").agg(
        rows=("right", "size"), probability=("probability", "mean"), right=("right", "mean")
    )
    return [{str(key): value for key, value in row.items()} for row in grouped.to_dict("records")]


def _units(truths: Sequence[str], answers: Sequence[str]) -> dict[str, Any]:
    """Return ``columns`` (units of the answers) and ``rows``: unit of the truth, counts, and which of them is
    right."""
    table = metrics.confusion_of_units(truths, answers)
    return {
        "columns": list(table.columns),
        "rows": [
            (unit, [(int(count), unit == other) for other, count in zip(table.columns, counts, strict=True)])
            for unit, counts in zip(table.index, table.to_numpy(), strict=True)
        ],
    }


def skipped(rows: Sequence[Row], processed: Path, data: Path | None) -> list[tuple[str, str, int]]:
    """Return what was left out: where, why, how often."""
    reasons = Counter(row.question.reason for row in rows if row.question.reason)
    counts = [("question", reason, n) for reason, n in reasons.most_common()]
    if ProcessedFolder(processed).is_made:
        table = read_manifest(processed, ["status", "error"])
        table = table[table["status"].ne("ok") | table["error"].ne("")]
        flaws = Counter(table["status"].where(table["status"].ne("ok"), "flaw") + ": " + table["error"])
        counts += [("picture", reason, n) for reason, n in flaws.most_common()]
    downloads = None if data is None else DataFolder(data).downloads
    if downloads is not None and downloads.is_file():
        table = read_table(downloads, ["status", "error"])
        errors = Counter(table.loc[table["status"].eq("failed"), "error"])
        counts += [("download", reason, n) for reason, n in errors.most_common()]
    return counts
