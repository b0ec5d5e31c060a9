"""The figures above the page's list: scores, reliability, units, failures, and what was skipped."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from src import metrics
from src.data.folders import DataFolder, ProcessedFolder
from src.data.processed import read_manifest
from src.data.tables import read_table
from src.report.entries import range_of
from src.report.reasons import FAILURES, failure_of
from src.report.rows import HELD_OUT, OUTCOMES, TEST, Row


def summary(rows: Sequence[Row], times: Mapping[str, float]) -> dict[str, Any]:
    """Return what the page's template shows of its test and held-out rows.

    ``scores, reliability, units, failures`` are of the test rows whose truth is known, else of the held-out
    ones; ``of`` says which (a table of `rows`).
    """
    scored_rows = [row for row in rows if row.table == TEST and row.truth is not None]
    scored_rows = scored_rows or [row for row in rows if row.table == HELD_OUT]
    shown: dict[str, Any] = {"scores": [], "of": "", "reliability": [], "units": None, "failures": []}
    if scored_rows:
        truths, answers = [row.truth or "" for row in scored_rows], [row.answer for row in scored_rows]
        failures = Counter(map(failure_of, scored_rows))
        shown |= {
            "scores": metrics.table([row.question.entity for row in scored_rows], truths, answers).to_dict(
                "records"
            ),
            "of": scored_rows[0].table,
            "reliability": reliability(scored_rows),
            "units": _units(truths, answers),
            "failures": [(name, text, failures[name]) for name, text in FAILURES.items() if failures[name]],
        }
    return shown | {"times": dict(times), "outcomes": OUTCOMES}


def reliability(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return ``rows``, mean ``probability`` and share ``right`` for each ``range`` of probabilities with
    rows."""
    table = pd.DataFrame(
        [(range_of(row.probability), row.probability, row.outcome in ("tp", "tn")) for row in rows],
        columns=["range", "probability", "right"],
    )
    grouped = table[table["range"].ne("")].groupby("range", as_index=False)
    means = grouped.agg(rows=("right", "size"), probability=("probability", "mean"), right=("right", "mean"))
    return [{str(key): value for key, value in row.items()} for row in means.to_dict("records")]


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
        counts += [("image", reason, n) for reason, n in flaws.most_common()]
    downloads = None if data is None else DataFolder(data).downloads
    if downloads is not None and downloads.is_file():
        table = read_table(downloads, ["status", "error"])
        errors = Counter(table.loc[table["status"].eq("failed"), "error"])
        counts += [("download", reason, n) for reason, n in errors.most_common()]
    return counts
