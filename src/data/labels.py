"""Labels of train.csv: the forms of them that are understood, and what they mean."""

import re
from decimal import Decimal

from src.entities import ENTITIES, units_of
from src.reading.quantity import MEANT, Quantity
from src.reading.units import ALLOWED_UNITS, BY_NAME, unit_at

USABLE_REASONS = frozenset({"ok", "empty", "range", "spelling", "unit repaired"})
"""Reasons of `normalise_label` whose label can be trained on."""

_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,2})?"
_UNIT = r"[^0-9\s][^0-9]{0,30}"
_FORMS = (
    re.compile(rf"(?P<number>{_NUMBER})\s*(?P<unit>{_UNIT})"),  # 12.5 inch
    re.compile(rf"\[(?P<number>{_NUMBER}), (?P<end>{_NUMBER})\]\s*(?P<unit>{_UNIT})"),  # [100.0, 240.0] volt
    re.compile(  # 1.5 inch to 2 inch
        rf"(?P<number>{_NUMBER})\s*(?P<unit>{_UNIT}) to (?P<end>{_NUMBER})\s*(?P<end_unit>{_UNIT})"
    ),
)


def normalise_label(value: str, entity: str) -> tuple[str, str]:
    """Bring a label of ``train.csv`` to canonical text; return ``(label, reason)``.

    The empty label is a valid one ("not visible"). Ranges take the higher value (the organisers' advice); a
    spelling of a unit (14 lbs) becomes the unit; a unit of another entity that can only be meant so is
    repaired. ``reason`` is one of `USABLE_REASONS`, or ``unit of another entity``, ``unknown unit``,
    ``unknown entity``, ``units differ``, ``not a value``; then the label is empty and the row cannot be used.
    """
    if entity not in ENTITIES:
        return "", "unknown entity"
    text = " ".join(value.lower().split())
    if not text:
        return "", "empty"
    number, unit, reason = _parse(text)
    if (entity, unit) in MEANT:
        unit, reason = MEANT[entity, unit], "unit repaired"
    if unit and unit not in units_of(entity):
        unit, reason = "", "unit of another entity" if unit in ALLOWED_UNITS else "unknown unit"
    if not unit:
        return "", reason
    return str(Quantity(number.normalize() if reason == "spelling" else number, unit)), reason


def _parse(text: str) -> tuple[Decimal, str, str]:
    """Return number, unit and reason of a label; the unit is empty where the label cannot be used."""
    match = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
    if match is None:
        return Decimal(), "", "not a value"
    parts = match.groupdict()
    number, unit, reason = Decimal(parts["number"]), parts["unit"], "ok"
    if parts.get("end_unit", unit) != unit:
        return Decimal(), "", "units differ"
    if "end" in parts:
        number, reason = max(number, Decimal(parts["end"])), "range"
    if unit in ALLOWED_UNITS:
        return number, unit, reason
    name, length = unit_at(unit) or ("", 0)
    if length < len(unit):
        return Decimal(), "", "unknown unit"
    spelled = BY_NAME[name]
    if spelled.answer:
        number *= spelled.size / BY_NAME[spelled.answer].size
    return number, spelled.answer or name, "spelling" if reason == "ok" else reason
