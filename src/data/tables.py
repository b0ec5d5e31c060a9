"""Tables: train.csv, test.csv and other CSV files, read with all cells as text.

They are read as spreadsheets write them: commas, semicolons, tabs or bars; UTF-8 or UTF-16; blanks after the
commas; ``sep=;`` on the first line; rows of delimiters at the end. Neither images nor a model are needed.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from src.data.errors import InputError
from src.data.folders import DataFolder

TRAIN_COLUMNS = ("image_link", "group_id", "entity_name", "entity_value")
TEST_COLUMNS = ("index", "image_link", "group_id", "entity_name")
_STRIPPED = (*TEST_COLUMNS, "entity_value")
_EMPTY_AS_NA = ("entity_value", "gold", "group_id")
_NA = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "null", "none"})
"""Empty cells as pandas, R and spreadsheets write them."""


def read_table(path: Path, columns: Sequence[str], numbers: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file with at least ``columns``; all cells are text, empty cells empty text.

    Links, groups and indices are stripped, entities also in lower case; ``NA`` and the like is an empty value
    or group, a group ``7.0`` is ``7``. Other columns stay as they are. The columns ``numbers`` become int64
    (``7.0`` is a whole number, too). Raises `InputError` for a file that is no such table, and for numbers
    that are not whole or occur twice.
    """
    text = _decoded(path)
    delimiter = _delimiter(text, columns)
    records = _records(path, text, delimiter)
    _, header = next(records, (0, []))
    if not header:
        raise InputError(f"{path}: is empty; it needs the header {','.join(columns)} and rows")
    names = _names(path, header, columns)
    lines, rows = [], []
    for line, cells in records:
        if len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
            fault = f"has {len(cells)} cells where the header has {len(names)}"
            advice = "write one for each column, and quotes around a cell with the delimiter in it"
            raise InputError(f"{path}, line {line}: {fault}; {advice}")
        lines.append(line)
        rows.append(cells[: len(names)])
    table = pd.DataFrame(rows, columns=names, dtype=str)
    for name in set(_STRIPPED).intersection(names):
        table[name] = table[name].str.strip()
    if "entity_name" in table:
        table["entity_name"] = table["entity_name"].str.lower()
    if "group_id" in table:  # a join with pandas turns 7 into 7.0
        table["group_id"] = table["group_id"].str.replace(r"(?<=[0-9])\.0*$", "", regex=True)
    for name in set(_EMPTY_AS_NA).intersection(names):
        table[name] = table[name].mask(table[name].str.lower().isin(_NA), "")
    for name in numbers:
        table[name] = _whole_numbers(path, table[name], lines)
    return table


def _decoded(path: Path) -> str:
    """Return the text of a file without a line that names the delimiter for spreadsheets (``sep=;``)."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: not found; a data folder needs this file") from None
    except OSError as error:
        advice = "check the path and its permissions"
        raise InputError(f"{path}: cannot be read ({error.strerror}); {advice}") from None
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        place = f"{path}, line {1 + data.count(10, 0, start)}"  # 10: a newline
        fault = f"is not a readable UTF-8 CSV file ({type(error).__name__} at byte {start})"
        raise InputError(f"{place}: {fault}; save it as 'CSV UTF-8'") from None
    return re.sub(r'\A"?sep=.?"?\r?\n', "\n", text, count=1)


def _first_line(text: str) -> str:
    return text.lstrip("\r\n").partition("\n")[0]


def _delimiter(text: str, columns: Sequence[str]) -> str:
    """Return the delimiter with which the first line has most of ``columns``; a comma if none has more.

    `csv.Sniffer` fails on a header of one column, and takes letters for delimiters.
    """

    def wanted_columns(delimiter: str) -> int:
        names = {cell.strip(' "\r').lower() for cell in _first_line(text).split(delimiter)}
        return len(names.intersection(columns))

    return max(",;\t|", key=wanted_columns)


def _records(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not blank as (line on which it starts, cells). Raises `InputError`."""
    # A blank between delimiter and quote would end the quoting; the header shows whether the file has such.
    has_blanks = f"{delimiter} " in _first_line(text)
    stream = io.StringIO(text, newline="")
    reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=has_blanks, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cells):  # spreadsheets end with rows of nothing but delimiters
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        advice = "a cell with quotes needs them doubled, and quotes around it"
        raise InputError(f"{path}, line {line}: is not a readable CSV file ({error}); {advice}") from None


def _names(path: Path, header: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return the column names, stripped; ``columns`` may have any case and must all be there once."""
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    names = [
        name.lower() if name.lower() in columns and name.lower() not in names else name for name in names
    ]
    missing = [column for column in columns if column not in names]
    if missing:
        raise InputError(f"{path}: has no column {', '.join(missing)}; it needs {','.join(columns)}")
    twice = next((name for name in columns if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: has the column {twice} twice; leave one of them out")
    return names


def _whole_numbers(path: Path, column: pd.Series, lines: Sequence[int]) -> pd.Series:
    """Return a column as int64; ``lines`` has each row's line of the file, for the messages."""
    wrong = ~column.str.fullmatch(r"[0-9]{1,18}(?:\.0*)?")
    numbers = column.mask(wrong, "0").str.replace(r"\..*", "", regex=True).astype("int64")
    for is_fault, values, fault in (
        (wrong, column, "is not a whole number"),
        (numbers.duplicated(), numbers, "occurs twice"),
    ):
        if is_fault.any():
            row = int(is_fault.to_numpy().argmax())
            place = f"{path}, line {lines[row]}: {column.name} {values.tolist()[row]!r}"
            raise InputError(f"{place} {fault}; give each row its own")
    return numbers


def table_text(table: pd.DataFrame) -> str:
    """Return a table as CSV; all cells are quoted if one has a carriage return, which would end its row."""
    text = table.to_csv(index=False, lineterminator="\n")
    return table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_ALL) if "\r" in text else text


def read_train(data: Path) -> pd.DataFrame:
    """Read ``data/train.csv`` (`TRAIN_COLUMNS`, text). Raises `InputError`, also without rows."""
    path = DataFolder(data).train
    table = read_table(path, TRAIN_COLUMNS)
    if table.empty:
        raise InputError(f"{path}: has a header but no rows; training needs labelled rows")
    return table


def read_test(data: Path) -> pd.DataFrame:
    """Read ``data/test.csv`` as `read_test_file` does."""
    return read_test_file(DataFolder(data).test)


def read_test_file(path: Path) -> pd.DataFrame:
    """Read a test table (`TEST_COLUMNS`, ``index`` as int64). Raises `InputError`, also without rows."""
    table = read_table(path, TEST_COLUMNS, numbers=["index"])
    if table.empty:
        raise InputError(f"{path}: has a header but no rows; there is nothing to predict")
    return table
