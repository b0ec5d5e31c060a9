"""Another run's answers beside this run's: read, joined with its rows, and scored on the rows of both."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from src import metrics
from src.data.errors import InputError
from src.data.folders import RunFolder
from src.data.tables import read_table
from src.report.rows import CHANGES, Row

_COLUMNS = ("index", "prediction")


def with_other_answers(rows: Sequence[Row], compare: Path) -> list[Row]:
    """Return test rows with the answers of another run, given its folder or a CSV file of `_COLUMNS`.

    Raises `InputError`, also where no row has an answer there.
    """
    path = RunFolder(compare).predictions if compare.is_dir() else compare
    if not path.is_file():
        wanted = f"a run folder that has {RunFolder(compare).predictions.name}, or a CSV file"
        raise InputError(f"{path}: not found; compare with {wanted} with {','.join(_COLUMNS)}")
    table = read_table(path, _COLUMNS, numbers=["index"])
    answers = dict(zip(table["index"].tolist(), table["prediction"].str.strip(), strict=True))
    if not any(row.question.row in answers for row in rows):
        raise InputError(f"{path}: has no index of this run; compare with a run on the same test.csv")
    return [replace(row, other=answers.get(row.question.row)) for row in rows]


def figures(rows: Sequence[Row], compare: Path) -> dict[str, Any]:
    """Return what the page's template shows of a comparison.

    ``name`` of the other run; ``rows`` that both have, and how many of them are ``scored``, whose truth is
    known, with the F1 ``here`` and ``there``; ``changes``: kind, what to say of it, and count.
    """
    common = [row for row in rows if row.other is not None]
    scored = [row for row in common if row.truth is not None]
    truths = [row.truth or "" for row in scored]
    changes = Counter(row.change for row in common)
    resolved = compare.resolve()
    return {
        "name": resolved.name if compare.is_dir() else f"{resolved.parent.name}/{resolved.name}",
        "rows": len(common),
        "scored": len(scored),
        "here": metrics.score(truths, [row.answer for row in scored]).f1,
        "there": metrics.score(truths, [row.other or "" for row in scored]).f1,
        "changes": [(name, text, changes[name]) for name, text in CHANGES.items()],
    }
