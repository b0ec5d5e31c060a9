"""The quantities in a line of printed text, each with the words that belong to it.

`parse` cuts a line into `tokens`, combines these by the grammar in `structure`, and here the names go to the
quantities:

    Size (WxDxH): 50x35x80 cm
    w    L      : g                          kinds of tokens: a word, a legend, a group of three sides
    width 50 cm, depth 35 cm, height 80 cm   the mentions
"""

import bisect
import functools
import itertools
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

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
    """A quantity in a text, from ``start`` to ``end``.

    ``labels``: kinds of words (`words.KINDS`) that belong to it. ``sides``: how many sides the product has
    of which it is number ``side``, from 0; 0 when it is none. ``flags``: ``low`` or ``high`` of a range or of
    alternatives, ``pack`` (one of several: 12 x 330 ml), ``sum``, ``compound`` (2 lb 3 oz as one),
    ``converted`` (the second of 60 g / 2.1 oz), ``borrowed`` (its unit is stated for the whole line or image,
    or was damaged), ``prime`` (feet by their mark), ``thousand`` (1.000 or 1,000: thousand or decimals).
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


Names = tuple[frozenset[str], ...]
"""The names of sides in a legend, each as kinds of words."""


class Parsed(NamedTuple):
    """The content of a line.

    ``heading``: kinds of words that belong to no quantity of the line, and so perhaps to one of another line.
    ``legend``: names of sides (W x D x H) that no product of the line uses.
    """

    mentions: tuple[Mention, ...]
    heading: frozenset[str]
    legend: Names


def find_quantities(text: str) -> tuple[Mention, ...]:
    """Return the quantities of a printed line."""
    return parse(text).mentions


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Parsed:
    """Return what a printed line says, with quantities in units of the challenge, in order; never raises.

    Linear in the length of the text. Numbers without a unit take that of their product (L23 x W14 x H8cm),
    range (100-240V), tolerance (500 ± 10 g) or heading (Size (cm): 23).
    """
    tokens = structured(tokenize(normalised(text)))
    legends = [token for token in tokens if token.kind == "L"]
    unit = _general_unit(tokens)
    tokens = [_with_legend(_with_unit(token, unit), legends) for token in tokens]
    labels_of, heading = _assigned_words(tokens)
    mentions = tuple(
        mention
        for token, labels in zip(tokens, labels_of, strict=True)
        for part in _quantities(token)
        if (mention := _mention(part, labels))
    )
    if text.strip(" .:=()").upper() in ("H", "W", "D", "L"):  # the label of a row in a table
        heading |= tokens[0].labels
    if mentions:
        heading -= {"limit"}  # "rated" in "rated current" says nothing about other lines
    is_used = any(mention.sides and mention.labels for mention in mentions)
    return Parsed(mentions, heading, _names(legends[0]) if legends and not is_used else ())


def _quantities(token: Token) -> Sequence[Token]:
    if token.kind == "g":
        return token.parts
    return (token,) if token.kind == "q" else ()


def _names(legend: Token) -> Names:
    return tuple(name.labels for name in legend.parts)


def _mention(part: Token, labels: frozenset[str]) -> Mention | None:
    """Return the mention of a quantity in a unit of the challenge.

    None for one without a unit, and for what is no amount by its words: an error, a kind of steel, a reach.
    """
    unit = BY_NAME.get(part.unit)
    if unit is None:
        return None
    labels = part.labels | labels
    quantity = Quantity(part.value, unit.name)
    if unit.answer:
        number = part.amount / BY_NAME[unit.answer].size
        quantity = Quantity(round(number, 6).normalize(), unit.answer)
    is_error = unit.dimension == "length" and "error" in labels
    is_alloy = "steel" in labels and unit.name == "litre" and part.value in _ALLOYS
    mention = Mention(quantity, part.start, part.end, part.flags, labels, part.side, part.sides)
    return None if is_error or is_alloy or is_distance(mention, labels) else mention


def is_distance(mention: Mention, words: Container[str]) -> bool:
    """Tell whether a length is, by the words near it, a reach or a depth under water: range 10 m."""
    return "distance" in words and mention.quantity.unit in ("metre", "foot", "yard") and not mention.sides


def _general_unit(tokens: Sequence[Token]) -> str:
    """Return the unit of all numbers of a line, in brackets or behind a legend; empty if there is none."""
    in_brackets = [token.unit for token in tokens if token.kind == "h"]
    pairs = itertools.pairwise(tokens)
    behind_legend = [unit.unit for legend, unit in pairs if legend.kind == "L" and unit.kind == "u"]
    return next(iter(in_brackets + behind_legend), "")


def _with_unit(token: Token, unit: str) -> Token:
    """Return a number or group with ``unit`` where it has none; other tokens as they are."""
    if not unit or token.unit or token.kind not in "nqg":
        return token
    if token.kind == "g":
        return replace(token, parts=tuple(_with_unit(part, unit) for part in token.parts))
    return replace(token, kind="q", unit=unit, flags=token.flags | {"borrowed"})


def _with_legend(token: Token, legends: Sequence[Token]) -> Token:
    """Return a group with the names of the nearest legend that fits its sides; other tokens as they are."""
    if not legends or token.kind != "g":
        return token
    near = ((max(legend.start - token.end, token.start - legend.end), _names(legend)) for legend in legends)
    return replace(token, parts=with_names(token.parts, near))


_Part = TypeVar("_Part", Token, Mention)


def with_names(parts: tuple[_Part, ...], legends: Iterable[tuple[float, Names]]) -> tuple[_Part, ...]:
    """Return the parts with the names of the nearest legend that has as many as there are unnamed sides.

    ``legends``: the distance and the names of each.
    """
    sides = {part.sides for part in parts if part.sides and not part.labels}
    fitting = (legend for legend in legends if {len(legend[1])} == sides) if sides else ()
    nearest = min(fitting, key=lambda legend: legend[0], default=None)
    if nearest is None:
        return parts
    return tuple(replace(part, labels=nearest[1][part.side]) if part.sides else part for part in parts)


def _assigned_words(tokens: Sequence[Token]) -> tuple[list[frozenset[str]], frozenset[str]]:
    """Assign words to quantities; return the kinds of words for each token, and those that are left over.

    A word goes only to a quantity it can be said of (`words.SAID_OF`): to the next one if the first such word
    of the line stands before the first such quantity, if a colon follows it or if it is "replaces"; else to
    the previous one. Quantities of its own clause come first.
    """
    labels_of = [frozenset[str]() for _ in tokens]
    unassigned = {i for i, token in enumerate(tokens) if token.kind in "ak"}
    if not unassigned:
        return labels_of, frozenset()
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
            after, before = places[at : at + 1], places[max(0, at - 1) : at]
            near = after + before if is_name_first else before + after
            place = next((place for place in near if clauses[place] == clauses[word]), near[0])
            labels_of[place] |= tokens[word].labels & kinds
    return labels_of, frozenset[str]().union(*(tokens[i].labels for i in unassigned))
