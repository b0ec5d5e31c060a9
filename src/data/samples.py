"""Samples: the rows of a table joined with their model images, grouped and split by image."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.data.folders import ProcessedFolder
from src.data.labels import USABLE_REASONS, normalise_label
from src.data.names import picture_names
from src.data.processed import Pictures, read_manifest
from src.entities import ENTITY_UNITS

BROKEN = "broken picture"
"""Reason why a sample whose model image cannot be read has no answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One question about one image."""

    row: int  # test: the row's index; train: its position in the table, from 0
    image: str  # name of the source image
    picture: Path  # path of the model image
    entity: str
    answer: str = ""  # canonical label; empty: not visible (train) or not known (test)
    group: str = ""  # train: the group_id, products of a kind


def _images(
    table: pd.DataFrame, processed: Path, files: Mapping[str, str]
) -> Iterator[tuple[str, Path | None, str]]:
    """Yield name, model image and refusal of each row.

    The refusal says why the question cannot be asked: ``blank link``, ``unknown entity``, ``blank picture``
    (of one colour) or ``no picture``; it is empty if there is a model image.
    """
    pictures = Pictures(processed)
    blank: frozenset[str] = frozenset()
    if ProcessedFolder(processed).is_made:
        manifest = read_manifest(processed, ["image", "status"])
        blank = frozenset(manifest.loc[manifest["status"].eq("blank"), "image"])
    for image, entity in zip(picture_names(table["image_link"], files), table["entity_name"], strict=True):
        if not image:
            yield image, None, "blank link"
        elif entity not in ENTITY_UNITS:
            yield image, None, "unknown entity"
        elif image in blank:
            yield image, None, "blank picture"
        else:
            picture = pictures.of(image)
            yield image, picture, "" if picture else "no picture"


def train_samples(
    table: pd.DataFrame, processed: Path, files: Mapping[str, str]
) -> tuple[list[Sample], Counter[str]]:
    """Return the samples of all usable rows of a `read_train` table or a part of it, and rows per reason.

    Reasons are those of `labels.normalise_label` (rows whose reason is not usable are left out) and the
    refusals of `_images`.
    """
    samples: list[Sample] = []
    reasons: Counter[str] = Counter()
    columns = (
        table["entity_name"],
        table["entity_value"],
        table["group_id"],
        _images(table, processed, files),
    )
    for row, entity, value, group, (image, picture, refusal) in zip(table.index, *columns, strict=True):
        answer, reason = normalise_label(value, entity)
        reasons[refusal or reason] += 1
        if picture and reason in USABLE_REASONS:
            samples.append(Sample(int(row), image, picture, entity, answer, group))
    return samples, reasons


def test_samples(
    table: pd.DataFrame, processed: Path, files: Mapping[str, str]
) -> tuple[list[Sample], dict[int, str]]:
    """Return the samples of a `read_test` table, and index -> refusal for the rows without one."""
    samples: list[Sample] = []
    refusals: dict[int, str] = {}
    columns = (table["index"], table["entity_name"], _images(table, processed, files))
    for index, entity, (image, picture, refusal) in zip(*columns, strict=True):
        if picture:
            samples.append(Sample(int(index), image, picture, entity))
        else:
            refusals[int(index)] = refusal
    return samples, refusals


def by_picture(samples: Sequence[Sample]) -> list[list[int]]:
    """Return the positions of each image's questions in ``samples``, by the first of them."""
    groups: dict[Path, list[int]] = {}
    for position, sample in enumerate(samples):
        groups.setdefault(sample.picture, []).append(position)
    return list(groups.values())


def split_by_picture(samples: Sequence[Sample], share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split into (train, held out), about ``share`` of the images held out; no image is on both sides.

    Order is kept. With two or more images each side gets at least one.
    """
    pictures = sorted({sample.picture for sample in samples})
    count = min(max(1, round(share * len(pictures))), len(pictures) - 1)
    chosen = np.random.default_rng(seed).permutation(len(pictures))[: max(0, count)]
    held_out = {pictures[position] for position in chosen}
    return (
        [sample for sample in samples if sample.picture not in held_out],
        [sample for sample in samples if sample.picture in held_out],
    )
