"""Is text as legible in our small images as in the reference loop's? Reads both with OCR.

    python -m benchmarks.legibility --data path/to/data/folder

For images of train.csv that are larger than 600 px: the share in which the number of the official label is
found in the text of the enhanced image, and the characters read per image; apart for those that
`images.decode` reduces.
"""

import argparse
import re
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.preprocess import reference
from src.data.errors import run_main
from src.data.names import image_name
from src.data.tables import read_train
from src.images.decode import cv2, decode, read_image, shown_size
from src.images.enhance import enhance
from src.ocr.engine import read
from src.prepare.processes import JPEG_QUALITY
from src.settings import EnhanceSettings


def number_of(label: str) -> str:
    """The first number of a label as it would be printed (``12.0 gram``: ``12``)."""
    return f"{float(re.findall(r'[0-9.]+', label)[0]):g}"


def is_in(number: str, text: str) -> bool:
    """Whether a text has the number by itself, not as part of a longer one."""
    return re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", text) is not None


def main() -> int:
    """Command line; prints a table."""
    parser = argparse.ArgumentParser(description="Legibility of enhanced images.")
    parser.add_argument("--data", type=Path, required=True, help="data folder with train.csv and images")
    data = parser.parse_args().data
    cv2.setNumThreads(1)
    settings, seen, found = EnhanceSettings(), set(), defaultdict(list)
    table = read_train(data)
    rows = list(zip(map(image_name, table["image_link"]), table["entity_value"], strict=True))
    with tempfile.TemporaryDirectory() as folder:
        for image, label in tqdm(rows, desc="read", unit="img"):
            path = data / "images" / image
            size = shown_size(path.read_bytes()) if path.is_file() and label and image not in seen else (0, 0)
            seen.add(image)
            if max(size) <= settings.max_size:
                continue
            targets = {name: Path(folder) / f"{name}.jpg" for name in ("ours", "reference")}
            reference((str(path), str(targets["reference"])))
            ours = enhance(decode(path.read_bytes(), enough=settings.max_size), settings, size)
            cv2.imwrite(str(targets["ours"]), ours, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            for name, target in targets.items():
                text = " ".join(line[0] for line in read(read_image(target)))
                reduced = "reduced" if max(size) >= 2 * settings.max_size else "only resized"
                found[reduced, name].append((is_in(number_of(label), text), len(text)))
    for (reduced, name), values in sorted(found.items()):
        share, characters = np.mean(values, axis=0)
        print(
            f"{reduced:13} {name:10} {len(values):4} images: "
            f"label found in {share:.3f}, {characters:.1f} characters"
        )
    return 0


if __name__ == "__main__":
    run_main(main)
