"""Labels of train.csv: which of their writings are understood, and what they mean."""

import re
from decimal import Decimal

from src.entities import ALLOWED_UNITS, ENTITY_UNITS
from src.reading.quantity import MEANT, Quantity

_LABEL_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,2})?"
_LABEL = re.compile(rf"({_LABEL_NUMBER})\s+([a-z]+(?: [a-z]+)?)")
_LABEL_LIST = re.compile(rf"\[({_LABEL_NUMBER}), ({_LABEL_NUMBER})\]\s+([a-z]+(?: [a-z]+)?)")
_LABEL_RANGE = re.compile(rf"({_LABEL_NUMBER})\s+([a-z]+(?: [a-z]+)?) to ({_LABEL_NUMBER})\s*([a-z]+(?: [a-z]+)?)")


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
    if (entity, unit) in MEANT:
        unit, reason = MEANT[entity, unit], "unit repaired"
    if unit not in ENTITY_UNITS[entity]:
        return "", "unit of another entity" if unit in ALLOWED_UNITS else "unknown unit"
    return str(Quantity(number, unit)), reason


USABLE_REASONS = frozenset({"ok", "empty", "range", "unit repaired"})
"""Reasons of `normalise_label` whose label can be trained on."""
