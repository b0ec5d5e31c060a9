"""The words that say what a quantity is, as patterns in a dozen languages.

Those that name an entity stand in `src.entities`, all others here. In "Gesamthöhe 40 cm", `WORD` matches
"Gesamthöhe", a word of the kind "height"; `SAID_OF` has this kind among those that belong to lengths.
`LETTERS` has the letters that stand for sides: T (German: Tiefe) is "depth".
"""

import re

from src.entities import AXES, COMPOUND, ENTITIES
from src.reading.units import DIMENSION

_PHRASES = {
    "breaking": r"break(?:ing)? ?(?:strength|load|force|point)|tensile|\bm\.?b\.?s\b|bruch(?:last|kraft)"
    r"|rupture|rott?ura|ultimate (?:strength|load)",
    "error": r"error|deviation|tolerance|toleranz|difference|误差",
    "steel": r"stainless|steel|edelstahl|inox|acero|acier|acciaio|surgical",
    "distance": r"(?:(?:water|shock|drop)[- ]?)?(?:resist|proof\b)|waterproof|wasserdicht|[eé]tanche"
    r"|\bip ?x?[0-9]|bluetooth|wireless(?! charg)|dist[aâ]n[cz]|\brange(?! hood)|reichweite|entfernung"
    r"|port[eé]e|alcance|visib|remote control|sensing|detect|transmi|irradiat|throw (?:dist|ratio)"
    r"|\b[hq]\.? ?max|(?:max\.? ?)?\bhead\b(?= ?[:0-9])|lift height|f[oö]rderh[oö]he|visual|diving",
    "replaces": r"replac(?:es|ing)|instead|ersetzt|remplace|reemplaza|equivalent to|equals?\b|\bvs\b",
    "equal": r"equiv|eqi?v|equal|\beq\b|compar|halogen|incandesc|gl[uü]h|entspricht|replacement",
    "drained": r"drained|abtropf|escurrid|escorrid|[eé]goutt|sgocciol",
    "gross": r"gross(?!e)(?: weight)?|g ?\. ?w\b|\bgw\b(?= ?[:.0-9])|brutto(?:gewicht)?|bruto|brut\b"
    r"|shipping|package weight|毛重|брутто",
    "net": r"net\b|netto(?:gewicht)?|neto\b|nett\b|n ?\. ?w\b|\bnw\b(?= ?[:.0-9])|peso l[ií]quido|e\b$"
    r"|净含量|净重|нетто",
    "net_volume": r"contents?\b|f[uü]ll(?:menge|gewicht)",
}
_WORDS = {
    "length": rf"length|lenght|long\b|{COMPOUND}l[aä]nge|lang\b|largo\b|longitud|longueur|lunghezza"
    r"|comprimento|lengte|длина|长度",
    "diameter": r"diam|ø|durchm|di[aâ]m[eè]tr|round\b|диаметр|直径",
    "limit_volume": r"capacit|capacidad",
    "limit": r"max(?=imum|imal|[0-9]|\b)|load(?:s|ing)?\b|holds?\b|supports?\b(?! stand)"
    r"|bear\b(?= (?:[0-9a]|weight))|bearing|belast|carga\b|charge\b|suporta|limit\b|rated|up to|user weight",
    "input": r"input|eingang|entrada|entr[eé]e|ingresso",
    "output": r"output|ausgang|salida|sortie|uscita|sa[ií]da|usb",
    "serving": r"serving|per\b(?! ?100?(?![0-9]))|dose\b|daily|each\b|extract|vitamin|protein|fat\b|sugar"
    r"|sodium|calcium|acid\b|portion|tablet|capsule|sucre|fett|carbohydr|kohlenhydr|glucid|fib(?:er|re)s?\b"
    r"|cholest|potassium|eiwei|ballaststoff",
    "part": r"inner|inside|internal|innen|seat\b|base\b|handle|strap|cable|cord|bottom|package|box\b|folded"
    r"|bag\b|packing",
    "total": r"total|overall|gesamt|full\b|outer|complete",
}
KINDS: dict[str, str] = _PHRASES | {entity.kind: entity.keywords for entity in ENTITIES.values()} | _WORDS
"""Spellings by kind of word, as regular expressions in lower case.

The first kind that matches is taken, so phrases stand before their words. A name with ``_`` is two kinds at
once: contents are ``net`` and ``volume``.
"""
SIDES = frozenset({*AXES, "length", "diameter"})
"""Kinds of words that name a side of a product."""


def _said_of() -> dict[str, frozenset[str]]:
    """Return `SAID_OF`."""
    table: dict[str, frozenset[str]] = {}
    for entity in ENTITIES.values():
        dimension = DIMENSION[entity.units[0]]
        table[dimension] = table.get(dimension, frozenset()) | entity.other_kinds | {entity.kind}
    return table


SAID_OF = _said_of()
"""Kinds of words that can belong to a quantity, by its dimension."""
LETTERS = {"L": "length", "Ø": "diameter"}
LETTERS |= {letter: name for name in AXES for letter in ENTITIES[name].letters}
"""Sides by letter: English, German (Breite, Tiefe), French, Spanish, Portuguese (profondeur, alto)."""

_ALL = "|".join(rf"(?P<{kind}>{spellings.replace(' ', '[ ]')})" for kind, spellings in KINDS.items())
WORD = re.compile(rf"(?:{_ALL})(?:(?<=[^\W\d_])[^\W\d_]+)?", re.IGNORECASE)
"""Pattern of a word of `KINDS` up to its end, anywhere in a text; the name of the group is its kind."""
