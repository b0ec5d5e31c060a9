"""What stands on top of the page: scores, reliability, units, times, what was skipped; of all rows, shown or
not."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from src import metrics
from src.data.folders import DataFolder, ProcessedFolder
from src.data.processed import read_manifest
from src.data.tables import read_table
from src.report.rows import Row

_BINS = 5


def summary(rows: Sequence[Row], held_out: pd.DataFrame, times: Mapping[str, float]) -> dict[str, Any]:
    """What the page's template shows: ``scores, of, reliability, units, times``.

    Scores are of the test rows where their truth is known, else of the held-out train rows (``held_out``:
    columns ``entity, truth, answer, chance``). ``of`` says which.
    """
    known = pd.DataFrame(
        [(r.entity, r.truth, r.answer, r.chance) for r in rows if r.truth is not None],
        columns=["entity", "truth", "answer", "chance"],
    )
    answered = known if len(known) else held_out
    scored_on = "test rows" if len(known) else "held-out train rows, by the model alone"
    if answered.empty:
        return {"scores": [], "of": "", "reliability": [], "units": None, "times": dict(times)}
    columns = [answered[name].tolist() for name in ("entity", "truth", "answer")]
    return {
        "scores": metrics.table(*columns).to_dict("records"),
        "of": scored_on,
        "reliability": reliability(answered),
        "units": _units(columns[1], columns[2]),
        "times": dict(times),
    }


def reliability(answered: pd.DataFrame) -> list[dict[str, float]]:
    """Of each fifth of the chances that has rows: ``rows``, mean ``chance``, share ``right``."""
    rows = answered[answered["chance"].notna()]
    right = [
        metrics.comparable(a) == metrics.comparable(t)
        for a, t in zip(rows["answer"], rows["truth"], strict=True)
    ]
    chance = rows["chance"].astype(float)
    table = pd.DataFrame(
        {"bin": (chance * _BINS).clip(upper=_BINS - 1).astype(int), "chance": chance, "right": right}
    )
    grouped = table.groupby("bin").agg(
        rows=("right", "size"), chance=("chance", "mean"), right=("right", "mean")
    )
    return [{str(key): value for key, value in row.items()} for row in grouped.to_dict("records")]


def _units(truths: Sequence[str], answers: Sequence[str]) -> dict[str, Any]:
    """``columns`` (units of the answers) and ``rows``: unit of the truth, counts, and which of them is
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
    """What was left out: where, why, how often."""
    counts = [
        ("question", reason, n) for reason, n in Counter(r.reason for r in rows if r.reason).most_common()
    ]
    if ProcessedFolder(processed).is_made:
        table = read_manifest(processed, ["status", "error"])
        table = table[table["status"].ne("ok") | table["error"].ne("")]
        reasons = Counter(table["status"].where(table["status"].ne("ok"), "flaw") + ": " + table["error"])
        counts += [("picture", reason, n) for reason, n in reasons.most_common()]
    downloads = None if data is None else DataFolder(data).downloads
    if downloads is not None and downloads.is_file():
        table = read_table(downloads, ["status", "error"])
        reasons = Counter(table.loc[table["status"].eq("failed"), "error"])
        counts += [("download", reason, n) for reason, n in reasons.most_common()]
    return counts
