"""A data folder of rendered product pictures with known values, like the bundled sample.

    python -m src.bundled.synthetic --out my/sample --seed 0

Draws the scenes of `scenes` at 1000 px. The committed ``data/sample`` is of an earlier generator (commit
3224257).
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from src.bundled.scene import SIDE, draw
from src.bundled.scenes import make_scene, question
from src.data.errors import InputError, run_main
from src.data.labels import normalise_label
from src.images.decode import cv2  # imported there with its size limit set


def write_data_folder(out: Path, train_rows: int, test_rows: int, seed: int) -> None:
    """Write a data folder (``images/``, ``train.csv``, ``test.csv``, ``test_truth.csv``), whole or not at
    all."""
    if out.exists():
        raise InputError(f"{out}: exists already; remove it first, or give another --out")
    beside = out.with_name(out.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    (beside / "images").mkdir(parents=True)
    train = _rows(beside / "images", "train", train_rows, 0.12, 0.12, np.random.default_rng([seed, 0]))
    test = _rows(beside / "images", "test", test_rows, 0.45, 0.17, np.random.default_rng([seed, 1]))
    train.to_csv(beside / "train.csv", index=False)
    gaps = np.random.default_rng([seed, 2]).integers(1, 4, len(test))
    test.insert(0, "index", gaps.cumsum() - 1)  # the official indices have gaps, too
    truth = [normalise_label(v, e)[0] for v, e in zip(test["entity_value"], test["entity_name"], strict=True)]
    test[["index", "entity_name"]].assign(entity_value=truth).to_csv(beside / "test_truth.csv", index=False)
    test.drop(columns="entity_value").to_csv(beside / "test.csv", index=False)
    beside.replace(out)


def _rows(
    images: Path, split: str, count: int, more: float, empty_share: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Render pictures into ``images`` until there are ``count`` questions; ``more``: chance of one more per
    picture."""
    rows: list[tuple[str, int, str, str]] = []
    while len(rows) < count:
        scene, name = make_scene(rng, missed=0.0), f"{split}-{len(rows):04d}.jpg"
        asked: frozenset[str] = frozenset()
        _, data = cv2.imencode(".jpg", draw(scene, rng, SIDE), [cv2.IMWRITE_JPEG_QUALITY, 76])
        (images / name).write_bytes(data.tobytes())
        group = int(rng.integers(100_000, 999_999))
        while len(rows) < count and (not asked or rng.random() < more):
            entity, value = question(scene, rng, empty_share, asked)
            asked |= {entity}
            rows.append((f"https://example.com/images/{name}", group, entity, value))
    return pd.DataFrame(rows, columns=["image_link", "group_id", "entity_name", "entity_value"])


def main() -> int:
    """Command line: write a data folder."""
    parser = argparse.ArgumentParser(
        description="Render a data folder of product pictures with known values."
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--train", type=int, default=144, help="train rows")
    parser.add_argument("--test", type=int, default=60, help="test rows")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write_data_folder(args.out, args.train, args.test, args.seed)
    print(f"{args.out}: {args.train} train rows, {args.test} test rows")
    return 0


if __name__ == "__main__":
    run_main(main)
