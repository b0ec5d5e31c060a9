"""A generated product image: its text lines as OCR gives them, its layout, and the values that it shows.

Units and the numbers that go with them follow the challenge's train rows. A bar stands between alternatives;
one that stands there twice comes twice as often.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from src.entities import ENTITY_UNITS
from src.reading.layout import Layout
from src.reading.lines import WHOLE, Box
from src.reading.units import SIZE

SIDE = 1000
"""Width and height of a scene, in the units of its text lines' corners."""
_SHIFTS = sorted(range(-8, 9), key=abs)
"""Steps, in heights of its letters, by which a text line may move off the others; the nearest comes first."""


class Unit(NamedTuple):
    """The printed forms of a unit, and the numbers that stand before it."""

    forms: str
    second: str  # a unit that may be printed beside it
    share: float  # of the unit, among those of an entity
    percentiles: tuple[float, float, float]  # of the numbers: 2nd, 50th, 98th
    decimals: float  # share of the numbers with decimals


UNITS = {
    "centimetre": Unit("cm| cm|CM| cm|Cm", "inch", 0.50, (3, 23, 200), 0.28),
    "inch": Unit('"|in| in| inch|"| inches|inch', "centimetre", 0.34, (1, 8.5, 75), 0.62),
    "millimetre": Unit("mm| mm|MM", "inch", 0.13, (6, 100, 800), 0.05),
    "foot": Unit("ft| ft| feet", "metre", 0.02, (1, 6.5, 50), 0.2),
    "metre": Unit("m| m| meters", "", 0.01, (1, 3, 20), 0.4),
    "gram": Unit("g| g|gm| Grams|G|gr", "ounce", 0.60, (1, 83, 1800), 0.12),
    "kilogram": Unit("kg| kg|KG| Kg|kgs", "pound", 0.15, (0.25, 4, 100), 0.4),
    "milligram": Unit("mg| mg|MG", "", 0.07, (5, 500, 5000), 0.02),
    "ounce": Unit("oz| oz| OZ| ounces", "gram", 0.09, (0.2, 7, 80), 0.4),
    "pound": Unit("lb| lbs| lb|LBS| pounds", "kilogram", 0.09, (0.2, 6, 200), 0.35),
    "ton": Unit(" ton| tons|T", "", 0.0, (1, 3, 20), 0.3),  # no item weighs tons
    "millilitre": Unit("ml| ml|mL|ML", "fluid ounce", 0.50, (1, 150, 1600), 0.03),
    "fluid ounce": Unit(" fl oz| FL OZ| fl. oz|fl.oz", "millilitre", 0.30, (0.3, 5, 100), 0.35),
    "litre": Unit("L| L| Litre|l", "gallon", 0.15, (0.2, 3, 50), 0.3),
    "gallon": Unit(" gal| gallon| Gallons", "", 0.05, (1, 10, 60), 0.1),
    "volt": Unit("V| V| Volt|VAC|V DC|v", "", 1.0, (1.5, 36, 277), 0.15),
    "watt": Unit("W| W| Watts|w| watt", "", 0.96, (1, 60, 2000), 0.06),
    "kilowatt": Unit("kW| kW", "", 0.04, (1, 3, 20), 0.5),
}
LOADS = {
    "kilogram": (0.50, (2, 100, 300), 0.05),
    "pound": (0.40, (4, 240, 1000), 0.05),
    "gram": (0.05, (50, 500, 5000), 0.0),
    "ton": (0.05, (1, 3, 20), 0.3),
}
"""Share, percentiles and decimals of maximum weights, which are not those of other weights."""
UNITS_OF = {
    entity: {unit: UNITS[unit] for unit in units if unit in UNITS} for entity, units in ENTITY_UNITS.items()
}
UNITS_OF["maximum_weight_recommendation"] = {
    unit: Unit(UNITS[unit].forms, UNITS[unit].second, *numbers) for unit, numbers in LOADS.items()
}
VOLTAGE_RANGES = "100 240|220 240|110 130|110 220|200 240|85 265"
WORDS = {
    "height": "Height|H|Höhe|Altura|Hauteur|Tall|HEIGHT",
    "width": "Width|W|Breite|Ancho|Largeur|Wide|WIDTH",
    "depth": "Depth|D|Tiefe|Profundidad|Length|Thickness|LENGTH|L",
    "length": "Length|LENGTH|Länge",
    "diameter": "Diameter|Dia|Durchmesser",
    **{letter: letter for letter in "HWDLØ"},
    "item_weight": "Net Wt.|Net weight|Weight|NET WT|Gewicht|Peso neto|Item weight|WEIGHT",
    "maximum_weight_recommendation": "Max load|Load capacity|Max. weight|Holds up to|Supports up to|MAX LOAD"
    "|Weight capacity|Tragkraft|Weight limit",
    "item_volume": "Volume|Capacity|Contents|Inhalt|Contenu|Net",
    "voltage": "Voltage|Input|Rated voltage|Spannung|INPUT|Power supply",
    "wattage": "Power|Wattage|Rated power|Leistung|Potencia|Max power",
}
"""Words for entities and for the sides that a layout names."""


def rounded(amount: float, decimals: float, rng: np.random.Generator) -> str:
    """Return ``amount`` as it is printed, a share ``decimals`` with some, others whole or rounder."""
    if rng.random() < decimals:
        return f"{amount:.{2 if rng.random() < 0.35 else 1}f}"
    step = next((step for least, step in ((60, 10), (20, 5)) if amount > least and rng.random() < 0.4), 1)
    return str(max(1, round(amount / step) * step))


def number(unit: Unit, rng: np.random.Generator) -> str:
    """Return one of the numbers of a unit, log-uniform below and above the middle one."""
    ends = unit.percentiles[:2] if rng.random() < 0.5 else unit.percentiles[1:]
    return rounded(float(np.exp(rng.uniform(*np.log(ends)))), unit.decimals, rng)


@dataclass
class Scene:
    """The content of a generated image; every random choice comes from ``rng``.

    ``lines``: (text, confidence, corners) as OCR gives them. ``values``: the canonical answer of each entity
    shown, but for the form of its number. ``product`` and ``segments`` (x0, y0, x1, y1): the layout, in
    shares of the side. ``unsettled``: entities whose answer the scene leaves open.
    """

    rng: np.random.Generator = field(repr=False, compare=False)
    lines: list[tuple[str, float, list[list[float]]]] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    product: Box = WHOLE
    segments: list[tuple[float, ...]] = field(default_factory=list)
    unsettled: set[str] = field(default_factory=set)

    @property
    def layout(self) -> Layout:
        """The product box and the drawn lines, as `src.reading.layout.layout` finds them."""
        return Layout(self.product, np.array(self.segments, np.float32).reshape(-1, 4), 1.0)

    def happens(self, probability: float) -> bool:
        """Tell whether something of this probability happens."""
        return bool(self.rng.random() < probability)

    def pick(self, alternatives: str, share: float = 1.0) -> str:
        """Return one of the texts between the bars of ``cm| cm|CM``; outside ``share``, the empty text."""
        return str(self.rng.choice(alternatives.split("|"))) if self.happens(share) else ""

    def add_text(
        self, text: str, size: float, centre: Sequence[float] | None = None, upright: bool = False
    ) -> Box:
        """Add the lines of a text; return the box of the first one.

        ``size`` (height of the letters), ``centre`` (x, y) of the first line (default: anywhere) and the box
        are in units of `SIDE`.
        """
        x, y = self.rng.uniform([150, 50], [850, 950]) if centre is None else centre
        shift = (1.2 * size, 0.0) if upright else (0.0, 1.2 * size)
        boxes = []
        for line in text.split("\n"):
            boxes.append(self._add_line(line, size, (float(x), float(y)), upright))
            x, y = x + shift[0], y + shift[1]
        return boxes[0]

    def _add_line(self, text: str, size: float, centre: tuple[float, float], upright: bool) -> Box:
        """Add a text line, pushed inside the scene and, where it can be, off the other lines."""
        length = (0.52 * len(text) + 0.4) * size
        across, down = (size, length) if upright else (length, size)
        x = max(0.0, min(centre[0] - across / 2, SIDE - across))
        y = max(0.0, min(centre[1] - down / 2, SIDE - down))
        places = [Box(x, y + shift * size, x + across, y + shift * size + down) for shift in _SHIFTS]
        taken = [Box(*np.min(corners, axis=0), *np.max(corners, axis=0)) for _, _, corners in self.lines]
        inside = (box for box in places if box.top >= 0 and box.bottom <= SIDE)
        free = (box for box in inside if all(max(box.gaps(other)) >= 0 for other in taken))
        left, top, right, bottom = box = next(free, places[0])
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        if upright:  # the text begins at its bottom
            corners = [corners[3], *corners[:3]]
        self.lines.append((text, round(float(self.rng.uniform(0.75, 1.0)), 3), corners))
        return box

    def printed(self, number: str, unit: str, both: float = 0.42) -> str:
        """Return how a value is printed, in a share ``both`` of cases in two units, some on two lines."""
        text, other = number + self.pick(UNITS[unit].forms), UNITS[unit].second
        if not other or not self.happens(both):
            return text
        amount = float(number) * float(SIZE[unit] / SIZE[other])
        second = f"{amount:.{1 if amount < 300 else 0}f}{self.pick(UNITS[other].forms)}"
        form = self.pick("{}/{}|{} / {}|{}({})|{} ({})|{} or {}|{} {}|{}\n{}|{}\n{}|{}\n{}")
        return form.format(text, second)

    def value(self, entity: str) -> tuple[str, str]:
        """Return a value of an entity (``12.5 centimetre``) and how it is printed; voltages may be ranges."""
        if entity == "voltage" and self.happens(0.5):
            low, high = self.pick(VOLTAGE_RANGES).split()
            form = self.pick(UNITS["volt"].forms)
            return f"{high} volt", f"{low}{self.pick(form, 0.3)}{self.pick('-|-|/| / |~')}{high}{form}"
        units = UNITS_OF[entity]
        shares = np.array([unit.share for unit in units.values()])
        name = str(self.rng.choice(list(units), p=shares / shares.sum()))
        amount = number(units[name], self.rng)
        return f"{amount} {name}", self.printed(amount, name)

    def named(self, word: str, text: str) -> str:
        """Return a value's text with a word that names it, if that is not empty."""
        form = self.pick("{w}: {v}|{w} {v}|{v} {w}|{w}:{v}|{v}({w})|{w}\n{v}") if word else "{v}"
        return form.format(w=word, v=text)

    def show(self, entity: str, size: float, *, word_share: float = 1.0, below: str = "") -> None:
        """Add a value of an entity anywhere, a share of them with a word for it; then the text ``below``."""
        self.values[entity], text = self.value(entity)
        self.add_text(self.named(self.pick(WORDS[entity], word_share), text) + below, size)
