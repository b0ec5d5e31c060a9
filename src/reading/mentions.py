"""Quantities in printed text: every way a value is written on a product, OCR's confusions included."""

import itertools
import re
from dataclasses import dataclass
from decimal import Decimal

from src.reading.amounts import is_no_amount
from src.reading.numbers import next_number, normalised
from src.reading.quantity import Quantity
from src.reading.units import DIMENSION, SIZE, UNIT, name_of


@dataclass(frozen=True, slots=True)
class Mention:
    """A quantity found in a text.

    ``flags``: ``low``/``high`` of a range, ``product`` (a side of L x W x H), ``pack`` (one of several: 12 x 330 ml),
    ``sum``, ``compound`` (2 lb 3 oz as one), ``converted`` (the second of 60 g / 2.1 oz), ``borrowed`` (its unit is
    printed elsewhere), ``prime`` (feet by their mark), ``thousand`` (1.000 or 1,000). ``axis``: a letter printed with
    it (L, W, H, D; Ø for a diameter), else empty. ``side`` counts the sides of a product from 0.
    """

    quantity: Quantity
    start: int
    end: int
    flags: frozenset[str] = frozenset()
    axis: str = ""
    side: int = 0

    @property
    def is_length(self) -> bool:
        """Whether it is one, of whatever axis."""
        return DIMENSION[self.quantity.unit] == "length"


_LONGEST_GAP = 12  # characters between two numbers that belong together
_PRODUCT = re.compile(r"\s*(?:x|\*|by)\s*[(\[]?", re.IGNORECASE)
_RANGE = re.compile(r"\s*(?:-{1,2}|~|÷|to|up to|bis|à)\s*", re.IGNORECASE)
_EITHER = re.compile(r"\s*[/|(=;,]?\s*(?:or|approx\.?|/)?\s*\(?\s*", re.IGNORECASE)
_TOLERANCE = re.compile(r"\s*\(?(±|士|\+\s?/\s?-|\+-)\s*$")
_PER = re.compile(r"\s*(?:/|per|pro)\s*", re.IGNORECASE)
_COMPOUND = re.compile(r"\s*[.,]?\s*(?:-|&|and)?\s*", re.IGNORECASE)
_AXIS = r"(?:L|W|H|D|B|T|Ø|dia|diam)"
_AXIS_BEFORE = re.compile(rf"(?:^|(?<![a-z])|(?<=^x))({_AXIS})\s?[)\]]?\s?[.:=\-]?\s?$", re.IGNORECASE)
_AXIS_AFTER = re.compile(
    r"\s?[(\[]?(L|W|H|D|B|T|Ø|dia)(?:(?![a-z0-9])|(?=(?:cm|mm|inch|in)(?![a-z])))[)\]]?[.:]?", re.IGNORECASE
)
_LETTERED = re.compile(
    r"(?<![a-z0-9])[(\[]?([LWHDBT])\s?[)\]]?[.:=]?\s?[0-9]"
    r"|[0-9]\s?(?:cm|mm|in|inch|ft|'{1,2}|\")?\s?[(\[]?([LWHDBT])(?:(?![a-wyz0-9])|(?=(?:cm|mm|in)\b))",
    re.IGNORECASE,
)
"""A letter for an axis beside a number; with two different ones, times each other, L and W are no units."""
_TIMES = re.compile(
    r"[0-9]\s?[(\[]?[LWHDBT][)\]]?\s?(?:x|\*|/|by)\s?[0-9][0-9.,/ ]{0,8}(?:cm|mm|inch|in|ft|'{1,2}|\")?\s?"
    r"[(\[]?[LWHDBT](?:(?![a-z0-9])|(?=(?:cm|mm|in)\b))",
    re.IGNORECASE,
)
_AXIS_FIRST = re.compile(
    r"\s?[(\[]?\s?[LWHDBT]\s?[)\]]?\s?(?:(?:x|\*|/|by|,|;)\s?|(?:cm|mm|in|inch|inches|ft|m)\b|['\"]|$)", re.IGNORECASE
)
_BEFORE_UNIT = re.compile(
    r"\.(?=(?:cm|mm|in|kg|ml|oz|lbs?)(?![a-z]))|\s?\(\s?(?:±|\+\s?/?\s?-)\s?[0-9.,]{1,4}\s?\)\s?|\s{0,2}[-(_]?\s?",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"[(\[:]\s?(mm|cm|m|in|inch|inches|kg|kgs|g|gr|lb|lbs|oz|ml|l|v|w)\s?[~)\]]"
    r"|\b(?:unit|in)\s?:?\s(cm|mm|inch|inches)\b",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Number:
    value: Decimal
    start: int
    end: int  # with the unit and a letter for the axis
    unit: str = ""
    axis: str = ""
    flags: frozenset[str] = frozenset()
    side: int = 0
    is_amount: bool = True  # not a rate, a tolerance or part of a code

    @property
    def amount(self) -> Decimal:
        return self.value * SIZE[self.unit]


def find_quantities(text: str) -> list[Mention]:
    """All quantities of a printed text in their order, whatever they measure; never raises, linear in its length.

    Numbers without a unit of their own take that of their product (``L23 x W14 x H8cm``), range (``100-240V``),
    tolerance (``500 ± 10 g``) or heading (``Size (cm): 23``).
    """
    text = normalised(text)
    numbers = _numbers(text)
    pairs = [(first, second, _gap(text, first, second)) for first, second in itertools.pairwise(numbers)]
    for pair in pairs:
        _mend_point(*pair)
        _mend_unit(*pair)
    links = [_link(*pair) for pair in pairs]
    _share_units(numbers, links)
    if (header := _HEADER.search(text)) and (unit := _unit_at(header[1] or header[2])):
        for number in numbers:
            if not number.unit:
                number.unit, number.flags = unit, number.flags | {"borrowed"}
    mentions = []
    for i, number in enumerate(numbers):
        if not number.unit or not number.is_amount:
            continue
        if i and links[i - 1] == "compound":
            mentions.append(_compound(numbers[i - 1], number))
        quantity = Quantity(number.value, number.unit)
        mentions.append(Mention(quantity, number.start, number.end, number.flags, number.axis, number.side))
    return mentions


def _numbers(text: str) -> list[_Number]:
    letters = {(m[1] or m[2]).upper() for m in _LETTERED.finditer(text)}
    lettered = len(letters) > 1 and _TIMES.search(text) is not None
    numbers: list[_Number] = []
    at = 0
    while printed := next_number(text, at):
        at = printed.end
        number = _Number(printed.value, printed.start, printed.end)
        if printed.thousand:
            number.flags = frozenset({"thousand"})
        gap = text[max(numbers[-1].end if numbers else 0, number.start - 12) : number.start]
        if axis := _AXIS_BEFORE.search(gap):
            number.axis = _axis(axis[1])
        between = _BEFORE_UNIT.match(text, at)
        axis_first = lettered and not number.axis and _AXIS_FIRST.match(text, at)
        if between and not axis_first:
            _take_unit(number, text, between.end())
        if not number.axis and (axis := _AXIS_AFTER.match(text, number.end)):
            number.axis, number.end = _axis(axis[1]), axis.end()
            if not number.unit:
                _take_unit(number, text, number.end + text.startswith(" ", number.end))
        number.is_amount = not (number.unit and is_no_amount(number.value, number.unit, text, number.start, number.end))
        if (sign := _TOLERANCE.search(gap)) and not (sign[1] == "±" and not numbers and _is_about(number, text)):
            number.is_amount = False
        numbers.append(number)
        at = max(at, number.end)
    return numbers


def _take_unit(number: _Number, text: str, at: int) -> None:
    """Give a number the unit that stands at ``at``, if there is one."""
    if unit := UNIT.match(text, at):
        number.unit, number.end = name_of(unit), unit.end()
        if unit.lastgroup == "feet":
            number.flags |= {"prime"}


def _is_about(number: _Number, text: str) -> bool:
    """Whether a number after a first ``±`` is an amount nevertheless: about 3 kg, about 25 x 17 cm; no length alone."""
    return DIMENSION.get(number.unit) in ("weight", "volume") or _PRODUCT.match(text, number.end) is not None


def _axis(letter: str) -> str:
    return {"B": "W", "T": "D", "DIA": "Ø", "DIAM": "Ø"}.get(letter.upper(), letter.upper())


def _unit_at(text: str) -> str:
    match = UNIT.match(text)
    return name_of(match) if match else ""


def _gap(text: str, first: _Number, second: _Number) -> str:
    """What stands between two numbers, without the letter for the second one's axis."""
    gap = text[first.end : second.start]
    if second.axis and (letter := _AXIS_BEFORE.search(gap)):
        gap = gap[: letter.start()]
    return gap


def _link(first: _Number, second: _Number, gap: str) -> str:
    """How two numbers belong together: product, range, converted, compound, sum, tolerance, rate; or not."""
    if len(gap) > _LONGEST_GAP:
        return ""
    if _TOLERANCE.search(gap):
        return "tolerance"
    if _PRODUCT.fullmatch(gap):
        return "product"
    same = first.unit and second.unit and DIMENSION[first.unit] == DIMENSION[second.unit]
    if _RANGE.fullmatch(gap) and first.value < second.value and (not first.unit or first.unit == second.unit):
        return "range"
    if gap.strip() == "/" and not first.unit and first.value < second.value and second.unit == "volt":
        return "range"
    if gap.strip() == "/" and first.axis and second.axis and first.axis != second.axis:
        return "product"
    if gap.strip() == "+" and (same or not first.unit):
        return "sum"
    if same and first.unit != second.unit:
        whole = first.value == first.value.to_integral_value() and second.amount < SIZE[first.unit]
        if whole and (first.unit, second.unit) in _COMPOUNDS and _COMPOUND.fullmatch(gap):
            return "compound"
        if _EITHER.fullmatch(gap) and Decimal("0.8") < first.amount / second.amount < Decimal("1.25"):
            return "converted"
    if gap.strip() == "&" and (same or not first.unit):
        return "sum"
    solute = first.unit in ("gram", "milligram", "microgram")  # 3.4 oz / 100 ml are two units for one bottle
    if solute and second.value == 100 and second.unit in ("gram", "millilitre") and _PER.fullmatch(gap):
        return "rate"  # 5 g / 100 g
    return ""


def _mend_point(first: _Number, second: _Number, gap: str) -> None:
    """Give back a decimal point that OCR lost: ``11oz/3.0g`` can only be 0.11 oz, as the two say the same."""
    if not (first.unit and second.unit and first.unit != second.unit and len(gap) <= _LONGEST_GAP):
        return
    if not gap.strip() or not _EITHER.fullmatch(gap) or DIMENSION[first.unit] != DIMENSION[second.unit]:
        return
    ratio = first.amount / second.amount
    for power in (10, 100):
        for number, other, share in ((first, second, ratio / power), (second, first, 1 / ratio / power)):
            lacks_point = number.value.as_tuple().exponent == 0 and number.value % power != 0  # 2.00 is not printed so
            # Of two whole numbers, too, if that much nearer: 7 lbs/32 kg. A lost digit leaves less than 1: 1 lb/45 g.
            is_near = abs(share - 1) < Decimal("0.02") and number.value > power
            if other.value.as_tuple().exponent != 0:
                is_near = abs(share - 1) < Decimal("0.05")
            if lacks_point and is_near:
                number.value /= power


def _mend_unit(first: _Number, second: _Number, gap: str) -> None:
    """Give back the letter that OCR lost of millilitres: ``150m - 5.07 fl oz`` is no length."""
    for number, other in ((first, second), (second, first)):
        beside = number.unit == "metre" and DIMENSION.get(other.unit) == "volume" and len(gap) <= _LONGEST_GAP
        if beside and Decimal("0.95") < number.value * SIZE["millilitre"] / other.amount < Decimal("1.05"):
            number.unit = "millilitre"


_COMPOUNDS = {
    ("pound", "ounce"),
    ("foot", "inch"),
    ("yard", "foot"),
    ("kilogram", "gram"),
    ("metre", "centimetre"),
    ("litre", "millilitre"),
    ("gallon", "quart"),
    ("gallon", "fluid ounce"),
    ("quart", "fluid ounce"),
    ("quart", "ounce"),
    ("pint", "fluid ounce"),
    ("cup", "fluid ounce"),
}


def _compound(first: _Number, second: _Number) -> Mention:
    """Two parts as one amount in the first one's unit (2 lb 4 oz: 2.25 pound)."""
    total = first.value + second.value * SIZE[second.unit] / SIZE[first.unit]
    places = 2 if DIMENSION[first.unit] == "volume" else 4
    return Mention(
        Quantity(round(total, places).normalize(), first.unit),
        first.start, second.end, frozenset({"compound"}), first.axis or second.axis,
    )  # fmt: skip


def _share_units(numbers: list[_Number], links: list[str]) -> None:
    """Give the numbers of a product, range, sum or tolerance the unit that is printed once, and mark them all."""
    for (first, second), link in zip(itertools.pairwise(numbers), links, strict=True):
        if link == "tolerance":
            first.unit = first.unit or second.unit
        elif link == "range" and not (first.is_amount and second.is_amount):
            first.is_amount = second.is_amount = False  # ±1-3 cm
        elif link == "rate":
            first.is_amount = second.is_amount = False
    start = 0
    for i in range(len(numbers)):
        if i < len(links) and links[i] in ("product", "range", "sum"):
            continue
        chain, kinds = numbers[start : i + 1], set(links[start:i])
        start = i + 1
        if i < len(links) and links[i] == "converted":
            numbers[i + 1].flags |= {"converted"}
        units = [n.unit for n in chain if n.unit]
        if not units or not kinds:
            continue
        is_pack = kinds == {"product"} and DIMENSION[units[-1]] != "length"
        if is_pack:
            for number in chain:
                number.flags |= {"pack"}
            continue  # 12 x 330 ml: the 12 has no unit
        kind = "product" if "product" in kinds else min(kinds)
        unit, highest = units[-1], max(number.value for number in chain)
        for side, number in reversed(list(enumerate(chain))):
            unit = number.unit = number.unit or unit  # the next one printed, or else the last
            if kind == "range":
                number.flags |= {"low" if number.value < highest else "high"}
            else:
                number.flags |= {kind}
            number.side = side
