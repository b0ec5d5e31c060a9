"""A generated product image: its text lines as OCR gives them, its layout, and the values that it shows.

Its words, units and numbers stand in `src.entities` and `src.units`. A bar stands between alternatives;
one that stands there twice comes twice as often.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from src.entities import AXES, ENTITIES, Numbers
from src.reading.layout import Layout
from src.reading.lines import WHOLE, Box
from src.reading.units import BY_NAME, SIZE

SIDE = 1000
"""Width and height of a scene, in the units of its text lines' corners."""
_SHIFTS = sorted(range(-8, 9), key=abs)
"""Steps, in heights of its letters, by which a text line may move off the others; the nearest comes first."""


SIDE_NAMES = (
    {name: ENTITIES[name].names for name in AXES}
    | {letter: letter for letter in "HWDLØ"}
    | {"length": "Length|LENGTH|Länge", "diameter": "Diameter|Dia|Durchmesser"}
)
"""Words for the sides that a layout names."""


def rounded(amount: float, decimals: float, rng: np.random.Generator) -> str:
    """Return ``amount`` as it is printed, a share ``decimals`` with some, others whole or rounder."""
    if rng.random() < decimals:
        return f"{amount:.{2 if rng.random() < 0.35 else 1}f}"
    step = next((step for least, step in ((60, 10), (20, 5)) if amount > least and rng.random() < 0.4), 1)
    return str(max(1, round(amount / step) * step))


def number(numbers: Numbers, rng: np.random.Generator) -> str:
    """Return one of a unit's numbers, log-uniform below and above the middle one."""
    ends = numbers.percentiles[:2] if rng.random() < 0.5 else numbers.percentiles[1:]
    return rounded(float(np.exp(rng.uniform(*np.log(ends)))), numbers.decimals, rng)


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
        text, other = number + self.pick(BY_NAME[unit].printed), BY_NAME[unit].beside
        if not other or not self.happens(both):
            return text
        amount = float(number) * float(SIZE[unit] / SIZE[other])
        second = f"{amount:.{1 if amount < 300 else 0}f}{self.pick(BY_NAME[other].printed)}"
        form = self.pick("{}/{}|{} / {}|{}({})|{} ({})|{} or {}|{} {}|{}\n{}|{}\n{}|{}\n{}")
        return form.format(text, second)

    def value(self, entity: str) -> tuple[str, str]:
        """Return a value of an entity (``12.5 centimetre``) and how it is printed, maybe as a range."""
        table = ENTITIES[entity]
        shares = np.array([numbers.share for numbers in table.numbers.values()])
        if table.ranges and self.happens(0.5):
            low, high = self.pick(table.ranges).split()
            name = list(table.numbers)[shares.argmax()]
            form = self.pick(BY_NAME[name].printed)
            return f"{high} {name}", f"{low}{self.pick(form, 0.3)}{self.pick('-|-|/| / |~')}{high}{form}"
        name = str(self.rng.choice(list(table.numbers), p=shares / shares.sum()))
        amount = number(table.numbers[name], self.rng)
        return f"{amount} {name}", self.printed(amount, name)

    def named(self, word: str, text: str) -> str:
        """Return a value's text with a word that names it, if that is not empty."""
        form = self.pick("{w}: {v}|{w} {v}|{v} {w}|{w}:{v}|{v}({w})|{w}\n{v}") if word else "{v}"
        return form.format(w=word, v=text)

    def show(self, entity: str, size: float, *, word_share: float = 1.0, below: str = "") -> None:
        """Add a value of an entity anywhere, a share of them with a word for it; then the text ``below``."""
        self.values[entity], text = self.value(entity)
        self.add_text(self.named(self.pick(ENTITIES[entity].names, word_share), text) + below, size)
