"""Labels of train.csv: which of their writings are understood, and what they mean."""

import re
from decimal import Decimal

from src.entities import ALLOWED_UNITS, ENTITY_UNITS
from src.reading.quantity import MEANT, Quantity
from src.reading.units import BY_NAME, unit_at

_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,2})?"
_UNIT = r"([^0-9\s][^0-9]{0,30})"
_LABEL = re.compile(rf"({_NUMBER})\s*{_UNIT}")
_LABEL_LIST = re.compile(rf"\[({_NUMBER}), ({_NUMBER})\]\s*{_UNIT}")
_LABEL_RANGE = re.compile(rf"({_NUMBER})\s*{_UNIT} to ({_NUMBER})\s*{_UNIT}")

USABLE_REASONS = frozenset({"ok", "empty", "range", "spelling", "unit repaired"})
"""Reasons of `normalise_label` whose label can be trained on."""


def normalise_label(value: str, entity: str) -> tuple[str, str]:
    """Bring a label of ``train.csv`` to canonical text; return ``(label, reason)``.

    The empty label is a valid one ("not visible"). Ranges take the higher value (the organisers' advice); a
    spelling of a unit (14 lbs) becomes the unit; a unit of another entity that can only be meant so is
    repaired. ``reason`` is one of `USABLE_REASONS`, or ``unit of another entity``, ``unknown unit``,
    ``unknown entity``, ``units differ``, ``not a value``; then the label is empty and the row cannot be used.
    """
    if entity not in ENTITY_UNITS:
        return "", "unknown entity"
    text = " ".join(value.lower().split())
    if not text:
        return "", "empty"
    if match := _LABEL_RANGE.fullmatch(text):
        if match[2] != match[4]:
            return "", "units differ"
        number, unit, reason = max(Decimal(match[1]), Decimal(match[3])), match[2], "range"
    elif match := _LABEL_LIST.fullmatch(text):
        number, unit, reason = max(Decimal(match[1]), Decimal(match[2])), match[3], "range"
    elif match := _LABEL.fullmatch(text):
        number, unit, reason = Decimal(match[1]), match[2], "ok"
    else:
        return "", "not a value"
    if unit not in ALLOWED_UNITS:
        named = unit_at(unit)
        if named is None or named[1] < len(unit):
            return "", "unknown unit"
        spelled = BY_NAME[named[0]]
        unit, reason = spelled.answer or spelled.name, "spelling" if reason == "ok" else reason
        number *= spelled.size / BY_NAME[unit].size if spelled.answer else 1
    if (entity, unit) in MEANT:
        unit, reason = MEANT[entity, unit], "unit repaired"
    if unit not in ENTITY_UNITS[entity]:
        return "", "unit of another entity" if unit in ALLOWED_UNITS else "unknown unit"
    return str(Quantity(number.normalize() if reason == "spelling" else number, unit)), reason
