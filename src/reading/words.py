"""The words that say what a quantity is, as patterns in a dozen languages.

In "Gesamthöhe 40 cm", `WORD` matches "Gesamthöhe", a word of the kind "height"; `SAID_OF` has this kind among
those that belong to lengths. `LETTERS` has the letters that stand for sides: T (German: Tiefe) is "depth".
"""

import re

_COMPOUND = "(?:[a-zäöüß]{3,12})?"
"""Pattern of the first part of a German word: Gesamt in Gesamthöhe."""

KINDS: dict[str, str] = {
    "breaking": r"break(?:ing)? ?(?:strength|load|force|point)|tensile|\bm\.?b\.?s\b|bruch(?:last|kraft)"
    r"|rupture|rott?ura|ultimate (?:strength|load)",
    "load": r"(?:weight|load|loading|lifting|carrying|bearing) ?(?:capacity|limit|rating|bearing|support)"
    r"|max(?:imum|\.)? ?(?:load|weight|capacity|bearing|user(?: weight)?|belast|tragf)"
    r"|can (?:support|hold|bear|carry)|(?:supports?|holds?|bears?|carr(?:y|ies)) (?:up|max|to)|withstand"
    r"|load.?bearing|(?:static|dynamic|working) load|safe working|\bs?wll\b|belastbar|traglast|tragkraft"
    r"|tragf[aä]hig|carga m[aá]x|charge max|portata"
    r"|(?:capacidad|capacit[eéà]) (?:de|di) (?:car(?:ga|ico)|charge)|承重|载重|负重|限重|нагрузк",
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
    "height": rf"height|h[ie]gth|high\b|tall\b|{_COMPOUND}h[oöe]{{1,2}}he\b|hoch\b|altura|alto\b|hauteur"
    r"|haut\b|altezza|alt\b|hoogte|высота|高度",
    "width": rf"width|wide\b|{_COMPOUND}breite?\b|breedte|anch(?:o|ura)\b|largeur|larghezza|largura|ширина"
    r"|宽度",
    "length": rf"length|lenght|long\b|{_COMPOUND}l[aä]nge|lang\b|largo\b|longitud|longueur|lunghezza"
    r"|comprimento|lengte|длина|长度",
    "depth": rf"depth|deep\b|{_COMPOUND}tiefe?\b|diepte|profund|fondo\b|profond|thick|dicke?\b|st[äa]rke\b"
    r"|espesor|grosor|[eé]paiss|spess|espess|глубина|толщина|厚度",
    "diameter": r"diam|ø|durchm|di[aâ]m[eè]tr|round\b|диаметр|直径",
    "limit_volume": r"capacit|capacidad",
    "limit": r"max(?=imum|imal|[0-9]|\b)|load(?:s|ing)?\b|holds?\b|supports?\b(?! stand)"
    r"|bear\b(?= (?:[0-9a]|weight))|bearing|belast|carga\b|charge\b|suporta|limit\b|rated|up to|user weight",
    "weight": r"weigh|wt\b|w t\b|gewicht|peso\b|poids|masse\b|mass\b|lightweight|重量|вес\b|масса",
    "input": r"input|eingang|entrada|entr[eé]e|ingresso",
    "output": r"output|ausgang|salida|sortie|uscita|sa[ií]da|usb",
    "volume": r"volume|vol\b|inhalt|contenido|contenu|content|conte[uú]do|fassungsverm|tank\b|bottles?\b"
    r"|容量|объ[её]м",
    "power": r"watt|power|leistung|potencia|puissance|potenza|pot[eê]ncia|consum|功率|мощность",
    "voltage": r"volt|spannung|tensi[oó]n|tension|tens[aã]o|batter|akku|adapter|supply|ac\b|dc\b|电压",
    "serving": r"serving|per\b(?! ?100?(?![0-9]))|dose\b|daily|each\b|extract|vitamin|protein|fat\b|sugar"
    r"|sodium|calcium|acid\b|portion|tablet|capsule|sucre|fett|carbohydr|kohlenhydr|glucid|fib(?:er|re)s?\b"
    r"|cholest|potassium|eiwei|ballaststoff",
    "part": r"inner|inside|internal|innen|seat\b|base\b|handle|strap|cable|cord|bottom|package|box\b|folded"
    r"|bag\b|packing",
    "total": r"total|overall|gesamt|full\b|outer|complete",
}
"""Spellings by kind of word, as regular expressions in lower case.

The first kind that matches is taken, so phrases stand before their words. A name with ``_`` is two kinds at
once: contents are ``net`` and ``volume``.
"""
SIDES = frozenset({"height", "width", "length", "depth", "diameter"})
"""Kinds of words that name a side of a product."""
_WEIGHTS_AND_VOLUMES = frozenset({"limit", "net", "gross", "drained", "serving", "part", "total"})
SAID_OF: dict[str, frozenset[str]] = {
    "length": SIDES | {"distance", "error", "part", "total"},
    "weight": _WEIGHTS_AND_VOLUMES | {"load", "breaking", "weight"},
    "volume": _WEIGHTS_AND_VOLUMES | {"volume", "steel"},
    "voltage": frozenset({"voltage", "input", "output"}),
    "power": frozenset({"power", "input", "output", "equal", "replaces"}),
}
"""Kinds of words that can belong to a quantity, by its dimension."""
_LETTERS_OF = {"height": "HA", "width": "WB", "depth": "DTP", "length": "L", "diameter": "Ø"}
LETTERS = {letter: side for side, letters in _LETTERS_OF.items() for letter in letters}
"""Sides by letter: English, German (Breite, Tiefe), French, Spanish, Portuguese (profondeur, alto)."""

_ALL = "|".join(rf"(?P<{kind}>{spellings.replace(' ', '[ ]')})" for kind, spellings in KINDS.items())
WORD = re.compile(rf"(?:{_ALL})(?:(?<=[^\W\d_])[^\W\d_]+)?", re.IGNORECASE)
"""Pattern of a word of `KINDS` up to its end, anywhere in a text; the name of the group is its kind."""
