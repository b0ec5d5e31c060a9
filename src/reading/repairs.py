"""Repairs of a damaged quantity by the same amount in another unit beside it.

    11oz / 3.0g       0.11 oz         a point was lost
    1.7 fl oz (50 m)  50 ml           a letter was lost
    4.5 0 (127g)      4.5 oz          the unit was not read
    28oz 7949         794 g           the unit was read as a digit
    4.5 0 (27g)       4.5 oz (127 g)  the unit and a first digit were lost

What a repair proposes counts only if it has the dimension of the other quantity and about its amount.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from src.reading.tokens import Token
from src.reading.units import DIMENSION, SIZE

_NEAR, _ROUNDED = Decimal("0.02"), Decimal("0.05")
"""Largest relative difference of the two amounts; the second where the undamaged number has decimals."""


def repaired(tokens: list[Token]) -> list[Token] | None:
    """Mend the first or the last of the tokens by the other; None where nothing confirms a repair."""
    first, last = tokens[0], tokens[-1]
    if len(tokens) == 2 and first.unit and last.unit:
        return None  # 2 lb 3.2 oz
    is_torn = any(token.kind in "!w" for token in tokens)
    for damaged, intact in ((first, last), (last, first)):
        if not intact.unit or (not damaged.unit and len(str(damaged.value)) < 2 and not is_torn):
            continue
        is_rounded = damaged.unit == "metre" or (damaged.unit and _has_decimals(intact))
        for value, unit in _meanings(damaged, intact):
            if unit == intact.unit or DIMENSION[unit] != DIMENSION[intact.unit]:
                continue
            if abs(value * SIZE[unit] / intact.amount - 1) < (_ROUNDED if is_rounded else _NEAR):
                mended = replace(damaged, kind="q", value=value, unit=unit)
                return [mended if token is damaged else token for token in tokens]
    return _with_lost_digit(tokens) if is_torn and not first.unit else None


def _meanings(damaged: Token, intact: Token) -> Iterator[tuple[Decimal, str]]:
    """Yield the values and units that a damaged quantity may have had, one repair after the other."""
    value, unit, digits = damaged.value, damaged.unit, str(damaged.value)
    if unit == "metre":  # a lost letter: m for ml
        yield value, "millilitre"
    if unit and "." not in digits:  # a lost point, believable if the other has decimals or this one is large
        for power in (10, 100):
            if value % power and (value > power or _has_decimals(intact)):
                yield value / power, unit
    if not unit:
        for unread in ("ounce", "fluid ounce", "gram", "millilitre", "pound", "kilogram"):
            yield value, unread
    if not unit and len(digits) > 2:  # a unit read as a digit: g as 9, oz as 0
        for misread in {"9": ("gram",), "0": ("ounce", "fluid ounce")}.get(digits[-1], ()):
            yield value // 10, misread


def _with_lost_digit(tokens: list[Token]) -> list[Token] | None:
    """Mend both: the unread unit of the first number, and the lost first digit of the last."""
    first, last = tokens[0], tokens[-1]
    if all(token.kind != "!" for token in tokens) or last.value < 10:
        return None
    for unit in ("ounce", "fluid ounce"):
        if DIMENSION[unit] != DIMENSION.get(last.unit):
            continue
        full = first.value * SIZE[unit] / SIZE[last.unit]
        ten = 10 ** len(str(int(last.value)))
        value = full // ten * ten + last.value
        if value != last.value and abs(full / value - 1) < _NEAR / 2:
            return [replace(first, kind="q", unit=unit), *tokens[1:-1], replace(last, value=value)]
    return None


def _has_decimals(token: Token) -> bool:
    return token.value.as_tuple().exponent != 0
