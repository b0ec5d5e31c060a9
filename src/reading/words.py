"""The table of words that say what a quantity is: in English, German, Spanish, French, Italian, Portuguese, and more.

One entry for each kind of word. Of entries that fit the same place the first wins, so phrases stand before their words.
"""

import re

_BREAKING = r"break(?:ing)? ?(?:strength|load|force|point)|tensile|\bm\.?b\.?s\b|bruch|rupture|rott?ura|ultimate"
_LOAD = (
    r"(?:weight|load|loading|lifting|carrying|bearing) ?(?:capacity|limit|rating|bearing|support)"
    r"|max(?:imum|\.)? ?(?:load|weight|capacity|bearing|user(?: weight)?|belast|tragf)"
    r"|(?:supports?|holds?|bears?|carr(?:y|ies)) (?:up|max|to)|can (?:support|hold|bear|carry)|withstand"
    r"|load.?bearing|(?:static|dynamic|working) load|safe working|\bs?wll\b|belastbar|traglast|tragkraft|tragf[aä]hig"
    r"|carga m[aá]x|charge max|(?:capacidad|capacit[eéà]) (?:de|di) (?:car(?:ga|ico)|charge)|portata"
    r"|承重|载重|负重|限重|нагрузк"
)
_DISTANCE = (
    r"(?:water|shock|drop)[- ]?(?:resist|proof)|resist|waterproof|wasserdicht|[eé]tanche|\bip ?x?[0-9]|bluetooth|wireless"
    r"|distan[cz]|distância|\brange|reichweite|entfernung|port[eé]e|alcance|visib|remote control|sensing|detect"
    r"|transmi|irradiat|throw|\b[hq]\.? ?max|(?:max\.? ?)?\bhead\b(?= ?[:0-9])|lift height|f[oö]rderh[oö]he|visual|diving"
)
_EQUAL = r"equiv|eqi?v|equal|\beq\b|compar|halogen|incandesc|gl[uü]h|entspricht"
_REPLACES = r"replac(?:es|ing)|instead|ersetzt|remplace|reemplaza|equivalent to|equals?\b|\bvs\b"
_SERVING = (
    r"serving|per\b|dose\b|daily|each\b|extract|vitamin|protein|fat\b|sugar|sodium|calcium|acid\b|portion|tablet"
    r"|capsule|sucre|fett|carbohydr|kohlenhydr|glucid|fib(?:er|re)s?\b|cholest|potassium|eiwei|ballaststoff"
)
_PART = r"inner|inside|internal|innen|seat\b|base\b|handle|strap|cable|cord|bottom|package|box\b|folded|bag\b|packing"

KINDS: dict[str, str] = {
    "breaking": _BREAKING,
    "load": _LOAD,
    "error": r"error|deviation|tolerance|toleranz|difference|误差",
    "steel": r"stainless|steel|edelstahl|inox|acero|acier|acciaio|surgical",
    "distance": _DISTANCE,
    "replaces": _REPLACES,
    "equal": rf"{_EQUAL}|replacement",
    "drained": r"drained|abtropf|escurrid|escorrid|[eé]goutt|sgocciol",
    "gross": r"gross(?!e)(?: weight)?|g ?\. ?w\b|\bgw\b(?= ?[:.0-9])|brutto(?:gewicht)?|bruto|brut\b|shipping|package weight"
    r"|毛重|брутто",
    "net": r"net\b|netto(?:gewicht)?|neto\b|nett\b|n ?\. ?w\b|\bnw\b(?= ?[:.0-9])|peso l[ií]quido|e\b$|净含量|净重|нетто",
    "net_volume": r"contents?\b|f[uü]ll(?:menge|gewicht)",
    "height": r"height|h[ie]gth|high\b|tall\b|(?:[a-zäöüß]{3,12})?h[oöe]{1,2}he\b|hoch\b|altura|alto\b|hauteur|haut\b|altezza|alt\b"
    r"|hoogte|высота|高度",
    "width": r"width|wide\b|(?:[a-zäöüß]{3,12})?breite?\b|breedte|anch(?:o|ura)\b|largeur|larghezza|largura|ширина|宽度",
    "length": r"length|lenght|long\b|(?:[a-zäöüß]{3,12})?l[aä]nge|lang\b|largo\b|longitud|longueur|lunghezza|comprimento|lengte"
    r"|длина|长度",
    "depth": r"depth|deep\b|(?:[a-zäöüß]{3,12})?tiefe?\b|diepte|profund|fondo\b|profond|thick|dicke?\b|st[äa]rke\b|espesor|grosor"
    r"|[eé]paiss|spess|espess|глубина|толщина|厚度",
    "diameter": r"diam|dia\b|ø|⌀|durchm|di[aâ]m[eè]tr|round\b|диаметр|直径",
    "limit_volume": r"capacity|capacit|capacidad",
    "limit": r"max|load|holds?\b|support|bear|belast|carga|charge|suporta|limit\b|rated|up to|user weight",
    "weight": r"weigh|wt\b|w t\b|gewicht|peso\b|poids|masse\b|mass\b|lightweight|重量|вес\b|масса",
    "input": r"input|eingang|entrada|entr[eé]e|ingresso",
    "output": r"output|ausgang|salida|sortie|uscita|sa[ií]da|usb",
    "volume": r"volume|vol\b|inhalt|contenido|contenu|content|conte[uú]do|fassungsverm|tank\b|bottles?\b|容量|объ[её]м",
    "power": r"watt|power|leistung|potencia|puissance|potenza|pot[eê]ncia|consum|功率|мощность",
    "voltage": r"volt|spannung|tensi[oó]n|tension|tens[aã]o|batter|akku|adapter|supply|ac\b|dc\b|电压",
    "serving": _SERVING,
    "part": _PART,
    "total": r"total|overall|gesamt|full\b|outer|complete",
}
"""What a word near a quantity says of it: kind (two, where the name has two) and its spellings."""

AXES = frozenset({"height", "width", "length", "depth", "diameter"})
"""Kinds that name a side of a product."""
SAID_OF: dict[str, frozenset[str]] = {
    "length": AXES | {"distance", "error", "part", "total"},
    "weight": frozenset({"load", "limit", "breaking", "weight", "net", "gross", "drained", "serving", "part", "total"}),
    "volume": frozenset({"volume", "steel", "limit", "net", "gross", "drained", "serving", "part", "total"}),
    "voltage": frozenset({"voltage", "input", "output"}),
    "power": frozenset({"power", "input", "output", "equal", "replaces"}),
}
"""Kinds that can be said of a quantity, by its dimension."""
LETTERS = {"H": "height", "W": "width", "B": "width", "D": "depth", "T": "depth", "P": "depth", "L": "length",
           "A": "height", "Ø": "diameter"}  # fmt: skip
"""Letters for sides: English, German (Breite, Tiefe), French, Spanish and Portuguese (profondeur, alto)."""

_ALL = "|".join(rf"(?P<{kind}>{spellings.replace(' ', '[ ]')})" for kind, spellings in KINDS.items())
WORD = re.compile(rf"(?:{_ALL})", re.IGNORECASE)
