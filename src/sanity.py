"""Decide whether a prediction file counts: the organisers' format rules, and the ones their checker misses.

    python src/sanity.py --file OUT.csv [--test TEST.csv]      (or: python -m src.sanity ...)

Exit code 0: the file is valid. 1: it is not; each fault is listed with row and reason (the first 20, then a
count). 2: a file cannot be read at all.
"""

import argparse
import csv
import re
import sys
from pathlib import Path

if not __package__:  # run as a script: make the repository root importable, not src/
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from src.data.errors import InputError, run_main
from src.data.tables import read_test_file
from src.entities import ALLOWED_UNITS, ENTITY_UNITS

_SHOWN = 20
_HEADER = ["index", "prediction"]
# The organisers' pattern, spelled in ASCII; sign and exponent are matched to say what is wrong with them.
_PREDICTION = re.compile(
    r"(?P<sign>[-+]?)(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<exponent>[eE][-+]?[0-9]+)?\s+(?P<unit>[a-zA-Z\s]+)"
)


def prediction_fault(prediction: str, entity: str | None = None) -> str:
    """What is wrong with one prediction; the empty text when it is valid. ``entity`` None: any allowed unit
    will do."""
    text = prediction.strip()
    if not text:
        return ""
    match = _PREDICTION.fullmatch(text)
    if match is None:
        return f"{text!r} is not 'number unit' (as '12.5 centimetre')"
    if match["sign"]:
        return f"{text!r} has a {'negative' if match['sign'] == '-' else 'signed'} number"
    if match["exponent"]:
        return f"{text!r} has a number in e-notation; write its digits"
    unit = match["unit"]
    if unit not in ALLOWED_UNITS:
        return f"unit {unit!r} is not allowed"
    if entity is not None and unit not in ENTITY_UNITS.get(entity, ()):
        return f"unit {unit!r} does not fit {entity!r}"
    return ""


def check(file: Path, test: Path | None = None) -> list[str]:
    """All faults of the prediction file ``file``, one sentence each; an empty list when it is valid.

    With the ``test`` file, units must fit each row's entity and the indices must be exactly the test file's.
    Raises `InputError` when a file cannot be read.
    """
    entities = None
    if test is not None:
        table = read_test_file(test)
        entities = dict(zip(table["index"].tolist(), table["entity_name"], strict=True))
    lines = _read(file)
    if not lines:
        return ["the file is empty; it needs the header index,prediction"]
    (_, header), *rows = lines
    if header != _HEADER:
        return [f"row 1: the header is {','.join(header)!r}, not 'index,prediction'"]
    faults: list[str] = []
    seen: dict[int, int] = {}
    for line, cells in rows:
        if len(cells) != 2:
            faults.append(f"row {line}: {len(cells)} columns instead of 2")
        if re.fullmatch(r"[0-9]{1,18}", cells[0].strip()) is None:
            faults.append(f"row {line}: index {cells[0]!r} is not a whole number")
            continue
        index = int(cells[0])
        where = f"row {line} (index {index})"
        if index in seen:
            faults.append(f"{where}: duplicate index, first in row {seen[index]}")
        elif entities is not None and index not in entities:
            faults.append(f"{where}: extra index, the test file does not have it")
        seen.setdefault(index, line)
        entity = None if entities is None else entities.get(index)
        # An entity nobody knows has no units: only the empty prediction fits it.
        if fault := prediction_fault(cells[1] if len(cells) > 1 else "", entity):
            faults.append(f"{where}: {fault}")
    if entities is not None:
        faults += [f"index {index}: missing, the test file has it" for index in entities if index not in seen]
    elif not rows:
        faults.append("the file has a header but no rows")
    return faults


def _read(file: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of each non-blank row. Raises `InputError`."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            return [(reader.line_num, cells) for cells in reader if cells]
    except FileNotFoundError:
        raise InputError(f"{file}: not found") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    except (csv.Error, UnicodeError) as error:
        raise InputError(f"{file}: is not a readable UTF-8 CSV file ({error})") from None


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Check a prediction file: exit 0 when it is valid, 1 when it is not."
    )
    parser.add_argument("--file", type=Path, required=True, help="the prediction file, index,prediction")
    parser.add_argument(
        "--test", type=Path, help="the test file it answers: checks indices and units per entity, too"
    )
    args = parser.parse_args()
    faults = check(args.file, args.test)
    for fault in faults[:_SHOWN]:
        print(f"{args.file}: {fault}")
    if len(faults) > _SHOWN:
        print(f"... and {len(faults) - _SHOWN} more")
    if faults:
        print(f"FAIL: {args.file} has {len(faults)} fault{'s' if len(faults) > 1 else ''}")
        return 1
    note = "" if args.test else " (indices and units per entity not checked: give --test)"
    print(f"PASS: {args.file} is valid{note}")
    return 0


if __name__ == "__main__":
    run_main(main)
