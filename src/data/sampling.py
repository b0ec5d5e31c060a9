"""Which rows of ``train.csv`` are used: drawn before a picture is fetched or read, so that only theirs need
be."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.data.folders import DataFolder
from src.data.labels import USABLE_REASONS, normalise_label
from src.data.tables import TEST_COLUMNS, TRAIN_COLUMNS, read_table
from src.entities import ENTITY_UNITS


@dataclass(frozen=True, slots=True)
class Drawn:
    """The tables of a data folder, None where there is none, and which rows of them are used."""

    train: pd.DataFrame | None  # the drawn rows
    left_out: pd.DataFrame | None  # the other ones
    test: pd.DataFrame | None

    @property
    def tables(self) -> tuple[pd.DataFrame, ...]:
        """Those there are of the drawn train rows and the test."""
        return tuple(table for table in (self.train, self.test) if table is not None)

    @property
    def links(self) -> list[str]:
        """The links of the used rows in their order, each once, without blank ones."""
        return list(dict.fromkeys(link for table in self.tables for link in table["image_link"] if link))


def read_drawn(data: Path, rows: int | None, seed: int) -> Drawn:
    """Read ``train.csv`` and ``test.csv``, and draw ``rows`` of the first (None: all). Raises
    `InputError`."""
    folder = DataFolder(data)
    test = read_table(folder.test, TEST_COLUMNS) if folder.test.exists() else None
    if not folder.train.exists():
        return Drawn(None, None, test)
    train = read_table(folder.train, TRAIN_COLUMNS)
    shares = {} if test is None else Counter(test["entity_name"])
    used = train.index.isin(drawn_rows(train, rows, shares, seed))
    return Drawn(train[used], train[~used], test)


def drawn_rows(train: pd.DataFrame, rows: int | None, shares: Mapping[str, float], seed: int) -> list[int]:
    """Positions of ``rows`` of a train table whose labels are usable, by `in_proportions`; all where it has
    no more."""
    if rows is None or len(train) <= rows:
        return list(range(len(train)))
    columns = (train["image_link"], train["entity_name"], train["entity_value"])
    usable = [
        bool(link) and entity in ENTITY_UNITS and normalise_label(value, entity)[1] in USABLE_REASONS
        for link, entity, value in zip(*columns, strict=True)
    ]
    positions = np.flatnonzero(usable)
    entities = train["entity_name"].to_numpy()[positions].tolist()
    return positions[in_proportions(entities, rows, shares, seed)].tolist()


def test_counts(data: Path) -> Mapping[str, int]:
    """Questions per entity in ``test.csv``; none when there is no such file."""
    path = DataFolder(data).test
    return Counter(read_table(path, ["entity_name"])["entity_name"]) if path.is_file() else {}


def in_proportions(entities: Sequence[str], count: int, shares: Mapping[str, float], seed: int) -> list[int]:
    """Positions of ``count`` rows drawn without replacement, ``entities`` in the proportions of ``shares``,
    in order.

    What a rare entity lacks is shared out among the others in their proportions; all are kept when there are
    no more than ``count``. Without ``shares``, in the proportions of the rows themselves.
    """
    if count >= len(entities):
        return list(range(len(entities)))
    positions: dict[str, list[int]] = {}
    for position, entity in enumerate(entities):
        positions.setdefault(entity, []).append(position)
    shares = {entity: shares.get(entity, 0) for entity in positions}
    if not any(shares.values()):
        shares = {entity: len(rows) for entity, rows in positions.items()}
    order = np.random.default_rng(seed)
    taken: list[int] = []
    open_entities = sorted(positions)
    while open_entities and len(taken) < count:
        total, left = sum(shares[e] for e in open_entities), count - len(taken)
        if not total:  # only entities the test does not ask about are left
            shares |= {e: len(positions[e]) for e in open_entities}
            continue
        short = [e for e in open_entities if len(positions[e]) <= left * shares[e] / total]
        sizes = {e: len(positions[e]) for e in short} or _whole(
            {e: left * shares[e] / total for e in open_entities}
        )
        for entity, size in sizes.items():
            taken += order.permutation(positions[entity])[:size].tolist()
        open_entities = [e for e in open_entities if e not in short] if short else []
    return sorted(taken)


def _whole(shares: Mapping[str, float]) -> dict[str, int]:
    """Shares of a whole number as whole numbers of the same sum: rounded up where most is lacking."""
    sizes = {entity: int(share) for entity, share in shares.items()}
    lacking = round(sum(shares.values())) - sum(sizes.values())
    for entity in sorted(shares, key=lambda e: (sizes[e] - shares[e], e))[:lacking]:
        sizes[entity] += 1
    return sizes
