"""What lines of text say together: a number and its unit in two lines, a unit stated once for all, misread signs."""

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from src.reading.lines import Reading, lines_in_order
from src.reading.mentions import Mention, find_quantities
from src.reading.quantity import Quantity, same_amount
from src.reading.units import UNIT

_BARE = re.compile(r"\W{0,2}([0-9]{1,5}(?:[.,][0-9]{1,3})?)\W{0,2}")
_BARE_ONES = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,3})?(?:\s?[x×*~–-]\s?[0-9]{1,5}(?:\.[0-9]{1,3})?){1,2}", re.IGNORECASE)
_LAST = re.compile(r"(?:^|[^0-9.,a-z])([0-9]{1,5}(?:[.,][0-9]{1,3})?)\W{0,2}$", re.IGNORECASE)
_MARKED_INCH = re.compile(r"[0-9]\s?(?:[\"“”″]|'')")
_GENERAL_UNIT = re.compile(r"(?:unit|einheit|unidad|unit[eéà]|单位|\()\W{0,3}(cm|mm|inch(?:es)?|in)\b", re.IGNORECASE)
_LABEL_UNIT = re.compile(
    r"[a-zа-я一-鿿]\W{0,2}[(\[（/:,]\s?(kgs?|g|mg|lbs?|oz|ml|l|cm|mm|m|inch(?:es)?|in|v|w|kw|volts?|watts?|grams?|pounds?|кг|г|мл|см|мм|в|вт)"
    r"\s?[~)\]）]{0,2}\W?$",
    re.IGNORECASE,
)
"""At the end of a label: ``Net weight(kg)``, ``Rated Voltage(V~)``."""
_SHORT_WORDS = ("in", "m", "l", "g", "w", "t")
"""Units that begin a line as words of their own, or as letters for axes: they need to stand alone."""
_HOSES = (25, 50, 75, 100, 150, 200)
"""Lengths in feet that things longer than a room come in."""


def readings(lines: Sequence[Sequence], width: int, height: int) -> list[Reading]:
    """Lines of `ocr.Line` in reading order, quantities found, also those that several lines make up together.

    ``width`` and ``height`` of the picture in the pixels of the boxes.
    """
    width, height = max(1, width), max(1, height)
    found = _join_units(lines_in_order(lines, width, height), width / height)
    return _with_thousands(_with_lone_primes(_with_lost_c(_with_general_unit(found))))


def _join_units(found: list[Reading], aspect: float) -> list[Reading]:
    """Read ``500`` beside or above ``ml`` as one quantity of the number's line.

    Its unit may also begin the line below (``1570`` over ``Watt Motor``), or stand in its label (``Net weight(kg)``).
    """
    joined = list(found)
    for i, number in enumerate(found):
        last = None if number.mentions else _LAST.search(number.text)
        if last is None:
            continue
        nearest: tuple[float, list[Mention]] | None = None
        for other in found:
            distance = None if other is number else _distance(number, other, aspect)
            if distance is None or (nearest and distance >= nearest[0]):
                continue
            if unit := _unit_for(number, other, aspect):
                several = _BARE_ONES.fullmatch(number.text)
                if both := find_quantities(f"{number.text if several else last[1]} {unit}"):
                    nearest = distance, both if several else both[:1]
        if nearest:
            joined[i] = replace(number, mentions=nearest[1])
    return joined


def _gaps(number: Reading, other: Reading, aspect: float) -> tuple[float, float]:
    """What is between two boxes, across and down, in shares of the picture's height; negative where they overlap."""
    across = (max(number.box.left, other.box.left) - min(number.box.right, other.box.right)) * aspect
    return across, max(number.box.top, other.box.top) - min(number.box.bottom, other.box.bottom)


def _distance(number: Reading, other: Reading, aspect: float) -> float | None:
    """How far another line is from a number; None for one that cannot belong to it."""
    across, down = _gaps(number, other, aspect)
    size = max(number.size, other.size)
    row = down < -0.3 * min(number.size, other.size)
    if (row and across < 12 * size) or (across < 0 and down < 1.5 * size):
        above = 0.0 if row or other.box.top > number.box.top else 0.5 * size  # units are rather below
        return across + down + above
    return None


def _unit_for(number: Reading, other: Reading, aspect: float) -> str:
    """The unit that a line gives to a number near it; empty when it gives none."""
    across, down = _gaps(number, other, aspect)
    size = max(number.size, other.size)
    row, column = down < -0.3 * min(number.size, other.size), across < 0
    beside = row and across < 1.2 * size and other.box.left > number.box.left
    stacked = column and down < 0.8 * size  # below, or above where the text runs upwards
    has_digits = re.search("[0-9]", other.text) is not None
    is_axis = stacked and not beside and re.fullmatch(r"\W*[LWHDTG]\W*", other.text) is not None
    if (beside or stacked) and not (is_axis or other.mentions or has_digits) and len(other.text) <= 14:
        unit = UNIT.match(other.text.strip())
        if unit and unit.end() >= 0.6 * len(other.text.strip()):
            return other.text
    below = stacked and other.box.top > number.box.top and 0.3 < other.size / max(number.size, 1e-6) < 1.7
    if below and (unit := UNIT.match(other.text)):
        # A sentence goes on in the next line; a bare number has its unit there, with a word or two.
        in_sentence = _BARE.fullmatch(number.text) is None
        alone = len(unit[0]) < len(other.text) and unit[0].strip(".").lower() in _SHORT_WORDS
        if not alone and (in_sentence or not other.mentions):
            return unit[0]
    is_bare = _BARE.fullmatch(number.text) is not None or _BARE_ONES.fullmatch(number.text) is not None
    is_label = is_bare and not other.mentions and not has_digits
    left = row and other.box.left < number.box.left
    above = column and other.box.top < number.box.top and down < 1.5 * size
    if is_label and (left or above) and (unit := _LABEL_UNIT.search(other.text)):
        return unit[1]
    return ""


def _with_general_unit(found: list[Reading]) -> list[Reading]:
    """Give bare numbers the unit that the picture states for all (``Unit: mm``).

    Inches, too, where another number has their mark: OCR reads it as a degree sign, or not at all.
    """
    unit = next((m[1] for r in found if not r.mentions and (m := _GENERAL_UNIT.search(r.text))), None)
    if unit is None and any(_MARKED_INCH.search(r.text) for r in found):
        unit = "inch"
    if unit is None:
        return found
    with_unit = []
    for reading in found:
        if not reading.mentions and (number := _BARE.fullmatch(reading.text)):
            mentions = find_quantities(f"{number[1]} {unit}")
            reading = replace(reading, mentions=[replace(m, flags=m.flags | {"borrowed"}) for m in mentions])
        with_unit.append(reading)
    return with_unit


def _with_lost_c(found: list[Reading]) -> list[Reading]:
    """Read ``60.2m`` beside ``45cm`` as centimetres: OCR loses the c more often than products are that long."""
    lengths = [m.quantity for r in found for m in r.mentions if m.is_length]
    others = [q.amount for q in lengths if q.unit in ("centimetre", "millimetre", "inch")]
    if not others:
        return found

    def mended(mention: Mention) -> Mention:
        quantity = mention.quantity
        if quantity.unit != "metre" or quantity.number < max(Decimal(10), 10 * max(others)):
            return mention
        return replace(mention, quantity=Quantity(quantity.number, "centimetre"), flags=mention.flags | {"borrowed"})

    return [replace(reading, mentions=[mended(m) for m in reading.mentions]) for reading in found]


def _with_lone_primes(found: list[Reading]) -> list[Reading]:
    """Read ``46'`` as inches where it can hardly be feet: OCR loses one of two primes."""
    lengths = [(m, m.quantity) for r in found for m in r.mentions]
    inches = [q for m, q in lengths if q.unit == "inch" or ("prime" in m.flags and _is_long(q.number))]

    def mended(reading: Reading, mention: Mention) -> Mention:
        feet = mention.quantity
        if "prime" not in mention.flags or any("compound" in m.flags for m in reading.mentions):
            return mention
        odd = feet.number % 1 not in (0, Decimal("0.5")) and any(not same_amount(feet, other) for other in inches)
        return replace(mention, quantity=Quantity(feet.number, "inch")) if _is_long(feet.number) or odd else mention

    return [replace(reading, mentions=[mended(reading, m) for m in reading.mentions]) for reading in found]


def _is_long(feet: Decimal) -> bool:
    return feet > 20 and feet not in _HOSES


def _with_thousands(found: list[Reading]) -> list[Reading]:
    """Let another unit on the picture decide whether ``1.000 g`` is 1 or 1000 gram, and ``1,500 kg`` 1500 or 1.5."""
    others = [m.quantity for r in found for m in r.mentions if "thousand" not in m.flags]

    def mended(mention: Mention) -> Mention:
        quantity = mention.quantity
        if "thousand" not in mention.flags:
            return mention
        factor = Decimal(1000) if quantity.number < 1000 else Decimal("0.001")
        other_way = Quantity((quantity.number * factor).normalize(), quantity.unit)
        rivals = [o for o in others if o.unit != quantity.unit]
        if any(same_amount(quantity, o) for o in rivals) or not any(same_amount(other_way, o) for o in rivals):
            return mention
        return replace(mention, quantity=other_way)

    return [replace(reading, mentions=[mended(m) for m in reading.mentions]) for reading in found]
