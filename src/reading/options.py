"""The rule reader: which of a picture's candidates answers a question, by words, geometry and order; no
model.

Candidates that say the same amount (60 g / 2.1 oz) are one option, answered in the unit printed first. An
option's logit is a weighted sum of `features`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.reading.candidates import Candidate, candidates, is_same
from src.reading.layout import Layout, directions, position
from src.reading.lines import ParsedLine

Weights = Mapping[str, Mapping[str, float]]
"""Entity -> feature -> weight."""

_DIMENSION = {
    "bias": 3.0, "first": 0.3, "later": -0.3, "text_size": 0.5, "repeated": 0.2, "two_units": 0.2, "confidence": 0.5,
    "smallest": -0.3, "low": -0.3, "pack": -1.0, "sum": -0.3, "compound": 1.0, "borrowed": -0.3, "axis_own": 6.0,
    "axis_other": -6.0, "word_part": -0.5, "word_total": 0.5, "word_load": -0.5,
}  # fmt: skip

WEIGHTS: Weights = {
    "height": _DIMENSION | {
        "upright_text": 2.0, "line_upright": 2.0, "line_level": -1.5, "beside": 1.0, "corner": -0.3,
        "side_1_of_2": 0.5, "side_2_of_3": 1.0,
        "axis_diameter": -1.0, "axis_length": 0.3,
    },
    "width": _DIMENSION | {
        "upright_text": -1.5, "line_upright": -1.5, "line_level": 2.0, "beside": -1.0, "low_down": 0.2,
        "side_0_of_2": 0.5, "side_1_of_2": 0.3, "side_0_of_3": 0.3, "side_1_of_3": 0.5, "side_2_of_3": -0.5,
        "axis_diameter": 0.5, "axis_length": 0.2,
    },
    "depth": _DIMENSION | {
        "upright_text": -1.0, "line_upright": -0.7, "line_level": 0.3, "line_slanting": 1.5, "corner": 0.5,
        "side_0_of_3": 0.3, "side_1_of_3": 0.3, "axis_diameter": 1.0, "axis_length": 0.5, "largest": 0.3,
        "smallest": 0.0,
    },
    "item_weight": {
        "bias": 2.0, "first": 0.3, "later": -1.0, "text_size": 1.0, "repeated": 0.3, "two_units": 0.5,
        "confidence": 0.5, "smallest": -0.2, "low": -0.5, "pack": -0.2, "sum": -0.5, "compound": 1.5, "borrowed": -0.2,
        "word_load": -4.5, "word_breaking": -4.5, "word_weight": 1.0, "word_net": 1.5, "word_gross": -1.0,
        "word_drained": -2.0, "word_serving": -1.0, "word_equal": -0.5, "word_total": 0.3, "tiny_unit": -1.0,
    },
    "maximum_weight_recommendation": {
        "bias": 1.2, "first": 0.3, "later": -0.5, "text_size": 0.5, "two_units": 0.3, "confidence": 0.5,
        "largest": 0.7, "smallest": -0.3, "low": -0.5, "high": 0.5, "word_load": 3.0, "word_breaking": -8.0,
        "word_weight": -2.5, "word_net": -3.0, "word_gross": -2.0, "word_serving": -1.5, "tiny_unit": -4.0,
        "round": 0.3,
    },
    "item_volume": {
        "bias": 2.0, "first": 0.5, "later": -1.0, "text_size": 1.0, "two_units": 0.3, "confidence": 0.5,
        "largest": 0.3, "low": -0.3, "pack": -0.2, "compound": 1.0, "word_volume": 0.7, "word_net": 1.0,
        "word_serving": -0.7, "tiny_unit": -1.0,
    },
    "voltage": {
        "bias": 2.0, "first": 0.3, "later": -0.7, "text_size": 0.5, "repeated": 0.3, "confidence": 0.5, "low": -0.7,
        "high": 0.5, "word_voltage": 0.3, "word_input": 0.5, "word_output": -1.0, "tiny_unit": -1.0,
    },
    "wattage": {
        "bias": 2.0, "first": 0.3, "later": -0.7, "text_size": 1.0, "repeated": 0.3, "confidence": 0.5, "low": -0.5,
        "high": 0.3, "word_power": 1.0, "word_equal": -2.5, "word_replaces": -2.5, "word_output": -0.3,
    },
}  # fmt: skip
"""Set by hand from the challenge's rules and from pictures (see benchmarks/README.md); nothing is fitted.

Silence has the logit 0.

Fitting them to the official labels was tried and left out: it learns that a depth is the largest number,
which these labels say and hand-read answers deny.
"""

TEMPERATURE = 1.7
"""Divides the logits for `Answer.score`; set on the official train rows by benchmarks/reading.py."""

AXES = ("height", "width", "depth")
"""Entities that are a side of the product."""


@dataclass(frozen=True, slots=True)
class Option:
    """What could be meant: an amount as it is printed, in the units it is printed in, and the rules' logit of
    it."""

    texts: tuple[str, ...]  # canonical, in reading order; the first is the answer
    logit: float  # silence has 0


@dataclass(frozen=True, slots=True)
class Answer:
    """Canonical text, or empty; ``score`` is the chance that it is right."""

    text: str
    score: float


def options(found: Sequence[ParsedLine], entity: str) -> list[list[Candidate]]:
    """Candidates grouped by amount, each group and the groups in reading order.

    Two numbers in one unit are two amounts, even where a rounded third one (1.8 ft, 0.5 m, 2 ft) is near to
    both.
    """
    groups: list[list[Candidate]] = []
    for candidate in candidates(found, entity):
        fits = (group for group in groups if any(is_same(candidate, member) for member in group))
        group = next(
            (group for group in fits if not any(_differ(candidate, member) for member in group)), None
        )
        if group is None:
            groups.append([candidate])
        else:
            group.append(candidate)
    return groups


def _differ(first: Candidate, second: Candidate) -> bool:
    """Whether two candidates are different numbers in the same unit."""
    return first.quantity.unit == second.quantity.unit and first.quantity.number != second.quantity.number


def features(
    groups: Sequence[Sequence[Candidate]], entity: str, drawn: Layout | None
) -> list[dict[str, float]]:
    """What speaks for and against each option of `options`, as named numbers of the order of 1."""
    largest_text = max((c.reading.size for group in groups for c in group), default=0.0) or 1.0
    amounts = sorted(group[0].quantity.amount for group in groups)
    words = [name.removeprefix("word_") for name in WEIGHTS[entity] if name.startswith("word_")]
    found = []
    for rank, group in enumerate(groups):
        quantity = group[0].quantity
        flags = frozenset[str]().union(*(c.mention.flags for c in group))
        values = {
            "bias": 1.0,
            "first": float(rank == 0),
            "later": min(rank, 6) / 6,
            "text_size": max(c.reading.size for c in group) / largest_text,
            "repeated": min(len(group) - 1, 2) / 2,
            "two_units": float(len({c.quantity.unit for c in group}) > 1),
            "confidence": max(c.reading.confidence for c in group),
            "largest": float(quantity.amount == amounts[-1] and len(amounts) > 1),
            "smallest": float(quantity.amount == amounts[0] and len(amounts) > 1),
            "tiny_unit": float(quantity.unit in ("milligram", "microgram", "millivolt")),
            "round": float(quantity.number % 5 == 0),
        }
        values |= dict.fromkeys(flags, 1.0) | {f"word_{kind}": _said(group, kind) for kind in words}
        values["word_load"] = max(_said(group, "load"), _said(group, "limit"))
        found.append(values | (_dimension(group, entity, drawn) if entity in AXES else {}))
    return found


def _said(group: Sequence[Candidate], kind: str) -> float:
    """Return how surely a word of this kind belongs to one of the candidates (see `Candidate.keywords`)."""
    return max(c.keywords.get(kind, 0.0) for c in group)


def _dimension(group: Sequence[Candidate], entity: str, drawn: Layout | None) -> dict[str, float]:
    """Features of a length: words and letters for the axes, place in L x W x H, direction and place of the
    text."""
    values = {
        "axis_own": _said(group, entity),
        "axis_other": max(_said(group, other) for other in AXES if other != entity),
        "axis_length": _said(group, "length"),
        "axis_diameter": _said(group, "diameter"),
        "upright_text": float(any(c.reading.vertical for c in group)),
    }
    sides = [c for c in group if c.mention.sides]
    values |= {f"side_{c.mention.side}_of_{c.mention.sides}": 1.0 for c in sides}
    if drawn is not None and not sides:
        near = [directions(drawn, c.box) for c in group]
        upright, level, slanting = (max(d[i] for d in near) for i in range(3))
        positions = [position(drawn, c.box) for c in group]
        beside = sum(min(1.5, max(-1.5, abs(x) - abs(y))) for x, y in positions) / len(positions)
        corner = sum(float(abs(x) > 0.5 and abs(y) > 0.5) for x, y in positions) / len(positions)
        values |= {"line_upright": upright, "line_level": level, "line_slanting": slanting}
        values |= {
            "beside": beside,
            "corner": corner,
            "low_down": sum(y for _, y in positions) / len(positions) / 2,
        }
    return values


def logits(groups: Sequence[Sequence[Candidate]], entity: str, drawn: Layout | None) -> list[float]:
    """The weighted sum of each option's features; silence has 0."""
    weights = WEIGHTS[entity]
    return [
        sum(weights.get(name, 0.0) * value for name, value in values.items())
        for values in features(groups, entity, drawn)
    ]


def weigh(found: Sequence[ParsedLine], entity: str, drawn: Layout | None) -> list[Option]:
    """The options of a question, in reading order; ``drawn`` is needed for dimensions only, they get worse
    without."""
    groups = options(found, entity)
    return [
        Option(tuple(dict.fromkeys(str(candidate.quantity) for candidate in group)), round(logit, 4))
        for group, logit in zip(groups, logits(groups, entity, drawn), strict=True)
    ]


def pick(weighed: Sequence[Option]) -> Answer:
    """The option with the highest logit, or none."""
    values = [*(option.logit for option in weighed), 0.0]
    best = max(range(len(values)), key=values.__getitem__)
    chance = 1 / sum(math.exp((value - values[best]) / TEMPERATURE) for value in values)
    return Answer("" if best == len(weighed) else weighed[best].texts[0], round(chance, 4))


def answer(found: Sequence[ParsedLine], entity: str, drawn: Layout | None) -> Answer:
    """`pick` of `weigh`."""
    return pick(weigh(found, entity, drawn))
