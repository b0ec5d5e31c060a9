"""Quantities on a picture that can answer a question: what was read, where it stands, which words are near
it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from src.entities import ENTITY_UNITS
from src.reading.lines import Box, ParsedLine
from src.reading.mentions import Mention, is_distance
from src.reading.quantity import Quantity, as_meant, same_amount
from src.reading.units import DIMENSION, SIZE
from src.reading.words import SAID_OF, SIDES

_RIVALS = (
    SIDES,
    frozenset({"load", "breaking", "weight", "net", "gross", "drained"}),
    frozenset({"input", "output"}),
    frozenset({"equal", "replaces"}),
)
"""Groups of kinds that exclude each other: a quantity's own word overrides a neighbour's."""
_SHORT = 12
"""Most characters of a line that is the name of a side and nothing else."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mention that fits a question, in the line it is part of.

    ``quantity``: what it means for the question. ``line``: that line's number, ``rank``: among the candidates
    in reading order, ``box``: the mention's part of the line. ``keywords``: the kinds of words
    (`words.KINDS`) that belong to it (1.0) or stand in a line next to it (0.5).
    """

    quantity: Quantity
    reading: ParsedLine
    mention: Mention
    line: int
    rank: int
    box: Box
    keywords: dict[str, float]


def candidates(found: Sequence[ParsedLine], entity: str) -> list[Candidate]:
    """Return the quantities of `readings` that fit ``entity``, in reading order; none for an unknown
    entity."""
    units = ENTITY_UNITS.get(entity, ())
    fitting: list[Candidate] = []
    for line, reading in enumerate(found):
        near: dict[str, float] | None = None
        for mention in reading.mentions:
            quantity = as_meant(mention.quantity, entity)
            if quantity.unit not in units or quantity.number <= 0 or _is_weighed(mention, reading, entity):
                continue
            near = _words_near(found, reading) if near is None else near
            words = _words_of(mention, near)
            if is_distance(mention, words):
                continue
            fitting.append(
                Candidate(quantity, reading, mention, line, len(fitting), part_of(reading, mention), words)
            )
    return fitting


def _is_weighed(mention: Mention, reading: ParsedLine, entity: str) -> bool:
    """Whether ounces are no fluid ounces, because the line gives them in grams, too."""
    if entity != "item_volume" or mention.quantity.unit != "ounce":
        return False
    grams = (m.quantity for m in reading.mentions if m.quantity.unit in ("gram", "kilogram"))
    return any(same_amount(mention.quantity, other) for other in grams)


def part_of(reading: ParsedLine, mention: Mention) -> Box:
    """Return the part of a line's box that a mention takes, by its share of the characters."""
    left, top, right, bottom = reading.box
    if reading.vertical:
        return reading.box
    length = max(len(reading.text), mention.end)
    start, end = mention.start / length, mention.end / length
    return Box(left + start * (right - left), top, left + end * (right - left), bottom)


def _words_of(mention: Mention, near: dict[str, float]) -> dict[str, float]:
    """Return a mention's own kinds of words, and those near it that do not contradict them."""
    taken = frozenset[str]().union(*(rivals for rivals in _RIVALS if rivals & mention.labels))
    can_be = SAID_OF[DIMENSION[mention.quantity.unit]]
    words = {kind: weight for kind, weight in near.items() if kind in can_be - taken}
    return words | dict.fromkeys(mention.labels, 1.0)


def _words_near(found: Sequence[ParsedLine], own: ParsedLine) -> dict[str, float]:
    """Return how strongly words of neighbouring lines apply.

    1.0 for a label on the left, a short name of a side above, or a word for loads in a heading or caption;
    else 0.5.
    """
    words: dict[str, float] = {}
    for other in found:
        if other is own or not other.heading:
            continue
        across, down = own.box.gaps(other.box)
        above, below = own.box.top - other.box.bottom, other.box.top - own.box.bottom
        is_label = not any(character.isdigit() for character in other.text)  # as in a table of specifications
        is_row = down < -0.5 * min(own.size, other.size)
        is_left = is_row and 0 <= own.box.left - other.box.right + 0.02 < (0.4 if is_label else 0.15)
        size, reach = max(own.size, other.size), 1.0 if other.mentions else 3.5
        is_above = across < 0 and -0.5 * own.size < above < 1.2 * own.size
        is_heading = across < 0 and -0.5 * size < above < reach * size
        is_below = across < 0 and -0.5 * own.size < below < 0.8 * own.size and not other.mentions
        if is_above or is_heading or is_below:
            belongs_below = _belongs_below(other, found)  # asked of near lines only: it looks at all lines
            is_above, is_heading = is_above and belongs_below, is_heading and belongs_below
            is_below = is_below and not belongs_below
        for kind in other.heading:
            if kind in ("load", "breaking") and (is_left or is_heading or is_below):
                words[kind] = 1.0
            elif is_left or is_above or is_below:
                is_name = is_left or (is_above and kind in SIDES and len(other.text) <= _SHORT)
                words[kind] = max(1.0 if is_label and is_name else 0.5, words.get(kind, 0.0))
    return words


def _belongs_below(label: ParsedLine, found: Sequence[ParsedLine]) -> bool:
    """Tell whether the nearest line with quantities below a label is at least as near as the nearest one
    above it."""
    lines = [
        line for line in found if line is not label and line.mentions and line.box.gaps(label.box)[0] < 0
    ]
    gaps = [(line.box.top >= label.box.top, max(0.0, label.box.gaps(line.box)[1])) for line in lines]
    above, below = (
        min([gap for is_below, gap in gaps if is_below == side], default=1.0) for side in (False, True)
    )
    return min(below, 1.0) <= min(above, 1.0)


def is_same(first: Candidate, second: Candidate) -> bool:
    """Whether two candidates say the same twice, or in two units (as `same_amount`, or rounding of the
    coarser one)."""
    a, b = first.quantity, second.quantity
    flags = first.mention.flags | second.mention.flags
    if first.line == second.line and abs(first.rank - second.rank) == 1 and "converted" in flags:
        return max(a.amount, b.amount) < Decimal("1.25") * min(a.amount, b.amount)
    if a.unit == b.unit:
        return a.number == b.number
    if DIMENSION[a.unit] != DIMENSION[b.unit]:
        return False
    return same_amount(a, b) or abs(a.amount - b.amount) <= max(_half_step(a), _half_step(b))


def _half_step(quantity: Quantity) -> Decimal:
    """Half of a number's last printed digit, in base units."""
    exponent = min(0, int(quantity.number.as_tuple().exponent))
    return Decimal(5).scaleb(exponent - 1) * SIZE[quantity.unit]
