"""Repairs of print that OCR damaged, where two units for one amount confirm each other."""

from dataclasses import replace
from decimal import Decimal

from src.reading.tokens import Token
from src.reading.units import DIMENSION, SIZE

_NEAR, _ROUNDED = Decimal("0.02"), Decimal("0.05")
"""Largest relative difference between two units for one amount; the second where the undamaged number has
decimals."""


def repaired(tokens: list[Token]) -> list[Token] | None:
    """Mend one of two units for one amount by the other: 11oz/3.0g is 0.11 oz, 4.5 0 (127 g) is 4.5 oz."""
    first, second = tokens[0], tokens[-1]
    if len(tokens) == 2 and first.unit and second.unit:
        return None  # 2 lb 3.2 oz
    is_torn = any(token.kind in "!w" for token in tokens)
    for damaged, whole in ((first, second), (second, first)):
        is_exact = whole.value.as_tuple().exponent != 0
        tolerated = _ROUNDED if damaged.unit == "metre" or (damaged.unit and is_exact) else _NEAR
        for value, unit in _meanings(damaged, is_torn, is_exact) if whole.unit else ():
            if unit == whole.unit or DIMENSION[unit] != DIMENSION[whole.unit]:
                continue
            if abs(value * SIZE[unit] / (whole.value * SIZE[whole.unit]) - 1) < tolerated:
                mended = replace(damaged, kind="q", value=value, unit=unit)
                return [mended if token is damaged else token for token in tokens]
    return _with_lost_digit(tokens) if is_torn and not first.unit else None


def _with_lost_digit(tokens: list[Token]) -> list[Token] | None:
    """Mend both of two units: a torn unit and the first digit of what confirms it, 4.5 0 (27 g) is 4.5 oz
    (127 g)."""
    first, second = tokens[0], tokens[-1]
    if all(token.kind != "!" for token in tokens) or second.value < 10:
        return None
    for unit in ("ounce", "fluid ounce"):
        if DIMENSION[unit] != DIMENSION.get(second.unit):
            continue
        full = first.value * SIZE[unit] / SIZE[second.unit]
        ten = 10 ** len(str(int(second.value)))
        value = full // ten * ten + second.value
        if value != second.value and abs(full / value - 1) < _NEAR / 2:
            return [replace(first, kind="q", unit=unit), *tokens[1:-1], replace(second, value=value)]
    return None


def _meanings(damaged: Token, is_torn: bool, is_exact: bool) -> list[tuple[Decimal, str]]:
    """Return what a damaged quantity can have been: with a lost point, a lost letter of ml, an unread unit.

    A number without a unit may have any; its last digit may be the unit: g read as 9, oz as 0. A lost point
    is believed where the other number has decimals, or where the number is so large that it changes much.
    """
    value, digits = damaged.value, str(damaged.value)
    meanings = [(value, "millilitre")] if damaged.unit == "metre" else []
    if damaged.unit:
        is_whole = "." not in digits
        powers = [power for power in (10, 100) if is_whole and value % power and (is_exact or value > power)]
        return meanings + [(value / power, damaged.unit) for power in powers]
    if len(digits) < 2 and not is_torn:
        return []
    units = ("ounce", "fluid ounce", "gram", "millilitre", "pound", "kilogram")
    meanings = [(value, unit) for unit in units]
    if len(digits) > 2 and digits[-1] in "90":
        cut = Decimal(int(value) // 10)
        meanings += [(cut, unit) for unit in (("gram",) if digits[-1] == "9" else ("ounce", "fluid ounce"))]
    return meanings
