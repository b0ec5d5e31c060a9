"""How a value is written: parse, normalise and format ``number unit`` texts.

The challenge's form is ``^-?\\d+(\\.\\d+)?\\s+[a-zA-Z\\s]+$`` with an allowed unit (organisers'
``sanity.py``); the canonical form is its shortest spelling (``500 gram``, never ``500.0 gram``), because the
scorer compares numbers.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from src.entities import ALLOWED_UNITS, ENTITY_UNITS
from src.reading.units import DIMENSION, SIZE

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_ANSWER = re.compile(rf"({_NUMBER})\s+([a-z]+(?:\s+[a-z]+)?)")

MEANT = {("item_volume", "ounce"): "fluid ounce", ("item_weight", "fluid ounce"): "ounce"}
"""Units of another entity that can only be meant so (300 of the official volume labels say "ounce")."""


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
    """Whether two quantities are the same amount within 3 %, in whatever units: conversions on products are
    rounded."""
    if DIMENSION[first.unit] != DIMENSION[second.unit]:
        return False
    return abs(first.amount - second.amount) <= Decimal("0.03") * max(first.amount, second.amount)


def as_meant(quantity: Quantity, entity: str) -> Quantity:
    """A printed quantity as the question means it: ounces of a volume are fluid ounces, no product is 100
    metres long.

    Fluid ounces stay what they are where a weight is asked: on a picture, unlike in a label, they are a
    volume.
    """
    if entity == "item_volume":
        return Quantity(quantity.number, MEANT.get((entity, quantity.unit), quantity.unit))
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
