"""Make the pictures of a data folder ready for the model; with --ocr also read their text at full resolution.

    python preprocess.py --data data/sample --out outputs/processed --ocr
    python preprocess.py --data my/folder --out my/results/processed --download

Resize to at most 600 px on the long side, CLAHE, unsharp mask; one JPEG per picture, manifest.csv, text.jsonl. Sources
are not touched, and what is done already is not done again. Exit code 2: the data folder cannot be used; 1: with
--strict, a picture is missing or failed.
"""

import argparse
import os
from pathlib import Path

from src.errors import run_main
from src.images import MAX_PIXELS, EnhanceSettings


def main() -> int:
    """Command line; returns the exit code."""
    defaults = EnhanceSettings()
    parser = argparse.ArgumentParser(description="Resize and enhance the pictures of a data folder.")
    parser.add_argument("--data", type=Path, default=Path("data/sample"), help="data folder (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("outputs/processed"), help="default: %(default)s")
    parser.add_argument(
        "--max-size", type=_positive, default=defaults.max_size, help="long side in px (default: %(default)s)"
    )
    parser.add_argument("--clip-limit", type=float, default=defaults.clip_limit, help="of CLAHE (default: %(default)s)")
    parser.add_argument(
        "--workers", type=_positive, default=os.cpu_count() or 1, help="processes (default: one per core)"
    )
    parser.add_argument("--ocr", action="store_true", help="also read the text of each picture into text.jsonl")
    parser.add_argument(
        "--max-pixels", type=_positive, default=MAX_PIXELS, help="of one picture (default: %(default)s)"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a picture is missing or failed")
    parser.add_argument("--download", action="store_true", help="first fetch the pictures that images/ lacks")
    parser.add_argument("--retry-failed", action="store_true", help="with --download: also those that failed before")
    args = parser.parse_args()
    if args.download:
        from src.download import DownloadSettings, download  # its HTTP library is loaded only where it is needed

        download(args.data, DownloadSettings(), args.retry_failed)
    from src.preprocessing import PreprocessSettings, preprocess  # not at the top: every worker imports this file

    enhance = EnhanceSettings(max_size=args.max_size, clip_limit=args.clip_limit)
    manifest = preprocess(PreprocessSettings(args.data, args.out, enhance, args.ocr, args.workers, args.max_pixels))
    return 1 if args.strict and manifest["status"].ne("ok").any() else 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


if __name__ == "__main__":
    run_main(main)
