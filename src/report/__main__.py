"""A page to look at answers: OUT/report.html, one file, no server, no network.

    python -m src.report --out outputs [--data data/sample] [--rows 500] [--train]

Shows all wrong answers where the truth is known, the least sure, and some of the rest, at most ``--rows`` of
them.
"""

import argparse
from pathlib import Path

from src.data.errors import run_main
from src.report.page import ROWS, write_report


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description="Write OUT/report.html: every answer with its picture and reasons."
    )
    parser.add_argument("--out", type=Path, default=Path("outputs"), help="run folder (default: %(default)s)")
    parser.add_argument(
        "--data", type=Path, help="its data folder; default: the one that make run noted in OUT"
    )
    parser.add_argument("--rows", type=int, default=ROWS, help="at most so many (default: %(default)s)")
    parser.add_argument(
        "--train", action="store_true", help="also train rows: label, audit's verdict, held-out answer"
    )
    args = parser.parse_args()
    print(write_report(args.out, args.data, args.rows, args.train))
    return 0


if __name__ == "__main__":
    run_main(main)
