"""Tables in: train.csv, test.csv and other CSV files, all cells as text. Needs neither pictures nor a model.

Tables are read as spreadsheets write them: commas, semicolons or tabs; UTF-8 or UTF-16; blanks after the
commas.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pandas as pd

from src.data.errors import InputError
from src.data.folders import DataFolder

TRAIN_COLUMNS = ("image_link", "group_id", "entity_name", "entity_value")
TEST_COLUMNS = ("index", "image_link", "group_id", "entity_name")
_DELIMITERS = ",;\t|"
_EMPTY = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "null", "none"})
"""How pandas, R and spreadsheets write an empty cell."""


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV with at least ``columns``, all cells as text, empty cells as empty text. Raises
    `InputError`.

    In columns of those names: links, groups and indices stripped, entities stripped and in lower case, ``NA``
    and the like as an empty value or group, a group ``7.0`` as ``7``. Cells of other columns stay as they
    are.
    """
    text = _text(path)
    delimiter = _delimiter(text, columns)
    records = _records(path, text, delimiter)
    _, header = next(records, (0, []))
    if not header:
        raise InputError(f"{path}: is empty; it needs the header {','.join(columns)} and rows")
    names = _names(path, header, columns)
    width = len(names)
    rows = [cells if len(cells) == width else _fitted(path, line, cells, width) for line, cells in records]
    table = pd.DataFrame(rows, columns=names, dtype=str)
    for name in {"index", "image_link", "group_id", "entity_name", "entity_value"}.intersection(names):
        table[name] = table[name].str.strip()
    if "entity_name" in table:
        table["entity_name"] = table["entity_name"].str.lower()
    if "group_id" in table:  # tables that were joined have numbers with a point
        table["group_id"] = table["group_id"].str.replace(r"(?<=[0-9])\.0*$", "", regex=True)
    for name in {"entity_value", "gold", "group_id"}.intersection(names):
        table[name] = table[name].mask(table[name].str.lower().isin(_EMPTY), "")
    return table


def _text(path: Path) -> str:
    """The text of a file; a line that names the delimiter (``sep=;``, for spreadsheets) is left out."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: not found; a data folder needs this file") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from None
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        line = data.count(b"\n", 0, start) + 1
        raise InputError(
            f"{path}, line {line}: is not a readable UTF-8 CSV file ({error.__class__.__name__} at byte {start}); "
            "save it as 'CSV UTF-8'"
        ) from None
    return re.sub(r'\A"?sep=.?"?\r?\n', "\n", text, count=1)


def _delimiter(text: str, columns: Sequence[str]) -> str:
    """The sign between the cells: with which the first line has most of ``columns``, or else a comma."""
    first = text.lstrip("\r\n").partition("\n")[0]

    def found(delimiter: str) -> int:
        return len({cell.strip(' "\r').lower() for cell in first.split(delimiter)}.intersection(columns))

    return max(_DELIMITERS, key=found)


def _records(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which it starts, cells) of each record that is not blank. Raises `InputError`."""
    blanks = (
        f"{delimiter} " in text.lstrip("\r\n").partition("\n")[0]
    )  # as the header has them, quoted cells may, too
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=blanks, strict=True
    )
    line = 1
    try:
        for cells in reader:
            if any(cells):  # spreadsheets end with rows of nothing but delimiters
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}, line {line}: is not a readable CSV file ({error}); a cell with quotes needs them doubled, "
            "and quotes around it"
        ) from None


def _names(path: Path, header: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The names of the columns, stripped; of ``columns``, which all must be there once, in any case of
    letters."""
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


def _fitted(path: Path, line: int, cells: list[str], width: int) -> list[str]:
    """The cells of a record as many as the header has; what is over must be empty."""
    if len(cells) < width or any(cell.strip() for cell in cells[width:]):
        raise InputError(
            f"{path}, line {line}: has {len(cells)} cells where the header has {width}; write one for each column, and "
            "quotes around a cell with the delimiter in it"
        )
    return cells[:width]


def table_text(table: pd.DataFrame) -> str:
    """A table as CSV, all cells quoted where one has a carriage return: without quotes it would end its
    row."""
    text = table.to_csv(index=False, lineterminator="\n")
    return table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_ALL) if "\r" in text else text


def read_train(data: Path) -> pd.DataFrame:
    """Read ``data/train.csv`` (`TRAIN_COLUMNS`, text); `InputError` when it cannot be used."""
    path = DataFolder(data).train
    table = read_table(path, TRAIN_COLUMNS)
    if table.empty:
        raise InputError(f"{path}: has a header but no rows; training needs labelled rows")
    return table


def read_test(data: Path) -> pd.DataFrame:
    """Read ``data/test.csv`` (`TEST_COLUMNS`; ``index`` int64, the rest text); `InputError` when it cannot be
    used."""
    return read_test_file(DataFolder(data).test)


def read_test_file(path: Path) -> pd.DataFrame:
    """Like `read_test`, for a file of any name."""
    table = read_table(path, TEST_COLUMNS)
    if table.empty:
        raise InputError(f"{path}: has a header but no rows; there is nothing to predict")
    table["index"] = integer_column(table["index"], path)
    return table


def integer_column(column: pd.Series, path: Path) -> pd.Series:
    """Return a column of the table that `read_table` read from ``path`` as int64; ``7.0`` is a whole number,
    too.

    Raises `InputError` that names the line of the first value that is none, or that occurs twice.
    """
    bad = ~column.str.fullmatch(r"[0-9]{1,18}(?:\.0*)?")
    if bad.any():
        at = int(bad.to_numpy().argmax())
        where = f"{path}, line {_line(path, str(column.name), at)}"
        raise InputError(
            f"{where}: {column.name} {column.iloc[at]!r} is not a whole number; give each row its own"
        )
    numbers = column.str.partition(".")[0].astype("int64")
    if numbers.duplicated().any():
        at = int(numbers.duplicated().to_numpy().argmax())
        where = f"{path}, line {_line(path, str(column.name), at)}"
        raise InputError(f"{where}: {column.name} {numbers.iloc[at]} occurs twice; give each row its own")
    return numbers


def _line(path: Path, name: str, row: int) -> int:
    """Return the line of the file on which a row of its table starts; reads the file again, for a message
    only."""
    text = _text(path)
    records = _records(path, text, _delimiter(text, [name]))
    return next(line for line, _ in islice(records, row + 1, None))  # the first record is the header
