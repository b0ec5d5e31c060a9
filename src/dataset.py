"""Tables in, samples out: read train.csv and test.csv, join them with processed pictures, split by picture."""

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.constants import ENTITY_UNITS
from src.errors import InputError
from src.images import letterboxed
from src.quantity import USABLE_REASONS, normalise_label

TRAIN_COLUMNS = ("image_link", "group_id", "entity_name", "entity_value")
TEST_COLUMNS = ("index", "image_link", "group_id", "entity_name")

DOWNLOADS = "downloads.csv"
LONGEST_NAME = 200  # bytes; file systems allow 255, and a name gets a few more on the way


@dataclass(frozen=True, slots=True)
class Sample:
    """One question about one picture."""

    row: int  # test: the row's index; train: its position in the table, from 0
    image: str  # name of the source picture
    picture: Path  # the processed picture
    entity: str
    answer: str = ""  # canonical; empty: not visible (train) or not known (test)


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
    table = read_table(data / "train.csv", TRAIN_COLUMNS)
    if table.empty:
        raise InputError(f"{data / 'train.csv'}: has a header but no rows; training needs labelled rows")
    return table


def read_test(data: Path) -> pd.DataFrame:
    """Read ``data/test.csv`` (`TEST_COLUMNS`; ``index`` int64, the rest text); `InputError` when it cannot be used."""
    return read_test_file(data / "test.csv")


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


def image_name(link: str) -> str:
    """The image's file name: the last path part of its link; empty for a blank link or one without a name.

    Safe as a file name: no control characters or backslashes, and a name of more than `LONGEST_NAME` bytes is cut, with
    a piece of its hash instead.
    """
    # By hand: urlsplit raises for some broken links, and one of them must not stop a run.
    path = re.split(r"[?#]", re.sub(r"^[a-zA-Z][\w+.-]*://[^/?#]*", "", link.strip()))[0]
    name = re.sub(r"[\x00-\x1f\x7f\\]", "_", path.rsplit("/", 1)[-1])
    if len(name.encode()) > LONGEST_NAME:
        name = with_hash(name[: LONGEST_NAME // 8] + Path(name).suffix[:8], name)
    return "" if name in (".", "..") else name


def with_hash(name: str, text: str) -> str:
    """``name`` with the first ten hex digits of the SHA-256 of ``text`` before its suffix."""
    path = Path(name)
    return f"{path.stem}-{hashlib.sha256(text.encode()).hexdigest()[:10]}{path.suffix}"


def read_links(data: Path) -> list[str]:
    """The links of ``train.csv`` and ``test.csv`` (those there are) in their order, each once, without blank ones."""
    links: dict[str, None] = {}
    for name, columns in (("train.csv", TRAIN_COLUMNS), ("test.csv", TEST_COLUMNS)):
        if (data / name).exists():
            links |= dict.fromkeys(read_table(data / name, columns)["image_link"])
    return [link for link in links if image_name(link)]


def read_files(data: Path) -> dict[str, str]:
    """Link -> file in ``images/``, of what was downloaded (see `download`); other links are named by `image_name`."""
    path = data / DOWNLOADS
    if not path.is_file():
        return {}
    table = read_table(path, ["link", "file"])
    return dict(zip(table["link"], table["file"], strict=True))


def processed_name(image: str) -> str:
    """File name of the processed picture of ``image``: the same for ``.jpg``, else with ``.jpg`` appended."""
    return image if image.endswith(".jpg") else f"{image}.jpg"


def unusable(image: str, entity: str, processed: Path) -> str:
    """Why a question cannot be asked: ``blank link``, ``unknown entity``, ``no picture``; empty when it can."""
    if not image:
        return "blank link"
    if entity not in ENTITY_UNITS:
        return "unknown entity"
    return "" if (processed / processed_name(image)).is_file() else "no picture"


def picture_names(links: Iterable[str], files: Mapping[str, str]) -> list[str]:
    """The image of each link: its file of `read_files`, else `image_name`."""
    return [files.get(link) or image_name(link) for link in links]


def train_samples(table: pd.DataFrame, processed: Path, files: Mapping[str, str]) -> tuple[list[Sample], Counter[str]]:
    """Samples of all usable rows of a `read_train` table, and the count of rows per reason.

    Reasons are those of `quantity.normalise_label` (the unusable ones are left out) and of `unusable`.
    """
    samples, reasons = [], Counter()
    columns = (picture_names(table["image_link"], files), table["entity_name"], table["entity_value"])
    for row, (image, entity, value) in enumerate(zip(*columns, strict=True)):
        answer, reason = normalise_label(value, entity)
        reason = unusable(image, entity, processed) or reason
        reasons[reason] += 1
        if reason in USABLE_REASONS:
            samples.append(Sample(row, image, processed / processed_name(image), entity, answer))
    return samples, reasons


def test_samples(table: pd.DataFrame, processed: Path, files: Mapping[str, str]) -> tuple[list[Sample], dict[int, str]]:
    """Samples of all answerable rows of a `read_test` table, and index -> reason for the others (see `unusable`)."""
    samples, refused = [], {}
    columns = (table["index"], picture_names(table["image_link"], files), table["entity_name"])
    for index, image, entity in zip(*columns, strict=True):
        reason = unusable(image, entity, processed)
        if reason:
            refused[int(index)] = reason
        else:
            samples.append(Sample(int(index), image, processed / processed_name(image), entity))
    return samples, refused


def letterboxed_sizes(processed: Path) -> dict[str, tuple[int, int]]:
    """Height and width of each processed picture, by its file's name, as the model gets it (see `images.letterbox`)."""
    table = read_table(processed / "manifest.csv", ["file", "status", "width", "height"])
    table = table[table["status"].eq("ok")]
    sides = zip(table["height"], table["width"], strict=True)
    return {file: letterboxed(int(h), int(w)) for file, (h, w) in zip(table["file"], sides, strict=True)}


def by_picture(samples: Sequence[Sample]) -> list[list[int]]:
    """Places in ``samples`` of each picture's questions, in the order of the first ones."""
    groups: dict[Path, list[int]] = {}
    for place, sample in enumerate(samples):
        groups.setdefault(sample.picture, []).append(place)
    return list(groups.values())


def split_by_picture(samples: Sequence[Sample], share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split into (train, held out), about ``share`` of the pictures held out; no picture is on both sides.

    Order is kept. With two or more pictures each side gets at least one.
    """
    pictures = sorted({sample.picture for sample in samples})
    count = min(max(1, round(share * len(pictures))), len(pictures) - 1)
    chosen = np.random.default_rng(seed).permutation(len(pictures))[: max(0, count)]
    held = {pictures[i] for i in chosen}
    return [s for s in samples if s.picture not in held], [s for s in samples if s.picture in held]
