"""How a value is written: parse, normalise and format ``number unit`` texts.

The challenge's form is ``^-?\\d+(\\.\\d+)?\\s+[a-zA-Z\\s]+$`` with an allowed unit (organisers' ``sanity.py``); the
canonical form is its shortest spelling (``500 gram``, never ``500.0 gram``), because the scorer compares numbers.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from src.entities import ALLOWED_UNITS, ENTITY_UNITS
from src.reading.units import DIMENSION, SIZE

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_ANSWER = re.compile(rf"({_NUMBER})\s+([a-z]+(?:\s+[a-z]+)?)")
_LABEL_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,2})?"
_LABEL = re.compile(rf"({_LABEL_NUMBER})\s+([a-z]+(?: [a-z]+)?)")
_LABEL_LIST = re.compile(rf"\[({_LABEL_NUMBER}), ({_LABEL_NUMBER})\]\s+([a-z]+(?: [a-z]+)?)")
_LABEL_RANGE = re.compile(rf"({_LABEL_NUMBER})\s+([a-z]+(?: [a-z]+)?) to ({_LABEL_NUMBER})\s*([a-z]+(?: [a-z]+)?)")

# A unit of another entity that can only be meant so (300 of the official volume labels say "ounce").
_MEANT = {("item_volume", "ounce"): "fluid ounce", ("item_weight", "fluid ounce"): "ounce"}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A non-negative number and an allowed unit."""

    number: Decimal
    unit: str

    @property
    def amount(self) -> Decimal:
        """In metres, grams, millilitres, volts or watts."""
        return self.number * SIZE[self.unit]

    def __str__(self) -> str:
        """Canonical text: shortest decimal without exponent, one space, the unit (``12.5 centimetre``)."""
        text = f"{self.number:f}"
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        return f"{text} {self.unit}"


def same_amount(first: Quantity, second: Quantity) -> bool:
    """Whether two quantities are the same amount within 3 %, in whatever units: conversions on products are rounded."""
    if DIMENSION[first.unit] != DIMENSION[second.unit]:
        return False
    return abs(first.amount - second.amount) <= Decimal("0.03") * max(first.amount, second.amount)


def as_meant(quantity: Quantity, entity: str) -> Quantity:
    """A printed quantity as the question means it: ounces of a volume are fluid ounces, no product is 100 metres long.

    Fluid ounces stay what they are where a weight is asked: on a picture, unlike in a label, they are a volume.
    """
    if entity == "item_volume":
        return Quantity(quantity.number, _MEANT.get((entity, quantity.unit), quantity.unit))
    if entity in ("width", "height", "depth") and quantity.unit == "metre" and quantity.number >= 100:
        return Quantity(quantity.number, "millimetre")  # 700 m: one m of mm was not read
    return quantity


def parse_answer(text: str, entity: str | None = None) -> Quantity | None:
    """Read an answer in the challenge's form; None when it is not one, or its unit does not fit ``entity``.

    Without ``entity`` every allowed unit will do. An unknown entity fits no unit.
    """
    match = _ANSWER.fullmatch(text.strip().lower())
    if match is None:
        return None
    unit = " ".join(match[2].split())
    if unit not in (ALLOWED_UNITS if entity is None else ENTITY_UNITS.get(entity, ())):
        return None
    return Quantity(Decimal(match[1]), unit)


def canonical(text: str, entity: str | None = None) -> str:
    """Canonical text of an answer; the empty text when it is not a valid one (see `parse_answer`)."""
    quantity = parse_answer(text, entity)
    return "" if quantity is None else str(quantity)


def normalise_label(value: str, entity: str) -> tuple[str, str]:
    """Bring a label of ``train.csv`` to canonical text; return ``(label, reason)``.

    The empty label is a valid one ("not visible"). Ranges take the higher value (the organisers' advice), a unit of
    another entity that can only be meant so is repaired. ``reason`` is ``ok``, ``empty``, ``range``, ``unit repaired``,
    ``unit of another entity``, ``unknown unit``, ``unknown entity``, ``units differ`` or ``not a value``; for the last
    five the label is empty and the row cannot be used.
    """
    if entity not in ENTITY_UNITS:
        return "", "unknown entity"
    text = " ".join(value.lower().split())
    if not text:
        return "", "empty"
    if match := _LABEL.fullmatch(text):
        number, unit, reason = Decimal(match[1]), match[2], "ok"
    elif match := _LABEL_LIST.fullmatch(text):
        number, unit, reason = max(Decimal(match[1]), Decimal(match[2])), match[3], "range"
    elif match := _LABEL_RANGE.fullmatch(text):
        if match[2] != match[4]:
            return "", "units differ"
        number, unit, reason = max(Decimal(match[1]), Decimal(match[3])), match[2], "range"
    else:
        return "", "not a value"
    if (entity, unit) in _MEANT:
        unit, reason = _MEANT[entity, unit], "unit repaired"
    if unit not in ENTITY_UNITS[entity]:
        return "", "unit of another entity" if unit in ALLOWED_UNITS else "unknown unit"
    return str(Quantity(number, unit)), reason


USABLE_REASONS = frozenset({"ok", "empty", "range", "unit repaired"})
"""Reasons of `normalise_label` whose label can be trained on."""
