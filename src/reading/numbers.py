"""Numbers in printed text: signs brought to one spelling, letters that OCR took for digits, fractions,
thousands.

Every step keeps the length of the text, so that places in it stay.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from src.reading.units import unit_at

_SIGNS = str.maketrans(
    "“”″º‶‘’′´ʹ`×✕✖⨯–—−〜⁄⌀øΦφ₀₁₂₃₄₅₆₇₈₉•∙⋅・\u00a0\u2009\u202f",
    "\"\"\"\"\"''''''xxxx---~/ØØØØ0123456789····   ",
)
_WIDE = {ord("！") + i: chr(ord("!") + i) for i in range(94)}
"""Letters, digits and signs of the width of a Chinese character."""
_VULGAR = {
    "½": "0.5", "¼": "0.25", "¾": "0.75", "⅛": "0.125", "⅜": "0.375", "⅝": "0.625", "⅞": "0.875", "⅓": "0.3333",
    "⅔": "0.6667",
}  # fmt: skip
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")

_LETTERS = str.maketrans("OoQlI|SsBZz:", "00011155822.")
"""Letters that OCR gives for digits, and the colon that it gives for a point."""
_MIXED = re.compile(
    r"(?<![a-wyzA-WYZ0-9.,])[OoQlI|]{0,2}[0-9][0-9OoQlI|SsBZz]{0,6}(?:[.,:][0-9OoQlI|SsBZz]{1,3})?"
    r"|(?<![a-zA-Z0-9.,])(?:[OoQ][.,][0-9]{1,3}|[lI|SBZ][.,][0-9](?![0-9])|[SBZ][0Oo]{1,3}(?![0-9]))"
    r"|(?<![a-zA-Z0-9.,])[SBZ][0-9]{2}(?=(?:ml|kg|g|mm|oz|lbs?)(?![a-z]))"  # codes have no such units
)
"""Matches digits mixed with letters that OCR confuses with digits, see `normalised`."""
_LONE_ONE = re.compile(
    r"(?<![\w.,'])[Il|](?=\s?(?:lbs?|pounds?|kg|oz|fl|gal|gallon|qt|quart|pt|pint|ft)\b)", re.IGNORECASE
)
_RATIO = re.compile(r"[0-9]:[0-9]+|[0-9]+:[0-9]{2,}|(?:16|18|19|21|24|32):[0-9]+")
"""Matches a colon that means a ratio or a time, not a misread decimal point."""


def normalised(text: str) -> str:
    """Return ``text`` with one spelling for each sign, and with digits for letters in numbers before a
    unit."""
    return _MIXED.sub(_mended, _LONE_ONE.sub("1", text.translate(_WIDE).translate(_SIGNS)))


def _mended(match: re.Match[str]) -> str:
    """Return the number with digits for its letters, where that makes a unit follow which did not before."""
    token, text = match[0], match.string
    digits = re.match(r"[0-9]*(?:[.,][0-9]+)?", token)
    end = digits.end() if digits else 0
    as_it_is = unit_at(text, match.start() + end + text.startswith(" ", match.start() + end)) if end else None
    if end == len(token) or (as_it_is and not text[as_it_is[1] : as_it_is[1] + 1].isdigit()):
        return token  # no letter, or a unit as it is
    for end in range(len(token), 1, -1):  # its last letters may belong to the unit
        if not re.search("[OoQlI|SsBZz:]", token[:end]):
            break
        if token[end - 1] in ".,:" or not re.search("[0-9]", token[:end]):
            continue
        at = match.start() + end
        is_letter = token[end - 1] in "SsBZz" and "." not in token  # 2 S kg, but 0.S kg
        apart = text.startswith(" ", at) and not is_letter and not _RATIO.fullmatch(token)
        if unit_at(text, at + apart):
            return token[:end].translate(_LETTERS) + token[end:]
    return token


def _mixed_fraction(match: re.Match[str]) -> Decimal | None:
    whole, above, below = match["whole"] or "", match["above"].translate(_RAISED), match["below"]
    if not whole and int(above) > int(below) and int(below) in (2, 4, 8, 16):
        whole, above = above[0], above[1:] or "0"  # 21/4" is 2 1/4"
    part = round(Decimal(above) / int(below), 4).normalize()
    return Decimal(whole or 0) + part if 0 < part < 1 else None


def _vulgar_fraction(match: re.Match[str]) -> Decimal:
    return Decimal(match["whole"] or 0) + Decimal(_VULGAR[match["vulgar"]])


def _grouped(match: re.Match[str]) -> Decimal:
    return Decimal(re.sub("[ '.,]", "", match["whole"]) + (match["part"] or "").replace(",", "."))


def _decimal(match: re.Match[str]) -> Decimal:
    whole, _, part = re.sub(r"[\s.,'·]+", ".", match[0]).partition(".")
    return Decimal(f"{whole or 0}.{part}")


_BELOW = r"(?P<below>[2-8]|16|32|64)(?![0-9.,/])"
_FRACTION = rf"(?P<above>[1-9][0-9]?|[¹²³⁴-⁹])(?:/|\s/|/\s){_BELOW}"
_PIECES = r"bottles|cans|bags|packs|packets|pouches|sachets|cartons|jars|tubes|tins|boxes|pieces|pcs|cups|bars|rolls"
_METRIC = r"k?g|gr|[cm]?l|lt|lit\w*|[cm]?m|k?w|v"
_FORMS: dict[str, tuple[str, Callable[[re.Match[str]], Decimal | None]]] = {
    "mixed fraction": (  # 15-1/8, 1 1/2
        rf"(?P<whole>[0-9]{{1,4}})(?:\s?-\s?|\s|\.|(?=[¹²³⁴-⁹])){_FRACTION}", _mixed_fraction),
    "vulgar fraction": (  # 1½, 8-½; 31½/2 is damaged: 31.5
        rf"(?P<whole>[0-9]{{0,4}})[¹²³]?[\s-]?(?P<vulgar>[{''.join(_VULGAR)}])(?:/?[0-9](?![0-9.,]))?",
        _vulgar_fraction),
    "glued fraction": (  # 123/4": 12 3/4
        r"(?P<whole>[1-9][0-9])(?P<above>[1357])/(?P<below>[248])(?![0-9.,/])", _mixed_fraction),
    "fraction": (rf"(?P<whole>){_FRACTION}", _mixed_fraction),  # 1/2, 21/4
    "before a misread unit": (r"[0-9]{1,4}(?:[.,][0-9]{1,3})?(?=[1I|]bs?\b|0z\b)", _decimal),  # 501bs, 2.50Z
    "thousands": (  # 1,200; 1,200.5
        r"(?<![0-9],)(?P<whole>[1-9][0-9]{0,2}(?:,[0-9]{3})+)(?P<part>\.[0-9]+)?(?![0-9,])", _grouped),
    "spaced thousands": (  # 1 000 g, 1'000 g; not 24 500 ml cans
        r"(?P<whole>(?<!of\s)(?<![a-z])[1-9][0-9]{0,2}(?:(?:[ ][0-9]{3}){1,2}(?:(?=\s)|(?<=000))|(?:'[0-9]{3}){1,2}))"
        r"(?P<part>,[0-9]{1,2})?(?=\s?[a-zа-я克千毫升厘瓦])"
        rf"(?!\s?(?:fl\.?\s?)?[a-z]{{1,3}}\s(?:{_PIECES}))", _grouped),
    "continental": (  # 1.234,5
        r"(?<![0-9]\.)(?P<whole>[0-9]{1,3}(?:\.[0-9]{3})+)(?P<part>,[0-9]{1,2})(?![0-9])", _grouped),
    "odd point": (  # 1·5 kg, 1'5 L, 1 .5 kg, 1 ,5 kg
        rf"[0-9]{{1,3}}(?:·[0-9]{{1,3}}(?![0-9]*·)|\s?'[0-9]{{1,2}}(?=\s?(?:{_METRIC})\b)"
        rf"|\s[.,][0-9]{{1,2}}(?=\s?(?:(?:{_METRIC}|oz|fl|lbs?|in|inch|ft)\b|\")))", _decimal),
    "plain": (r"[0-9]{1,9}(?:(?:\.\s?|,)[0-9]{1,6})?|(?<!\w)\.[0-9]{1,6}", _decimal),
}  # fmt: skip
"""Forms of printed numbers: pattern and value; the first that fits is taken."""
_PATTERNS = [(re.compile(pattern, re.IGNORECASE), value) for pattern, value in _FORMS.values()]
_START = re.compile(rf"[0-9{''.join(_VULGAR)}¹²³⁴-⁹]|\.[0-9]")
_LONGEST = 6
"""Most digits before the point; longer numbers are codes."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a text; ``thousand``: with a point or comma before three digits: a thousand, or decimals.

    ``value`` is None for digits that are no number: a code, a ratio, the tail of a longer number.
    """

    value: Decimal | None
    end: int
    thousand: bool = False


def number_at(text: str, at: int) -> Number | None:
    """Return the number that begins at ``at`` of a `normalised` text; None where none begins."""
    if not _START.match(text, at):
        return None
    for pattern, value_of in _PATTERNS:
        match = pattern.match(text, at)
        if match is None:
            continue
        value = None if _is_tail(text, match) else value_of(match)
        if value is not None and (value >= 10**_LONGEST or value <= 0):
            value = None
        return Number(value, match.end(), bool(re.fullmatch(r"[1-9][0-9]{0,2}[.,][0-9]{3}", match[0])))
    return None


def _is_tail(text: str, match: re.Match[str]) -> bool:
    """Tell whether digits continue a longer number or code, a ratio or time, or a damaged fraction
    (15/1/2)."""
    start = match.start()
    before = text[start - 1] if start else ""
    after_digit = start > 1 and text[start - 2].isdigit()
    return before.isdigit() or (after_digit and (before in ".,:" or (before == "/" and "/" in match[0])))
