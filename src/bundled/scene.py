"""A generated product picture: lines of text as OCR gives them, what is drawn, the values they tell."""

import string
from dataclasses import dataclass, field

import numpy as np

from src.bundled.canvas import draw_arrow, draw_product, write_text
from src.bundled.scene_words import OTHER, UNITS, Span
from src.reading.layout import Layout
from src.reading.lines import WHOLE, Box

SIDE = 1000
"""Width and height of a scene; lines' corners are in these units."""


@dataclass
class Scene:
    """What OCR reads, ``lines`` of (text, confidence, corners) as `ocr` gives them, and the value of each
    entity shown.

    ``values`` are canonical answers but for their numbers' form. ``product`` and ``segments`` (x0, y0, x1,
    y1) in shares of the side. ``unknown``: entities whose answer the scene does not settle.
    """

    lines: list[tuple[str, float, list[list[float]]]] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    product: Box = WHOLE
    segments: list[tuple[float, float, float, float]] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    @property
    def layout(self) -> Layout:
        """What is drawn, as `layout.layout` finds it."""
        return Layout(self.product, np.array(self.segments, np.float32).reshape(-1, 4), 1.0)


def draw(scene: Scene, rng: np.random.Generator, size: int) -> np.ndarray:
    """A drawing of the scene: 8-bit BGR of (size, size, 3), the product, the lines along lengths, the
    texts."""
    image = np.full((size, size, 3), 255 if rng.random() < 0.6 else int(rng.integers(225, 255)), np.uint8)
    left, top, right, bottom = (int(side * size) for side in scene.product)
    slant = int(0.1 * size) if rng.random() < 0.4 else 0
    if scene.product != WHOLE:  # else it is not known where the product is
        draw_product(image, (left, top, right + 1, bottom + 1), slant, rng)
    for x0, y0, x1, y1 in scene.segments:
        draw_arrow(image, (x0 * size, y0 * size), (x1 * size, y1 * size), max(1, size // 300))
    for text, _, corners in scene.lines:
        points = np.asarray(corners) * size / SIDE
        middle = points.mean(axis=0)
        height = min(np.linalg.norm(points[1] - points[0]), np.linalg.norm(points[3] - points[0]))
        upright = abs(points[1, 1] - points[0, 1]) > abs(points[1, 0] - points[0, 0])
        plain = "".join(c for c in text if c in string.printable)
        write_text(image, plain, tuple(middle), max(6, int(height * 0.8)), rng, angle=90 if upright else 0)
    return image


def add_line(
    scene: Scene, rng: np.random.Generator, text: str, x: float, y: float, size: float, upright: bool = False
) -> None:
    """Add a line centred at (x, y), pushed inside the scene and, where it can be, off the other lines."""
    length = 0.52 * size * len(text) + 0.4 * size
    across, down = (size, length) if upright else (length, size)
    x = float(np.clip(x, across / 2, SIDE - across / 2)) if across < SIDE else SIDE / 2
    y = float(np.clip(y, down / 2, SIDE - down / 2))
    others = [np.asarray(corners) for _, _, corners in scene.lines]
    spans = [(*other.min(axis=0), *other.max(axis=0)) for other in others]
    places = [y, *(y + sign * step * size for step in range(1, 9) for sign in (1, -1))]
    free = (
        place
        for place in places
        if down / 2 <= place <= SIDE - down / 2
        and not any(
            abs(2 * x - left - right) < across + right - left
            and abs(2 * place - top - bottom) < down + bottom - top
            for left, top, right, bottom in spans
        )
    )
    y = float(next(free, y))
    box = [[x - across / 2, y - down / 2], [x + across / 2, y - down / 2],
           [x + across / 2, y + down / 2], [x - across / 2, y + down / 2]]  # fmt: skip
    corners = [box[3], box[0], box[1], box[2]] if upright else box
    scene.lines.append((text, round(float(rng.uniform(0.75, 1.0)), 3), corners))


def number(span: Span, decimals: float, rng: np.random.Generator) -> str:
    """A number within ``span``, with decimals in a share of them."""
    low, middle, high = span
    ends = (low, middle) if rng.random() < 0.5 else (middle, high)
    return as_printed(float(np.exp(rng.uniform(*np.log(ends)))), decimals, rng)


def as_printed(amount: float, decimals: float, rng: np.random.Generator) -> str:
    """A number near ``amount``, with decimals in a share of them."""
    if rng.random() < decimals:
        return f"{amount:.{2 if rng.random() < 0.35 else 1}f}"
    step = 10 if amount > 60 and rng.random() < 0.4 else 5 if amount > 20 and rng.random() < 0.4 else 1
    return str(max(1, round(amount / step) * step))


def value(kind: str, rng: np.random.Generator) -> tuple[str, list[str]]:
    """A value of ``kind`` (a key of `UNITS`): (``12.5 centimetre``, what is printed: one text, or one per
    unit)."""
    units = UNITS[kind]
    unit = str(rng.choice(list(units), p=[share for share, *_ in units.values()]))
    _, span, usual, _ = units[unit]
    return printed(kind, number(span, usual, rng), unit, rng)


def printed(
    kind: str, amount: str, unit: str, rng: np.random.Generator, both: float = 0.42
) -> tuple[str, list[str]]:
    """Like `value`, of a number; ``both``: how often in two units."""
    texts = [amount + str(rng.choice(UNITS[kind][unit][3]))]
    if unit in OTHER and rng.random() < both:
        other, factor = OTHER[unit]
        (forms,) = {
            kinds[other][3] for kinds in UNITS.values() if kinds is not UNITS["load"] and other in kinds
        }
        second = float(amount) * factor
        texts.append(f"{second:.{1 if second < 300 else 0}f}{rng.choice(forms)}")
    return f"{amount} {unit}", texts


def joined(texts: list[str], rng: np.random.Generator) -> str:
    """A value's texts in one."""
    if len(texts) == 1:
        return texts[0]
    return str(rng.choice(["{}/{}", "{} / {}", "{}({})", "{} ({})", "{} or {}", "{} {}"])).format(*texts)


def put(scene: Scene, rng: np.random.Generator, texts: list[str], x: float, y: float, size: float, upright: bool,
         word: str = "") -> None:  # fmt: skip
    """A value's text in one line, or its second unit in a line below."""
    if word:
        form = str(rng.choice(["{w}: {v}", "{w} {v}", "{v} {w}", "{w}:{v}", "{v}({w})"]))
        add_line(scene, rng, form.format(w=word, v=joined(texts, rng)), x, y, size, upright)
    elif len(texts) == 2 and rng.random() < 0.45:
        dx, dy = (1.2 * size, 0) if upright else (0, 1.2 * size)
        add_line(scene, rng, texts[0], x, y, size, upright)
        add_line(scene, rng, texts[1], x + dx, y + dy, size, upright)
    else:
        add_line(scene, rng, joined(texts, rng), x, y, size, upright)
