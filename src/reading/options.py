"""The options of a question: an image's candidates of one amount, scored by rules; no model.

Candidates that say the same amount (60 g / 2.1 oz) are one option, answered in the unit printed first. An
option's rule logit is a weighted sum of `features`: words, geometry and order. To abstain (the empty answer)
is an option, too; its rule logit is 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from src.entities import AXES, ENTITIES
from src.reading.candidates import Candidate, candidates, is_same
from src.reading.layout import Layout, directions, position
from src.reading.lines import Box, ParsedLine

TEMPERATURE = 1.7
"""Divisor of the rule logits for probabilities; set on the official train rows by benchmarks/reading.py."""


@dataclass(frozen=True, slots=True)
class Option:
    """A possible answer to a question, with the scores it has collected so far.

    ``texts``: its amount in all units it is printed in, canonical, in reading order; the first is the answer,
    none means to abstain. ``boxes``: where it is printed. ``rule_logit``: None for a free-form answer of the
    model, and without OCR. ``log_probability``: the model's, of all that the answer grammar allows.
    ``log_prior``: of such an amount among train labels. ``probability``: the ensemble's.
    """

    texts: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    rule_logit: float | None = None
    log_probability: float = math.nan
    log_prior: float = 0.0
    probability: float = math.nan

    @property
    def text(self) -> str:
        """The canonical answer; empty for abstaining."""
        return self.texts[0] if self.texts else ""


ABSTAIN = Option(rule_logit=0.0)


def find_options(lines: Sequence[ParsedLine], entity: str, layout: Layout | None) -> tuple[Option, ...]:
    """Return the options of a question in reading order, and `ABSTAIN` last.

    ``layout`` is needed for lengths only; without it their scores are worse.
    """
    groups = group_by_amount(lines, entity)
    scored = zip(groups, rule_logits(groups, entity, layout), strict=True)
    options = [
        Option(
            tuple(dict.fromkeys(str(candidate.quantity) for candidate in group)),
            tuple(dict.fromkeys(candidate.box for candidate in group)),
            round(logit, 4),
        )
        for group, logit in scored
    ]
    return (*options, ABSTAIN)


def rule_probabilities(options: Sequence[Option]) -> list[float]:
    """Return the softmax of the options' rule logits; 0 for one without."""
    logits = [option.rule_logit for option in options if option.rule_logit is not None]
    if not logits:
        return [0.0] * len(options)
    powers = [
        0.0 if option.rule_logit is None else math.exp((option.rule_logit - max(logits)) / TEMPERATURE)
        for option in options
    ]
    return [power / sum(powers) for power in powers]


def rules_answer(options: Sequence[Option]) -> tuple[str, float]:
    """Return the answer of the option with the highest rule logit, and its probability; empty without
    options."""
    if not options:
        return "", 0.0
    probabilities = rule_probabilities(options)
    best = max(range(len(options)), key=probabilities.__getitem__)
    return options[best].text, round(probabilities[best], 4)


def group_by_amount(lines: Sequence[ParsedLine], entity: str) -> list[list[Candidate]]:
    """Return the candidates grouped by amount, each group and the groups in reading order.

    Two numbers in one unit are two amounts, even where a rounded third one (1.8 ft, 0.5 m, 2 ft) is near to
    both.
    """
    groups: list[list[Candidate]] = []
    for candidate in candidates(lines, entity):
        group = next((group for group in groups if _belongs_to(candidate, group)), None)
        if group is None:
            groups.append([candidate])
        else:
            group.append(candidate)
    return groups


def _belongs_to(candidate: Candidate, group: Sequence[Candidate]) -> bool:
    """Tell whether a candidate says a group's amount, and no other number in a unit that the group has."""
    quantity = candidate.quantity
    others = [member.quantity for member in group]
    is_other = any(other.unit == quantity.unit and other.number != quantity.number for other in others)
    return not is_other and any(is_same(candidate, member) for member in group)


def rule_logits(groups: Sequence[Sequence[Candidate]], entity: str, layout: Layout | None) -> list[float]:
    """Return the weighted sum of each option's `features`."""
    weights = ENTITIES[entity].weights
    return [
        sum(weights.get(name, 0.0) * value for name, value in values.items())
        for values in features(groups, entity, layout)
    ]


def features(
    groups: Sequence[Sequence[Candidate]], entity: str, layout: Layout | None
) -> list[dict[str, float]]:
    """Return what speaks for and against each option, as named numbers of the order of 1."""
    largest_text = max((c.line.size for group in groups for c in group), default=0.0) or 1.0
    amounts = sorted(group[0].quantity.amount for group in groups)
    word_kinds = [name.removeprefix("word_") for name in ENTITIES[entity].weights if name.startswith("word_")]
    table = []
    for rank, group in enumerate(groups):
        quantity = group[0].quantity
        flags = frozenset[str]().union(*(c.mention.flags for c in group))
        values = {
            "bias": 1.0,
            "first": float(rank == 0),
            "later": min(rank, 6) / 6,
            "text_size": max(c.line.size for c in group) / largest_text,
            "repeated": min(len(group) - 1, 2) / 2,
            "two_units": float(len({c.quantity.unit for c in group}) > 1),
            "confidence": max(c.line.confidence for c in group),
            "largest": float(quantity.amount == amounts[-1] and len(amounts) > 1),
            "smallest": float(quantity.amount == amounts[0] and len(amounts) > 1),
            "tiny_unit": float(quantity.unit in ("milligram", "microgram", "millivolt")),
            "round": float(quantity.number % 5 == 0),
        }
        values |= dict.fromkeys(flags, 1.0) | {f"word_{kind}": _word(group, kind) for kind in word_kinds}
        values["word_load"] = max(_word(group, "load"), _word(group, "limit"))
        table.append(values | (_length_features(group, entity, layout) if entity in AXES else {}))
    return table


def _word(group: Sequence[Candidate], kind: str) -> float:
    """Return how surely a word of this kind belongs to one of the candidates (see `Candidate.keywords`)."""
    return max(c.keywords.get(kind, 0.0) for c in group)


def _length_features(group: Sequence[Candidate], entity: str, layout: Layout | None) -> dict[str, float]:
    """Return a length's features: words and letters for axes, place in L x W x H, lines beside and place."""
    values = {
        "axis_own": _word(group, entity),
        "axis_other": max(_word(group, other) for other in AXES if other != entity),
        "axis_length": _word(group, "length"),
        "axis_diameter": _word(group, "diameter"),
        "upright_text": float(any(c.line.vertical for c in group)),
    }
    sides = [c.mention for c in group if c.mention.sides]
    values |= {f"side_{mention.side}_of_{mention.sides}": 1.0 for mention in sides}
    if layout is not None and not sides:
        near = [directions(layout, c.box) for c in group]
        upright, level, slanting = (max(d[i] for d in near) for i in range(3))
        places = [position(layout, c.box) for c in group]
        beside = sum(min(1.5, max(-1.5, abs(x) - abs(y))) for x, y in places) / len(places)
        corner = sum(float(abs(x) > 0.5 and abs(y) > 0.5) for x, y in places) / len(places)
        values |= {"line_upright": upright, "line_level": level, "line_slanting": slanting}
        values |= {
            "beside": beside,
            "corner": corner,
            "low_down": sum(y for _, y in places) / len(places) / 2,
        }
    return values
