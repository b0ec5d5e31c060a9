"""Quantities on a picture that can answer a question: what was read, where it stands, which words are near it."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from src.reading.boxes import Box
from src.reading.constants import ENTITY_UNITS
from src.reading.lines import Reading
from src.reading.mentions import Mention
from src.reading.quantity import Quantity, as_meant, same_amount
from src.reading.units import DIMENSION, SIZE

# What a word near a number says of it: English, German, Spanish, French, Italian, Portuguese.
KEYWORDS: dict[str, re.Pattern[str]] = {
    kind: re.compile(rf"(?<![a-zäöüßáéíóúàèçâêãõñ])(?:{words})", re.IGNORECASE)
    for kind, words in {
        "height": r"height|high\b|tall\b|h[oöe]{1,2}he|hoch\b|altura|alto\b|hauteur|haut\b|altezza",
        "width": r"width|wide\b|breite?\b|anch(?:o|ura)\b|largeur|larghezza|largura",
        "length": r"length|lenght|long\b|l[aä]nge|lang\b|largo\b|longitud|longueur|lunghezza|comprimento",
        "depth": r"depth|deep\b|tiefe?\b|profund|fondo\b|profond|thick|dicke?\b|st[äa]rke\b|espesor|grosor|[eé]paiss|"
        r"spess|espess",
        "diameter": r"diam|dia\b|ø|durchm|di[aâ]m[eè]tr|round\b",
        "load": r"max|load|capacity|holds?\b|support|bear|belast|traglast|tragkraft|carga|charge|capacidad|portata|"
        r"capacit|suporta|weight limit|limit\b|rated|up to|user weight|withstand",
        "weight": r"weigh|wt\b|w t\b|gewicht|peso\b|poids|masse\b|mass\b|lightweight",
        "net": r"net\b|netto|neto\b|nett\b|peso l[ií]quido|contents?\b|e\b$",
        "gross": r"gross(?!e)|g\s?\.\s?w\b|brutto|bruto|brut\b|shipping|package weight",
        "volume": r"volume|vol\b|capacity|inhalt|contenido|contenu|content|conte[uú]do|capacit|capacidad|"
        r"fassungsverm|f[uü]llmenge|tank\b|bottles?\b",
        "power": r"watt|power|leistung|potencia|puissance|potenza|pot[eê]ncia|wattage|consum",
        "voltage": r"volt|spannung|tensi[oó]n|tension|tens[aã]o|batter|akku|adapter|supply|ac\b|dc\b",
        "input": r"input|eingang|entrada|entr[eé]e",
        "output": r"output|ausgang|salida|sortie|usb",
        "equal": r"equivalent|equal|replace|ersetz|reemplaza|remplace|instead|compar|halogen|incandesc",
        "serving": r"serving|per\b|dose\b|daily|each\b|extract|vitamin|protein|fat\b|sugar|sodium|calcium|acid\b|"
        r"portion|tablet|capsule|sucre|fett",
        "part": r"inner|inside|internal|seat\b|base\b|handle|strap|cable|cord|bottom|package|box\b|folded|bag\b|"
        r"packing",
        "total": r"total|overall|gesamt|full\b|outer|complete",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mention that fits a question, in the line it is part of.

    ``quantity``: what it means for the question. ``line``: that line's number, ``rank``: among the candidates in
    reading order, ``box``: the mention's part of the line. ``sides``: how many the product has that it is a side of, 0
    when it is none. ``keywords``: the kinds of words (`KEYWORDS`) in its line (1.0) or in a neighbouring one (0.5).
    """

    quantity: Quantity
    reading: Reading
    mention: Mention
    line: int
    rank: int
    box: Box
    sides: int
    keywords: dict[str, float]


def candidates(found: Sequence[Reading], entity: str) -> list[Candidate]:
    """The quantities of `readings` that fit ``entity``, in reading order; none for an unknown entity."""
    units = ENTITY_UNITS.get(entity, ())
    fitting: list[Candidate] = []
    for line, reading in enumerate(found):
        words = _keywords(found, line) if reading.mentions else {}
        for mention in reading.mentions:
            quantity = as_meant(mention.quantity, entity)
            if quantity.unit not in units or quantity.number <= 0:
                continue
            box, sides = part_of(reading, mention), _sides(reading, mention)
            fitting.append(Candidate(quantity, reading, mention, line, len(fitting), box, sides, words))
    return fitting


def _sides(reading: Reading, mention: Mention) -> int:
    """How many numbers the product has that a mention is a side of; 0 when it is none."""
    if "product" not in mention.flags:
        return 0
    rest = [m.side for m in reading.mentions if m.start >= mention.start and "product" in m.flags]
    after = next((i for i, (a, b) in enumerate(itertools.pairwise(rest)) if b <= a), len(rest) - 1)
    return rest[after] + 1


def part_of(reading: Reading, mention: Mention) -> Box:
    """The part of a line's box that a mention takes, by its share of the characters."""
    left, top, right, bottom = reading.box
    length = max(len(reading.text), mention.end, 1)
    start, end = mention.start / length, min(1.0, mention.end / length)
    if reading.vertical:
        return reading.box
    return Box(left + start * (right - left), top, left + end * (right - left), bottom)


LOAD_PHRASE = re.compile(
    r"(?:weight|load|loading|lifting|carrying|bearing)\s?(?:capacity|limit|rating|bearing|support)"
    r"|max(?:imum|\.)?\s?(?:load|weight|capacity|bearing|user(?:\sweight)?|belast|tragf)"
    r"|(?:supports?|holds?|bears?|carr(?:y|ies))\s(?:up|max|to)|can\s(?:support|hold|bear|carry)|withstand"
    r"|load.?bearing|(?:static|dynamic)\sload|belastbar|traglast|tragkraft|tragf[aä]hig|carga\s?m[aá]x|charge\s?max"
    r"|(?:capacidad|capacit[eéà])\s(?:de|di)\scar(?:ga|ico)|capacit[eé]\sde\scharge|portata|承重|载重|负重|限重|нагрузк",
    re.IGNORECASE,
)
"""What says of a value near it that it is what a product carries."""
_LETTERS = {"H": "height", "W": "width", "D": "depth", "L": "length"}


def _keywords(found: Sequence[Reading], line: int) -> dict[str, float]:
    """Kinds of words about a line's quantities: 1.0 in it or in a label to its left, 0.5 in other lines next to it."""
    own = found[line]
    texts = [(own.text, 1.0)]
    words: dict[str, float] = {"load": 1.0} if LOAD_PHRASE.search(own.text) else {}
    for other in found:
        if other is own or (len(other.mentions) > 0 and other.size < own.size * 0.5):
            continue
        row = min(own.box[3], other.box[3]) - max(own.box[1], other.box[1]) > 0.5 * min(own.size, other.size)
        label = re.search("[0-9]", other.text) is None  # as in a table of specifications
        left = row and 0 <= own.box[0] - other.box[2] + 0.02 < (0.4 if label else 0.15)
        overlap = min(own.box[2], other.box[2]) - max(own.box[0], other.box[0]) > 0
        gap = own.box[1] - other.box[3]
        above = overlap and -0.5 * own.size < gap < 1.2 * own.size
        size = max(own.size, other.size)
        if overlap and -0.5 * size < gap < (1.0 if other.mentions else 3.5) * size and LOAD_PHRASE.search(other.text):
            words["load"] = 1.0  # a heading, or the beginning of the sentence
        under = overlap and -0.5 * own.size < other.box[1] - own.box[3] < 0.8 * own.size and not other.mentions
        if under and LOAD_PHRASE.search(other.text) and not _is_above_a_value(other, found):
            words["load"] = 1.0  # a caption
        if left and LOAD_PHRASE.search(other.text):
            words["load"] = 1.0
        if left or above or under:
            texts.append((other.text, 1.0 if left and label else 0.5))
    for text, weight in texts:
        letter = _LETTERS.get(text.strip(" .:=").upper())
        without_load = LOAD_PHRASE.sub(" ", text)  # a weight limit is no weight
        for kind, pattern in KEYWORDS.items():
            if kind == letter or pattern.search(without_load if kind == "weight" else text):
                words[kind] = max(weight, words.get(kind, 0.0))
    return words


def _is_above_a_value(label: Reading, found: Sequence[Reading]) -> bool:
    """Whether the line below a label has a quantity, so that the label is rather for that one."""
    return any(
        reading.mentions
        and min(label.box[2], reading.box[2]) > max(label.box[0], reading.box[0])
        and -0.5 * label.size < reading.box[1] - label.box[3] < 1.5 * label.size
        for reading in found
    )


def is_same(first: Candidate, second: Candidate) -> bool:
    """Whether two candidates say the same twice, or in two units (as `same_amount`, or rounding of the coarser one)."""
    a, b = first.quantity, second.quantity
    flags = first.mention.flags | second.mention.flags
    if first.line == second.line and abs(first.rank - second.rank) == 1 and "converted" in flags:
        return max(a.amount, b.amount) < Decimal("1.25") * min(a.amount, b.amount)
    if a.unit == b.unit:
        return a.number == b.number
    if DIMENSION[a.unit] != DIMENSION[b.unit]:
        return False
    return same_amount(a, b) or abs(a.amount - b.amount) <= max(_half_step(a), _half_step(b))


def _half_step(quantity: Quantity) -> Decimal:
    """Half of a number's last printed digit, in base units."""
    exponent = min(0, int(quantity.number.as_tuple().exponent))
    return Decimal(5).scaleb(exponent - 1) * SIZE[quantity.unit]
