"""Tables in: train.csv, test.csv and other CSV files, all cells as text. Needs neither pictures nor a model."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from src.data.errors import InputError
from src.data.folders import DataFolder

TRAIN_COLUMNS = ("image_link", "group_id", "entity_name", "entity_value")
TEST_COLUMNS = ("index", "image_link", "group_id", "entity_name")


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV with at least ``columns``, all cells as text, empty cells as empty text. Raises `InputError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; a data folder needs this file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: is empty; it needs the header {','.join(columns)} and rows") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeError, ValueError) as error:
        reason = str(error).splitlines()[0].removeprefix("Error tokenizing data. C error: ")
        raise InputError(f"{path}: is not a readable UTF-8 CSV file ({reason})") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(f"{path}: has no column {', '.join(missing)}; it needs {','.join(columns)}")
    return table


def read_train(data: Path) -> pd.DataFrame:
    """Read ``data/train.csv`` (`TRAIN_COLUMNS`, text); `InputError` when it cannot be used."""
    path = DataFolder(data).train
    table = read_table(path, TRAIN_COLUMNS)
    if table.empty:
        raise InputError(f"{path}: has a header but no rows; training needs labelled rows")
    return table


def read_test(data: Path) -> pd.DataFrame:
    """Read ``data/test.csv`` (`TEST_COLUMNS`; ``index`` int64, the rest text); `InputError` when it cannot be used."""
    return read_test_file(DataFolder(data).test)


def read_test_file(path: Path) -> pd.DataFrame:
    """Like `read_test`, for a file of any name."""
    table = read_table(path, TEST_COLUMNS)
    if table.empty:
        raise InputError(f"{path}: has a header but no rows; there is nothing to predict")
    table["index"] = integer_column(table["index"], path)
    return table


def integer_column(column: pd.Series, path: Path) -> pd.Series:
    """``column`` as int64; `InputError` naming the line of the first value that is no whole number or occurs twice."""
    bad = ~column.str.fullmatch(r"[0-9]{1,18}")
    if bad.any():
        at = int(bad.to_numpy().argmax())
        raise InputError(f"{path}, line {at + 2}: {column.name} {column.iloc[at]!r} is not a whole number")
    numbers = column.astype("int64")
    if numbers.duplicated().any():
        at = int(numbers.duplicated().to_numpy().argmax())
        raise InputError(f"{path}, line {at + 2}: {column.name} {numbers.iloc[at]} occurs twice")
    return numbers
