"""Units in a text: `unit_at` finds the unit at a place of it.

In "500 Gms", at 4, it is "gram", and ends at 7. The spellings stand in `src.units`.
"""

import re
from decimal import Decimal

from src.entities import ENTITIES
from src.units import UNITS, Unit

ALLOWED_UNITS: frozenset[str] = frozenset(unit for entity in ENTITIES.values() for unit in entity.units)
"""All units that an answer may use."""
MARKS = ("inch mark", "foot mark")
"""Units that are signs, not words: a letter may follow them."""
BY_NAME: dict[str, Unit] = {unit.name: unit for unit in UNITS}
"""All units by name."""
DIMENSION: dict[str, str] = {unit.name: unit.dimension for unit in UNITS}
"""Dimension of each unit."""
SIZE: dict[str, Decimal] = {unit.name: unit.size for unit in UNITS}
"""Size of each unit, in metres, grams, millilitres, volts or watts."""

_ENDS = r"(?![a-zа-яµμ²³])(?!(?<=[fmn])\s?[23]\b(?![.,/]))"
"""Pattern of the end of a unit: no letter follows, and no exponent (cm2, m³)."""
_NOUNS = (
    r"(?:l?ith|li-?ion|ion|lxt|max|cordless|brushless|batter|led|bulb|lamp|light|solar|power|motor|fast|output"
    r"|input|adapter|charger|heat|jar|bottle|can\b|bag|pack|tub\b|tube|box|pouch|cup|tumbler|glass|mug|net"
    r"|total|each|approx|capacity|weight|load|usb|one\+|a{2,3}\b|wide\b|high\b|tall\b|long\b|deep\b|dia)"
)
_GLUED = (
    r"(?=e(?:net|(?![a-z])))(?<=[0-9][gl])|(?=e(?:net|(?![a-z])))(?<=[0-9][kcm][gl])"  # the e-mark: 500ge
    rf"|(?<=[0-9][vwgl])(?={_NOUNS})|(?<=[0-9](?:oz|ml|kg|lb|cm|mm|in|ft))(?={_NOUNS})"  # 18VLITHIUM
    rf"|(?<=[0-9]inch)(?={_NOUNS})"
    r"|(?<=[0-9](?:oz|ml|kg|lb|cm|mm))(?=[a-z]{3})(?<!oz(?=o))"  # no word begins with these
    r"|(?<=[0-9]v)(?=[b-df-hj-np-tv-xz][a-z])"  # nor with V or W and these
    r"|(?<=[0-9]w)(?=[b-dfgj-np-qs-tvxz][a-z])"
    r"|(?<=[0-9](?:cm|mm|in|ft))(?=(?-i:[LWHDBT])(?![a-z0-9]))"  # 20cmH: the letter of an axis
    r"|(?=x\s?[0-9])"
)
"""Pattern of what may follow a unit without a gap if it follows its number without one: 33OZJAR, 20cmH."""
_GROUPS = [f"(?P<unit_{number}>{unit.spellings})" for number, unit in enumerate(UNITS)]
_WORDS = "|".join(group for group, unit in zip(_GROUPS, UNITS, strict=True) if unit.name not in MARKS)
_MARKS = "|".join(group for group, unit in zip(_GROUPS, UNITS, strict=True) if unit.name in MARKS)
_UNIT = re.compile(rf"(?:(?:{_WORDS})(?:{_ENDS}|{_GLUED})|{_MARKS})", re.IGNORECASE)


def unit_at(text: str, at: int = 0) -> tuple[str, int] | None:
    """Return the name of the unit whose spelling begins at ``at`` and where it ends; None without one."""
    match = _UNIT.match(text, at)
    if match is None or match.lastgroup is None:
        return None
    return UNITS[int(match.lastgroup.removeprefix("unit_"))].name, match.end()
