"""The challenge's F1, over all rows and per entity.

    python -m src.metrics --truth data/sample/test_truth.csv --pred outputs/test_out.csv

TP: answer and truth non-empty and equal. FP: answer non-empty, truth empty or different. FN: answer empty,
truth not. F1 = 2PR/(P+R) (rules of the Amazon ML Challenge 2024). Numbers are compared, not strings: "500.0
gram" = "500 gram".
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from src.data.errors import InputError, run_main
from src.data.tables import integer_column, read_table
from src.reading.quantity import parse_answer

_TRUTH_COLUMNS = ("entity_value", "gold", "prediction")


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of answers, and the rates that follow from them."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0  # both empty; not part of F1

    @property
    def precision(self) -> float:
        """TP / (TP + FP); 0 when nothing was answered."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0

    @property
    def recall(self) -> float:
        """TP / (TP + FN), with the rules' FN: only silence counts as one; 0 when nothing counts."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 without a true positive."""
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.tp else 0.0


def comparable(text: str) -> tuple[float, str] | str:
    """What of an answer is compared: number and unit, or for anything else the text itself (empty stays
    empty)."""
    quantity = parse_answer(text)
    return text.strip() if quantity is None else (float(quantity.number), quantity.unit)


def score(truths: Sequence[str], answers: Sequence[str]) -> Score:
    """Score ``answers`` against ``truths``, row by row; raises ValueError when their lengths differ."""
    counts = dict.fromkeys(("tp", "fp", "fn", "tn"), 0)
    for truth, answer in zip(map(comparable, truths), map(comparable, answers), strict=True):
        if answer:
            counts["tp" if answer == truth else "fp"] += 1
        else:
            counts["fn" if truth else "tn"] += 1
    return Score(**counts)


def table(entities: Sequence[str], truths: Sequence[str], answers: Sequence[str]) -> pd.DataFrame:
    """One row per entity, and ``all`` last: rows, tp, fp, fn, tn, precision, recall, f1."""
    frame = pd.DataFrame({"entity": entities, "truth": truths, "answer": answers})
    groups = [*frame.groupby("entity", sort=True), ("all", frame)]
    rows = []
    for name, group in groups:
        s = score(group["truth"].tolist(), group["answer"].tolist())
        rows.append((name, len(group), s.tp, s.fp, s.fn, s.tn, s.precision, s.recall, s.f1))
    return pd.DataFrame(rows, columns=["entity", "rows", "tp", "fp", "fn", "tn", "precision", "recall", "f1"])


def confusion_of_units(truths: Sequence[str], answers: Sequence[str]) -> pd.DataFrame:
    """Counts by unit of the truth (rows) and of the answer (columns); ``(none)`` for empty ones."""
    truth, answer = (
        pd.Series(list(texts)).str.split(n=1).str[1].fillna("(none)") for texts in (truths, answers)
    )
    return pd.crosstab(truth.rename("truth"), answer.rename("answer"))


def read_truth(path: Path) -> pd.DataFrame:
    """Read a truth file; its values end up in the column ``truth``, ``index`` as int64. Raises
    `InputError`."""
    want = read_table(path, ["index"])
    column = next((name for name in _TRUTH_COLUMNS if name in want.columns), None)
    if column is None:
        raise InputError(
            f"{path}: has none of the columns {', '.join(_TRUTH_COLUMNS)}; one must hold the true values"
        )
    return want.assign(index=integer_column(want["index"], path), truth=want[column])


def score_files(truth: Path, predictions: Path) -> pd.DataFrame:
    """`table` of a prediction file against a truth file; rows are joined by ``index``.

    The truth file has ``index``, one of ``entity_value``, ``gold`` or ``prediction``, and for a table per
    entity ``entity_name``; it may cover part of the predictions. Raises `InputError`, also for a truth
    without a prediction.
    """
    want = read_truth(truth)
    got = read_table(predictions, ["index", "prediction"])
    found = dict(zip(integer_column(got["index"], predictions), got["prediction"], strict=True))
    missing = [index for index in want["index"] if index not in found]
    if missing:
        raise InputError(
            f"{predictions}: has no prediction for index {missing[0]} ({len(missing)} such rows in {truth})"
        )
    entities = want["entity_name"] if "entity_name" in want.columns else ["all rows"] * len(want)
    return table(list(entities), want["truth"].tolist(), [found[index] for index in want["index"]])


def show(scores: pd.DataFrame) -> str:
    """The table as text, rates with three decimals."""
    return scores.to_string(index=False, float_format=lambda rate: f"{rate:.3f}")


def main() -> int:
    """Command line: print the table."""
    parser = argparse.ArgumentParser(description="Score a prediction file with the challenge's F1.")
    parser.add_argument("--truth", type=Path, required=True, help="CSV with index and entity_value (or gold)")
    parser.add_argument("--pred", type=Path, required=True, help="CSV with index,prediction")
    args = parser.parse_args()
    print(show(score_files(args.truth, args.pred)))
    return 0


if __name__ == "__main__":
    run_main(main)
