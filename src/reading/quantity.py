"""A quantity, and the challenge's form of an answer: a number, a space and an allowed unit.

    parse_answer("500.0 gram", "item_weight")    Quantity(500.0, "gram")
    str(Quantity(Decimal("500.0"), "gram"))      "500 gram", the canonical form
    parse_answer("500 gram", "voltage")          None, as canonical("500 gram", "voltage") is ""

The organisers' ``sanity.py`` asks for ``^-?\\d+(\\.\\d+)?\\s+[a-zA-Z\\s]+$``. The canonical form is the
shortest spelling, because the scorer compares numbers.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from src.entities import AXES, units_of
from src.reading.units import ALLOWED_UNITS, DIMENSION, SIZE

_ANSWER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s+([a-z-]+(?:\s+[a-z-]+)*)")

MEANT = {("item_volume", "ounce"): "fluid ounce", ("item_weight", "fluid ounce"): "ounce"}
"""Units by entity and unit in a label that is meant so: 300 official volumes have the unit "ounce"."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A non-negative number and an allowed unit."""

    number: Decimal
    unit: str

    @property
    def amount(self) -> Decimal:
        """Return the quantity in metres, grams, millilitres, volts or watts."""
        return self.number * SIZE[self.unit]

    def __str__(self) -> str:
        """Return the canonical text: shortest decimal without exponent, a space, the unit."""
        text = f"{self.number:f}"
        return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {self.unit}"


def same_amount(first: Quantity, second: Quantity) -> bool:
    """Tell whether two quantities in any units are equal within 3 %: conversions on products are rounded."""
    if DIMENSION[first.unit] != DIMENSION[second.unit]:
        return False
    return abs(first.amount - second.amount) <= Decimal("0.03") * max(first.amount, second.amount)


def as_meant(quantity: Quantity, entity: str) -> Quantity:
    """Return a printed quantity as a question means it.

    Ounces of a volume are fluid ounces. A side of 100 metres or more is in millimetres: one m was not read.
    Fluid ounces stay a volume where a weight is asked, unlike in a label.
    """
    if entity == "item_volume":
        return Quantity(quantity.number, MEANT.get((entity, quantity.unit), quantity.unit))
    if entity in AXES and quantity.unit == "metre" and quantity.number >= 100:
        return Quantity(quantity.number, "millimetre")
    return quantity


def parse_answer(text: str, entity: str | None = None) -> Quantity | None:
    """Return an answer in the challenge's form; None for other text or a unit that does not fit ``entity``.

    Without ``entity`` every allowed unit fits; an unknown entity has none.
    """
    match = _ANSWER.fullmatch(text.strip().lower())
    if match is None:
        return None
    unit = " ".join(match[2].split())
    allowed_units = ALLOWED_UNITS if entity is None else units_of(entity)
    return Quantity(Decimal(match[1]), unit) if unit in allowed_units else None


def canonical(text: str, entity: str | None = None) -> str:
    """Return the canonical text of an answer; the empty text where `parse_answer` gives None."""
    quantity = parse_answer(text, entity)
    return "" if quantity is None else str(quantity)
