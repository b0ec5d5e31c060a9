"""All quantities of an image: `parse_lines` relates its text lines to each other.

Lines often make sense only together: "500" beside "ml", "11.5" right of the label "Net weight(kg)", "120" on
an image that says "Unit: mm", "50 x 35 x 80 cm" below the legend "W x D x H". And one line tells how to read
another: beside "45cm", "60.2m" has lost a c.
"""

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from src.reading.lines import ParsedLine, lines_in_order
from src.reading.mentions import Mention, find_quantities, with_names
from src.reading.quantity import Quantity, same_amount
from src.reading.units import unit_at


def parse_lines(lines: Iterable[Sequence[Any]], width: int, height: int) -> list[ParsedLine]:
    """Return the lines of an image in reading order with all quantities, also those that several lines state.

    ``lines``: `lines.TextLine`, or lists of the same. ``width``, ``height``: of the image, in pixels.
    """
    width, height = max(1, width), max(1, height)
    aspect = width / height
    parsed = lines_in_order(lines, width, height)
    parsed = [_with_unit_of_neighbour(line, parsed, aspect) for line in parsed]
    parsed = _with_stated_unit(parsed)
    for correct in _CORRECTIONS:
        parsed = [replace(line, mentions=tuple(correct(m, parsed) for m in line.mentions)) for line in parsed]
    legends = [line for line in parsed if line.legend]
    return [_with_legend(line, legends, aspect) for line in parsed] if legends else parsed


class _Place(NamedTuple):
    """The place of another line relative to a line; lengths in image heights, negative where they overlap."""

    across: float
    down: float
    size: float  # of the larger letters
    is_row: bool  # the lines stand side by side
    is_column: bool  # one stands above the other
    is_left: bool  # the other line begins left of this one
    is_above: bool

    @classmethod
    def of(cls, other: ParsedLine, line: ParsedLine, aspect: float) -> "_Place":
        """Return the place of ``other``; ``aspect``: the image's width / height."""
        across, down = line.box.gaps(other.box)
        is_row = down < -0.3 * min(line.size, other.size)
        is_left, is_above = other.box.left < line.box.left, other.box.top <= line.box.top
        size = max(line.size, other.size)
        return cls(across * aspect, down, size, is_row, across * aspect < 0, is_left, is_above)

    @property
    def distance(self) -> float:
        """Return the gap: infinite for lines too far apart, larger for a line above, as units stand below."""
        if (self.is_row and self.across < 12 * self.size) or (self.is_column and self.down < 1.5 * self.size):
            return self.across + self.down + (0.5 * self.size if self.is_above and not self.is_row else 0.0)
        return math.inf


# A unit in another line

_NUMBER = r"[0-9]{1,5}(?:[.,][0-9]{1,3})?"
_ONE = re.compile(rf"\W{{0,2}}({_NUMBER})\W{{0,2}}")
_SEVERAL = re.compile(rf"{_NUMBER}(?:\s?[x×*~–-]\s?{_NUMBER}){{1,2}}", re.IGNORECASE)
_LAST = re.compile(rf"(?:^|[^0-9.,a-z])({_NUMBER})\W{{0,2}}$", re.IGNORECASE)
_LABEL_UNIT = re.compile(
    r"[a-zа-я一-鿿]\W{0,2}[(\[（/:,]\s?(kgs?|g|mg|lbs?|oz|ml|l|cm|mm|m|inch(?:es)?|in|v|w|kw|volts?|watts?"
    r"|grams?|pounds?|кг|г|мл|см|мм|в|вт)\s?[~)\]）]{0,2}\W?$",
    re.IGNORECASE,
)
_SHORT_WORDS = ("in", "m", "l", "g", "w", "t")
"""Units that are words or letters for sides where they begin a longer line."""


def _with_unit_of_neighbour(line: ParsedLine, lines: Sequence[ParsedLine], aspect: float) -> ParsedLine:
    """Return a line that ends in a number with the unit of the nearest line; other lines as they are.

    A list, range or product of numbers that fills the line takes the unit as a whole.
    """
    last = None if line.mentions else _LAST.search(line.text)
    if last is None:
        return line
    is_several = _SEVERAL.fullmatch(line.text) is not None
    number, at = (line.text, 0) if is_several else (last[1], last.start(1))
    nearest, mentions = math.inf, tuple[Mention, ...]()
    for other in lines:
        place = _Place.of(other, line, aspect)
        if other is line or place.distance >= nearest:
            continue
        unit = next((unit for source in _UNIT_SOURCES if (unit := source(line, other, place))), "")
        if unit and (with_unit := find_quantities(f"{number} {unit}")):
            nearest, mentions = place.distance, with_unit if is_several else with_unit[:1]
    return replace(line, mentions=tuple(replace(m, start=m.start + at, end=m.end + at) for m in mentions))


def _unit_alone(line: ParsedLine, other: ParsedLine, place: _Place) -> str:
    """Return the unit of a line that is nothing else: "ml" beside or below a number."""
    is_beside = place.is_row and place.across < 1.2 * place.size and not place.is_left
    is_stacked = place.is_column and place.down < 0.8 * place.size  # above where the text runs upwards
    text = other.text.strip()
    is_axis = is_stacked and not is_beside and re.fullmatch(r"\W*[LWHDTG]\W*", text)
    if not (is_beside or is_stacked) or is_axis or _has_numbers(other) or len(text) > 14:
        return ""
    unit = unit_at(text)
    return text if unit and unit[1] >= 0.6 * len(text) else ""


def _unit_below(line: ParsedLine, other: ParsedLine, place: _Place) -> str:
    """Return the unit that begins the line below: "1570" over "Watt Motor", or the rest of a sentence."""
    is_alike = 0.3 < other.size / max(line.size, 1e-6) < 1.7
    if not (place.is_column and place.down < 0.8 * place.size and not place.is_above and is_alike):
        return ""
    unit = unit_at(other.text)
    if unit is None or (_ONE.fullmatch(line.text) and other.mentions):
        return ""
    spelling = other.text[: unit[1]]
    is_word = len(spelling) < len(other.text) and spelling.strip(".").lower() in _SHORT_WORDS
    return "" if is_word else spelling


def _unit_in_label(line: ParsedLine, other: ParsedLine, place: _Place) -> str:
    """Return the unit that ends a label to the left or above: "Net weight(kg)", "Rated Voltage(V~)"."""
    is_bare = _ONE.fullmatch(line.text) or _SEVERAL.fullmatch(line.text)
    is_left = place.is_row and place.is_left
    is_above = place.is_column and place.is_above and place.down < 1.5 * place.size
    unit = _LABEL_UNIT.search(other.text) if is_bare and (is_left or is_above) else None
    return unit[1] if unit and not _has_numbers(other) else ""


def _has_numbers(line: ParsedLine) -> bool:
    return bool(line.mentions) or re.search("[0-9]", line.text) is not None


_UNIT_SOURCES = (_unit_alone, _unit_below, _unit_in_label)
"""Ways in which another line gives a line its unit, in the order in which they are tried."""


# A unit for the whole image

_STATED_UNIT = re.compile(
    r"(?:unit|einheit|unidad|unit[eéà]|单位|\()\W{0,3}(cm|mm|inch(?:es)?|in)\b", re.IGNORECASE
)
_MARKED_INCH = re.compile(r"[0-9]\s?(?:[\"“”″]|'')")
_SMALLEST_CODE = 10_000
"""Number from which on a number without a unit is a code."""


def _with_stated_unit(lines: list[ParsedLine]) -> list[ParsedLine]:
    """Return the lines, bare numbers with the unit that the image states for all: "Unit: mm".

    This is inch where another number has its mark: OCR reads the mark as a degree sign, or not at all.
    """
    stated = (m[1] for line in lines if not line.mentions and (m := _STATED_UNIT.search(line.text)))
    marked = ("inch" for line in lines if _MARKED_INCH.search(line.text))
    unit = next(itertools.chain(stated, marked), "")
    return [_with_unit(line, unit) for line in lines] if unit else lines


def _with_unit(line: ParsedLine, unit: str) -> ParsedLine:
    number = None if line.mentions else _ONE.fullmatch(line.text)
    if number is None or float(number[1].replace(",", ".")) >= _SMALLEST_CODE:
        return line
    mentions = find_quantities(f"{number[1]} {unit}")
    return replace(line, mentions=tuple(replace(m, flags=m.flags | {"borrowed"}) for m in mentions))


# Corrections of a mention by the other lines

_LOCAL_COMMA = re.compile(
    r"[0-9],[0-9]{1,2}(?![0-9])"
    r"|\b(?:und|mit|für|max\. [0-9]\.|der|die|con|para|por|avec|pour|peso|poids|gewicht|inhalt|potencia"
    r"|leistung|netto)\b",
    re.IGNORECASE,
)
"""Matches print in a language with a decimal comma."""
_HOSES = (25, 50, 75, 100, 150, 200)
"""Lengths in feet that are common for hoses and cables."""


def _quantities(lines: Iterable[ParsedLine], *units: str) -> list[Quantity]:
    return [m.quantity for line in lines for m in line.mentions if m.quantity.unit in units]


def _lost_c(mention: Mention, lines: Sequence[ParsedLine]) -> Mention:
    """Read "60.2m" beside "45cm" as centimetres: OCR loses the c more often than products are that long."""
    quantity = mention.quantity
    if quantity.unit != "metre" or quantity.number < 10 or "length" in mention.labels:
        return mention
    others = [other.amount for other in _quantities(lines, "centimetre", "millimetre", "inch")]
    if not others or quantity.number < 10 * max(others):
        return mention
    flags = mention.flags | {"borrowed"}
    return replace(mention, quantity=Quantity(quantity.number, "centimetre"), flags=flags)


def _lost_prime(mention: Mention, lines: Sequence[ParsedLine]) -> Mention:
    """Read "46'" as inches where it can hardly be feet: OCR loses one of two primes."""
    if "prime" not in mention.flags:
        return mention
    if any(mention in line.mentions and any("compound" in m.flags for m in line.mentions) for line in lines):
        return mention
    feet = mention.quantity
    primes = [m.quantity for line in lines for m in line.mentions if "prime" in m.flags]
    inches = _quantities(lines, "inch") + [other for other in primes if _is_long(other)]
    is_odd = feet.number % 1 not in (0, Decimal("0.5")) and any(
        not same_amount(feet, other) for other in inches
    )
    return replace(mention, quantity=Quantity(feet.number, "inch")) if _is_long(feet) or is_odd else mention


def _is_long(feet: Quantity) -> bool:
    return feet.number > 20 and feet.number not in _HOSES


def _thousand(mention: Mention, lines: Sequence[ParsedLine]) -> Mention:
    """Decide whether "1.000 g" is 1 or 1000 gram, and "1,500 kg" 1500 or 1.5.

    The same amount in another unit decides; else small numbers are thousands where print has a decimal comma.
    """
    quantity = mention.quantity
    if "thousand" not in mention.flags:
        return mention
    factor = Decimal(1000) if quantity.number < 1000 else Decimal("0.001")
    changed = Quantity((quantity.number * factor).normalize(), quantity.unit)
    others = [m.quantity for line in lines for m in line.mentions if "thousand" not in m.flags]
    others = [other for other in others if other.unit != quantity.unit]
    if any(same_amount(quantity, other) for other in others):
        return mention
    is_confirmed = any(same_amount(changed, other) for other in others)
    is_small = quantity.number < 1000 and quantity.unit in ("gram", "millilitre", "millimetre", "watt")
    is_local = is_small and any(_LOCAL_COMMA.search(line.text) for line in lines)
    return replace(mention, quantity=changed) if is_confirmed or is_local else mention


_CORRECTIONS = (_lost_c, _lost_prime, _thousand)
"""Corrections of a mention by the other lines, one after the other on all lines; most mentions stay."""


def _with_legend(line: ParsedLine, legends: Sequence[ParsedLine], aspect: float) -> ParsedLine:
    """Return a line with the names of the nearest legend that fits its sides; a line with names stays."""
    if any(mention.sides and mention.labels for mention in line.mentions):
        return line
    places = ((_Place.of(legend, line, aspect).distance, legend.legend) for legend in legends)
    near = ((distance, names) for distance, names in places if distance < math.inf)
    return replace(line, mentions=with_names(line.mentions, near))
