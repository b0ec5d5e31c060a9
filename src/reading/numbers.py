"""Numbers in printed text: signs brought to one spelling, letters that OCR took for digits, fractions, thousands.

Every step keeps the length of the text, so that places in it stay.
"""

import functools
import re
from dataclasses import dataclass
from decimal import Decimal

from src.reading.units import UNIT

_SIGNS = str.maketrans(
    "“”″º‶‘’′´ʹ`×✕✖⨯–—−〜⁄⌀øΦφ₀₁₂₃₄₅₆₇₈₉\u00a0\u2009\u202f",
    "\"\"\"\"\"''''''xxxx---~/ØØØØ0123456789   ",
)
_WIDE = {ord("！") + i: chr(ord("!") + i) for i in range(94)}
"""Letters, digits and signs of the width of a Chinese character."""
_VULGAR = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅓": "1/3", "⅔": "2/3"}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")

_LETTERS = str.maketrans("OoQlI|SsBZz:", "00011155822.")
_MIXED = re.compile(
    r"(?<![a-wyzA-WYZ0-9.,])[OoQlI|]{0,2}[0-9][0-9OoQlI|SsBZz]{0,6}(?:[.,:][0-9OoQlI|SsBZz]{1,3})?"
    r"|(?<![a-zA-Z0-9.,])(?:[OoQ][.,][0-9]{1,3}|[lI|SBZ][.,][0-9](?![0-9])|[SBZ][0Oo]{1,3}(?![0-9]))"
    r"|(?<![a-zA-Z0-9.,])[SBZ][0-9]{2}(?=(?:ml|kg|g|mm|oz|lbs?)(?![a-z]))"  # codes have no such units
)
"""A number in which OCR may have put letters; it is one where a unit follows, see `normalised`."""

_FRACTION = r"(?P<above>[1-9][0-9]?|[¹²³⁴-⁹])(?:/|\s/|/\s)(?P<below>[2-8]|16|32|64)(?![0-9.,/])"
_PIECES = r"bottles|cans|bags|packs|packets|pouches|sachets|cartons|jars|tubes|tins|boxes|pieces|pcs|cups|bars|rolls"
_VALUE = re.compile(
    rf"""(?P<whole>[0-9]{{1,4}})(?:\s?-\s?|\s|\.|(?=[¹²³⁴-⁹])){_FRACTION}
    |(?P<round>[0-9]{{0,4}})[¹²³]?(?:\s|-)?(?P<vulgar>[{"".join(_VULGAR)}])(?:/?[0-9](?![0-9.,]))?
        # 31½/2 is damaged: 31.5
    |(?P<glued>[1-9][0-9])(?P<above2>[1357])/(?P<below2>[248])(?![0-9.,/])  # 123/4": 12 3/4
    |{_FRACTION.replace("above", "above1").replace("below", "below1")}
    |(?P<misread>[0-9]{{1,4}}(?:[.,][0-9]{{1,3}})?(?=[1I|]bs?\b|0z\b))  # 501bs, 2.50Z
    |(?P<grouped>[0-9]{{1,3}}(?:,[0-9]{{3}})+(?:\.[0-9]+)?(?![0-9,]))
    |(?P<spaced>(?<!of\s)(?<![a-z])[1-9][0-9]{{0,2}}
        (?:(?:[ ][0-9]{{3}}){{1,2}}(?:(?=\s)|(?<=000))|(?:'[0-9]{{3}}){{1,2}})
        (?:,[0-9]{{1,2}})?(?=\s?[a-zа-я克千毫升厘瓦])(?!\s?(?:fl\.?\s?)?[a-z]{{1,3}}\s(?:{_PIECES})))  # 24 500 ml cans
    |(?P<dotted>[0-9]{{1,3}}(?:\.[0-9]{{3}})+,[0-9]{{1,2}}(?![0-9]))
    |(?P<plain>[0-9]{{1,9}}(?:(?:\.\s?|,)[0-9]{{1,6}})?|(?<!\w)\.[0-9]{{1,6}})""",
    re.VERBOSE | re.IGNORECASE,
)
_LONGEST = 6  # digits before the point; more are codes


@dataclass(frozen=True, slots=True)
class Number:
    """A positive number in a text; ``thousand``: with a point or comma before three digits, read either way."""

    value: Decimal
    start: int
    end: int
    thousand: bool = False


def normalised(text: str) -> str:
    """``text`` with one spelling for each sign, and with digits for letters in numbers before a unit (``25olbs``)."""
    text = text.translate(_WIDE).translate(_SIGNS)
    return _MIXED.sub(_mended, text)


def _mended(match: re.Match[str]) -> str:
    """The number with digits for its letters, where that makes a unit follow which did not before."""
    token, text = match[0], match.string
    digits = re.match(r"[0-9]*(?:[.,][0-9]+)?", token)
    end = digits.end() if digits else 0
    as_it_is = UNIT.match(text, match.start() + end + text.startswith(" ", match.start() + end)) if end else None
    if end == len(token) or (as_it_is and not text[as_it_is.end() : as_it_is.end() + 1].isdigit()):
        return token  # no letter, or a unit as it is
    for end in range(len(token), 1, -1):  # its last letters may belong to the unit
        if not re.search("[OoQlI|SsBZz:]", token[:end]):
            break
        if token[end - 1] in ".,:" or not re.search("[0-9]", token[:end]):
            continue
        at = match.start() + end
        is_letter = token[end - 1] in "SsBZz" and "." not in token  # 2 S kg, but 0.S kg
        apart = text.startswith(" ", at) and not is_letter and not _RATIO.fullmatch(token)
        if UNIT.match(text, at + apart):
            return token[:end].translate(_LETTERS) + token[end:]
    return token


_RATIO = re.compile(r"[0-9]:[0-9]+|[0-9]+:[0-9]{2,}|(?:16|18|19|21|24|32):[0-9]+")
"""What a colon between digits can say, but for a point: a ratio, a time."""


def next_number(text: str, at: int) -> Number | None:
    """The first positive number of a `normalised` text from ``at`` on, no code and no tail of a longer number."""
    while match := _VALUE.search(text, at):
        at, start = match.end(), match.start()
        before = text[start - 1] if start else ""
        if before.isdigit() or (before and before in ".," and start > 1 and text[start - 2].isdigit()):
            continue  # the tail of a longer number or code
        if before == ":" and start > 1 and text[start - 2].isdigit():
            continue  # of a ratio, or a time
        if before == "/" and start > 1 and text[start - 2].isdigit() and "/" in match[0]:
            continue  # the tail of a damaged fraction: 15/1/2
        value = _value(match)
        if value:
            digits = match["grouped"] or match["plain"] or ""
            return Number(value, start, at, bool(re.fullmatch(r"[1-9][0-9]{0,2}[.,][0-9]{3}", digits)))
    return None


def _value(match: re.Match[str]) -> Decimal | None:
    """The number that `_VALUE` matched; None when it cannot be one (a fraction of nothing, too long)."""
    part = match.groupdict()
    if part["vulgar"]:
        above, below = _VULGAR[part["vulgar"]].split("/")
        return Decimal(part["round"] or 0) + _fraction(above, below)
    if part["glued"]:
        proper = int(part["above2"]) < int(part["below2"])
        return Decimal(part["glued"]) + _fraction(part["above2"], part["below2"]) if proper else None
    if part["above"] or part["above1"]:
        above, below = (part["above"] or part["above1"]).translate(_RAISED), part["below"] or part["below1"]
        whole = part["whole"]
        if int(above) > int(below) and not whole and int(below) in (2, 4, 8, 16):
            whole, above = above[0], above[1:] or "0"  # 21/4" is 2 1/4"
        return Decimal(whole or 0) + _fraction(above, below) if 0 < int(above) < int(below) else None
    digits = part["grouped"] or part["spaced"] or part["dotted"] or part["misread"] or part["plain"]
    digits = digits.replace(" ", "").replace("'", "")
    if part["grouped"] and not digits.startswith("0"):
        digits = digits.replace(",", "")
    elif part["dotted"]:
        digits = digits.replace(".", "")
    digits = digits.replace(",", ".")
    return Decimal(digits) if digits.count(".") <= 1 and len(digits.split(".")[0]) <= _LONGEST else None


@functools.cache
def _fraction(above: str, below: str) -> Decimal:
    return round(Decimal(above) / Decimal(below), 4).normalize()
