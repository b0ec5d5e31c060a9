"""The tokens of a line of printed text: numbers, units, words and letters that name something, signs.

`tokenize` turns "Height: 12cm, max 5 kg" into tokens of the kinds ``a:nu,knu``: a word for a side, a colon, a
number, a unit, a comma, another known word, a number, a unit. `structure` then looks for patterns of kinds.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from src.reading.numbers import number_at
from src.reading.units import DIMENSION, SIZE, unit_at
from src.reading.words import LETTERS, SIDES, WORD


@dataclass(slots=True)
class Token:
    """A piece of a line; ``kind`` is one character, so that the kinds of a line's tokens are a text again.

    ``n`` number, ``!`` digits that are no number, ``u`` unit, ``h`` unit of all numbers of the line (in cm),
    ``p`` "per" with its unit (/h), ``e`` per before 100 (pro, kcal/);
    ``a`` word for a side (height), ``k`` another word of `words.KINDS`, ``w`` another word;
    ``l`` letter for a side (H, Ø, dia), ``b`` letter for a side or a unit (L, W, T), ``c`` letter for a side
    only beside others (A, P), each with the brackets around it;
    ``x`` times, ``-`` range (also to, ~), ``o`` or (also approx, ca), ``,`` (also ; | ·), ``:`` (also =),
    ``/ ( ) ± + &`` as they are.
    `structure` combines these to ``q`` quantity, ``g`` group of quantities that share words, ``L`` legend
    (W x D x H).
    """

    kind: str
    start: int
    end: int
    value: Decimal = Decimal(0)
    unit: str = ""
    labels: frozenset[str] = frozenset()  # kinds of words
    flags: frozenset[str] = frozenset()  # these and the sides are those of a `mentions.Mention`
    side: int = 0
    sides: int = 0
    parts: "tuple[Token, ...]" = ()  # of a group or legend

    @property
    def amount(self) -> Decimal:
        """Return the quantity in metres, grams, millilitres, volts or watts."""
        return self.value * SIZE[self.unit]


NO_NUMBERS: dict[str, str] = {
    "motor oil": r"(?:0|5|10|15|20|25)w[-/]?(?:8|12|16|20|30|40|50|60)"
    r"(?![0-9.a-z]|\s(?:[vwxhdl]|watts?|[cm]m|in)\b)",
    "steel": r"(?:304|316|317)(?-i:L)\b",
    "price": r"(?:[$€£¥₹]\s?[0-9][0-9.,]{0,8}|[0-9][0-9.,]{0,8}\s?[$€£¥₹])"
    r"(?:\s?(?:/|per)\s?[0-9]{0,4}\s?[a-z]+)?",
    "misread lumen": r"(?<=w[/ ,])[0-9]{2,5}1m\b|[0-9]{2,5}1m(?=[/ ,]{1,2}[0-9]{1,3}w\b)"
    r"|[0-9]{2,5}1?m(?=/w\b)",
    "brand": r"(?<![-~0-9.])(?-i:3M)(?=\W{0,2}(?:tape|adhesive|sticker|glue|command|vhb|$))",
}
"""Patterns of digits that state no quantity: 5W-30, 316L, $2/100g, 8101m (lm), 3M."""
_NO_NUMBER = re.compile("|".join(NO_NUMBERS.values()), re.IGNORECASE)
_THOUSAND = re.compile(r"[1-9][0-9]{0,2}[.,][0-9]{3}")
"""Matches a number with a point or comma before three digits: 1.000 can be 1 or 1000."""
_BEFORE_UNIT = re.compile(r"\.(?=(?:cm|mm|in|kg|ml|oz|lbs?)(?![a-z]))|\s{0,2}[-(_]?\s?", re.IGNORECASE)
_UNIT_AFTER_LETTER = re.compile(
    r"\s?(?:[cm]m\b|inch(?:es)?\b|''|\"|in\b\.?(?=\s*(?:$|[x*,;:/)])))", re.IGNORECASE
)
"""Matches a unit of length that follows the letter of a side: 20H cm."""
_PER = re.compile(
    r"\.?\s?(?:/\s?(?:h|hr|hrs|hour|min|minute|s|sec|second|day|week|month|year|kg|g|mg|l|ml|m[23²³]?"
    r"|cm[23²³]|(?:ft|yd|in)[23²³]|ft|sqm|sq\.?|cell|w|watt)(?![a-z0-9])(?!\s?[.:=])"
    r"|\s?per\s(?:hour|minute|second|day|metre|meter|m\b|m2|sq|kg|kilo|lit|ml\b|gram|watt))"
    r"(?!\s?[0-9]{1,4}(?:[.,][0-9]{1,3})?\s?(?:[cm]m\b|in(?:ch)?\b|''|\"))",  # W 30cm/H 20cm: a height
    re.IGNORECASE,
)
"""Matches what makes a quantity a rate (/h) or a concentration (/kg)."""
_FORCE = re.compile(r"\.?\s{0,2}[-.·]?\s?(?:lbs?|pounds?)(?![a-z])", re.IGNORECASE)
"""Matches what makes a length a torque: 25 ft-lbs."""
_LETTER = re.compile(
    r"[(\[]?\s?(?P<letter>(?-i:[LWHDBTPAlwhdbt])|Ø|dia(?:m(?:eter)?)?\.?)\s?[)\]]?"
    r"(?:(?![a-zäöüß])|(?=(?:cm|mm|inch|in)\b)|(?=x\s?[(\[]?(?:[0-9.]|[LWHDBTPA](?![a-wyz]))))",
    re.IGNORECASE,
)
_LETTERS_GLUED = re.compile(r"(?:LWH|LHW|WDH|WHD|HWD|HDW|DWH|DHW|LBH|BHT|BTH|LDH)\b")
_BRACKETED_UNIT = re.compile(
    r"[(\[:]\s?(?P<unit>mm|cm|m|in|inch|inches|kg|kgs|g|gr|lb|lbs|oz|ml|l|v|w)\s?[~)\]]"
    r"|(?:unit|in)\s?:?\s(?P<word>cm|mm|inch|inches)\b",
    re.IGNORECASE,
)
_PRAISE = re.compile(r"(?:high|long|wide|deep|full)[- ](?!x\b)[a-z]{3,}", re.IGNORECASE)
"""Matches praise (high quality), which names no side unless a number or unit stands before it."""
_SIGNS: dict[str, str] = {
    "±": r"±|士|\+\s?/\s?-|\+-",
    "x": r"(?:x|\*|by\b)(?=\s?[(\[]?\s?(?:[0-9.½¼¾]|[lwhdbtpaø](?![a-wyz])))"
    r"|(?:x|\*|by\b)(?=\s[a-zäöüé]{3,})|(?<=[0-9])·(?=[0-9])",
    "-": r"--?|~|÷|(?:to|bis|à)(?![a-zäöü])",
    ",": r"[,;|·]",
    ":": r"[:=]",
    "&": r"&|and\b|und\b",
    "o": r"or\b|oder\b|approx\b\.?|ca\b\.?|≈",
    "e": r"(?:per|pro|je|par|por|pour|na)\b(?=\s100?(?![0-9]))|k(?:cal|j)\s?/",
    "/": "/",
    "(": r"[(\[]",
    ")": r"[)\]]",
    "+": r"\+",
    "w": r"[^\W\d_]+",
}
"""Patterns of signs and other words by kind of token; the first that matches is taken."""
_SIGN = re.compile("|".join(f"({pattern})" for pattern in _SIGNS.values()), re.IGNORECASE)
_SIGN_KINDS = tuple(_SIGNS)


def tokenize(text: str) -> list[Token]:
    """Return the tokens of a `numbers.normalised` line in order. Linear in its length; never raises."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        last = tokens[-1] if tokens else None
        token = _after_number(text, at, last) or _number(text, at) or _name(text, at, last) or _sign(text, at)
        if token:
            tokens.append(token)
        at = token.end if token else at + 1
    return tokens


def _after_number(text: str, at: int, last: Token | None) -> Token | None:
    """Return the unit behind a number or behind the letter of its side; or the "per" behind its unit."""
    if last is None or last.end != at:
        return None
    if last.kind in "ub":
        per = _PER.match(text, at) or (_FORCE.match(text, at) if DIMENSION[last.unit] == "length" else None)
        if per:
            return Token("p", at, per.end())
    if last.kind == "n":
        at = _BEFORE_UNIT.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
    elif last.kind in "lcb)" and _UNIT_AFTER_LETTER.match(text, at):
        at += text.startswith(" ", at)
    else:
        return None
    unit = unit_at(text, at)
    if unit is None:
        return None
    name, end = unit
    letter = text[at:end].upper()
    if len(letter) == 1 and letter in LETTERS:
        end += text.startswith((")", "]"), end)
        return Token("b", at, end, unit=name, labels=frozenset({LETTERS[letter]}))
    return Token("u", at, end, unit=name, flags=frozenset({"prime"} if name == "foot mark" else ()))


def _number(text: str, at: int) -> Token | None:
    """Return the number at ``at``, or digits that are none."""
    if match := _NO_NUMBER.match(text, at):
        return Token("!", at, match.end())
    value, end = number_at(text, at) or (None, at)
    if end == at:
        return None
    flags = frozenset({"thousand"} if _THOUSAND.fullmatch(text, at, end) else ())
    return Token("n", at, end, value, flags=flags) if value else Token("!", at, end)


def _name(text: str, at: int, last: Token | None) -> Token | None:
    """Return the word, letter or legend at ``at`` that names something, or the unit in brackets."""
    is_glued = last is not None and last.end == at and last.kind in "nubx"
    if at and text[at - 1].isalpha() and not is_glued:
        return None
    # (L) and (W) beside a number or times are letters; after a word they are units: Power (W)
    is_letter = text[at + 1 : at + 2] in ("L", "W") and (last is None or last.kind in "xnu/,")
    if not is_letter and (match := _BRACKETED_UNIT.match(text, at)):
        unit = unit_at((match["unit"] or match["word"]).lower())
        return unit and Token("h", at, match.end(), unit=unit[0])
    if glued := _LETTERS_GLUED.match(text, at):
        parts = [Token("l", at, at + 1, labels=frozenset({LETTERS[letter]})) for letter in glued[0]]
        return Token("L", at, glued.end(), parts=tuple(parts))
    if letter := _LETTER.match(text, at):
        name = letter["letter"].upper()
        return Token(
            "c" if name in "AP" else "l", at, letter.end(), labels=frozenset({LETTERS.get(name, "diameter")})
        )
    is_praise = _PRAISE.match(text, at) and not (last and last.kind in "nub")
    if is_praise or not (word := WORD.match(text, at)):
        return None
    labels = frozenset((word.lastgroup or "").split("_"))
    return Token("a" if labels <= SIDES else "k", at, word.end(), labels=labels)


def _sign(text: str, at: int) -> Token | None:
    """Return the sign or other word at ``at``."""
    match = _SIGN.match(text, at)
    return match and Token(_SIGN_KINDS[(match.lastindex or 1) - 1], at, match.end())
