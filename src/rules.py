"""Answer test.csv by rules alone, without any model (see `reading.choose`).

    python -m src.rules --data data/sample --processed outputs/processed --out outputs/rules_out.csv

Exit code 1: with --strict, an unexpected error has cost a picture its answers.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from src.data.errors import run_main, unexpected
from src.data.files import write_whole
from src.data.names import read_files
from src.data.readings import ReadingStore
from src.data.samples import Sample, by_picture, test_samples
from src.data.tables import read_test
from src.reading.choose import Answer, answer, layout_for


def answer_samples(samples: Sequence[Sample], readings: ReadingStore) -> tuple[list[Answer], list[str]]:
    """`answer` for each sample; a picture is looked at once for all of its questions.

    An unexpected error costs one picture its answers: they are empty, and its traceback is among those returned.
    """
    answers: dict[int, Answer] = {}
    traces: list[str] = []
    bar = tqdm(total=len(samples), desc="rules", unit="row", smoothing=0.05)
    for positions in by_picture(samples):
        first = samples[positions[0]]
        try:
            found = readings[first.image]
            layout = layout_for(first.picture, found, [samples[position].entity for position in positions])
            answers |= {position: answer(found, samples[position].entity, layout) for position in positions}
        except Exception as error:  # whatever a picture or its text brings up: it is not worth the run
            reason, trace = unexpected(error)
            traces.append(f"{first.image}: {reason}\n{trace}")
            answers |= {position: Answer("", 0.0) for position in positions}
        bar.update(len(positions))
    bar.close()
    return [answers[position] for position in range(len(samples))], traces


def main() -> int:
    """Command line: answer test.csv."""
    parser = argparse.ArgumentParser(description="Answer test.csv by rules.")
    parser.add_argument("--data", type=Path, required=True, help="data folder with test.csv")
    parser.add_argument("--processed", type=Path, required=True, help="output of preprocess.py --ocr")
    parser.add_argument("--out", type=Path, required=True, help="prediction file to write")
    parser.add_argument("--strict", action="store_true", help="exit with 1 after an unexpected error on a picture")
    args = parser.parse_args()
    table = read_test(args.data)
    samples, _ = test_samples(table, args.processed, read_files(args.data))
    answers, traces = answer_samples(samples, ReadingStore(args.processed))
    texts = {sample.row: by_rules.text for sample, by_rules in zip(samples, answers, strict=True)}
    predictions = pd.DataFrame({"index": table["index"], "prediction": table["index"].map(texts).fillna("")})
    write_whole(args.out, predictions.to_csv(index=False))
    print(f"{args.out}: {len(predictions)} rows, {predictions['prediction'].ne('').sum()} with an answer")
    if traces:
        print(f"rules: {len(traces)} pictures have no answer for an unexpected error, the first:\n{traces[0]}",
              file=sys.stderr)  # fmt: skip
    return 1 if args.strict and traces else 0


if __name__ == "__main__":
    run_main(main)
