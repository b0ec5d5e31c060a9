"""What lines of text say together: a number and its unit in two lines, a unit stated once for all, misread
signs."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from src.reading.lines import ParsedLine, lines_in_order
from src.reading.mentions import Mention, find_quantities
from src.reading.quantity import Quantity, same_amount
from src.reading.units import unit_at

_NUMBER = r"[0-9]{1,5}(?:[.,][0-9]{1,3})?"
_BARE = re.compile(rf"\W{{0,2}}({_NUMBER})\W{{0,2}}")
_BARE_ONES = re.compile(rf"{_NUMBER}(?:\s?[x×*~–-]\s?{_NUMBER}){{1,2}}", re.IGNORECASE)
_LAST = re.compile(rf"(?:^|[^0-9.,a-z])({_NUMBER})\W{{0,2}}$", re.IGNORECASE)
_MARKED_INCH = re.compile(r"[0-9]\s?(?:[\"“”″]|'')")
_GENERAL_UNIT = re.compile(
    r"(?:unit|einheit|unidad|unit[eéà]|单位|\()\W{0,3}(cm|mm|inch(?:es)?|in)\b", re.IGNORECASE
)
_LABEL_UNIT = re.compile(
    r"[a-zа-я一-鿿]\W{0,2}[(\[（/:,]\s?(kgs?|g|mg|lbs?|oz|ml|l|cm|mm|m|inch(?:es)?|in|v|w|kw|volts?|watts?|grams?|pounds?"
    r"|кг|г|мл|см|мм|в|вт)\s?[~)\]）]{0,2}\W?$",
    re.IGNORECASE,
)
"""Matches the unit at the end of a label: ``Net weight(kg)``, ``Rated Voltage(V~)``."""
_SHORT_WORDS = ("in", "m", "l", "g", "w", "t")
"""Units that are words or letters for sides where they begin a longer line."""
_CONTINENTAL = re.compile(
    r"[0-9],[0-9]{1,2}(?![0-9])"
    r"|\b(?:und|mit|für|max\. [0-9]\.|der|die|con|para|por|avec|pour|peso|poids|gewicht|inhalt|potencia|leistung"
    r"|netto)\b",
    re.IGNORECASE,
)
"""Matches print in a language with a decimal comma."""
_LONGEST_BARE = 10_000
"""Smallest number that is a code where it stands without a unit."""
_HOSES = (25, 50, 75, 100, 150, 200)
"""Lengths in feet that are common for hoses and cables."""


def parse_lines(lines: Sequence[Sequence], width: int, height: int) -> list[ParsedLine]:
    """Return the lines of a picture in reading order with all quantities, also those that several lines state
    together.

    ``lines``: see `retry_passes.Line`; ``width`` and ``height``: the picture's size in pixels.
    """
    width, height = max(1, width), max(1, height)
    found = lines_in_order(lines, width, height)
    found = _join_units(found, width / height)
    found = _with_general_unit(found)
    for mend in (_lost_c, _lone_prime, _thousand):
        found = [replace(line, mentions=tuple(mend(m, found) for m in line.mentions)) for line in found]
    return _with_legends(found, width / height)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a line stands to another; distances in shares of the picture's height, negative where they
    overlap."""

    across: float
    down: float
    size: float  # of the larger letters
    is_row: bool
    is_left: bool  # the other line begins left of this one
    is_above: bool

    @classmethod
    def of(cls, line: ParsedLine, other: ParsedLine, aspect: float) -> "_Place":
        across, down = line.box.gaps(other.box)
        is_row = down < -0.3 * min(line.size, other.size)
        is_left, is_above = other.box.left < line.box.left, other.box.top <= line.box.top
        return cls(across * aspect, down, max(line.size, other.size), is_row, is_left, is_above)

    @property
    def is_column(self) -> bool:
        return self.across < 0

    @property
    def distance(self) -> float | None:
        """Return the gap, larger for a line above, as units rather stand below; None for lines too far
        apart."""
        if (self.is_row and self.across < 12 * self.size) or (self.is_column and self.down < 1.5 * self.size):
            return self.across + self.down + (0.5 * self.size if self.is_above and not self.is_row else 0.0)
        return None


def _join_units(found: list[ParsedLine], aspect: float) -> list[ParsedLine]:
    """Read ``500`` beside or above ``ml`` as one quantity of the number's line.

    Its unit may also begin the line below (``1570`` over ``Watt Motor``), or stand in its label (``Net
    weight(kg)``).
    """
    joined = list(found)
    for i, number in enumerate(found):
        last = None if number.mentions else _LAST.search(number.text)
        if last is None:
            continue
        nearest: tuple[float, tuple[Mention, ...]] | None = None
        for other in found:
            place = _Place.of(number, other, aspect)
            if other is number or place.distance is None or (nearest and place.distance >= nearest[0]):
                continue
            unit = next((unit for source in _UNIT_SOURCES if (unit := source(number, other, place))), "")
            several = _BARE_ONES.fullmatch(number.text)
            if unit and (both := find_quantities(f"{number.text if several else last[1]} {unit}")):
                at = 0 if several else last.start(1)
                both = both if several else both[:1]
                nearest = place.distance, tuple(replace(m, start=m.start + at, end=m.end + at) for m in both)
        if nearest:
            joined[i] = replace(number, mentions=nearest[1])
    return joined


def _unit_alone(number: ParsedLine, other: ParsedLine, place: _Place) -> str:
    """Return the unit of a line that is nothing else: ``ml`` beside or below a number."""
    beside = place.is_row and place.across < 1.2 * place.size and not place.is_left
    stacked = place.is_column and place.down < 0.8 * place.size  # below, or above where the text runs upwards
    text = other.text.strip()
    is_axis = stacked and not beside and re.fullmatch(r"\W*[LWHDTG]\W*", text) is not None
    if not (beside or stacked) or is_axis or other.mentions or re.search("[0-9]", text) or len(text) > 14:
        return ""
    unit = unit_at(text)
    return text if unit and unit[1] >= 0.6 * len(text) else ""


def _unit_below(number: ParsedLine, other: ParsedLine, place: _Place) -> str:
    """Return the unit that begins the line below: ``Watt Motor``, or the rest of a sentence."""
    is_like = 0.3 < other.size / max(number.size, 1e-6) < 1.7
    if not (place.is_column and place.down < 0.8 * place.size and not place.is_above and is_like):
        return ""
    unit = unit_at(other.text)
    if unit is None or (_BARE.fullmatch(number.text) and other.mentions):
        return ""
    spelling = other.text[: unit[1]]
    alone = len(spelling) < len(other.text) and spelling.strip(".").lower() in _SHORT_WORDS
    return "" if alone else spelling


def _unit_in_label(number: ParsedLine, other: ParsedLine, place: _Place) -> str:
    """Return the unit that ends a label to the left or above: ``Net weight(kg)``."""
    is_bare = _BARE.fullmatch(number.text) or _BARE_ONES.fullmatch(number.text)
    left = place.is_row and place.is_left
    above = place.is_column and place.is_above and place.down < 1.5 * place.size
    if not is_bare or other.mentions or re.search("[0-9]", other.text) or not (left or above):
        return ""
    unit = _LABEL_UNIT.search(other.text)
    return unit[1] if unit else ""


_UNIT_SOURCES = (_unit_alone, _unit_below, _unit_in_label)
"""Ways in which a line gives its unit to a number near it, in the order in which they are tried."""


def _with_general_unit(found: list[ParsedLine]) -> list[ParsedLine]:
    """Give bare numbers the unit that the picture states for all (``Unit: mm``).

    Inches, too, where another number has their mark: OCR reads it as a degree sign, or not at all.
    """
    stated = (m[1] for r in found if not r.mentions and (m := _GENERAL_UNIT.search(r.text)))
    marked = ("inch" for r in found if _MARKED_INCH.search(r.text))
    unit = next(itertools.chain(stated, marked), "")
    return [_with_unit(reading, unit) for reading in found] if unit else found


def _with_unit(line: ParsedLine, unit: str) -> ParsedLine:
    number = None if line.mentions else _BARE.fullmatch(line.text)
    if number is None or float(number[1].replace(",", ".")) >= _LONGEST_BARE:
        return line
    mentions = find_quantities(f"{number[1]} {unit}")
    return replace(line, mentions=tuple(replace(m, flags=m.flags | {"borrowed"}) for m in mentions))


def _quantities(found: Iterable[ParsedLine], *units: str) -> list[Quantity]:
    """Return all quantities in ``units``."""
    return [m.quantity for line in found for m in line.mentions if m.quantity.unit in units]


def _lost_c(mention: Mention, found: list[ParsedLine]) -> Mention:
    """Read ``60.2m`` beside ``45cm`` as centimetres: OCR loses the c more often than products are that
    long."""
    quantity = mention.quantity
    if quantity.unit != "metre" or quantity.number < 10 or "length" in mention.labels:
        return mention
    others = [other.amount for other in _quantities(found, "centimetre", "millimetre", "inch")]
    if not others or quantity.number < 10 * max(others):
        return mention
    return replace(
        mention, quantity=Quantity(quantity.number, "centimetre"), flags=mention.flags | {"borrowed"}
    )


def _lone_prime(mention: Mention, found: list[ParsedLine]) -> Mention:
    """Read ``46'`` as inches where it can hardly be feet: OCR loses one of two primes."""
    feet = mention.quantity
    if "prime" not in mention.flags or any(
        mention in line.mentions and _has_compound(line) for line in found
    ):
        return mention
    primes = [m.quantity for line in found for m in line.mentions if "prime" in m.flags]
    inches = _quantities(found, "inch") + [other for other in primes if _is_long(other.number)]
    odd = feet.number % 1 not in (0, Decimal("0.5")) and any(not same_amount(feet, other) for other in inches)
    return (
        replace(mention, quantity=Quantity(feet.number, "inch")) if _is_long(feet.number) or odd else mention
    )


def _has_compound(line: ParsedLine) -> bool:
    return any("compound" in mention.flags for mention in line.mentions)


def _is_long(feet: Decimal) -> bool:
    return feet > 20 and feet not in _HOSES


def _thousand(mention: Mention, found: list[ParsedLine]) -> Mention:
    """Decide whether ``1.000 g`` is 1 or 1000 gram, and ``1,500 kg`` 1500 or 1.5.

    Another unit for the same amount decides; else small numbers are thousands where print has a decimal
    comma.
    """
    quantity = mention.quantity
    if "thousand" not in mention.flags:
        return mention
    factor = Decimal(1000) if quantity.number < 1000 else Decimal("0.001")
    other_way = Quantity((quantity.number * factor).normalize(), quantity.unit)
    rivals = [m.quantity for line in found for m in line.mentions if "thousand" not in m.flags]
    rivals = [rival for rival in rivals if rival.unit != quantity.unit]
    if any(same_amount(quantity, rival) for rival in rivals):
        return mention
    confirmed = any(same_amount(other_way, rival) for rival in rivals)
    is_small = quantity.number < 1000 and quantity.unit in ("gram", "millilitre", "millimetre", "watt")
    continental = is_small and any(_CONTINENTAL.search(line.text) for line in found)
    return replace(mention, quantity=other_way) if confirmed or continental else mention


def _with_legends(found: list[ParsedLine], aspect: float) -> list[ParsedLine]:
    """Give the sides of a product the names in the nearest legend beside, above or below it: ``W x D x H``
    over it."""
    legends = [reading for reading in found if reading.legend]
    return [_named(reading, legends, aspect) for reading in found] if legends else found


def _named(line: ParsedLine, legends: Sequence[ParsedLine], aspect: float) -> ParsedLine:
    sides = {m.sides for m in line.mentions if m.sides}
    if any(m.labels for m in line.mentions if m.sides):
        return line
    near: list[tuple[float, ParsedLine]] = []
    for legend in legends:
        distance = _Place.of(line, legend, aspect).distance
        if distance is not None and {len(legend.legend)} == sides:
            near.append((distance, legend))
    if not near:
        return line
    names = min(near, key=lambda pair: pair[0])[1].legend
    named = (replace(m, labels=m.labels | names[m.side]) if m.sides else m for m in line.mentions)
    return replace(line, mentions=tuple(named))
