"""The challenge's F1, over all rows and per entity.

    python -m src.metrics --truth data/sample/test_truth.csv --predictions outputs/test_out.csv

TP: prediction and truth non-empty and equal. FP: prediction non-empty, truth empty or different. FN:
prediction empty, truth not. F1 = 2PR/(P+R) (rules of the Amazon ML Challenge 2024). Numbers are compared, not
strings: "500.0 gram" = "500 gram".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.data.errors import InputError, run_main
from src.data.flags import settings_from_command_line
from src.data.tables import read_table
from src.reading.quantity import parse_answer
from src.settings import MetricsSettings

_TRUTH_COLUMNS = ("entity_value", "gold", "prediction")


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of predictions, and the rates that follow from them."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0  # both empty; not part of F1

    @property
    def precision(self) -> float:
        """TP / (TP + FP); 0 without a non-empty prediction."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0

    @property
    def recall(self) -> float:
        """TP / (TP + FN), where only an empty prediction is an FN; 0 without a non-empty truth."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 without a true positive."""
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.tp else 0.0


def f1_interval(score: Score, level: float = 0.95, resamples: int = 1000) -> tuple[float, float]:
    """Return the ends of a bootstrap interval of an F1: percentiles over resamples of the rows.

    A row counts by its outcome alone, so that a resample is a draw of the four counts from a multinomial. To
    each count half a row is added before: 13 right ones of 13 do not prove that all are.
    """
    counts = np.array([score.tp, score.fp, score.fn, score.tn])
    shares = (counts + 0.5) / (counts + 0.5).sum()
    tp, fp, fn, _ = np.random.default_rng(0).multinomial(max(1, counts.sum()), shares, resamples).T
    f1 = 2 * tp / np.maximum(1, 2 * tp + fp + fn)
    low, high = np.quantile(f1, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def comparable(text: str) -> tuple[float, str] | str:
    """Return what is compared of an answer: number and unit, or the text itself if it is no quantity."""
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
    """Return one row per entity, and ``all`` last: rows, tp, fp, fn, tn, precision, recall, f1."""
    frame = pd.DataFrame({"entity": entities, "truth": truths, "answer": answers})
    groups = [*frame.groupby("entity", sort=True), ("all", frame)]
    rows = []
    for name, group in groups:
        s = score(group["truth"].tolist(), group["answer"].tolist())
        rows.append((name, len(group), s.tp, s.fp, s.fn, s.tn, s.precision, s.recall, s.f1))
    return pd.DataFrame(rows, columns=["entity", "rows", "tp", "fp", "fn", "tn", "precision", "recall", "f1"])


def unit_of(answer: str) -> str:
    """Return the unit of an answer; ``(none)`` for the empty one."""
    return answer.partition(" ")[2] or "(none)"


def confusion_of_units(truths: Sequence[str], answers: Sequence[str]) -> pd.DataFrame:
    """Count answers by the unit of the truth (rows) and of the answer (columns); ``(none)``: empty."""
    truth, answer = (pd.Series(list(map(unit_of, texts)), dtype=object) for texts in (truths, answers))
    return pd.crosstab(truth.rename("truth"), answer.rename("answer"))


def read_truth(path: Path) -> pd.DataFrame:
    """Read a truth file; the column ``truth`` has its values, ``index`` is int64. Raises `InputError`."""
    truths = read_table(path, ["index"], numbers=["index"])
    column = next((name for name in _TRUTH_COLUMNS if name in truths), None)
    if column is None:
        raise InputError(
            f"{path}: has none of the columns {', '.join(_TRUTH_COLUMNS)}; one must hold the true values"
        )
    return truths.assign(truth=truths[column])


def score_files(truth: Path, predictions: Path) -> pd.DataFrame:
    """Return the `table` of a prediction file against a truth file; rows are joined by ``index``.

    The truth file has ``index``, one of ``entity_value``, ``gold`` or ``prediction``, and for a table per
    entity ``entity_name``; it may cover part of the predictions. Raises `InputError`, also for a truth
    without a prediction.
    """
    truths = read_truth(truth)
    answers = read_table(predictions, ["index", "prediction"], numbers=["index"])
    prediction_of = dict(zip(answers["index"], answers["prediction"], strict=True))
    missing = [index for index in truths["index"] if index not in prediction_of]
    if missing:
        raise InputError(
            f"{predictions}: has no prediction for index {missing[0]} ({len(missing)} such rows in {truth})"
        )
    entities = truths["entity_name"] if "entity_name" in truths else ["all rows"] * len(truths)
    return table(list(entities), list(truths["truth"]), [prediction_of[index] for index in truths["index"]])


def show(scores: pd.DataFrame) -> str:
    """Return a `table` as text, rates with three decimals."""
    return scores.to_string(index=False, float_format=lambda rate: f"{rate:.3f}")


def main() -> int:
    """Print the scores of the prediction file that the command line names."""
    description = "Score a prediction file with the challenge's F1."
    settings = settings_from_command_line(MetricsSettings, description)
    print(show(score_files(settings.truth, settings.predictions)))
    return 0


if __name__ == "__main__":
    run_main(main)
