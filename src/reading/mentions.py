"""Quantities in printed text: every way a value is written on a product, OCR's confusions included."""

import functools
import itertools
import re
from dataclasses import dataclass
from decimal import Decimal

from src.reading.quantity import Quantity
from src.reading.units import DIMENSION, SIZE, UNIT, name_of


@dataclass(frozen=True, slots=True)
class Mention:
    """A quantity found in a text.

    ``flags``: ``low``/``high`` of a range, ``product`` (a side of L x W x H), ``pack`` (one of several: 12 x 330 ml),
    ``sum``, ``compound`` (2 lb 3 oz as one), ``converted`` (the second of 60 g / 2.1 oz), ``borrowed`` (its unit is
    printed elsewhere). ``axis``: a letter printed with it (L, W, H, D; Ø for a diameter), else empty. ``side`` counts
    the sides of a product from 0.
    """

    quantity: Quantity
    start: int
    end: int
    flags: frozenset[str] = frozenset()
    axis: str = ""
    side: int = 0


# One sign for one, so that places in the text stay.
_SIGNS = str.maketrans(
    "“”″ʺ＂‶‘’′´＇ʹ`，．×✕✖⨯–—−〜～：（）／⁄⌀øΦφ ",
    "\"\"\"\"\"\"''''''',.xxxx---~~:()//ØØØØ ",
)
_DIGITS = {ord("０") + i: str(i) for i in range(10)}
_VULGAR = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8",
           "⅞": "7/8", "⅓": "1/3", "⅔": "2/3"}  # fmt: skip
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")

_FRACTION = r"(?P<above>[1-9][0-9]?|[¹²³⁴-⁹])/(?P<below>[2-8]|16|32|64)(?![0-9.,/])"
_VALUE = re.compile(
    rf"""(?P<whole>[0-9]{{1,4}})(?:\s?-\s?|\s|(?=[¹²³⁴-⁹])){_FRACTION}
    |(?P<round>[0-9]{{0,4}})\s?(?P<vulgar>[{"".join(_VULGAR)}])
    |{_FRACTION.replace("above", "above1").replace("below", "below1")}
    |(?P<misread>[0-9]{{1,4}}(?:[.,][0-9]{{1,3}})?(?=[1I|]bs?\b|0z\b))  # 501bs, 2.50Z
    |(?P<grouped>[0-9]{{1,3}}(?:,[0-9]{{3}})+(?:\.[0-9]+)?(?![0-9,]))
    |(?P<dotted>[0-9]{{1,3}}(?:\.[0-9]{{3}})+,[0-9]{{1,2}}(?![0-9]))
    |(?P<plain>[0-9]{{1,9}}(?:[.,]\s?[0-9]{{1,6}})?|(?<!\w)\.[0-9]{{1,6}})""",
    re.VERBOSE | re.IGNORECASE,
)
_LONGEST_GAP = 12  # characters between two numbers that belong together
_LONGEST = 6  # digits before the point; more are codes
_PRODUCT = re.compile(r"\s*(?:x|\*|by)\s*", re.IGNORECASE)
_RANGE = re.compile(r"\s*(?:-{1,2}|~|÷|to|up to|bis|à)\s*", re.IGNORECASE)
_EITHER = re.compile(r"\s*[/|(=;,]?\s*(?:or|approx\.?|/)?\s*\(?\s*", re.IGNORECASE)
_AXIS_BEFORE = re.compile(r"(?:^|(?<![a-z]))(L|W|H|D|B|T|Ø|dia|diam)\s?[.:=\-]?\s?$", re.IGNORECASE)
_AXIS_AFTER = re.compile(r"\s?\(?(L|W|H|D|B|T|Ø|dia)(?![a-z0-9])\)?[.:]?", re.IGNORECASE)
_BEFORE_UNIT = re.compile(r"\s{0,2}[-(]?\s?")
_AXIS_FIRST = re.compile(r"\s?[LWHD]\s?x\s?[0-9]")
_HEADER = re.compile(
    r"[(\[:]\s?(mm|cm|m|in|inch|inches|kg|kgs|g|gr|lb|lbs|oz|ml|l|v|w)\s?[)\]]"
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

    @property
    def amount(self) -> Decimal:
        return self.value * SIZE[self.unit]


def find_quantities(text: str) -> list[Mention]:
    """All quantities of a printed text in their order, whatever they measure; never raises, linear in its length.

    Numbers without a unit of their own take that of their product (``L23 x W14 x H8cm``), range (``100-240V``) or
    heading (``Size (cm): 23``).
    """
    text = text.translate(_SIGNS).translate(_DIGITS)
    numbers = _numbers(text)
    pairs = [(first, second, _gap(text, first, second)) for first, second in itertools.pairwise(numbers)]
    for pair in pairs:
        _mend_point(*pair)
    links = [_link(*pair) for pair in pairs]
    _share_units(numbers, links)
    if header := _HEADER.search(text):
        unit = _unit_at(header[1] or header[2])
        for number in numbers:
            if not number.unit and unit:
                number.unit, number.flags = unit, number.flags | {"borrowed"}
    mentions = []
    for i, number in enumerate(numbers):
        if not number.unit:
            continue
        mention = Mention(Quantity(number.value, number.unit), number.start, number.end, number.flags, number.axis,
                          number.side)  # fmt: skip
        if i and links[i - 1] == "compound":
            first = numbers[i - 1]
            total = first.value + number.value * SIZE[number.unit] / SIZE[first.unit]
            both = Quantity(round(total, 4).normalize(), first.unit)
            mentions.append(Mention(both, first.start, number.end, frozenset({"compound"}), first.axis))
        mentions.append(mention)
    return mentions


def _numbers(text: str) -> list[_Number]:
    numbers: list[_Number] = []
    at = 0
    while match := _VALUE.search(text, at):
        at = match.end()
        before = text[match.start() - 1] if match.start() else ""
        if before.isdigit() or (before and before in ".," and match.start() > 1 and text[match.start() - 2].isdigit()):
            continue  # the tail of a longer number or code
        value = _value(match)
        if value is None:
            continue
        number = _Number(value, match.start(), match.end())
        gap = text[max(numbers[-1].end if numbers else 0, match.start() - 12) : match.start()]
        if axis := _AXIS_BEFORE.search(gap):
            number.axis = _axis(axis[1])
        between = _BEFORE_UNIT.match(text, at)
        axis_first = not number.axis and _AXIS_FIRST.match(text, at)
        if between and not axis_first and (unit := UNIT.match(text, between.end())):
            number.unit, number.end = name_of(unit), unit.end()
        if not number.axis and (axis := _AXIS_AFTER.match(text, number.end)):
            number.axis, number.end = _axis(axis[1]), axis.end()
            if not number.unit and (unit := UNIT.match(text, number.end + text.startswith(" ", number.end))):
                number.unit, number.end = name_of(unit), unit.end()
        numbers.append(number)
        at = max(at, number.end)
    return numbers


def _value(match: re.Match[str]) -> Decimal | None:
    """The number that `_VALUE` matched; None when it cannot be one (a fraction of nothing, too long)."""
    part = match.groupdict()
    if part["vulgar"]:
        above, below = _VULGAR[part["vulgar"]].split("/")
        return Decimal(part["round"] or 0) + _fraction(above, below)
    if part["above"] or part["above1"]:
        above, below = (part["above"] or part["above1"]).translate(_RAISED), part["below"] or part["below1"]
        whole = part["whole"]
        if int(above) > int(below) and not whole and int(below) in (2, 4, 8, 16):
            whole, above = above[0], above[1:]  # 21/4" is 2 1/4"
        return Decimal(whole or 0) + _fraction(above, below) if 0 < int(above) < int(below) else None
    digits = part["grouped"] or part["dotted"] or part["misread"] or part["plain"]
    digits = digits.replace(" ", "")
    if part["grouped"] and not digits.startswith("0"):
        digits = digits.replace(",", "")
    elif part["dotted"]:
        digits = digits.replace(".", "")
    digits = digits.replace(",", ".")
    return Decimal(digits) if digits.count(".") <= 1 and len(digits.split(".")[0]) <= _LONGEST else None


@functools.cache
def _fraction(above: str, below: str) -> Decimal:
    return round(Decimal(above) / Decimal(below), 4).normalize()


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
    """How two neighbouring numbers belong together: product, range, converted, compound, sum or not at all."""
    if len(gap) > _LONGEST_GAP:
        return ""
    if _PRODUCT.fullmatch(gap):
        return "product"
    same = first.unit and second.unit and DIMENSION[first.unit] == DIMENSION[second.unit]
    if _RANGE.fullmatch(gap) and first.value < second.value and (not first.unit or first.unit == second.unit):
        return "range"
    if gap.strip() == "/" and not first.unit and first.value < second.value and second.unit == "volt":
        return "range"
    if gap.strip() in ("+", "&") and (same or not first.unit):
        return "sum"
    if same and first.unit != second.unit:
        ratio = first.amount / second.amount if second.value else Decimal(0)
        if _EITHER.fullmatch(gap) and Decimal("0.8") < ratio < Decimal("1.25"):
            return "converted"
        if gap.strip(" .,") == "" and (first.unit, second.unit) in _COMPOUNDS:
            return "compound"
    return ""


def _mend_point(first: _Number, second: _Number, gap: str) -> None:
    """Give back a decimal point that OCR lost: ``11oz/3.0g`` can only be 0.11 oz, as the two say the same."""
    if not (first.unit and second.unit and first.unit != second.unit and len(gap) <= _LONGEST_GAP):
        return
    if not _EITHER.fullmatch(gap) or DIMENSION[first.unit] != DIMENSION[second.unit]:
        return
    if not first.value or not second.value:
        return
    ratio = first.amount / second.amount
    for power in (10, 100):
        for number, other, share in ((first, second, ratio / power), (second, first, 1 / ratio / power)):
            lacks_point = number.value.as_tuple().exponent == 0 and other.value.as_tuple().exponent != 0
            if lacks_point and Decimal("0.94") < share < Decimal("1.06"):
                number.value /= power


_COMPOUNDS = {
    ("pound", "ounce"),
    ("foot", "inch"),
    ("kilogram", "gram"),
    ("metre", "centimetre"),
    ("litre", "millilitre"),
}


def _share_units(numbers: list[_Number], links: list[str]) -> None:
    """Give the numbers of a product, range or sum the unit that is printed once, and mark them all."""
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
