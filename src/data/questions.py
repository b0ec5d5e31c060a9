"""Questions: the rows of a table, each joined with its image and with all that later stages find out about
it."""

import math
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
from src.reading.options import Option

BROKEN = "broken picture"
"""Reason of a question whose model image cannot be read."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about an image, with what is known of its answer; each stage returns it with more.

    From the table: ``row`` (test: the row's index; train: its position in the table), ``image`` (name of the
    source image), ``model_image`` (path of what the model sees), ``entity``, ``label`` (canonical; empty: not
    visible, or not known), ``group`` (the group_id) and ``link``. From the text lines: ``context`` for the
    prompt and ``options``, to abstain among them. From the model: ``model_answer`` with its ``confidence``,
    and whether the answer grammar has ``overridden`` it. From the ensemble: the ``prediction`` with its
    ``probability``, and whose best option it is (``source``). ``reason``: why it is not answered;
    ``traceback``: of an unexpected error.
    """

    row: int
    image: str
    model_image: Path
    entity: str
    label: str = ""
    group: str = ""
    link: str = ""
    context: str = ""
    options: tuple[Option, ...] = ()
    model_answer: str = ""
    confidence: float = math.nan
    overridden: bool = False
    prediction: str = ""
    source: str = ""
    probability: float = math.nan
    reason: str = ""
    traceback: str = ""

    @property
    def option_texts(self) -> tuple[str, ...]:
        """The answers of the options that were read, without abstaining."""
        return tuple(option.text for option in self.options if option.texts)


class _Unusable:
    """Why questions cannot be asked, for the images of one folder."""

    def __init__(self, processed: Path, pictures: Pictures) -> None:
        self._pictures = pictures
        is_made = ProcessedFolder(processed).is_made
        table = read_manifest(processed, ["image", "status"]) if is_made else pd.DataFrame()
        blank = table.loc[table["status"].eq("blank"), "image"] if len(table) else ()
        self._blank = frozenset(blank)

    def __call__(self, image: str, entity: str) -> str:
        """Return ``blank link``, ``unknown entity``, ``blank picture`` (of one colour), ``no picture``, or
        ""."""
        if not image:
            return "blank link"
        if entity not in ENTITY_UNITS:
            return "unknown entity"
        if image in self._blank:
            return "blank picture"
        return "" if self._pictures.of(image) else "no picture"


def train_questions(
    table: pd.DataFrame, processed: Path, files: Mapping[str, str]
) -> tuple[list[Question], Counter[str]]:
    """Return the questions of all usable rows of (a part of) a `read_train` table, and the rows per reason.

    Reasons are those of `labels.normalise_label` (the unusable ones are left out) and of `_Unusable`.
    """
    questions: list[Question] = []
    reasons: Counter[str] = Counter()
    pictures = Pictures(processed)
    unusable = _Unusable(processed, pictures)
    names = picture_names(table["image_link"], files)
    columns = (names, table["entity_name"], table["entity_value"], table["group_id"], table["image_link"])
    for row, image, entity, value, group, link in zip(table.index, *columns, strict=True):
        label, reason = normalise_label(value, entity)
        reason = unusable(image, entity) or reason
        reasons[reason] += 1
        if reason in USABLE_REASONS:
            model_image = pictures.path(processed_name(image))
            questions.append(Question(int(row), image, model_image, entity, label, group, link))
    return questions, reasons


def test_questions(table: pd.DataFrame, processed: Path, files: Mapping[str, str]) -> list[Question]:
    """Return the question of each row of a `read_test` table; those that cannot be asked have a
    ``reason``."""
    pictures = Pictures(processed)
    unusable = _Unusable(processed, pictures)
    names = picture_names(table["image_link"], files)
    columns = (table["index"], names, table["entity_name"], table["group_id"], table["image_link"])
    return [
        Question(
            int(index),
            image,
            pictures.path(processed_name(image)),
            entity,
            group=group,
            link=link,
            reason=unusable(image, entity),
        )
        for index, image, entity, group, link in zip(*columns, strict=True)
    ]


def by_image(questions: Sequence[Question]) -> list[list[Question]]:
    """Return the questions about each model image, in the order of the first ones."""
    groups: dict[Path, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.model_image, []).append(question)
    return list(groups.values())


def split_by_image(
    questions: Sequence[Question], share: float, seed: int
) -> tuple[list[Question], list[Question]]:
    """Split into (train, held out), about ``share`` of the images held out; no image is on both sides.

    Order is kept. With two or more images each side gets at least one.
    """
    images = sorted({question.model_image for question in questions})
    count = min(max(1, round(share * len(images))), len(images) - 1)
    chosen = np.random.default_rng(seed).permutation(len(images))[: max(0, count)]
    held_out = {images[i] for i in chosen}
    return (
        [question for question in questions if question.model_image not in held_out],
        [question for question in questions if question.model_image in held_out],
    )
