"""The table of entities: all that the project knows about each one.

A new entity is an entry in `ENTITIES`; its units are rows in `src.units`. The grammar of answers, prompts,
rules, audit, report, format check and synthetic images derive from these two tables.

Source of names and units: the rules of the Amazon ML Challenge 2024 (the organisers' ``constants.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Numbers(NamedTuple):
    """The numbers that synthetic images show with a unit, as in the challenge's train rows.

    ``share``: relative frequency of the unit. ``percentiles``: the 2nd, 50th and 98th of the numbers.
    ``decimals``: share of the numbers with decimals.
    """

    share: float
    percentiles: tuple[float, float, float]
    decimals: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """An entity: a property of a product that questions ask for.

    - ``units``: names of the units that an answer may use, all of one dimension.
    - ``question``: the question in the prompt.
    - ``kind`` and ``keywords``: name and spellings (a regular expression in lower case) of the words that
      name the entity in print. ``letters``: capital letters that stand for it in ``W x D x H``.
    - ``other_kinds``: other kinds of words (`reading.words.KINDS`) that can belong to its quantities.
    - ``weights``: weights of the features (`reading.options.features`) in an option's rule logit; a missing
      one is 0.
    - ``is_side``: whether it is a side of the product.
    - ``names`` (``|`` between them), ``numbers`` by unit, and ``ranges``: the words, numbers and ranges
      ("low high") that synthetic images show.
    """

    units: tuple[str, ...]
    question: str
    kind: str
    keywords: str
    weights: Mapping[str, float]
    names: str
    numbers: Mapping[str, Numbers]
    other_kinds: frozenset[str] = frozenset()
    is_side: bool = False
    letters: str = ""
    ranges: str = ""


COMPOUND = "(?:[a-zäöüß]{3,12})?"
"""Pattern of the first part of a German word: Gesamt in Gesamthöhe."""

_LENGTH = ("centimetre", "foot", "inch", "metre", "millimetre", "yard")
_LENGTH_NUMBERS = {
    "centimetre": Numbers(0.50, (3, 23, 200), 0.28),
    "foot": Numbers(0.02, (1, 6.5, 50), 0.2),
    "inch": Numbers(0.34, (1, 8.5, 75), 0.62),
    "metre": Numbers(0.01, (1, 3, 20), 0.4),
    "millimetre": Numbers(0.13, (6, 100, 800), 0.05),
}
_LENGTH_KINDS = frozenset({"length", "diameter", "distance", "error", "part", "total"})
_LENGTH_WEIGHTS = {
    "bias": 3.0, "first": 0.3, "later": -0.3, "text_size": 0.5, "repeated": 0.2, "two_units": 0.2,
    "confidence": 0.5, "smallest": -0.3, "low": -0.3, "pack": -1.0, "sum": -0.3, "compound": 1.0,
    "borrowed": -0.3, "axis_own": 6.0, "axis_other": -6.0, "word_part": -0.5, "word_total": 0.5,
    "word_load": -0.5,
}  # fmt: skip

_WEIGHT = ("gram", "kilogram", "microgram", "milligram", "ounce", "pound", "ton")
_CONTENT_KINDS = frozenset({"limit", "net", "gross", "drained", "serving", "part", "total"})
_WEIGHT_KINDS = _CONTENT_KINDS | {"breaking"}

ENTITIES: dict[str, Entity] = {
    "width": Entity(
        units=_LENGTH,
        question="What is the width of the product?",
        kind="width",
        keywords=rf"width|wide\b|{COMPOUND}breite?\b|breedte|anch(?:o|ura)\b|largeur|larghezza|largura|ширина"
        r"|宽度",
        letters="WB",
        other_kinds=_LENGTH_KINDS,
        is_side=True,
        weights=_LENGTH_WEIGHTS | {
            "upright_text": -1.5, "line_upright": -1.5, "line_level": 2.0, "beside": -1.0, "low_down": 0.2,
            "side_0_of_2": 0.5, "side_1_of_2": 0.3, "side_0_of_3": 0.3, "side_1_of_3": 0.5,
            "side_2_of_3": -0.5, "axis_diameter": 0.5, "axis_length": 0.2,
        },
        names="Width|W|Breite|Ancho|Largeur|Wide|WIDTH",
        numbers=_LENGTH_NUMBERS,
    ),
    "depth": Entity(
        units=_LENGTH,
        question="What is the depth of the product?",
        kind="depth",
        keywords=rf"depth|deep\b|{COMPOUND}tiefe?\b|diepte|profund|fondo\b|profond|thick|dicke?\b"
        r"|st[äa]rke\b|espesor|grosor|[eé]paiss|spess|espess|глубина|толщина|厚度",
        letters="DTP",
        other_kinds=_LENGTH_KINDS,
        is_side=True,
        weights=_LENGTH_WEIGHTS | {
            "upright_text": -1.0, "line_upright": -0.7, "line_level": 0.3, "line_slanting": 1.5,
            "corner": 0.5, "side_0_of_3": 0.3, "side_1_of_3": 0.3, "axis_diameter": 1.0, "axis_length": 0.5,
            "largest": 0.3, "smallest": 0.0,
        },
        names="Depth|D|Tiefe|Profundidad|Length|Thickness|LENGTH|L",
        numbers=_LENGTH_NUMBERS,
    ),
    "height": Entity(
        units=_LENGTH,
        question="What is the height of the product?",
        kind="height",
        keywords=rf"height|h[ie]gth|high\b|tall\b|{COMPOUND}h[oöe]{{1,2}}he\b|hoch\b|altura|alto\b|hauteur"
        r"|haut\b|altezza|alt\b|hoogte|высота|高度",
        letters="HA",
        other_kinds=_LENGTH_KINDS,
        is_side=True,
        weights=_LENGTH_WEIGHTS | {
            "upright_text": 2.0, "line_upright": 2.0, "line_level": -1.5, "beside": 1.0, "corner": -0.3,
            "side_1_of_2": 0.5, "side_2_of_3": 1.0, "axis_diameter": -1.0, "axis_length": 0.3,
        },
        names="Height|H|Höhe|Altura|Hauteur|Tall|HEIGHT",
        numbers=_LENGTH_NUMBERS,
    ),
    "maximum_weight_recommendation": Entity(
        units=_WEIGHT,
        question="What is the maximum weight it can carry?",
        kind="load",
        keywords=r"(?:weight|load|loading|lifting|carrying|bearing) ?"
        r"(?:capacity|limit|rating|bearing|support)"
        r"|max(?:imum|\.)? ?(?:load|weight|capacity|bearing|user(?: weight)?|belast|tragf)"
        r"|can (?:support|hold|bear|carry)|(?:supports?|holds?|bears?|carr(?:y|ies)) (?:up|max|to)|withstand"
        r"|load.?bearing|(?:static|dynamic|working) load|safe working|\bs?wll\b|belastbar|traglast|tragkraft"
        r"|tragf[aä]hig|carga m[aá]x|charge max|portata"
        r"|(?:capacidad|capacit[eéà]) (?:de|di) (?:car(?:ga|ico)|charge)|承重|载重|负重|限重|нагрузк",
        other_kinds=_WEIGHT_KINDS,
        weights={
            "bias": 1.2, "first": 0.3, "later": -0.5, "text_size": 0.5, "two_units": 0.3, "confidence": 0.5,
            "largest": 0.7, "smallest": -0.3, "low": -0.5, "high": 0.5, "word_load": 3.0,
            "word_breaking": -8.0, "word_weight": -2.5, "word_net": -3.0, "word_gross": -2.0,
            "word_serving": -1.5, "tiny_unit": -4.0, "round": 0.3,
        },
        names="Max load|Load capacity|Max. weight|Holds up to|Supports up to|MAX LOAD|Weight capacity"
        "|Tragkraft|Weight limit",
        numbers={
            "kilogram": Numbers(0.50, (2, 100, 300), 0.05),
            "pound": Numbers(0.40, (4, 240, 1000), 0.05),
            "gram": Numbers(0.05, (50, 500, 5000), 0.0),
            "ton": Numbers(0.05, (1, 3, 20), 0.3),
        },
    ),
    "item_weight": Entity(
        units=_WEIGHT,
        question="What is the weight of the item?",
        kind="weight",
        keywords=r"weigh|wt\b|w t\b|gewicht|peso\b|poids|masse\b|mass\b|lightweight|重量|вес\b|масса",
        other_kinds=_WEIGHT_KINDS,
        weights={
            "bias": 2.0, "first": 0.3, "later": -1.0, "text_size": 1.0, "repeated": 0.3, "two_units": 0.5,
            "confidence": 0.5, "smallest": -0.2, "low": -0.5, "pack": -0.2, "sum": -0.5, "compound": 1.5,
            "borrowed": -0.2, "word_load": -4.5, "word_breaking": -4.5, "word_weight": 1.0, "word_net": 1.5,
            "word_gross": -1.0, "word_drained": -2.0, "word_serving": -1.0, "word_equal": -0.5,
            "word_total": 0.3, "tiny_unit": -1.0,
        },
        names="Net Wt.|Net weight|Weight|NET WT|Gewicht|Peso neto|Item weight|WEIGHT",
        numbers={
            "gram": Numbers(0.60, (1, 83, 1800), 0.12),
            "kilogram": Numbers(0.15, (0.25, 4, 100), 0.4),
            "milligram": Numbers(0.07, (5, 500, 5000), 0.02),
            "ounce": Numbers(0.09, (0.2, 7, 80), 0.4),
            "pound": Numbers(0.09, (0.2, 6, 200), 0.35),
        },
    ),
    "voltage": Entity(
        units=("kilovolt", "millivolt", "volt"),
        question="What is the voltage?",
        kind="voltage",
        keywords=r"volt|spannung|tensi[oó]n|tension|tens[aã]o|batter|akku|adapter|supply|ac\b|dc\b|电压",
        other_kinds=frozenset({"input", "output"}),
        weights={
            "bias": 2.0, "first": 0.3, "later": -0.7, "text_size": 0.5, "repeated": 0.3, "confidence": 0.5,
            "low": -0.7, "high": 0.5, "word_voltage": 0.3, "word_input": 0.5, "word_output": -1.0,
            "tiny_unit": -1.0,
        },
        names="Voltage|Input|Rated voltage|Spannung|INPUT|Power supply",
        numbers={"volt": Numbers(1.0, (1.5, 36, 277), 0.15)},
        ranges="100 240|220 240|110 130|110 220|200 240|85 265",
    ),
    "wattage": Entity(
        units=("kilowatt", "watt"),
        question="What is the wattage?",
        kind="power",
        keywords=r"watt|power|leistung|potencia|puissance|potenza|pot[eê]ncia|consum|功率|мощность",
        other_kinds=frozenset({"input", "output", "equal", "replaces"}),
        weights={
            "bias": 2.0, "first": 0.3, "later": -0.7, "text_size": 1.0, "repeated": 0.3, "confidence": 0.5,
            "low": -0.5, "high": 0.3, "word_power": 1.0, "word_equal": -2.5, "word_replaces": -2.5,
            "word_output": -0.3,
        },
        names="Power|Wattage|Rated power|Leistung|Potencia|Max power",
        numbers={"kilowatt": Numbers(0.04, (1, 3, 20), 0.5), "watt": Numbers(0.96, (1, 60, 2000), 0.06)},
    ),
    "item_volume": Entity(
        units=(
            "centilitre", "cubic foot", "cubic inch", "cup", "decilitre", "fluid ounce", "gallon",
            "imperial gallon", "litre", "microlitre", "millilitre", "pint", "quart",
        ),
        question="What is the volume of the item?",
        kind="volume",
        keywords=r"volume|vol\b|inhalt|contenido|contenu|content|conte[uú]do|fassungsverm|tank\b|bottles?\b"
        r"|容量|объ[её]м",
        other_kinds=_CONTENT_KINDS | {"steel"},
        weights={
            "bias": 2.0, "first": 0.5, "later": -1.0, "text_size": 1.0, "two_units": 0.3, "confidence": 0.5,
            "largest": 0.3, "low": -0.3, "pack": -0.2, "compound": 1.0, "word_volume": 0.7, "word_net": 1.0,
            "word_serving": -0.7, "tiny_unit": -1.0,
        },
        names="Volume|Capacity|Contents|Inhalt|Contenu|Net",
        numbers={
            "fluid ounce": Numbers(0.30, (0.3, 5, 100), 0.35),
            "gallon": Numbers(0.05, (1, 10, 60), 0.1),
            "litre": Numbers(0.15, (0.2, 3, 50), 0.3),
            "millilitre": Numbers(0.50, (1, 150, 1600), 0.03),
        },
    ),
}  # fmt: skip
"""All entities by name.

Where the keywords of two begin alike ("weight capacity", "weight"), the first is taken: phrases stand first.
The weights are set by hand from the challenge's rules and from images. Fitting them to the official labels
was tried and left out: it learns that a depth is the largest number, which these labels say and hand-read
answers deny (docs/design.md).
"""

AXES = tuple(name for name, entity in ENTITIES.items() if entity.is_side)
"""Entities that are a side of the product."""


def units_of(entity: str) -> tuple[str, ...]:
    """Return the units that an answer to a question about ``entity`` may use; none if it is unknown."""
    return ENTITIES[entity].units if entity in ENTITIES else ()
