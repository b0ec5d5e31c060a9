"""Numbers in printed text, also those that OCR damaged.

`normalised` brings signs to one spelling and turns letters into digits where that makes a number with a unit:
"25o lbs" becomes "250 lbs", "８″" becomes '8"'. It keeps the length of the text, so that places in it stay.
`number_at` reads the number at a place of such a text in one of `FORMS`: 1,200 and 1 1/2 and 1½ and .5.
"""

import re
import unicodedata
from decimal import Decimal

from src.reading.units import unit_at

_SIGNS = str.maketrans(
    "“”″º‶‘’′´ʹ`×✕✖⨯–—−〜⁄⌀øΦφ₀₁₂₃₄₅₆₇₈₉•∙⋅・\u00a0\u2009\u202f",
    "\"\"\"\"\"''''''xxxx---~/ØØØØ0123456789····   ",
)
_FULL_WIDTH = {ord("！") + i: chr(ord("!") + i) for i in range(94)}
"""Letters, digits and signs that are as wide as a Chinese character, with the usual ones."""

_DIGIT_OF = str.maketrans("OoQlI|SsBZz:", "00011155822.")
"""Letters that OCR reads for digits, and the colon that it reads for a decimal point."""
_CONFUSED = re.compile(
    r"(?<![a-wyzA-WYZ0-9.,])[OoQlI|]{0,2}[0-9][0-9OoQlI|SsBZz]{0,6}(?:[.,:][0-9OoQlI|SsBZz]{1,3})?"
    r"|(?<![a-zA-Z0-9.,])(?:[OoQ][.,][0-9]{1,3}|[lI|SBZ][.,][0-9](?![0-9])|[SBZ][0Oo]{1,3}(?![0-9]))"
    r"|(?<![a-zA-Z0-9.,])[SBZ][0-9]{2}(?=(?:ml|kg|g|mm|oz|lbs?)(?![a-z]))"  # codes have no such units
)
"""Matches digits mixed with such letters: 25o, S00, l.5, 22:2."""
_LONE_ONE = re.compile(
    r"(?<![\w.,'])[Il|](?=\s?(?:lbs?|pounds?|kg|oz|fl|gal|gallon|qt|quart|pt|pint|ft)\b)", re.IGNORECASE
)
"""Matches the letter of "l lb", which is a 1."""
_RATIO = re.compile(r"[0-9]:[0-9]+|[0-9]+:[0-9]{2,}|(?:16|18|19|21|24|32):[0-9]+")
"""Matches a colon of a ratio or a time, which is no decimal point."""


def normalised(text: str) -> str:
    """Return ``text`` with one spelling for each sign, and digits for letters in numbers before a unit."""
    return _CONFUSED.sub(_with_digits, _LONE_ONE.sub("1", text.translate(_FULL_WIDTH).translate(_SIGNS)))


def _with_digits(match: re.Match[str]) -> str:
    """Return a match of `_CONFUSED` with digits for letters if a unit follows only then; else unchanged.

    Its last letters may belong to the unit: in "5Oz" none is a digit, in "5OOz" the first is.
    """
    token, text = match[0], match.string
    digits = re.match(r"[0-9]*(?:[.,][0-9]+)?", token)
    length = digits.end() if digits else 0
    after_digits = match.start() + length
    unit = unit_at(text, after_digits + text.startswith(" ", after_digits)) if length else None
    if length == len(token) or (unit and not text[unit[1] : unit[1] + 1].isdigit()):
        return token
    for length in range(len(token), 1, -1):
        number = token[:length]
        if not re.search("[OoQlI|SsBZz:]", number):
            break
        if number[-1] in ".,:" or not re.search("[0-9]", number):
            continue
        end = match.start() + length
        is_letter = number[-1] in "SsBZz" and "." not in token  # in "2 S kg", but not in "0.S kg"
        is_apart = text.startswith(" ", end) and not is_letter and not _RATIO.fullmatch(token)
        if unit_at(text, end + is_apart):
            return number.translate(_DIGIT_OF) + token[length:]
    return token


_VULGAR = "½¼¾⅛⅜⅝⅞⅓⅔"
_RAISED = "¹²³⁴-⁹"
_FRACTION = rf"(?P<above>[1-9][0-9]?|[{_RAISED}])(?:/|\s/|/\s)(?P<below>[2-8]|16|32|64)(?![0-9.,/])"
_PIECES = (
    "bottles|cans|bags|packs|packets|pouches|sachets|cartons|jars|tubes|tins|boxes|pieces|pcs|cups|bars|rolls"
)
_METRIC = r"k?g|gr|[cm]?l|lt|lit\w*|[cm]?m|k?w|v"
FORMS: dict[str, str] = {
    "mixed fraction": rf"(?P<whole>[0-9]{{1,4}})(?:\s?-\s?|\s|\.|(?=[{_RAISED}])){_FRACTION}",
    "vulgar fraction": rf"(?P<whole>[0-9]{{0,4}})[¹²³]?[\s-]?(?P<vulgar>[{_VULGAR}])(?:/?[0-9](?![0-9.,]))?",
    "glued fraction": r"(?P<whole>[1-9][0-9])(?P<above>[1357])/(?P<below>[248])(?![0-9.,/])",
    "fraction": rf"(?P<whole>){_FRACTION}",
    "before a misread unit": r"[0-9]{1,4}(?:[.,][0-9]{1,3})?(?=[1I|]bs?\b|0z\b)",
    "thousands": r"(?<![0-9],)(?P<whole>[1-9][0-9]{0,2}(?:,[0-9]{3})+)(?P<part>\.[0-9]+)?(?![0-9,])",
    "spaced thousands": r"(?<!of\s)(?<![a-z])(?P<whole>[1-9][0-9]{0,2}"
    r"(?:(?:[ ][0-9]{3}){1,2}(?:(?=\s)|(?<=000))|(?:'[0-9]{3}){1,2}))(?P<part>,[0-9]{1,2})?"
    rf"(?=\s?[a-zа-я克千毫升厘瓦])(?!\s?(?:fl\.?\s?)?[a-z]{{1,3}}\s(?:{_PIECES}))",
    "continental": r"(?<![0-9]\.)(?P<whole>[0-9]{1,3}(?:\.[0-9]{3})+)(?P<part>,[0-9]{1,2})(?![0-9])",
    "odd point": rf"[0-9]{{1,3}}(?:·[0-9]{{1,3}}(?![0-9]*·)|\s?'[0-9]{{1,2}}(?=\s?(?:{_METRIC})\b)"
    rf"|\s[.,][0-9]{{1,2}}(?=\s?(?:(?:{_METRIC}|oz|fl|lbs?|in|inch|ft)\b|\")))",
    "plain": r"[0-9]{1,9}(?:(?:\.\s?|,)[0-9]{1,6})?|(?<!\w)\.[0-9]{1,6}",
}
"""Forms of printed numbers, as patterns whose groups `_value` reads; the first that matches is taken.

An example of each: 15-1/8, 1½ (and the damaged 31½/2), 123/4 for 12 3/4, 1/2 (and 21/4 for 2 1/4), 501bs,
1,200.5, 1 000 g (but not 24 500 ml cans), 1.234,5, 1'5 L, 81,5.
"""
_PATTERNS = [re.compile(pattern, re.IGNORECASE) for pattern in FORMS.values()]
_START = re.compile(rf"[0-9{_VULGAR}{_RAISED}]|\.[0-9]")
_SMALLEST_CODE = 10**6
"""Number from which on digits are no amount but a code."""


def number_at(text: str, at: int) -> tuple[Decimal | None, int] | None:
    """Return the number that begins at ``at`` of a `normalised` text and its end; None where none begins.

    Digits that are no number have the value None: codes, ratios, the tail of a longer number.
    """
    if not _START.match(text, at):
        return None
    match = next((match for pattern in _PATTERNS if (match := pattern.match(text, at))), None)
    if match is None:
        return None
    value = None if _is_tail(text, match) else _value(match)
    return (value if value is not None and 0 < value < _SMALLEST_CODE else None), match.end()


def _is_tail(text: str, match: re.Match[str]) -> bool:
    """Tell whether digits continue a longer number or code, a ratio, a time or a broken fraction (15/1/2)."""
    start = match.start()
    before = text[start - 1] if start else ""
    after_digit = start > 1 and text[start - 2].isdigit()
    return before.isdigit() or (after_digit and (before in ".,:" or (before == "/" and "/" in match[0])))


def _value(match: re.Match[str]) -> Decimal | None:
    """Return the value of a match of one of `FORMS`; None for a fraction that is none: 3/2."""
    groups = match.groupdict()
    whole = groups.get("whole") or ""
    if "vulgar" in groups:
        return Decimal(whole or 0) + round(Decimal(unicodedata.numeric(groups["vulgar"])), 4).normalize()
    if "part" in groups:
        return Decimal(re.sub("[ '.,]", "", whole) + (groups["part"] or "").replace(",", "."))
    if "below" in groups:
        above, below = unicodedata.normalize("NFKC", groups["above"]), int(groups["below"])
        if not whole and int(above) > below and below in (2, 4, 8, 16):
            whole, above = above[0], above[1:] or "0"  # 21/4 is 2 1/4
        part = round(Decimal(above) / below, 4).normalize()
        return Decimal(whole or 0) + part if 0 < part < 1 else None
    whole, _, decimals = re.sub(r"[\s.,'·]+", ".", match[0]).partition(".")
    return Decimal(f"{whole or 0}.{decimals}")
