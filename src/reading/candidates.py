"""The candidates of a question: quantities that fit it, with their place and the words near them."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from src.entities import units_of
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
"""Groups of kinds of words that exclude each other: a quantity's own word overrides a neighbour's."""
_SHORT = 12
"""Most characters of a line that is the name of a side and nothing else."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mention that fits a question, in the line it is part of.

    ``quantity``: the meaning for the question. ``line_number``: the line's place in reading order, ``rank``:
    the place among the candidates, ``box``: the mention's part of the line. ``keywords``: the kinds of words
    (`words.KINDS`) that belong to it (1.0) or stand in a line next to it (0.5).
    """

    quantity: Quantity
    line: ParsedLine
    mention: Mention
    line_number: int
    rank: int
    box: Box
    keywords: dict[str, float]


def candidates(lines: Sequence[ParsedLine], entity: str) -> list[Candidate]:
    """Return the quantities that fit ``entity``, in reading order; none for an unknown entity."""
    units = units_of(entity)
    fitting: list[Candidate] = []
    for number, line in enumerate(lines):
        near: dict[str, float] | None = None
        for mention in line.mentions:
            quantity = as_meant(mention.quantity, entity)
            if quantity.unit not in units or quantity.number <= 0 or _is_weight(mention, line, entity):
                continue
            near = _words_near(lines, line) if near is None else near
            words = _words_of(mention, near)
            if not is_distance(mention, words):
                box = part_of(line, mention)
                fitting.append(Candidate(quantity, line, mention, number, len(fitting), box, words))
    return fitting


def _is_weight(mention: Mention, line: ParsedLine, entity: str) -> bool:
    """Tell whether ounces are no fluid ounces, because the line gives them in grams, too."""
    if entity != "item_volume" or mention.quantity.unit != "ounce":
        return False
    grams = (m.quantity for m in line.mentions if m.quantity.unit in ("gram", "kilogram"))
    return any(same_amount(mention.quantity, other) for other in grams)


def part_of(line: ParsedLine, mention: Mention) -> Box:
    """Return the part of a line's box that a mention takes, by its share of the characters."""
    left, top, right, bottom = line.box
    if line.vertical:
        return line.box
    length = max(len(line.text), mention.end)
    start, end = mention.start / length, mention.end / length
    return Box(left + start * (right - left), top, left + end * (right - left), bottom)


def _words_of(mention: Mention, near: dict[str, float]) -> dict[str, float]:
    """Return a mention's line kinds of words, and those near it that do not contradict them."""
    taken = frozenset[str]().union(*(rivals for rivals in _RIVALS if rivals & mention.labels))
    can_be = SAID_OF[DIMENSION[mention.quantity.unit]]
    words = {kind: weight for kind, weight in near.items() if kind in can_be - taken}
    return words | dict.fromkeys(mention.labels, 1.0)


def _words_near(lines: Sequence[ParsedLine], line: ParsedLine) -> dict[str, float]:
    """Return the kinds of words in neighbouring lines, with the strength at which they apply.

    It is 1.0 for a label on the left, a short name of a side above, or a word for loads in a heading or
    caption; else 0.5.
    """
    words: dict[str, float] = {}
    for other in lines:
        if other is line or not other.heading:
            continue
        across, down = line.box.gaps(other.box)
        above, below = line.box.top - other.box.bottom, other.box.top - line.box.bottom
        is_label = not any(character.isdigit() for character in other.text)  # as in a table of specifications
        is_row = down < -0.5 * min(line.size, other.size)
        is_left = is_row and 0 <= line.box.left - other.box.right + 0.02 < (0.4 if is_label else 0.15)
        size, reach = max(line.size, other.size), 1.0 if other.mentions else 3.5
        is_above = across < 0 and -0.5 * line.size < above < 1.2 * line.size
        is_heading = across < 0 and -0.5 * size < above < reach * size
        is_below = across < 0 and -0.5 * line.size < below < 0.8 * line.size and not other.mentions
        if is_above or is_heading or is_below:
            belongs_below = _belongs_below(other, lines)  # asked of near lines only: it looks at all lines
            is_above, is_heading = is_above and belongs_below, is_heading and belongs_below
            is_below = is_below and not belongs_below
        for kind in other.heading:
            if kind in ("load", "breaking") and (is_left or is_heading or is_below):
                words[kind] = 1.0
            elif is_left or is_above or is_below:
                is_name = is_left or (is_above and kind in SIDES and len(other.text) <= _SHORT)
                words[kind] = max(1.0 if is_label and is_name else 0.5, words.get(kind, 0.0))
    return words


def _belongs_below(label: ParsedLine, lines: Sequence[ParsedLine]) -> bool:
    """Tell whether the nearest line with quantities below a label is as near as the nearest one above it."""
    above, below = 1.0, 1.0
    for line in lines:
        if line is label or not line.mentions or line.box.gaps(label.box)[0] >= 0:
            continue
        gap = max(0.0, label.box.gaps(line.box)[1])
        if line.box.top >= label.box.top:
            below = min(below, gap)
        else:
            above = min(above, gap)
    return below <= above


def is_same(first: Candidate, second: Candidate) -> bool:
    """Tell whether two candidates say the same amount, twice or in two units.

    As `same_amount`, or rounded in the coarser unit.
    """
    a, b = first.quantity, second.quantity
    flags = first.mention.flags | second.mention.flags
    if (
        first.line_number == second.line_number
        and abs(first.rank - second.rank) == 1
        and "converted" in flags
    ):
        return max(a.amount, b.amount) < Decimal("1.25") * min(a.amount, b.amount)
    if a.unit == b.unit:
        return a.number == b.number
    if DIMENSION[a.unit] != DIMENSION[b.unit]:
        return False
    return same_amount(a, b) or abs(a.amount - b.amount) <= max(_half_step(a), _half_step(b))


def _half_step(quantity: Quantity) -> Decimal:
    """Return half of a number's last printed digit, in base units."""
    exponent = min(0, int(quantity.number.as_tuple().exponent))
    return Decimal(5).scaleb(exponent - 1) * SIZE[quantity.unit]
