"""Quantities in a line of printed text, each with the words that belong to it.

A line is cut into tokens (`tokens`), these are put together (`structure`), and the words go to the quantities here:

    Size (WxDxH): 50x35x80 cm
    w    L       : n x n x n u       W x D x H is a legend (L); the numbers are a product of sides (g)
                   width 50, depth 35, height 80 centimetre
"""

import functools
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from src.reading.numbers import normalised
from src.reading.quantity import Quantity
from src.reading.structure import structured
from src.reading.tokens import Token, tokenize
from src.reading.units import BY_NAME, DIMENSION
from src.reading.words import SAID_OF


@dataclass(frozen=True, slots=True)
class Mention:
    """A quantity found in a text.

    ``labels``: the kinds of words (`words.KINDS`) that belong to it. ``flags``: ``low``/``high`` of a range,
    ``product`` (a side of L x W x H), ``pack`` (one of several: 12 x 330 ml), ``sum``, ``compound`` (2 lb 3 oz as one),
    ``converted`` (the second of 60 g / 2.1 oz), ``borrowed`` (its unit is printed elsewhere), ``prime`` (feet by their
    mark), ``thousand`` (1.000 or 1,000). ``side`` counts the ``sides`` of a product from 0.
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
        """Whether it is one, of whatever axis."""
        return DIMENSION[self.quantity.unit] == "length"


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a line says: its quantities, kinds of words that belong to none of them, and a legend without a product."""

    mentions: tuple[Mention, ...]
    heading: frozenset[str]
    legend: tuple[frozenset[str], ...] = ()


def find_quantities(text: str) -> tuple[Mention, ...]:
    """Return the quantities of `parse`."""
    return parse(text).mentions


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Parsed:
    """Find all quantities of a printed line in their order, whatever they measure; never raises.

    Linear in the length of the text. Numbers without a unit of their own take that of their product
    (``L23 x W14 x H8cm``), range (``100-240V``), tolerance (``500 ± 10 g``) or heading (``Size (cm): 23``).
    """
    tokens = structured(tokenize(normalised(text)))
    groups = _with_legends([_flat(token) for token in _with_header(tokens)])
    said, heading = _words_of(groups)
    mentions: list[Mention] = []
    for token, labels in zip(groups, said, strict=True):
        for part in token.parts:
            mention = _mention(part, labels)
            if mention:
                mentions.append(mention)
    if text.strip(" .:=").upper() in ("H", "W", "D", "L"):  # in the first column of a table
        heading |= frozenset[str]().union(*(token.labels for token in groups))
    if mentions:
        heading -= {"limit"}  # of something else in the line: rated current
    legends = [token for token in groups if token.kind == "L"]
    used = any("product" in mention.flags and mention.labels for mention in mentions)
    legend = tuple(name.labels for name in legends[0].parts) if legends and not used else ()
    return Parsed(tuple(mentions), heading, legend)


def is_distance(quantity: Quantity, labels: Container[str]) -> bool:
    """Whether a length is how far something reaches, or how deep it may be under water, by the words near it."""
    return "distance" in labels and quantity.unit in ("metre", "foot", "yard")


def _mention(part: Token, labels: frozenset[str]) -> Mention | None:
    """Return the mention of a quantity; None for one without a unit, and for a distance or an error of measuring."""
    unit = BY_NAME.get(part.unit)
    if unit is None:
        return None
    labels = part.labels | labels
    if unit.dimension == "length" and "error" in labels:
        return None
    if "steel" in labels and unit.name == "litre" and part.value >= 300:
        return None  # 316 L is an alloy
    number = part.value
    if unit.answer:
        number = (number * unit.size / BY_NAME[unit.answer].size).normalize()
        number = round(number, 4).normalize()
    quantity = Quantity(number, unit.answer or unit.name)
    if is_distance(quantity, labels):
        return None
    return Mention(quantity, part.start, part.end, part.flags, labels, part.side, part.sides)


def _with_header(tokens: Sequence[Token]) -> list[Token]:
    """Give numbers without a unit the one in brackets, or that of the legend."""
    units = [t.unit for t in tokens if t.kind == "h"]
    units += [b.unit for a, b in zip(tokens, tokens[1:], strict=False) if a.kind == "L" and b.kind == "u"]
    if not units:
        return list(tokens)

    def filled(token: Token) -> Token:
        if token.kind == "g":
            return replace(token, parts=tuple(filled(part) for part in token.parts))
        if token.kind not in "nq" or token.unit:
            return token
        return replace(token, kind="q", unit=units[0], flags=token.flags | {"borrowed"})

    return [filled(token) for token in tokens]


def _flat(token: Token) -> Token:
    """Return a token of quantities with all of them as parts."""
    return replace(token, parts=(token,)) if token.kind == "q" else token


def _with_legends(tokens: list[Token]) -> list[Token]:
    """Give the sides of products the names of the nearest legend with as many."""
    legends = [token for token in tokens if token.kind == "L"]
    named = []
    for token in tokens:
        sides = {part.sides for part in token.parts if "product" in part.flags and not part.labels}
        fitting = [legend for legend in legends if {len(legend.parts)} == sides]
        if fitting and token.kind == "g":
            nearest = min(fitting, key=lambda legend: max(legend.start - token.end, token.start - legend.end))
            token = replace(token, parts=tuple(named_by(part, nearest.parts) for part in token.parts))
        named.append(token)
    return named


def named_by(part: Token, names: Sequence[Token]) -> Token:
    """Return a side with the name that a legend has at its place."""
    return replace(part, labels=names[part.side].labels) if part.sides == len(names) else part


def _words_of(tokens: Sequence[Token]) -> tuple[list[frozenset[str]], frozenset[str]]:
    """Return the kinds of words that belong to each token, and those that belong to none.

    A word belongs to the nearest quantity of its clause that it can be said of: the one behind it where the line's first
    such word stands before its first such quantity, else the one before it.
    """
    said = [frozenset[str]() for _ in tokens]
    homeless = {i for i, token in enumerate(tokens) if token.kind in "ak"}
    if not homeless:
        return said, frozenset()
    clause = [0]
    for token in tokens:
        clause.append(clause[-1] + (token.kind == ","))
    for dimension, kinds in SAID_OF.items():
        places = [i for i, token in enumerate(tokens) if any(_measures(p, dimension) for p in token.parts)]
        words = [i for i, token in enumerate(tokens) if token.kind in "ak" and token.labels & kinds]
        for word in words if places else ():
            homeless.discard(word)
            place = _place_for(word, places, clause, tokens, words[0] < places[0])
            said[place] |= tokens[word].labels & kinds
    return said, frozenset[str]().union(*(tokens[i].labels for i in homeless))


def _measures(part: Token, dimension: str) -> bool:
    return DIMENSION.get(part.unit) == dimension


def _place_for(
    word: int, places: Sequence[int], clause: Sequence[int], tokens: Sequence[Token], name_first: bool
) -> int:
    """Return which of the quantities at ``places`` a word belongs to."""
    own = [place for place in places if clause[place] == clause[word]] or places
    before, behind = [p for p in own if p < word][-1:], [p for p in own if p > word][:1]
    has_colon = tokens[word + 1 : word + 2] and tokens[word + 1].kind == ":"
    if name_first or has_colon or "replaces" in tokens[word].labels:
        return (behind or before)[0]
    return (before or behind)[0]
