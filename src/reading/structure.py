"""Combines the tokens of a line into quantities, ranges, products of sides and conversions.

Productions are tried in the order of `PRODUCTIONS`, which matters. Each is a pattern of token kinds (see
`tokens.Token`) with a function that combines the tokens that match, or declines. They build ``q`` (a number
with its unit, if it has one) and ``g`` (a group: several of these that share words).
"""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from src.reading.repairs import repaired
from src.reading.tokens import Token
from src.reading.units import BY_NAME, DIMENSION, OTHER, SIZE

Build = Callable[[list[Token]], list[Token] | None]

_COMPOUNDS = {
    ("stone", "pound"), ("pound", "ounce"), ("foot", "inch"), ("foot mark", "inch mark"), ("foot mark", "inch"),
    ("yard", "foot"), ("kilogram", "gram"), ("metre", "centimetre"), ("litre", "millilitre"), ("gallon", "quart"),
    ("gallon", "fluid ounce"), ("quart", "fluid ounce"), ("quart", "ounce"), ("pint", "fluid ounce"),
    ("cup", "fluid ounce"),
}  # fmt: skip


def structured(tokens: Sequence[Token]) -> list[Token]:
    """Apply all productions to the tokens of a line."""
    current = list(tokens)
    kinds = "".join([token.kind for token in current])
    for pattern, build in PRODUCTIONS:
        if pattern.search(kinds):
            current = _reduced(current, kinds, pattern, build)
            kinds = "".join([token.kind for token in current])
    return current


def _reduced(tokens: list[Token], kinds: str, pattern: re.Pattern[str], build: Build) -> list[Token]:
    """Replace the tokens at each match of ``pattern`` by what ``build`` makes of them; None leaves them."""
    reduced, at = list[Token](), 0
    while match := pattern.search(kinds, at):
        made = build(tokens[match.start() : match.end()])
        end = match.start() + 1 if made is None else match.end()
        reduced += tokens[at : match.start()] + (tokens[match.start() : end] if made is None else made)
        at = end
    return reduced + tokens[at:]


def _legend(tokens: list[Token]) -> list[Token]:
    """Combine names of sides into a legend: W x D x H, Width x Height."""
    names = tuple(token for token in tokens if token.kind in "abcl")
    return [Token("L", tokens[0].start, tokens[-1].end, parts=names)]


def _tolerance(tokens: list[Token]) -> list[Token]:
    """Drop a tolerance: 500 ± 10 g is 500 g, 12 (±0.5) cm is 12 cm."""
    return [tokens[0], *[token for token in tokens if token.kind in "ub"][:1]]


def _about(tokens: list[Token]) -> list[Token] | None:
    """Drop a sign that means about: ± 3 kg. Decline for lengths: ±2 mm is a tolerance."""
    is_about = (
        DIMENSION[tokens[-1].unit] in ("weight", "volume") and tokens[0].end - tokens[0].start == 1
    )  # no +/-
    return tokens[1:] if is_about else None


def _nothing(tokens: list[Token]) -> list[Token]:
    """Turn a tolerance or a rate into digits that are no number: ±2 mm, 800 L/h, 80 g/m2."""
    return [Token("!", tokens[0].start, tokens[-1].end)]


def _lettered(tokens: list[Token]) -> list[Token] | None:
    """Name sides by letters or words: L23 x W14 x H8cm, 24W" x 36H", Height 16", Width 12". Decline 6 x 1.5L,
    5W."""
    core = [token for token in tokens if token.kind in "nuabcl"]
    starts = [
        i
        for i, token in enumerate(core)
        if (token.kind == "n") == (core[0].kind == "n") and token.kind != "u"
    ]
    sides = [_side(core[start:end]) for start, end in itertools.pairwise([*starts, len(core)])]
    units = {side.unit for side in sides if side.unit}
    names = [token.kind for token in core if token.kind in "abcl"]
    distinct = len(frozenset[str]().union(*(side.labels for side in sides))) == len(sides)
    are_units = not units and "b" in names and (len(sides) < 3 or set(names) == {"b"})  # 1.5L, 5W
    if not distinct or are_units or any(DIMENSION[unit] != "length" for unit in units):
        return None
    return [_sides(sides)] if any(token.kind in "x/" for token in tokens) else _with_shared_unit(sides)


def _side(tokens: list[Token]) -> Token:
    """Return a number with its letter or word, and its unit if it has one, as one quantity."""
    number = next(token for token in tokens if token.kind == "n")
    unit = next((token.unit for token in tokens if token.kind == "u"), "")
    labels = frozenset[str]().union(*(token.labels for token in tokens))
    flags = frozenset[str]().union(*(token.flags for token in tokens))
    return Token("q", tokens[0].start, tokens[-1].end, number.value, unit, labels, flags)


def _quantity(tokens: list[Token]) -> list[Token]:
    """Combine a number and its unit, with the letter of a side: 12 cm, H 12 cm, 20 cmH, 20Hcm."""
    at = next(i for i, token in enumerate(tokens) if token.kind == "n")
    last = max(i for i, token in enumerate(tokens) if token.kind in "ub")
    number, unit = tokens[at], tokens[last]
    made = Token("q", number.start, unit.end, number.value, unit.unit, flags=number.flags | unit.flags)
    if DIMENSION[unit.unit] != "length":  # a letter is that of no side
        return [*tokens[:at], made, *tokens[last + 1 :]]
    labels = frozenset[str]().union(*(token.labels for token in tokens if token is not unit))
    return [replace(made, end=tokens[-1].end, labels=labels)]


def _per_hundred(tokens: list[Token]) -> list[Token] | None:
    """Drop what is told per 100: 5 g / 100 g, 350 kcal / 100 g, per 100 ml. Decline two units: 3.4 oz / 100
    ml."""
    first, last = tokens[0], tokens[-1]
    if last.unit not in ("gram", "millilitre", "kilogram", "litre") or last.value not in (1, 100):
        return None
    if first.kind != "e" and last.value != 100:
        return None
    is_solute = first.unit in ("gram", "milligram", "microgram") or DIMENSION.get(first.unit) == OTHER
    return None if first.kind == "q" and not is_solute else _nothing(tokens)


def _no_amount(tokens: list[Token]) -> list[Token] | None:
    """Drop quantities that answer no question: 60 Hz, 5018V (a model)."""
    token = tokens[0]
    is_glued = token.end - token.start == len(str(token.value)) + 1
    is_model = token.unit == "volt" and token.value >= 1000 and token.value % 10 != 0 and is_glued
    return _nothing(tokens) if is_model or DIMENSION[token.unit] == OTHER else None


def _compound(tokens: list[Token]) -> list[Token] | None:
    """Add up two parts: 2 lb 4 oz are 2 lb, 2.25 lb and 4 oz."""
    first, second = tokens[0], tokens[-1]
    if (first.unit, second.unit) not in _COMPOUNDS or first.value % 1 != 0:
        return None
    if second.value * SIZE[second.unit] >= SIZE[first.unit]:
        return None
    unit = BY_NAME[first.unit].answer or first.unit
    total = (first.value * SIZE[first.unit] + second.value * SIZE[second.unit]) / SIZE[unit]
    total = round(total, 2 if DIMENSION[unit] == "volume" else 4).normalize()
    labels = first.labels | second.labels
    whole = Token("q", first.start, second.end, total, unit, labels, frozenset({"compound"}))
    return [_group([first, whole, second])]


def _range(tokens: list[Token]) -> list[Token] | None:
    """Mark the highest of a range or of alternatives: 100-240V, 12/24V, 3W/5W/7W."""
    parts = [token for token in tokens if token.kind in "nq"]
    units = {token.unit for token in parts if token.unit}
    if len(units) != 1 or (not parts[-1].unit and units != {"volt"}):
        return None
    is_slashed = tokens[1].kind == "/"
    ascend = all(low.value < high.value for low, high in itertools.pairwise(parts))
    if not (units <= {"volt", "watt"} if is_slashed else ascend):
        return None
    highest = max(part.value for part in parts)
    flagged = [replace(p, flags=p.flags | {"high" if p.value == highest else "low"}) for p in parts]
    return [_group(_with_shared_unit(flagged))]


def _named(tokens: list[Token]) -> list[Token]:
    """Name one side of a product by its letter: H30 x, x 20D."""
    (number,) = (token for token in tokens if token.kind == "n")
    labels = frozenset[str]().union(*(token.labels for token in tokens))
    return [replace(number, start=tokens[0].start, end=tokens[-1].end, labels=labels)]


def _product(tokens: list[Token]) -> list[Token]:
    """Combine the sides of a product, 6 x 4 x 2 in, or mark one of a pack: 12 x 330 ml."""
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


def _slashed_product(tokens: list[Token]) -> list[Token] | None:
    """Combine sides with slashes: 60/40/120 cm; two only behind a legend."""
    at = next(i for i, token in enumerate(tokens) if token.kind == "n")
    return tokens[:at] + _product(tokens[at:]) if DIMENSION[tokens[-1].unit] == "length" else None


def _sum(tokens: list[Token]) -> list[Token] | None:
    """Give the parts of a sum their unit: 2 + 3 kg."""
    parts = [token for token in tokens if token.kind in "nq"]
    if len({DIMENSION[part.unit] for part in parts if part.unit}) != 1 or not parts[-1].unit:
        return None
    return [_group(_with_shared_unit([replace(part, flags=part.flags | {"sum"}) for part in parts]))]


def _converted(tokens: list[Token]) -> list[Token] | None:
    """Group one amount in two units: 60 g / 2.1 oz, 12 x 8 in (30 x 20 cm)."""
    first, second = (list(token.parts) or [token] for token in (tokens[0], tokens[-1]))
    pairs = list(zip(first, second, strict=True)) if len(first) == len(second) else [(first[-1], second[0])]
    for one, other in pairs:
        if (
            not one.unit
            or not other.unit
            or one.unit == other.unit
            or DIMENSION[one.unit] != DIMENSION[other.unit]
        ):
            return None
        if (
            not Decimal("0.8")
            < one.value * SIZE[one.unit] / (other.value * SIZE[other.unit])
            < Decimal("1.25")
        ):
            return None
    return [_group([*first, *(replace(part, flags=part.flags | {"converted"}) for part in second)])]


def _group(parts: list[Token]) -> Token:
    return Token("g", parts[0].start, parts[-1].end, parts=tuple(parts))


def _sides(parts: list[Token]) -> Token:
    """Return the sides of a product as a group."""
    parts = _with_shared_unit(parts)
    return _group([replace(part, side=side, sides=len(parts)) for side, part in enumerate(parts)])


def _with_shared_unit(parts: list[Token]) -> list[Token]:
    """Give numbers the unit that is printed next, or else the last one."""
    unit = next((part.unit for part in reversed(parts) if part.unit), "")
    shared = []
    for part in reversed(parts):
        unit = part.unit or unit
        shared.append(replace(part, kind="q" if unit else "n", unit=unit))
    return shared[::-1]


_SIDE_BEFORE = r"\(?[abcl]\)?:?nu?\)?"
_SIDE_AFTER = r"nu?\(?[abcl]\)?u?"
PRODUCTIONS: tuple[tuple[re.Pattern[str], Build], ...] = tuple(
    (re.compile(pattern), build)
    for pattern, build in (
        (r"[acl](?:[x/][acl]){1,2}|b(?:x[acl]){1,2}(?!n)", _legend),
        (r"n[ub]?\(?±n[ub]?(?:-n[ub]?)?\)?[ub]?", _tolerance),
        (r"^±n[ub](?![x-])", _about),
        (r"±n[ub]?(?:-n[ub]?)?(?![xub])", _nothing),
        (
            rf"{_SIDE_BEFORE}(?:[x/,]?{_SIDE_BEFORE}){{1,4}}u?|{_SIDE_AFTER}(?:[x/,]?{_SIDE_AFTER}){{1,4}}",
            _lettered,
        ),
        (r"n[lb]u|(?:l:?)?n[ub]l?", _quantity),
        (r"qp", _nothing),
        (r"q/q|[!n]/q|eq", _per_hundred),
        (r"q", _no_amount),
        (r"[nq][!w]?[-/(:,o]{0,3}[nq]", repaired),
        (r"q[,&-]?q", _compound),
        (r"[nq]-[nq]|(?:[nq]/){1,4}q", _range),
        (r"l:?n(?=x)|(?<=x)l:?n|nl(?=u?x)|(?<=x)nl", _named),
        (r"[nq]u?(?:x\(?[nq]u?){1,5}", _product),
        (r"n/n/q|L[:h]?n/q", _slashed_product),
        (r"[nq][+&][nq]", _sum),
        (r"[qg][/(:,o]{0,3}[qg]", _converted),
    )
)
"""Patterns of token kinds with their productions, in the order in which they are tried."""
