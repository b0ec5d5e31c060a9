"""What the tokens of a line make up together: quantities, ranges, products of sides, two units for one amount.

Productions are tried in the order of `PRODUCTIONS`. Each is a pattern of token kinds (see `tokens.Token`) with what it
makes of the tokens that match; it may decline. What they make are ``q`` (a number, with its unit if it has one) and
``g`` (several of these that share words).
"""

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from src.reading.tokens import Token
from src.reading.units import BY_NAME, DIMENSION, OTHER, SIZE

Build = Callable[[list[Token], str], list[Token] | None]

_SIDE_BEFORE = r"\(?[abl]\)?:?nu?\)?"
_SIDE_AFTER = r"nu?\(?[abl]\)?u?"
_COMPOUNDS = {
    ("stone", "pound"), ("pound", "ounce"), ("foot", "inch"), ("foot mark", "inch mark"), ("foot mark", "inch"),
    ("yard", "foot"), ("kilogram", "gram"), ("metre", "centimetre"), ("litre", "millilitre"), ("gallon", "quart"),
    ("gallon", "fluid ounce"), ("quart", "fluid ounce"), ("quart", "ounce"), ("pint", "fluid ounce"),
    ("cup", "fluid ounce"),
}  # fmt: skip


def structured(tokens: Sequence[Token]) -> list[Token]:
    """Apply all productions to the tokens of a line."""
    current = list(tokens)
    kinds = _kinds(current)
    for pattern, build in PRODUCTIONS:
        if pattern.search(kinds):
            current = _reduced(current, kinds, pattern, build)
            kinds = _kinds(current)
    return current


def _kinds(tokens: Iterable[Token]) -> str:
    return "".join([token.kind for token in tokens])


def _reduced(tokens: list[Token], kinds: str, pattern: re.Pattern[str], build: Build) -> list[Token]:
    """Replace the tokens at each match of ``pattern`` by what ``build`` makes of them; None leaves them."""
    reduced, at = list[Token](), 0
    while match := pattern.search(kinds, at):
        made = build(tokens[match.start() : match.end()], kinds[: match.start()])
        end = match.start() + 1 if made is None else match.end()
        reduced += tokens[at : match.start()] + (tokens[match.start() : end] if made is None else made)
        at = end
    return reduced + tokens[at:]


def _units(tokens: Iterable[Token]) -> list[Token]:
    return [token for token in tokens if token.kind in "ub"]


def _tolerance(tokens: list[Token], before: str) -> list[Token] | None:
    """500 ± 10 g -> 500 g; 12 (±0.5) cm -> 12 cm."""
    return [tokens[0], *_units(tokens)[:1]]


def _about(tokens: list[Token], before: str) -> list[Token] | None:
    """± 3 kg -> 3 kg; ±2 mm -> nothing: how much a length may differ."""
    units = _units(tokens)
    about = not before and units and DIMENSION[units[0].unit] in ("weight", "volume")
    about = about and tokens[0].end - tokens[0].start == 1  # ±, not +/-
    return tokens[1:] if about and "-" not in [token.kind for token in tokens] else []


def _legend(tokens: list[Token], before: str) -> list[Token] | None:
    """W x D x H, Width x Height -> the names of the sides of a product that stands elsewhere."""
    names = [token for token in tokens if token.kind in "abcl"]
    return [Token("L", tokens[0].start, tokens[-1].end, parts=tuple(names))]


def _lettered(tokens: list[Token], before: str) -> list[Token] | None:
    """L23 x W14 x H8cm, 24W" x 36H", Height 16", Width 12" -> sides with their names; not 6 x 1.5L, 5W."""
    name_first = tokens[0].kind != "n"
    sides: list[Token] = []
    for token in tokens:
        if token.kind not in "nuabl":
            continue
        if token.kind in ("abl" if name_first else "n"):
            sides.append(Token("q", token.start, token.end))
        side = sides[-1]
        side.end = token.end
        side.value = token.value if token.kind == "n" else side.value
        side.flags |= token.flags
        if token.kind in "abl":
            side.labels = token.labels
        elif token.kind == "u":
            side.unit = side.unit or token.unit
    units = {side.unit for side in sides if side.unit}
    names = [token.kind for token in tokens if token.kind in "abl"]
    distinct = len(frozenset[str]().union(*(side.labels for side in sides))) == len(sides)
    if not distinct or any(DIMENSION[unit] != "length" for unit in units):
        return None
    if not units and "b" in names and (len(sides) < 3 or set(names) == {"b"}):
        return None  # 1.5L, 5W
    if any(token.kind in "x/" for token in tokens):
        return [_product_of(sides)]
    return _with_shared_unit(sides)


def _quantity(tokens: list[Token], before: str) -> list[Token] | None:
    """12 cm, H 12 cm, 20 cmH, 20Hcm -> a quantity, with the letter for its side."""
    at = next(i for i, token in enumerate(tokens) if token.kind == "n")
    last = max(i for i, token in enumerate(tokens) if token.kind in "ub")
    number, unit = tokens[at], tokens[last]
    flags = number.flags | unit.flags
    if DIMENSION[unit.unit] != "length":  # a letter is that of no side
        made = Token("q", number.start, unit.end, number.value, unit.unit, flags=flags)
        return [*tokens[:at], made, *tokens[last + 1 :]]
    labels = frozenset[str]().union(*(t.labels for t in tokens if t is not unit))
    return [Token("q", number.start, tokens[-1].end, number.value, unit.unit, labels, flags)]


def _rate(tokens: list[Token], before: str) -> list[Token] | None:
    """800 L/h, 80 g/m2 -> nothing."""
    return [Token("!", tokens[0].start, tokens[-1].end)]


def _per_hundred(tokens: list[Token], before: str) -> list[Token] | None:
    """5 g / 100 g, 350 kcal / 100 g, per 100 ml -> nothing; 3.4 oz / 100 ml are two units for one bottle."""
    first, last = tokens[0], tokens[-1]
    if last.unit not in ("gram", "millilitre", "kilogram", "litre") or last.value not in (1, 100):
        return None
    if first.kind != "e" and last.value != 100:
        return None
    is_solute = first.unit in ("gram", "milligram", "microgram") or DIMENSION.get(first.unit) == OTHER
    return None if first.kind == "q" and not is_solute else _rate(tokens, before)


def _no_amount(tokens: list[Token], before: str) -> list[Token] | None:
    """60 Hz, 5018V (a model) -> nothing."""
    unit, value, glued = tokens[0].unit, tokens[0].value, tokens[0].end - tokens[0].start
    is_model = unit == "volt" and value >= 1000 and value % 10 != 0 and glued == len(str(value)) + 1
    return _rate(tokens, before) if is_model or DIMENSION[unit] == OTHER else None


def _repaired(tokens: list[Token], before: str) -> list[Token] | None:
    """Mend one of two units for one amount by the other: 11oz/3.0g -> 0.11 oz, (4.5 0 (127 g) -> 4.5 oz."""
    first, second = tokens[0], tokens[-1]
    if len(tokens) == 2 and first.unit and second.unit:
        return None  # 2 lb 3.2 oz
    kinds = [token.kind for token in tokens]
    for damaged, whole in ((first, second), (second, first)):
        for value, unit in _meanings(damaged, whole, is_torn="!" in kinds or "w" in kinds):
            if unit == whole.unit or DIMENSION[unit] != DIMENSION[whole.unit]:
                continue
            if abs(value * SIZE[unit] / (whole.value * SIZE[whole.unit]) - 1) < _tolerated(damaged, whole):
                mended = replace(damaged, kind="q", value=value, unit=unit)
                return [mended, *tokens[1:]] if damaged is first else [*tokens[:-1], mended]
    return None


def _meanings(damaged: Token, whole: Token, is_torn: bool) -> list[tuple[Decimal, str]]:
    """Return what OCR may have damaged: a lost point, a lost letter of ml, an unread unit (g as 9, oz as 0)."""
    value = damaged.value
    digits = len(value.as_tuple().digits)
    if not whole.unit:
        return []
    if damaged.unit == "metre" and DIMENSION[whole.unit] == "volume":
        return [(value, "millilitre")]
    if damaged.unit:
        if value.as_tuple().exponent != 0:
            return []
        is_exact = whole.value.as_tuple().exponent != 0
        powers = [power for power in (10, 100) if value % power and (is_exact or value > power)]
        return [(value / power, damaged.unit) for power in powers]
    if digits < 2 and not is_torn:
        return []
    cut = Decimal(int(value) // 10)
    last = str(value)[-1]
    return [
        *((value, unit) for unit in ("ounce", "fluid ounce", "gram", "millilitre", "pound", "kilogram")),
        *([(cut, "gram")] if last == "9" and digits > 2 else []),
        *([(cut, "ounce"), (cut, "fluid ounce")] if last == "0" and digits > 2 else []),
    ]


def _tolerated(damaged: Token, whole: Token) -> Decimal:
    """Return by how much two units for one amount may differ, as a share."""
    if damaged.unit == "metre":
        return Decimal("0.05")
    if damaged.unit and whole.value.as_tuple().exponent != 0:
        return Decimal("0.05")
    return Decimal("0.02")


def _compound(tokens: list[Token], before: str) -> list[Token] | None:
    """2 lb 4 oz -> 2 lb, 2.25 lb and 4 oz."""
    first, second = tokens[0], tokens[-1]
    size, part = SIZE.get(first.unit), SIZE.get(second.unit)
    if (first.unit, second.unit) not in _COMPOUNDS or size is None or part is None:
        return None
    if first.value % 1 != 0 or second.value * part >= size:
        return None
    unit = BY_NAME[first.unit].answer or first.unit
    places = 2 if DIMENSION[unit] == "volume" else 4
    total = round((first.value * size + second.value * part) / SIZE[unit], places).normalize()
    flags, labels = frozenset({"compound"}), first.labels | second.labels
    whole = Token("q", first.start, second.end, total, unit, labels, flags)
    return [_group([first, whole, second])]


def _range(tokens: list[Token], before: str) -> list[Token] | None:
    """100-240V -> low and high; 3W/5W/7W likewise."""
    parts = [token for token in tokens if token.kind in "nq"]
    units = {token.unit for token in parts if token.unit}
    if len(units) != 1 or (not parts[-1].unit and units != {"volt"}):
        return None
    slashes = any(token.kind == "/" for token in tokens)
    if slashes and not units <= {"volt", "watt"}:
        return None
    if not slashes and not all(a.value < b.value for a, b in itertools.pairwise(parts)):
        return None
    highest = max(part.value for part in parts)
    flagged = [replace(p, flags=p.flags | {"high" if p.value == highest else "low"}) for p in parts]
    return [_group(_with_shared_unit(flagged))]


def _product(tokens: list[Token], before: str) -> list[Token] | None:
    """6 x 4 x 2 in -> three sides; 12 x 330 ml -> a pack of 330 ml."""
    parts: list[Token] = []
    for token in tokens:
        if token.kind in "nq":
            parts.append(replace(token, kind="q"))
        elif token.kind == "l" and parts and not parts[-1].labels and tokens[0].kind != "l":
            parts[-1] = replace(parts[-1], labels=token.labels, end=token.end)
        elif token.kind == "u" and parts and not parts[-1].unit:
            parts[-1] = replace(parts[-1], unit=token.unit, end=token.end)
    units = [part.unit for part in parts if part.unit]
    if units and DIMENSION[units[-1]] != "length":
        return [_group([replace(part, flags=part.flags | {"pack"}) for part in parts if part.unit])]
    return [_product_of(parts)]


def _slashed_product(tokens: list[Token], before: str) -> list[Token] | None:
    """60/40/120 cm -> three sides; two only behind a legend."""
    is_length = DIMENSION[tokens[-1].unit] == "length"
    return _product(tokens, before) if is_length and (len(tokens) == 5 or "L" in before) else None


def _sum(tokens: list[Token], before: str) -> list[Token] | None:
    """2 + 3 kg -> both in kilograms."""
    parts = [token for token in tokens if token.kind in "nq"]
    if len({DIMENSION[part.unit] for part in parts if part.unit}) != 1 or not parts[-1].unit:
        return None
    return [_group(_with_shared_unit([replace(part, flags=part.flags | {"sum"}) for part in parts]))]


def _converted(tokens: list[Token], before: str) -> list[Token] | None:
    """60 g / 2.1 oz -> one amount in two units."""
    first, second = _parts(tokens[0]), _parts(tokens[-1])
    pairs = list(zip(first, second, strict=True)) if len(first) == len(second) else [(first[-1], second[0])]
    for one, other in pairs:
        if not one.unit or not other.unit or one.unit == other.unit or DIMENSION[one.unit] != DIMENSION[other.unit]:
            return None
        if not Decimal("0.8") < one.value * SIZE[one.unit] / (other.value * SIZE[other.unit]) < Decimal("1.25"):
            return None
    marked = [replace(part, flags=part.flags | {"converted"}) for part in second]
    return [_group([*first, *marked])]


def _parts(token: Token) -> list[Token]:
    return list(token.parts) if token.kind == "g" else [token]


def _group(parts: list[Token]) -> Token:
    return Token("g", parts[0].start, parts[-1].end, parts=tuple(parts))


def _with_shared_unit(parts: list[Token]) -> list[Token]:
    """Give numbers the unit that is printed next, or else the last one."""
    unit = next((part.unit for part in reversed(parts) if part.unit), "")
    shared = []
    for part in reversed(parts):
        unit = part.unit or unit
        shared.append(replace(part, kind="q", unit=unit))
    return shared[::-1]


def _product_of(sides: list[Token]) -> Token:
    flags = frozenset({"product"})
    parts = [
        replace(part, flags=part.flags | flags, side=side, sides=len(sides))
        for side, part in enumerate(_with_shared_unit(sides))
    ]
    return _group(parts)


PRODUCTIONS: tuple[tuple[re.Pattern[str], Build], ...] = tuple(
    (re.compile(pattern), build)
    for pattern, build in (
        (r"[acl](?:[x/][acl]){1,2}|b(?:x[acl]){1,2}(?!n)", _legend),
        (r"n[ub]?\(?±n[ub]?(?:-n[ub]?)?\)?[ub]?", _tolerance),
        (r"±n[ub]?(?:-n[ub]?)?(?![xub])", _about),
        (rf"{_SIDE_BEFORE}(?:[x/,]?{_SIDE_BEFORE})+u?|{_SIDE_AFTER}(?:[x/,]?{_SIDE_AFTER})+", _lettered),
        (r"n[lb]u|(?:l:?)?n[ub]l?", _quantity),
        (r"qp", _rate),
        (r"q/q|[!n]/q|eq", _per_hundred),
        (r"q", _no_amount),
        (r"[nq][!w]?[-/(|:,o]*[nq]", _repaired),
        (r"q[,&-]?q", _compound),
        (r"[nq]-[nq]|(?:[nq]/)+q", _range),
        (r"[nq]l?u?(?:x\(?(?:l:?)?[nq]l?u?)+", _product),
        (r"(?:n/){1,2}q", _slashed_product),
        (r"[nq][+&][nq]", _sum),
        (r"[qg][/(|:,o]*[qg]", _converted),
    )
)
"""Shape of tokens and what it means, in the order in which they are tried."""
