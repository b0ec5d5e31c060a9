"""A line of printed text as tokens: numbers, units, words and letters that name something, signs."""

import re
from dataclasses import dataclass
from decimal import Decimal

from src.reading.numbers import number_at
from src.reading.units import BY_NAME, unit_at
from src.reading.words import AXES, LETTERS, WORD


@dataclass(slots=True)
class Token:
    """A piece of a line; ``kind`` is a character, so that the kinds of a line's tokens are a text themselves.

    ``n`` number, ``u`` unit, ``q`` number with unit, ``a`` word for a side (height), ``l`` letter for a side (H), ``b``
    letter for a side or unit (L, W), ``k`` another word of `words.KINDS`, ``e`` per, ``p`` "per" with its unit (/h),
    ``x`` times, ``-`` range, ``/``, ``,`` (also ; |), ``:`` (also =), ``(``, ``)``, ``±``, ``+``, ``&``, ``o`` or,
    ``w`` another word, ``!`` digits that are no number; ``c`` letter for a side in a legend only (A, P), ``L`` legend
    (W x D x H), ``h`` unit in brackets, which is that of all numbers.
    """

    kind: str
    start: int
    end: int
    value: Decimal = Decimal(0)
    unit: str = ""
    labels: frozenset[str] = frozenset()  # kinds of words
    flags: frozenset[str] = frozenset()
    side: int = 0
    sides: int = 0
    parts: "tuple[Token, ...]" = ()  # of a token that several make up


NO_NUMBERS: dict[str, str] = {
    "motor oil": r"(?:0|5|10|15|20|25)w[-/]?(?:8|12|16|20|30|40|50|60)(?![0-9.a-z]|\s(?:[vwxhdl]|watts?|[cm]m|in)\b)",
    "steel": r"(?:304|316|317)(?-i:L)\b",
    "price": r"(?:[$€£¥₹]\s?[0-9][0-9.,]{0,8}|[0-9][0-9.,]{0,8}\s?[$€£¥₹])(?:\s?(?:/|per)\s?[0-9]{0,4}\s?[a-z]+)?",
    "misread lumen": r"(?<=w[/ ,])[0-9]{2,5}1m\b|[0-9]{2,5}1m(?=[/ ,]{1,2}[0-9]{1,3}w\b)|[0-9]{2,5}1?m(?=/w\b)",
    "brand": r"(?<![-~0-9.])(?-i:3M)(?=\W{0,2}(?:tape|adhesive|sticker|glue|command|vhb|$))",  # 3M
}
"""Digits that are no number of anything, by what they are."""
_NO_NUMBER = re.compile("|".join(NO_NUMBERS.values()), re.IGNORECASE)
_BEFORE_UNIT = re.compile(r"\.(?=(?:cm|mm|in|kg|ml|oz|lbs?)(?![a-z]))|\s{0,2}[-(_]?\s?", re.IGNORECASE)
_PER = re.compile(
    r"\.?\s?(?:/\s?(?:h|hr|hrs|hour|min|minute|s|sec|second|day|week|month|year|kg|g|mg|l|ml|m[23²³]?|cm[23²³]|"
    r"(?:ft|yd|in)[23²³]|ft|sqm|sq\.?|cell|w|watt)(?![a-z0-9])(?!\s?[.:=])"
    r"|\s?per\s(?:hour|minute|second|day|metre|meter|m\b|m2|sq|kg|kilo|lit|ml\b|gram|watt)"
    r"|\s?[-.·]?\s?(?:lbs?|pounds?)(?![a-z]))",
    re.IGNORECASE,
)
"""After a unit: of a rate or a concentration, which is no amount; after a length also of a torque (25 ft-lbs)."""
_LETTER = re.compile(
    r"[(\[]?\s?(?P<letter>(?-i:[LWHDBTPAlwhdbt])|Ø|dia(?:m(?:eter)?)?\.?)\s?[)\]]?"
    r"(?:(?![a-zäöüß])|(?=(?:cm|mm|inch|in)\b)|(?=x\s?[(\[]?(?:[0-9.]|[LWHDBTPA](?![a-wyz]))))",
    re.IGNORECASE,
)
_LEGEND_ONLY = "AP"
"""Letters that name a side only beside ``x``."""
_LETTERS_GLUED = re.compile(r"(?:LWH|LHW|WDH|WHD|HWD|HDW|DWH|DHW|LBH|BHT|BTH|LDH)\b")
_AFTER_LETTER = re.compile(r"\s?(?:[cm]m\b|inch(?:es)?\b|''|\"|in\b\.?(?=\s*(?:$|[x*,;:/)])))", re.IGNORECASE)
_BRACKETED_UNIT = re.compile(
    r"[(\[:]\s?(?P<unit>mm|cm|m|in|inch|inches|kg|kgs|g|gr|lb|lbs|oz|ml|l|v|w)\s?[~)\]]"
    r"|(?:unit|in)\s?:?\s(?P<word>cm|mm|inch|inches)\b",
    re.IGNORECASE,
)
_SIGNS: dict[str, str] = {
    "±": r"±|士|\+\s?/\s?-|\+-",
    "x": r"(?:x|\*|by\b)(?=\s?[(\[]?\s?(?:[0-9.½¼¾]|[lwhdbtpaø](?![a-wyz])))|(?:x|\*|by\b)(?=\s[a-zäöüé]{3,})"
    r"|(?<=[0-9])·(?=[0-9])",
    "-": r"--?|~|÷|(?:to|bis|à)(?![a-zäöü])",
    ",": r"[,;|·]",
    ":": r"[:=]",
    "&": r"&|and\b|und\b",
    "o": r"or\b|oder\b|approx\b\.?|ca\b\.?|≈",
    "e": r"(?:per|pro|je|par|por|pour|na)\b(?=\s[0-9])|k(?:cal|j)\s?/",
    **{sign: re.escape(sign) for sign in "/()+"},
}
_SIGN = [(kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _SIGNS.items()]
_PRAISE = re.compile(r"(?:high|long|wide|deep|full)[- ](?!x\b)[a-z]{3,}", re.IGNORECASE)
"""High quality, long lasting: no sides, where no number stands before."""
_OTHER = re.compile(r"[^\W\d_]+")


def tokenize(text: str) -> list[Token]:
    """Return the tokens of a `normalised` line in their order; linear in its length, never raises."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        token = _after_number(text, at, tokens) or _number(text, at) or _name(text, at, tokens) or _sign(text, at)
        if token:
            tokens.append(token)
        at = token.end if token else at + 1
    return tokens


def _number(text: str, at: int) -> Token | None:
    """Return the number at ``at``, or digits that are none."""
    if not (text[at].isalnum() or text[at] in ".$€£¥₹"):
        return None
    if match := _NO_NUMBER.match(text, at):
        return Token("!", at, match.end())
    number = number_at(text, at)
    if number is None:
        return None
    if number.value is None:
        return Token("!", at, number.end)
    return Token("n", at, number.end, number.value, flags=frozenset({"thousand"} if number.thousand else ()))


def _after_number(text: str, at: int, tokens: list[Token]) -> Token | None:
    """Return the unit after a number, or after the letter of its side; or the "per" after its unit."""
    if not tokens or tokens[-1].end != at:
        return None
    last = tokens[-1]
    if last.kind in "ub" and (rate := _PER.match(text, at)) and _is_rate(text, rate, tokens):
        return Token("p", at, rate.end())
    if last.kind == "n":
        at = _BEFORE_UNIT.match(text, at).end()  # type: ignore[union-attr]
    elif last.kind in "lcb)" and _AFTER_LETTER.match(text, at):
        at += text.startswith(" ", at)
    else:
        return None
    unit = unit_at(text, at)
    if unit is None:
        return None
    name, end = unit
    letter = text[at:end].upper()
    if end - at == 1 and letter in LETTERS:
        end += text.startswith((")", "]"), end)
        return Token("b", at, end, unit=name, labels=frozenset({LETTERS[letter]}))
    return Token("u", at, end, unit=name, flags=frozenset({"prime"} if name == "foot mark" else ()))


def _is_rate(text: str, rate: re.Match[str], tokens: list[Token]) -> bool:
    """Whether ``/h`` is "per hour" and no height, and ``-lb`` belongs to a torque."""
    if not text[rate.start() : rate.end()].lstrip(" .").startswith(("/", "per")):
        return BY_NAME[tokens[-1].unit].dimension == "length"
    before = tokens[-3].kind if len(tokens) > 2 else ""
    return not (before in "lb" and re.match(r"\s?[0-9]", text[rate.end() :]))


def _name(text: str, at: int, tokens: list[Token]) -> Token | None:
    """Return the word or letter at ``at`` that names something, or the unit in brackets."""
    glued = bool(tokens) and tokens[-1].end == at and tokens[-1].kind in "nubx"
    if at and text[at - 1].isalpha() and not glued:
        return None
    is_letter = text[at + 1 : at + 2] in ("L", "W") and (not tokens or tokens[-1].kind in "xnu/,")
    if not is_letter and (match := _BRACKETED_UNIT.match(text, at)):
        unit = unit_at((match["unit"] or match["word"]).lower())
        return Token("h", at, match.end(), unit=unit[0]) if unit else None
    if glued_letters := _LETTERS_GLUED.match(text, at):
        parts = [Token("l", at, at + 1, labels=frozenset({LETTERS[letter]})) for letter in glued_letters[0]]
        return Token("L", at, glued_letters.end(), parts=tuple(parts))
    if letter := _LETTER.match(text, at):
        name = letter["letter"].upper()
        kind = "c" if name in _LEGEND_ONLY else "l"
        return Token(kind, at, letter.end(), labels=frozenset({LETTERS.get(name, "diameter")}))
    if not (text[at].isalpha() or text[at] in "ø⌀"):
        return None
    if _PRAISE.match(text, at) and not glued and not (tokens and tokens[-1].kind in "nub"):
        return None
    if match := WORD.match(text, at):
        labels = frozenset((match.lastgroup or "").split("_"))
        end = match.end()
        rest = _OTHER.match(text, end) if text[end - 1].isalpha() else None
        return Token("a" if labels <= AXES else "k", at, rest.end() if rest else end, labels=labels)
    return None


def _sign(text: str, at: int) -> Token | None:
    """Return the sign or other word at ``at``."""
    for kind, pattern in _SIGN:
        if match := pattern.match(text, at):
            return Token(kind, at, match.end())
    match = _OTHER.match(text, at)
    return Token("w", at, match.end()) if match else None
