"""Quantities in a line of printed text, each with the words that belong to it.

A line is cut into tokens (`tokens`), these are put together (`structure`), and names go to the quantities
here:

    Size (WxDxH): 50x35x80 cm
    w    l xlxl : n xn xn  u       tokens
    w    L      : g                W x D x H is a legend, the numbers are a product of three sides:
                                   width 50, depth 35, height 80 centimetre
"""

import bisect
import functools
import itertools
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from src.reading.numbers import normalised
from src.reading.quantity import Quantity
from src.reading.structure import structured
from src.reading.tokens import Token, tokenize
from src.reading.units import BY_NAME, DIMENSION
from src.reading.words import SAID_OF

_ALLOYS = (304, 316, 317, 321, 347)
"""Kinds of steel that are written as 316 L."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A quantity found in a text.

    ``labels``: the kinds of words (`words.KINDS`) that belong to it. ``flags``: ``low``/``high`` of a range
    or of alternatives, ``pack`` (one of several: 12 x 330 ml), ``sum``, ``compound`` (2 lb 3 oz as one),
    ``converted`` (the second of 60 g / 2.1 oz), ``borrowed`` (its unit is stated for the whole line or
    picture, or was damaged), ``prime`` (feet by their mark), ``thousand`` (1.000 or 1,000: thousands or three
    decimals). ``sides``: how many sides the product has of which it is the side number ``side``, from 0; 0
    when it is none.
    """

    quantity: Quantity
    start: int
    end: int
    flags: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    side: int = 0
    sides: int = 0

    @property
    def is_length(self) -> bool:
        """Tell whether the quantity is a length."""
        return DIMENSION[self.quantity.unit] == "length"


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a line says: its quantities, kinds of words that belong to none of them, and a legend without
    numbers."""

    mentions: tuple[Mention, ...]
    heading: frozenset[str]
    legend: tuple[frozenset[str], ...] = ()


def find_quantities(text: str) -> tuple[Mention, ...]:
    """Return the quantities of a printed line."""
    return parse(text).mentions


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Parsed:
    """Return what a printed line says: its quantities in units of the challenge, in order; never raises.

    Linear in the length of the text. Numbers without a unit of their own take that of their product
    (``L23 x W14 x H8cm``), range (``100-240V``), tolerance (``500 ± 10 g``) or heading (``Size (cm): 23``).
    """
    tokens = structured(tokenize(normalised(text)))
    legends = [token for token in tokens if token.kind == "L"]
    unit = _general_unit(tokens)
    tokens = [_with_legend(_with_unit(token, unit), legends) for token in tokens]
    said, heading = _words_of(tokens)
    found = (
        _mention(part, labels)
        for token, labels in zip(tokens, said, strict=True)
        for part in _quantities(token)
    )
    mentions = tuple(mention for mention in found if mention)
    if text.strip(" .:=()").upper() in ("H", "W", "D", "L"):  # the label of a row in a table
        heading |= tokens[0].labels
    if mentions:
        heading -= {"limit"}  # "rated" in "rated current" says nothing of other lines
    is_used = any(mention.sides and mention.labels for mention in mentions)
    return Parsed(
        mentions, heading, tuple(n.labels for n in legends[0].parts) if legends and not is_used else ()
    )


def _quantities(token: Token) -> Sequence[Token]:
    return token.parts if token.kind == "g" else (token,) if token.kind == "q" else ()


def _mention(part: Token, labels: frozenset[str]) -> Mention | None:
    """Return the mention of a quantity; None for one without a unit, or that is no amount by the words near
    it."""
    unit = BY_NAME.get(part.unit)
    if unit is None:
        return None
    labels = part.labels | labels
    quantity = Quantity(part.value, unit.name)
    if unit.answer:
        number = part.value * unit.size / BY_NAME[unit.answer].size
        quantity = Quantity(round(number, 6).normalize(), unit.answer)
    is_error = unit.dimension == "length" and "error" in labels
    is_alloy = "steel" in labels and unit.name == "litre" and part.value in _ALLOYS
    mention = Mention(quantity, part.start, part.end, part.flags, labels, part.side, part.sides)
    return None if is_error or is_alloy or is_distance(mention, labels) else mention


def is_distance(mention: Mention, words: Container[str]) -> bool:
    """Tell whether a length is how far something reaches, or how deep it may be under water, by the words
    near it."""
    return "distance" in words and mention.quantity.unit in ("metre", "foot", "yard") and not mention.sides


def _general_unit(tokens: Sequence[Token]) -> str:
    """Return the unit that a line states for all its numbers, in brackets or behind a legend; empty if
    none."""
    behind = (unit for legend, unit in itertools.pairwise(tokens) if legend.kind == "L" and unit.kind == "u")
    return next((token.unit for token in itertools.chain((t for t in tokens if t.kind == "h"), behind)), "")


def _with_unit(token: Token, unit: str) -> Token:
    if not unit or token.unit:
        return token
    if token.kind == "g":
        return replace(token, parts=tuple(_with_unit(part, unit) for part in token.parts))
    return (
        replace(token, kind="q", unit=unit, flags=token.flags | {"borrowed"}) if token.kind in "nq" else token
    )


def _with_legend(token: Token, legends: Sequence[Token]) -> Token:
    """Give the sides of a product without names those of the nearest legend with as many."""
    sides = {part.sides for part in token.parts if part.sides and not part.labels}
    fitting = [legend for legend in legends if {len(legend.parts)} == sides] if sides else []
    if not fitting:
        return token
    names = min(fitting, key=lambda legend: max(legend.start - token.end, token.start - legend.end)).parts
    parts = (replace(part, labels=names[part.side].labels) if part.sides else part for part in token.parts)
    return replace(token, parts=tuple(parts))


def _words_of(tokens: Sequence[Token]) -> tuple[list[frozenset[str]], frozenset[str]]:
    """Assign each word to a quantity of which it can be said; return the words of each token, and those left
    over.

    A word goes to the next quantity if the first such word of the line stands before the first such quantity,
    if a colon follows it or if it means "replaces"; else to the previous one. Quantities of its own clause
    come first.
    """
    said = [frozenset[str]() for _ in tokens]
    unassigned = {i for i, token in enumerate(tokens) if token.kind in "ak"}
    if not unassigned:
        return said, frozenset()
    clauses = list(itertools.accumulate(token.kind == "," for token in tokens))
    for dimension, kinds in SAID_OF.items():
        words = [i for i, token in enumerate(tokens) if token.kind in "ak" and token.labels & kinds]
        places = [
            i for i, t in enumerate(tokens) if any(DIMENSION.get(q.unit) == dimension for q in _quantities(t))
        ]
        for word in words if places else ():
            unassigned.discard(word)
            is_colon = word + 1 < len(tokens) and tokens[word + 1].kind == ":"
            is_name_first = words[0] < places[0] or is_colon or "replaces" in tokens[word].labels
            at = bisect.bisect(places, word)
            behind, before = places[at : at + 1], places[max(0, at - 1) : at]
            near = behind + before if is_name_first else before + behind
            place = next((place for place in near if clauses[place] == clauses[word]), near[0])
            said[place] |= tokens[word].labels & kinds
    return said, frozenset[str]().union(*(tokens[i].labels for i in unassigned))
