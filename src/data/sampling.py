"""Sampling: which rows of ``train.csv`` are used, before any image is fetched or read for them."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.data.folders import DataFolder
from src.data.labels import USABLE_REASONS, normalise_label
from src.data.tables import TEST_COLUMNS, TRAIN_COLUMNS, read_table
from src.entities import ENTITIES


@dataclass(frozen=True, slots=True)
class SampledTables:
    """The tables of a data folder, None where there is none; train.csv in sampled rows and the others."""

    train: pd.DataFrame | None
    left_out: pd.DataFrame | None
    test: pd.DataFrame | None

    @property
    def tables(self) -> tuple[pd.DataFrame, ...]:
        """The sampled train rows and the test table, as far as they exist."""
        return tuple(table for table in (self.train, self.test) if table is not None)

    @property
    def links(self) -> list[str]:
        """The links of these tables in their order, each once, without blank ones."""
        return list(dict.fromkeys(link for table in self.tables for link in table["image_link"] if link))


def read_sampled(data: Path, rows: int | None, seed: int) -> SampledTables:
    """Read the tables of a data folder and sample ``rows`` train rows (None: all). Raises `InputError`."""
    folder = DataFolder(data)
    test = read_table(folder.test, TEST_COLUMNS) if folder.test.exists() else None
    if not folder.train.exists():
        return SampledTables(None, None, test)
    train = read_table(folder.train, TRAIN_COLUMNS)
    shares = {} if test is None else Counter(test["entity_name"])
    is_sampled = train.index.isin(sampled_rows(train, rows, shares, seed))
    return SampledTables(train[is_sampled], train[~is_sampled], test)


def sampled_rows(train: pd.DataFrame, rows: int | None, shares: Mapping[str, float], seed: int) -> list[int]:
    """Sample positions of ``rows`` usable train rows by `in_proportions`; all if the table has no more."""
    if rows is None or len(train) <= rows:
        return list(range(len(train)))
    columns = (train["image_link"], train["entity_name"], train["entity_value"])
    usable = [
        bool(link) and entity in ENTITIES and normalise_label(value, entity)[1] in USABLE_REASONS
        for link, entity, value in zip(*columns, strict=True)
    ]
    positions = np.flatnonzero(usable)
    entities = train["entity_name"].to_numpy()[positions].tolist()
    return positions[in_proportions(entities, rows, shares, seed)].tolist()


def test_counts(data: Path) -> Mapping[str, int]:
    """Return the questions per entity in ``test.csv``; none when there is no such file."""
    path = DataFolder(data).test
    return Counter(read_table(path, ["entity_name"])["entity_name"]) if path.is_file() else {}


def proportions(entities: Iterable[str]) -> dict[str, int]:
    """Return the counts of ``entities`` in lowest terms, by name: the same for twice as many of each."""
    counts = Counter(entities)
    divisor = math.gcd(*counts.values())
    return {entity: counts[entity] // divisor for entity in sorted(counts)}


def in_proportions(entities: Sequence[str], count: int, shares: Mapping[str, float], seed: int) -> list[int]:
    """Sample positions of ``count`` of the ``entities`` in the proportions of ``shares``; return them sorted.

    Sampling is without replacement. Rows that a rare entity lacks go to the others in their proportions. All
    are kept when there are no more than ``count``. Without ``shares``, the proportions are the rows' own.
    """
    if count >= len(entities):
        return list(range(len(entities)))
    positions: dict[str, list[int]] = {}
    for position, entity in enumerate(entities):
        positions.setdefault(entity, []).append(position)
    shares = {entity: shares.get(entity, 0) for entity in positions}
    random = np.random.default_rng(seed)
    sampled: list[int] = []
    unfilled = sorted(positions)
    while unfilled and len(sampled) < count:
        total, lacking = sum(shares[entity] for entity in unfilled), count - len(sampled)
        if not total:  # only entities that the test does not ask about are left
            shares |= {entity: len(positions[entity]) for entity in unfilled}
            continue
        wanted = {entity: lacking * shares[entity] / total for entity in unfilled}
        rare = [entity for entity in unfilled if len(positions[entity]) <= wanted[entity]]
        sizes = {entity: len(positions[entity]) for entity in rare} if rare else _rounded(wanted)
        for entity, size in sizes.items():
            sampled += random.permutation(positions[entity])[:size].tolist()
        unfilled = [entity for entity in unfilled if entity not in sizes]
    return sorted(sampled)


def _rounded(shares: Mapping[str, float]) -> dict[str, int]:
    """Round shares to whole numbers of the same sum, up where most is lacking."""
    sizes = {entity: int(share) for entity, share in shares.items()}
    lacking = round(sum(shares.values())) - sum(sizes.values())
    for entity in sorted(shares, key=lambda e: (sizes[e] - shares[e], e))[:lacking]:
        sizes[entity] += 1
    return sizes
