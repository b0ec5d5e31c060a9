"""Quantities on a picture that can answer a question: what was read, where it stands, which words are near it."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from src.reading.boxes import Box
from src.reading.constants import ENTITY_UNITS
from src.reading.mentions import Mention, find_quantities
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
        "gross": r"gross|brutto|bruto|brut\b|shipping|package weight",
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
class Reading:
    """A line of text with its box and what it says.

    ``score``: the OCR's confidence, 0..1. ``vertical``: whether the text runs up or down. ``size``: the height of its
    letters as a share of the picture's height.
    """

    text: str
    score: float
    box: Box
    vertical: bool
    size: float
    mentions: list[Mention]


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


def readings(lines: Sequence[Sequence], width: int, height: int) -> list[Reading]:
    """Lines of `ocr.Line` in reading order, quantities found; a number and its unit in two boxes are joined.

    ``width`` and ``height`` of the picture in the pixels of the boxes.
    """
    found = []
    for text, score, corners in lines:
        points = np.asarray(corners, float)
        across, down = np.linalg.norm(points[1] - points[0]), np.linalg.norm(points[3] - points[0])
        run = points[1] - points[0] if across >= down else points[3] - points[0]
        vertical = abs(run[1]) > 1.5 * abs(run[0]) and len(text) > 1
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        box = Box(left / width, top / height, right / width, bottom / height)
        found.append(
            Reading(text, score, box, bool(vertical), float(min(across, down) / height), find_quantities(text))
        )
    found = _reading_order(found)
    return _metres_to_centimetres(_with_general_unit(_join_units(found, width / height)))


def _reading_order(found: list[Reading]) -> list[Reading]:
    """Rows from top to bottom, each from left to right."""
    rows: list[list[Reading]] = []
    for reading in sorted(found, key=lambda r: (r.box[1] + r.box[3]) / 2):
        middle = (reading.box[1] + reading.box[3]) / 2
        if rows and not reading.vertical and middle < rows[-1][0].box[3] - rows[-1][0].size * 0.3:
            rows[-1].append(reading)
        else:
            rows.append([reading])
    return [reading for row in rows for reading in sorted(row, key=lambda r: r.box[0])]


_BARE = re.compile(r"\W{0,2}([0-9]{1,5}(?:[.,][0-9]{1,3})?)\W{0,2}")
_LAST = re.compile(r"(?:^|[^0-9.,a-z])([0-9]{1,5}(?:[.,][0-9]{1,3})?)\W{0,2}$", re.IGNORECASE)
_MARKED_INCH = re.compile(r"[0-9]\s?(?:[\"“”″]|'')")
_GENERAL_UNIT = re.compile(r"(?:unit|einheit|unidad|unit[eéà]|单位|\()\W{0,3}(cm|mm|inch(?:es)?|in)\b", re.IGNORECASE)


def _join_units(found: list[Reading], aspect: float) -> list[Reading]:
    """Read ``500`` beside or above ``ml`` as one quantity of the number's line."""
    joined = list(found)
    for i, number in enumerate(found):
        last = None if number.mentions else _LAST.search(number.text)
        if last is None:
            continue
        near = None
        for other in found:
            if other is number or other.mentions or re.search(r"[0-9]", other.text) or len(other.text) > 14:
                continue
            both = find_quantities(f"{last[1]} {other.text}")
            if not both or both[0].end < len(last[1]) + 0.6 * len(other.text):
                continue
            gap_x = (max(number.box[0], other.box[0]) - min(number.box[2], other.box[2])) * aspect
            gap_y = max(number.box[1], other.box[1]) - min(number.box[3], other.box[3])
            size = max(number.size, other.size)
            beside = gap_x < 1.2 * size and gap_y < -0.3 * min(number.size, other.size) and other.box[0] > number.box[0]
            stacked = gap_y < 0.8 * size and gap_x < 0  # below, or above where the text runs upwards
            if (beside or stacked) and (near is None or gap_x + gap_y < near[0]):
                near = (gap_x + gap_y, both[0])
        if near:
            joined[i] = replace(number, mentions=[near[1]])
    return joined


def _with_general_unit(found: list[Reading]) -> list[Reading]:
    """Give bare numbers the unit that the picture states for all (``Unit: mm``).

    Inches, too, where another number has their mark: OCR reads it as a degree sign, or not at all.
    """
    unit = next((m[1] for r in found if not r.mentions and (m := _GENERAL_UNIT.search(r.text))), None)
    if unit is None and any(_MARKED_INCH.search(r.text) for r in found):
        unit = "inch"
    if unit is None:
        return found
    with_unit = []
    for reading in found:
        if not reading.mentions and (number := _BARE.fullmatch(reading.text)):
            mentions = find_quantities(f"{number[1]} {unit}")
            reading = replace(reading, mentions=[replace(m, flags=m.flags | {"borrowed"}) for m in mentions])
        with_unit.append(reading)
    return with_unit


def _metres_to_centimetres(found: list[Reading]) -> list[Reading]:
    """Read ``60.2m`` beside ``45cm`` as centimetres: OCR loses the c more often than products are that long."""
    lengths = [m.quantity for r in found for m in r.mentions if DIMENSION[m.quantity.unit] == "length"]
    others = [q.amount for q in lengths if q.unit in ("centimetre", "millimetre", "inch")]
    if not others:
        return found

    def mended(mention: Mention) -> Mention:
        quantity = mention.quantity
        if quantity.unit != "metre" or quantity.number < max(10, 10 * max(others)):
            return mention
        return replace(mention, quantity=Quantity(quantity.number, "centimetre"), flags=mention.flags | {"borrowed"})

    return [replace(reading, mentions=[mended(m) for m in reading.mentions]) for reading in found]


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
            box, sides = _part(reading, mention), _sides(reading, mention)
            fitting.append(Candidate(quantity, reading, mention, line, len(fitting), box, sides, words))
    return fitting


def _sides(reading: Reading, mention: Mention) -> int:
    """How many numbers the product has that a mention is a side of; 0 when it is none."""
    if "product" not in mention.flags:
        return 0
    rest = [m.side for m in reading.mentions if m.start >= mention.start and "product" in m.flags]
    after = next((i for i, (a, b) in enumerate(itertools.pairwise(rest)) if b <= a), len(rest) - 1)
    return rest[after] + 1


def _part(reading: Reading, mention: Mention) -> Box:
    """The part of a line's box that a mention takes, by its share of the characters."""
    left, top, right, bottom = reading.box
    length = max(len(reading.text), mention.end, 1)
    start, end = mention.start / length, min(1.0, mention.end / length)
    if reading.vertical:
        return reading.box
    return Box(left + start * (right - left), top, left + end * (right - left), bottom)


_LETTERS = {"H": "height", "W": "width", "D": "depth", "L": "length"}


def _keywords(found: Sequence[Reading], line: int) -> dict[str, float]:
    """Kinds of words about a line's quantities: 1.0 in it or in a label to its left, 0.5 in other lines next to it."""
    own = found[line]
    texts = [(own.text, 1.0)]
    for other in found:
        if other is own or (len(other.mentions) > 0 and other.size < own.size * 0.5):
            continue
        row = min(own.box[3], other.box[3]) - max(own.box[1], other.box[1]) > 0.5 * min(own.size, other.size)
        label = re.search("[0-9]", other.text) is None  # as in a table of specifications
        left = row and 0 <= own.box[0] - other.box[2] + 0.02 < (0.4 if label else 0.15)
        overlap = min(own.box[2], other.box[2]) - max(own.box[0], other.box[0]) > 0
        gap = own.box[1] - other.box[3]
        above = overlap and -0.5 * own.size < gap < 1.2 * own.size
        under = overlap and -0.5 * own.size < other.box[1] - own.box[3] < 0.8 * own.size and not other.mentions
        if left or above or under:
            texts.append((other.text, 1.0 if left and label else 0.5))
    words: dict[str, float] = {}
    for text, weight in texts:
        letter = _LETTERS.get(text.strip(" .:=").upper())
        for kind, pattern in KEYWORDS.items():
            if kind == letter or pattern.search(text):
                words[kind] = max(weight, words.get(kind, 0.0))
    return words


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
