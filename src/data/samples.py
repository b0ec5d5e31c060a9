"""Samples: the rows of a table joined with their processed pictures, grouped and split by picture."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.data.folders import ProcessedFolder
from src.data.labels import USABLE_REASONS, normalise_label
from src.data.names import picture_names, processed_name
from src.data.processed import Pictures, read_manifest
from src.entities import ENTITY_UNITS

BROKEN = "broken picture"
"""Why a sample whose processed picture cannot be read has no answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One question about one picture."""

    row: int  # test: the row's index; train: its position in the table, from 0
    image: str  # name of the source picture
    picture: Path  # the processed picture
    entity: str
    answer: str = ""  # canonical; empty: not visible (train) or not known (test)
    group: str = ""  # train: the group_id, products of a kind


class _Unusable:
    """Why questions cannot be asked, for the pictures of one folder."""

    def __init__(self, processed: Path, pictures: Pictures) -> None:
        self._pictures = pictures
        is_made = ProcessedFolder(processed).is_made
        table = read_manifest(processed, ["image", "status"]) if is_made else pd.DataFrame()
        self._blank = (
            frozenset(table.loc[table["status"].eq("blank"), "image"]) if len(table) else frozenset()
        )

    def __call__(self, image: str, entity: str) -> str:
        """``blank link``, ``unknown entity``, ``blank picture`` (of one colour), ``no picture``; empty when
        it can."""
        if not image:
            return "blank link"
        if entity not in ENTITY_UNITS:
            return "unknown entity"
        if image in self._blank:
            return "blank picture"
        return "" if self._pictures.of(image) else "no picture"


def train_samples(
    table: pd.DataFrame, processed: Path, files: Mapping[str, str]
) -> tuple[list[Sample], Counter[str]]:
    """Samples of all usable rows of a `read_train` table, or of some of its rows, and the count of rows per
    reason.

    Reasons are those of `quantity.normalise_label` (the unusable ones are left out) and of `_Unusable`.
    """
    samples: list[Sample] = []
    reasons: Counter[str] = Counter()
    pictures = Pictures(processed)
    unusable = _Unusable(processed, pictures)
    names = picture_names(table["image_link"], files)
    columns = (names, table["entity_name"], table["entity_value"], table["group_id"])
    for row, image, entity, value, group in zip(table.index, *columns, strict=True):
        answer, reason = normalise_label(value, entity)
        reason = unusable(image, entity) or reason
        reasons[reason] += 1
        if reason in USABLE_REASONS:
            samples.append(
                Sample(int(row), image, pictures.path(processed_name(image)), entity, answer, group)
            )
    return samples, reasons


def test_samples(
    table: pd.DataFrame, processed: Path, files: Mapping[str, str]
) -> tuple[list[Sample], dict[int, str]]:
    """Samples of all answerable rows of a `read_test` table, and index -> reason for the others (see
    `_Unusable`)."""
    samples, refused, pictures = [], {}, Pictures(processed)
    unusable = _Unusable(processed, pictures)
    columns = (table["index"], picture_names(table["image_link"], files), table["entity_name"])
    for index, image, entity in zip(*columns, strict=True):
        reason = unusable(image, entity)
        if reason:
            refused[int(index)] = reason
        else:
            samples.append(Sample(int(index), image, pictures.path(processed_name(image)), entity))
    return samples, refused


def by_picture(samples: Sequence[Sample]) -> list[list[int]]:
    """Positions in ``samples`` of each picture's questions, in the order of the first ones."""
    groups: dict[Path, list[int]] = {}
    for position, sample in enumerate(samples):
        groups.setdefault(sample.picture, []).append(position)
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
