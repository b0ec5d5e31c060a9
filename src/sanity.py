"""The check of a prediction file: the organisers' format rules, and the ones that their checker misses.

    python src/sanity.py --predictions OUT.csv [--test TEST.csv]      (or: python -m src.sanity ...)

It is stricter than the organisers' checker, which prints errors but exits with 0, does not compare the unit
with the entity, accepts negative numbers (``-5 gram``) and duplicate indices, and only prints missing and
extra ones. Spellings such as ``feet`` and ``centimeter``, and ``nan``, are no allowed units and numbers.

Exit code 0: the file is valid. 1: it is not, and each fault is listed with row and reason (20 at most, then a
count). 2: a file cannot be read at all.
"""

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path

if not __package__:  # run as a script: make the repository root importable, not src/
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from src.data.errors import InputError, run_main
from src.data.flags import settings_from_command_line
from src.data.tables import read_test_file
from src.entities import units_of
from src.reading.units import ALLOWED_UNITS
from src.settings import SanitySettings

_SHOWN = 20
_HEADER = ["index", "prediction"]
# The organisers' pattern, spelled in ASCII; sign and exponent are matched to say what is wrong with them.
_PREDICTION = re.compile(
    r"(?P<sign>[-+]?)(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<exponent>[eE][-+]?[0-9]+)?\s+(?P<unit>[a-zA-Z\s-]+)"
)


def prediction_fault(prediction: str, entity: str | None = None) -> str:
    """Return what is wrong with a prediction, or empty text; ``entity`` None accepts any allowed unit."""
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
    if entity is not None and unit not in units_of(entity):
        return f"unit {unit!r} does not fit {entity!r}"
    return ""


def check(file: Path, test: Path | None = None) -> list[str]:
    """Return all faults of the prediction file ``file``, one sentence each; none when it is valid.

    With the ``test`` file, units must fit each row's entity and the indices must be exactly the test file's.
    Raises `InputError` when a file cannot be read.
    """
    entities: dict[int, str] | None = None
    if test is not None:
        table = read_test_file(test)
        entities = dict(zip(table["index"].tolist(), table["entity_name"], strict=True))
    lines = _read(file)
    if not lines:
        return ["the file is empty; it needs the header index,prediction"]
    (_, header), *rows = lines
    if header != _HEADER:
        return [f"row 1: the header is {','.join(header)!r}, not 'index,prediction'"]
    first_rows: dict[int, int] = {}
    faults = [fault for row, cells in rows for fault in _row_faults(row, cells, entities, first_rows)]
    if entities is not None:
        missing = [index for index in entities if index not in first_rows]
        faults += [f"index {index}: missing, the test file has it" for index in missing]
    elif not rows:
        faults.append("the file has a header but no rows")
    return faults


def _row_faults(
    row: int, cells: list[str], entities: dict[int, str] | None, first_rows: dict[int, int]
) -> Iterator[str]:
    """Yield the faults of a row; ``first_rows`` has each index's first row, and gets this one's."""
    if len(cells) != 2:
        yield f"row {row}: {len(cells)} columns instead of 2"
    if re.fullmatch(r"[0-9]{1,18}", cells[0].strip()) is None:
        yield f"row {row}: index {cells[0]!r} is not a whole number"
        return
    index = int(cells[0])
    place = f"row {row} (index {index})"
    if index in first_rows:
        yield f"{place}: duplicate index, first in row {first_rows[index]}"
    elif entities is not None and index not in entities:
        yield f"{place}: extra index, the test file does not have it"
    first_rows.setdefault(index, row)
    # An unknown entity has no units: only the empty prediction fits it.
    entity = None if entities is None else entities.get(index)
    if fault := prediction_fault(cells[1] if len(cells) > 1 else "", entity):
        yield f"{place}: {fault}"


def _read(file: Path) -> list[tuple[int, list[str]]]:
    """Return (line number, cells) of each row that is not blank. Raises `InputError`."""
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
    """Check the file that the command line names; return the exit code."""
    description = "Check a prediction file: exit 0 when it is valid, 1 when it is not."
    settings = settings_from_command_line(SanitySettings, description)
    file, faults = settings.predictions, check(settings.predictions, settings.test)
    for fault in faults[:_SHOWN]:
        print(f"{file}: {fault}")
    if len(faults) > _SHOWN:
        print(f"... and {len(faults) - _SHOWN} more")
    if faults:
        print(f"FAIL: {file} has {len(faults)} fault{'s' if len(faults) > 1 else ''}")
        return 1
    note = "" if settings.test else " (indices and units per entity not checked: give --test)"
    print(f"PASS: {file} is valid{note}")
    return 0


if __name__ == "__main__":
    run_main(main)
