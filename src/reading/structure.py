"""The grammar of printed quantities: patterns of token kinds, and what the matching tokens are combined to.

The tokens of "6 x 4 x 2 in" have the kinds ``nxnxnu``. The production "quantity" makes this ``nxnxq``, and
"dimensions" makes it ``g``: a group of three quantities, the sides 6, 4 and 2 inch of one item. The tokens of
"60 g / 2.1 oz" go from ``nu/nu`` to ``q/q`` and, by "conversion", to ``g``. `PRODUCTIONS` is the whole
grammar. The kinds, of which `tokens.Token` has the full list: ``n`` number, ``u`` unit, ``a`` word for a
side, ``l b c`` letter for a side (``b`` may be a unit, too), ``x`` times, ``p`` per with its unit, ``e`` per
before 100, ``o`` or, ``!`` digits that state no amount; punctuation stands for itself.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from src.reading.repairs import repaired
from src.reading.tokens import Token
from src.reading.units import BY_NAME, DIMENSION, SIZE
from src.units import OTHER

Build = Callable[[list[Token]], list[Token] | None]
"""Function that combines the tokens of a match, or declines with None."""


def structured(tokens: Sequence[Token]) -> list[Token]:
    """Return the tokens of a line after all productions: quantities, groups, legends, and what is left."""
    current = list(tokens)
    kinds = "".join([token.kind for token in current])
    for pattern, build in _COMPILED:
        if pattern.search(kinds):
            current = _reduced(current, kinds, pattern, build)
            kinds = "".join([token.kind for token in current])
    return current


def _reduced(tokens: list[Token], kinds: str, pattern: re.Pattern[str], build: Build) -> list[Token]:
    """Return the tokens with what ``build`` makes of each match of ``pattern``; matches it declines stay."""
    reduced, at = list[Token](), 0
    while match := pattern.search(kinds, at):
        start, end = match.span()
        built = build(tokens[start:end])
        if built is None:
            end = start + 1
            built = tokens[start:end]
        reduced += tokens[at:start] + built
        at = end
    return reduced + tokens[at:]


def _legend(tokens: list[Token]) -> list[Token]:
    """Combine names of sides into a legend: W x D x H, Width x Height."""
    names = tuple(token for token in tokens if token.kind in "abcl")
    return [Token("L", tokens[0].start, tokens[-1].end, parts=names)]


def _tolerance(tokens: list[Token]) -> list[Token]:
    """Remove a tolerance: 500 ± 10 g is 500 g, 12 (±0.5) cm is 12 cm."""
    return [tokens[0], *[token for token in tokens if token.kind in "ub"][:1]]


def _about(tokens: list[Token]) -> list[Token] | None:
    """Remove a sign that means about: ± 3 kg. Decline +/- 3 kg and ± 2 mm, which are tolerances.

    Only weights and volumes are printed so; ± before volts or watts is a tolerance as well.
    """
    is_sign = tokens[0].end - tokens[0].start == 1
    return tokens[1:] if is_sign and DIMENSION[tokens[-1].unit] in ("weight", "volume") else None


def _discarded(tokens: list[Token]) -> list[Token]:
    """Replace tokens that state no amount (a tolerance, a rate) by one ``!``: ±2 mm, 800 L/h, 80 g/m2."""
    return [Token("!", tokens[0].start, tokens[-1].end)]


def _named_sides(tokens: list[Token]) -> list[Token] | None:
    """Name several sides: L23 x W14 x H8cm, 24W" x 36H", Height 16", Width 12". Decline 6 x 1.5L, 5W."""
    core = [token for token in tokens if token.kind in "nuabcl"]
    first_kinds = "n" if core[0].kind == "n" else "abcl"  # a side begins with its number or with its name
    starts = [i for i, token in enumerate(core) if token.kind in first_kinds]
    sides = [_named_side(core[start:end])[0] for start, end in itertools.pairwise([*starts, len(core)])]
    units = {side.unit for side in sides if side.unit}
    names = {token.kind for token in core if token.kind in "abcl"}
    # Two numbers, or any number of them with L, W and T only, are amounts in these units: 6 x 1.5L, 5W.
    are_units = not units and "b" in names and (len(sides) < 3 or names == {"b"})
    are_distinct = len({label for side in sides for label in side.labels}) == len(sides)
    if are_units or not are_distinct or any(DIMENSION[unit] != "length" for unit in units):
        return None
    # Without x or / they are single quantities with names, no dimensions of one item.
    return [_sides(sides)] if any(token.kind in "x/" for token in tokens) else _with_shared_unit(sides)


def _named_side(tokens: list[Token]) -> list[Token]:
    """Combine a number with the name of its side, and its unit if it has one: H30, 20D, Width 12 cm."""
    number = next(token for token in tokens if token.kind == "n")
    unit = next((token.unit for token in tokens if token.kind == "u"), "")
    labels = number.labels.union(*(token.labels for token in tokens))
    flags = number.flags.union(*(token.flags for token in tokens))
    return [Token("n", tokens[0].start, tokens[-1].end, number.value, unit, labels, flags)]


def _quantity(tokens: list[Token]) -> list[Token]:
    """Combine a number, its unit, and for a length the letter of its side: 12 cm, H 12 cm, 20cmH, 20Hcm."""
    at = next(i for i, token in enumerate(tokens) if token.kind == "n")
    last = max(i for i, token in enumerate(tokens) if token.kind in "ub")
    number, unit = tokens[at], tokens[last]
    quantity = Token("q", number.start, unit.end, number.value, unit.unit, flags=number.flags | unit.flags)
    if DIMENSION[unit.unit] != "length":
        return [*tokens[:at], quantity, *tokens[last + 1 :]]
    labels = number.labels.union(*(token.labels for token in tokens if token is not unit))
    return [replace(quantity, end=tokens[-1].end, labels=labels)]


def _per_hundred(tokens: list[Token]) -> list[Token] | None:
    """Replace an amount per 100 by ``!``: 5 g / 100 g, 350 kcal / 100 g, per 100 ml.

    Decline one amount in two units: 3.4 oz / 100 ml.
    """
    first, last = tokens[0], tokens[-1]
    is_share = last.value == 100 or (last.value == 1 and first.kind == "e")
    is_ingredient = first.unit in ("gram", "milligram", "microgram") or DIMENSION.get(first.unit) == OTHER
    if not is_share or last.unit not in ("gram", "millilitre", "kilogram", "litre"):
        return None
    return _discarded(tokens) if is_ingredient or first.kind != "q" else None


def _no_amount(tokens: list[Token]) -> list[Token] | None:
    """Replace a quantity that answers no question by ``!``: 60 Hz, 5018V (a model number)."""
    token = tokens[0]
    is_glued = token.end - token.start == len(str(token.value)) + 1  # the letter V stands at the digits
    is_model_number = token.unit == "volt" and token.value >= 1000 and token.value % 10 != 0 and is_glued
    return _discarded(tokens) if is_model_number or DIMENSION[token.unit] == OTHER else None


_COMPOUND = re.compile(
    r"stone & pound|pound & ounce|yard & foot|foot & inch|foot mark & inch( mark)?|metre & centimetre"
    r"|kilogram & gram|litre & millilitre|gallon & (quart|fluid ounce)|quart & (fluid )?ounce"
    r"|(pint|cup) & fluid ounce"
)
"""Matches two units that are printed together for one amount."""


def _compound(tokens: list[Token]) -> list[Token] | None:
    """Group the two parts of one amount with their sum: 2 lb 4 oz are 2 lb, 2.25 lb and 4 oz.

    The sum is rounded as labels are: volumes to two decimals, others to four.
    """
    first, second = tokens[0], tokens[-1]
    is_compound = _COMPOUND.fullmatch(f"{first.unit} & {second.unit}") and first.value % 1 == 0
    if not is_compound or second.amount >= SIZE[first.unit]:
        return None
    unit = BY_NAME[first.unit].answer or first.unit
    decimals = 2 if DIMENSION[unit] == "volume" else 4
    total = round((first.amount + second.amount) / SIZE[unit], decimals).normalize()
    labels, flags = first.labels | second.labels, frozenset({"compound"})
    return [_group([first, Token("q", first.start, second.end, total, unit, labels, flags), second])]


def _range(tokens: list[Token]) -> list[Token] | None:
    """Flag the highest value of a range or of alternatives ``high``, the others ``low``: 100-240V, 12/24V.

    A range needs its unit at the end; only volts are also printed 100V-240.
    """
    parts = [token for token in tokens if token.kind in "nq"]
    units = {token.unit for token in parts if token.unit}
    if len(units) != 1 or (not parts[-1].unit and units != {"volt"}):
        return None
    is_ascending = all(low.value < high.value for low, high in itertools.pairwise(parts))
    if not (units <= {"volt", "watt"} if tokens[1].kind == "/" else is_ascending):
        return None
    highest = max(part.value for part in parts)
    flagged = [
        replace(part, flags=part.flags | {"high" if part.value == highest else "low"}) for part in parts
    ]
    return [_group(_with_shared_unit(flagged))]


def _dimensions(tokens: list[Token]) -> list[Token] | None:
    """Group the sides of an item, 6 x 4 x 2 in, 60/40/120 cm, or flag the one of a pack: 12 x 330 ml."""
    if tokens[1].kind == "/" and DIMENSION[tokens[-1].unit] != "length":
        return None
    parts: list[Token] = []
    for token in tokens:
        if token.kind in "nq":
            parts.append(replace(token, kind="q"))
        elif token.kind == "u" and not parts[-1].unit:
            parts[-1] = replace(parts[-1], unit=token.unit, end=token.end)
    units = [part.unit for part in parts if part.unit]
    if units and DIMENSION[units[-1]] != "length":
        return [_group([replace(part, flags=part.flags | {"pack"}) for part in parts if part.unit])]
    return [_sides(parts)]


def _sum(tokens: list[Token]) -> list[Token] | None:
    """Flag the terms of a printed sum, and give them their shared unit: 2 + 3 kg. They are not added."""
    parts = [token for token in tokens if token.kind in "nq"]
    if len({DIMENSION[part.unit] for part in parts if part.unit}) != 1 or not parts[-1].unit:
        return None
    return [_group(_with_shared_unit([replace(part, flags=part.flags | {"sum"}) for part in parts]))]


def _conversion(tokens: list[Token]) -> list[Token] | None:
    """Group one amount in two units: 60 g / 2.1 oz, 12 x 8 in (30 x 20 cm)."""
    first, second = (token.parts or (token,) for token in (tokens[0], tokens[-1]))
    pairs = zip(first, second, strict=True) if len(first) == len(second) else [(first[-1], second[0])]
    if not all(_is_converted(one, other) for one, other in pairs):
        return None
    return [_group([*first, *(replace(part, flags=part.flags | {"converted"}) for part in second)])]


def _is_converted(one: Token, other: Token) -> bool:
    """Tell whether two quantities have different units of one dimension and about the same amount."""
    if one.unit == other.unit or DIMENSION.get(one.unit) != DIMENSION.get(other.unit):
        return False
    return Decimal("0.8") < one.amount / other.amount < Decimal("1.25")  # printed conversions are rough


def _group(parts: Sequence[Token]) -> Token:
    """Return a group of quantities."""
    return Token("g", parts[0].start, parts[-1].end, parts=tuple(parts))


def _sides(parts: list[Token]) -> Token:
    """Return the sides of an item as a group, each with its place among them."""
    shared = _with_shared_unit(parts)
    return _group([replace(part, side=side, sides=len(parts)) for side, part in enumerate(shared)])


def _with_shared_unit(parts: list[Token]) -> list[Token]:
    """Give numbers the unit that is printed next, or else the last one."""
    unit = next((part.unit for part in reversed(parts) if part.unit), "")
    shared = []
    for part in reversed(parts):
        unit = part.unit or unit
        shared.append(replace(part, kind="q" if unit else "n", unit=unit))
    return shared[::-1]


_NAME_FIRST, _NUMBER_FIRST = r"\(?[abcl]\)?:?nu?\)?", r"nu?\(?[abcl]\)?u?"
_NAMED_SIDES = (
    rf"{_NAME_FIRST}(?:[x/,]?{_NAME_FIRST}){{1,4}}u?|{_NUMBER_FIRST}(?:[x/,]?{_NUMBER_FIRST}){{1,4}}"
)
PRODUCTIONS: dict[str, tuple[str, Build]] = {
    "legend": (r"[acl](?:[x/][acl]){1,2}|b(?:x[acl]){1,2}(?!n)", _legend),
    "tolerance": (r"n[ub]?\(?±n[ub]?(?:-n[ub]?)?\)?[ub]?", _tolerance),
    "about": (r"^±n[ub](?![x-])", _about),
    "tolerance alone": (r"±n[ub]?(?:-n[ub]?)?(?![xub])", _discarded),
    "named sides": (_NAMED_SIDES, _named_sides),
    "quantity": (r"n[lb]u|(?:l:?)?n[ub]l?", _quantity),
    "rate": (r"qp", _discarded),
    "per hundred": (r"q/q|[!n]/q|eq", _per_hundred),
    "no amount": (r"q", _no_amount),
    "repair": (r"[nq][!w]?[-/(:,o]{0,3}[nq]", repaired),
    "compound": (r"q[,&-]?q", _compound),
    "range": (r"[nq]-[nq]|(?:[nq]/){1,4}q", _range),
    "one named side": (r"l:?n(?=x)|(?<=x)l:?n|nl(?=u?x)|(?<=x)nl", _named_side),
    "dimensions": (r"[nq]u?(?:x\(?[nq]u?){1,5}|(?:n/n/q|(?<=L)n/q|(?<=L[:h])n/q)(?!u?x)", _dimensions),
    "sum": (r"[nq][+&][nq]", _sum),
    "conversion": (r"[qg][/(:,o]{0,3}[qg]", _conversion),
}
"""Productions by name: a pattern of token kinds, and the function that combines what it matches.

Each is tried on the whole line, from left to right, in this order: what a later one would misread (a
tolerance, a rate) is taken by an earlier one. They build ``q`` (a quantity), ``g`` (a group of quantities
that share the words beside them) and ``L`` (a legend). Before "dimensions" a named ``n`` may have its unit
already; after it a ``q`` may lack one.
"""
_COMPILED = [(re.compile(pattern), build) for pattern, build in PRODUCTIONS.values()]
