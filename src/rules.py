"""Answer test.csv by rules alone, without any model (see `reading.choose`).

python -m src.rules --data data/sample --processed outputs/processed --out outputs/rules_out.csv
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from src.data.errors import run_main
from src.data.files import write_whole
from src.data.names import read_files
from src.data.readings import ReadingStore
from src.data.samples import Sample, by_picture, test_samples
from src.data.tables import read_test
from src.reading.choose import Answer, answer, layout_for


def answer_samples(samples: Sequence[Sample], texts: ReadingStore) -> list[Answer]:
    """`answer` for each sample; a picture is looked at once for all of its questions."""
    made: dict[int, Answer] = {}
    bar = tqdm(total=len(samples), desc="rules", unit="row", smoothing=0.05)
    for group in by_picture(samples):
        first = samples[group[0]]
        found = texts[first.image]
        drawn = layout_for(first.picture, found, [samples[place].entity for place in group])
        made |= {place: answer(found, samples[place].entity, drawn) for place in group}
        bar.update(len(group))
    bar.close()
    return [made[place] for place in range(len(samples))]


def main() -> int:
    """Command line: answer test.csv."""
    parser = argparse.ArgumentParser(description="Answer test.csv by rules.")
    parser.add_argument("--data", type=Path, required=True, help="data folder with test.csv")
    parser.add_argument("--processed", type=Path, required=True, help="output of preprocess.py --ocr")
    parser.add_argument("--out", type=Path, required=True, help="prediction file to write")
    args = parser.parse_args()
    table = read_test(args.data)
    samples, _ = test_samples(table, args.processed, read_files(args.data))
    answers = {
        s.row: a.text for s, a in zip(samples, answer_samples(samples, ReadingStore(args.processed)), strict=True)
    }
    predictions = pd.DataFrame({"index": table["index"], "prediction": table["index"].map(answers).fillna("")})
    write_whole(args.out, predictions.to_csv(index=False))
    print(f"{args.out}: {len(predictions)} rows, {predictions['prediction'].ne('').sum()} with an answer")
    return 0


if __name__ == "__main__":
    run_main(main)
