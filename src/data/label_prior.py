"""The label prior: how usual an amount is among the labels of ``train.csv``.

A kernel density over log amounts per entity, and per group of products where it has labels, shrunk to the
entity's as if `_SHRINKAGE` labels came from there (empirical Bayes). Groups are series of products: a
mattress as deep as its sisters is more likely than one as deep as a pillow.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.data.labels import normalise_label
from src.data.names import image_names
from src.data.questions import Question
from src.data.tables import TRAIN_COLUMNS, read_table
from src.reading.quantity import parse_answer

_STEP, _BINS = 0.1, 500
_LOWEST = -20.0
"""Log amounts (natural) are counted in bins of `_STEP` from here on; those beyond either end in the last
bin."""
_SPREAD = 0.4
"""Standard deviation of the kernel, in log amounts."""
_SHRINKAGE = 5.0
_OUTLIER_SHARE, _OUTLIER_DENSITY = 0.1, 0.05
"""Outlier share, and the uniform density that outliers get."""
_FEWEST = 30
"""Labels of an entity below which its prior is flat."""
_HALF = 14
_TAPS = np.exp(-0.5 * (np.arange(-_HALF, _HALF + 1) * _STEP / _SPREAD) ** 2) / (
    _SPREAD * math.sqrt(2 * math.pi)
)


class LabelPrior:
    """Densities over ``labels``: entity, group (empty: none) and canonical label each; empty labels say
    nothing."""

    def __init__(self, labels: Iterable[tuple[str, str, str]]) -> None:
        entities: dict[str, list[int]] = defaultdict(list)
        groups: dict[tuple[str, str], list[int]] = defaultdict(list)
        for entity, group, answer in labels:
            place = _bin(answer, entity)
            if place is not None:
                entities[entity].append(place)
                if group:
                    groups[entity, group].append(place)
        self._densities: dict[str, np.ndarray] = {}  # of each bin, before the odd ones
        self._typical: dict[str, float] = {}  # the mean log density over the labels
        for entity, places in entities.items():
            if len(places) >= _FEWEST:
                counts = np.bincount(places, minlength=_BINS)
                self._densities[entity] = np.convolve(counts, _TAPS, "same") / len(places)
                self._typical[entity] = float(counts @ np.log(_mixed(self._densities[entity])) / len(places))
        # with `_HALF` more at either end, so that the kernel fits everywhere
        self._groups = {
            key: np.bincount(np.array(places) + _HALF, minlength=_BINS + 2 * _HALF)
            for key, places in groups.items()
        }

    @classmethod
    def of_table(cls, table: pd.DataFrame) -> "LabelPrior":
        """Return the prior by the labels of a `read_train` table; those that are none say nothing."""
        rows = zip(table["entity_name"], table["group_id"], table["entity_value"], strict=True)
        return cls((entity, group, normalise_label(value, entity)[0]) for entity, group, value in rows)

    @classmethod
    def of_train(cls, train: Path, test: pd.DataFrame, files: Mapping[str, str]) -> "LabelPrior":
        """Return the prior by the labels of train.csv, without those of images in the test table.

        ``files``: names of downloaded images by link, see `read_files`.
        """
        table = read_table(train, TRAIN_COLUMNS)
        asked_images = set(image_names(test["image_link"], files))
        images = pd.Series(image_names(table["image_link"], files), table.index, dtype=object)
        return cls.of_table(table[~images.isin(asked_images)])

    def added_to(self, question: Question) -> Question:
        """Return a question whose options have their ``log_prior``."""
        options = tuple(
            replace(option, log_prior=self.log_prior(question.entity, question.group, option.text))
            for option in question.options
        )
        return replace(question, options=options)

    def log_prior(self, entity: str, group: str, text: str) -> float:
        """Return the log density of an amount less that of the entity's labels on average; above 0 is usual.

        0 for the empty text and others that are no amount of ``entity``, and where the entity has few labels.
        """
        place = _bin(text, entity)
        if place is None or entity not in self._typical:
            return 0.0
        counts = self._groups.get((entity, group), np.zeros(_BINS + 2 * _HALF, int))
        near = counts[place : place + 2 * _HALF + 1] @ _TAPS
        density = (near + _SHRINKAGE * self._densities[entity][place]) / (counts.sum() + _SHRINKAGE)
        return round(math.log(_mixed(density)) - self._typical[entity], 4)


def _mixed(density: Any) -> Any:
    """Return a density with the outliers' share."""
    return (1 - _OUTLIER_SHARE) * density + _OUTLIER_SHARE * _OUTLIER_DENSITY


def _bin(text: str, entity: str) -> int | None:
    """Return the bin of an answer's amount; None without an amount, or for 0."""
    quantity = parse_answer(text, entity)
    if quantity is None or quantity.amount <= 0:
        return None
    place = (float(quantity.amount.ln()) - _LOWEST) / _STEP
    return int(min(max(place, 0), _BINS - 1))
