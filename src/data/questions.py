"""Questions: the rows of a table, each joined with its image and with all that later stages find out about
it."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.data.folders import ProcessedFolder
from src.data.labels import USABLE_REASONS, normalise_label
from src.data.names import image_names, processed_name
from src.data.processed import ModelImages, read_manifest
from src.entities import ENTITIES
from src.reading.options import Option, rules_answer

BROKEN = "broken image"
"""Reason of a question whose model image cannot be read."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about an image and its answer; each stage returns a copy with more fields set.

    From the table: ``row`` (test: the row's index; train: its position in train.csv), ``image`` (name of the
    source image), ``model_image`` (path of what the model sees), ``entity``, ``label`` (canonical; empty: not
    visible, or not known), ``group`` (the group_id) and ``link``. From the text lines: ``context`` for the
    prompt and ``options``, with the one to abstain. From the model: ``model_answer`` with its ``confidence``,
    and whether the answer grammar has ``overridden`` the model's own choice. From the ensemble: the
    ``prediction`` with its ``probability``, and whose best option it is (``source``). ``reason``: why it is
    not answered; ``traceback``: of an unexpected error.
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
        """The answers of the options, without the empty one."""
        return tuple(option.text for option in self.options if option.texts)

    @property
    def has_rule_logits(self) -> bool:
        """True if any option has a rule logit; false without OCR, and for a question that is not asked."""
        return any(option.rule_logit is not None for option in self.options)

    @property
    def rules_answer(self) -> tuple[str, float | None]:
        """The answer by the rules alone and its probability; empty and None where there are none."""
        return rules_answer(self.options) if self.has_rule_logits else ("", None)


def _model_images(
    table: pd.DataFrame, processed: Path, files: Mapping[str, str]
) -> Iterator[tuple[str, Path, str]]:
    """Yield the source image's name, the model image and a refusal for each row.

    ``processed``: the folder that `preprocess.py` writes; ``files``: names of downloaded images by link. The
    refusal says why the question cannot be asked: ``blank link``, ``unknown entity``, ``blank image``
    (of one colour) or ``no image``; it is empty if there is a model image.
    """
    model_images = ModelImages(processed)
    blank: frozenset[str] = frozenset()
    if ProcessedFolder(processed).is_made:
        manifest = read_manifest(processed, ["image", "status"])
        blank = frozenset(manifest.loc[manifest["status"].eq("blank"), "image"])
    for image, entity in zip(image_names(table["image_link"], files), table["entity_name"], strict=True):
        model_image = model_images.path(processed_name(image))
        if not image:
            yield image, model_image, "blank link"
        elif entity not in ENTITIES:
            yield image, model_image, "unknown entity"
        elif image in blank:
            yield image, model_image, "blank image"
        else:
            yield image, model_image, "" if model_images.of(image) else "no image"


def train_questions(
    table: pd.DataFrame, processed: Path, files: Mapping[str, str]
) -> tuple[list[Question], Counter[str]]:
    """Return the questions of all usable rows of (a part of) a `read_train` table, and the number of rows
    per reason.

    Reasons are those of `labels.normalise_label` (rows whose reason is not usable are left out) and the
    refusals of `_model_images`.
    """
    questions: list[Question] = []
    reasons: Counter[str] = Counter()
    names = ("entity_name", "entity_value", "group_id", "image_link")
    cells = zip(table.index, *(table[name] for name in names), strict=True)
    images = _model_images(table, processed, files)
    for (row, entity, value, group, link), (image, model_image, refusal) in zip(cells, images, strict=True):
        label, reason = normalise_label(value, entity)
        reasons[refusal or reason] += 1
        if not refusal and reason in USABLE_REASONS:
            questions.append(Question(int(row), image, model_image, entity, label, group, link))
    return questions, reasons


def test_questions(table: pd.DataFrame, processed: Path, files: Mapping[str, str]) -> list[Question]:
    """Return the question of each row of a `read_test` table; one that cannot be asked has a ``reason``."""
    names = ("index", "entity_name", "group_id", "image_link")
    cells = zip(*(table[name] for name in names), strict=True)
    return [
        Question(int(index), image, model_image, entity, group=group, link=link, reason=refusal)
        for (index, entity, group, link), (image, model_image, refusal) in zip(
            cells, _model_images(table, processed, files), strict=True
        )
    ]


def by_image(questions: Sequence[Question]) -> list[list[Question]]:
    """Return the questions about each model image, in order of first appearance."""
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
