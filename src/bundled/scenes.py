"""Generated product pictures to pretrain on: lines of text as OCR gives them, the values they tell, and a drawing.

Layouts, units and sizes of numbers follow what the challenge's train rows and OCR of product pictures show: dimension
drawings (most), tables, package fronts, load and power data; two units for one value, parts' sizes in between, words in
several languages, lines that OCR missed.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from src.bundled.scene_words import KIND, NOISE, OTHER, RANGES, UNITS, WORDS, Span
from src.bundled.synthetic import draw_product, write_text
from src.reading.constants import ENTITY_UNITS

SIDE = 1000
"""Width and height of a scene; lines' corners are in these units."""

AXES = ("height", "width", "depth")


@dataclass
class Scene:
    """What OCR reads, ``lines`` of (text, confidence, corners) as `ocr` gives them, and the value of each entity shown.

    ``values`` are canonical answers but for their numbers' form.
    """

    lines: list[tuple[str, float, list[list[float]]]] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)  # axes that have their word beside the number
    lengths: list[tuple[float, str]] = field(default_factory=list)  # size in metres, value; of everything on it


def make_scene(rng: np.random.Generator) -> Scene:
    """Make one scene; everything about it follows from ``rng``."""
    scene = Scene()
    kind = rng.choice(["drawing", "table", "package", "load", "power", "plain"], p=[0.5, 0.12, 0.18, 0.08, 0.08, 0.04])
    _SCENES[kind](scene, rng)
    for _ in range(int(rng.integers(0, 4))):
        _line(scene, rng, str(rng.choice(NOISE)), rng.uniform(100, 900), rng.uniform(40, 960), rng.uniform(18, 45))
    scene.lines = [line for line in scene.lines if rng.random() > 0.02]
    return scene


def question(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """An entity to ask about, and its answer: empty for about one in six."""
    shown = list(scene.values)
    if shown and rng.random() < 0.8:
        entity = str(rng.choice(shown))
        return entity, scene.values[entity]
    entity = str(rng.choice([e for e in ENTITY_UNITS if e not in scene.values] or shown))
    if entity in scene.values or entity not in AXES or not scene.lengths:
        return entity, scene.values.get(entity, "")
    # A length that no word or axis claims answers for another one: so do the official and the hand-read answers.
    taken = {scene.values[axis] for axis in scene.named if axis in scene.values}
    free = [(size, value) for size, value in scene.lengths if value not in taken]
    return entity, max(free)[1] if free and rng.random() < 0.75 else ""


def draw(scene: Scene, rng: np.random.Generator, size: int) -> np.ndarray:
    """A drawing of the scene: 8-bit BGR of (size, size, 3), a product in the middle and the lines in their places."""
    image = np.full((size, size, 3), 255 if rng.random() < 0.6 else int(rng.integers(225, 255)), np.uint8)
    left, right = sorted(rng.uniform(0.2, 0.8, 2) * size)
    top, bottom = sorted(rng.uniform(0.2, 0.8, 2) * size)
    slant = int(0.1 * size) if rng.random() < 0.4 else 0
    draw_product(image, (int(left), int(top), int(right) + 8, int(bottom) + 8), slant, rng)
    for text, _, corners in scene.lines:
        points = np.asarray(corners) * size / SIDE
        middle = points.mean(axis=0)
        height = min(np.linalg.norm(points[1] - points[0]), np.linalg.norm(points[3] - points[0]))
        upright = abs(points[1, 1] - points[0, 1]) > abs(points[1, 0] - points[0, 0])
        plain = "".join(c for c in text if c in string.printable)
        write_text(image, plain, tuple(middle), max(6, int(height * 0.8)), rng, angle=90 if upright else 0)
    return image


def _line(
    scene: Scene, rng: np.random.Generator, text: str, x: float, y: float, size: float, upright: bool = False
) -> None:
    """Add a line centred at (x, y), pushed inside the scene."""
    length = 0.52 * size * len(text) + 0.4 * size
    across, down = (size, length) if upright else (length, size)
    x = float(np.clip(x, across / 2, SIDE - across / 2)) if across < SIDE else SIDE / 2
    y = float(np.clip(y, down / 2, SIDE - down / 2))
    box = [[x - across / 2, y - down / 2], [x + across / 2, y - down / 2],
           [x + across / 2, y + down / 2], [x - across / 2, y + down / 2]]  # fmt: skip
    corners = [box[3], box[0], box[1], box[2]] if upright else box
    scene.lines.append((text, round(float(rng.uniform(0.75, 1.0)), 3), corners))


def _number(span: Span, decimals: float, rng: np.random.Generator) -> str:
    low, middle, high = span
    ends = (low, middle) if rng.random() < 0.5 else (middle, high)
    number = float(np.exp(rng.uniform(*np.log(ends))))
    if rng.random() < decimals:
        return f"{number:.{2 if rng.random() < 0.35 else 1}f}"
    step = 10 if number > 60 and rng.random() < 0.4 else 5 if number > 20 and rng.random() < 0.4 else 1
    return str(max(1, round(number / step) * step))


def _value(scene: Scene, kind: str, rng: np.random.Generator) -> tuple[str, list[str]]:
    """A value of ``kind`` (a key of `UNITS`): (``12.5 centimetre``, what is printed: one text, or one per unit)."""
    units = UNITS[kind]
    unit = str(rng.choice(list(units), p=[share for share, *_ in units.values()]))
    _, span, decimals, forms = units[unit]
    number = _number(span, decimals, rng)
    printed = [number + str(rng.choice(forms))]
    if unit in OTHER and rng.random() < 0.42:
        other, factor = OTHER[unit]
        (forms,) = {kinds[other][3] for kinds in UNITS.values() if kinds is not UNITS["load"] and other in kinds}
        second = float(number) * factor
        printed.append(f"{second:.{1 if second < 300 else 0}f}{rng.choice(forms)}")
    value = f"{number} {unit}"
    if kind == "length":
        metres = {"centimetre": 0.01, "inch": 0.0254, "millimetre": 0.001, "foot": 0.3048, "metre": 1.0}
        scene.lengths.append((float(number) * metres[unit], value))
    return value, printed


def _joined(printed: list[str], rng: np.random.Generator) -> str:
    if len(printed) == 1:
        return printed[0]
    return str(rng.choice(["{}/{}", "{} / {}", "{}({})", "{} ({})", "{} or {}", "{} {}"])).format(*printed)


def _put(scene: Scene, rng: np.random.Generator, printed: list[str], x: float, y: float, size: float, upright: bool,
         word: str = "") -> None:  # fmt: skip
    """A value's text in one line, or its second unit in a line below."""
    if word:
        form = str(rng.choice(["{w}: {v}", "{w} {v}", "{v} {w}", "{w}:{v}", "{v}({w})"]))
        _line(scene, rng, form.format(w=word, v=_joined(printed, rng)), x, y, size, upright)
    elif len(printed) == 2 and rng.random() < 0.45:
        dx, dy = (1.2 * size, 0) if upright else (0, 1.2 * size)
        _line(scene, rng, printed[0], x, y, size, upright)
        _line(scene, rng, printed[1], x + dx, y + dy, size, upright)
    else:
        _line(scene, rng, _joined(printed, rng), x, y, size, upright)


def _position(axis: str, rng: np.random.Generator) -> tuple[float, float]:
    """Where the number of an axis stands: beside the product, above or below it, at a lower corner; or anywhere."""
    if rng.random() < 0.15:
        return rng.uniform(100, 900), rng.uniform(100, 900)
    if axis == "height":
        return (rng.uniform(40, 270) if rng.random() < 0.5 else rng.uniform(730, 960)), rng.uniform(350, 680)
    if axis == "width":
        return rng.uniform(330, 670), (rng.uniform(700, 970) if rng.random() < 0.65 else rng.uniform(50, 300))
    return (rng.uniform(60, 330) if rng.random() < 0.35 else rng.uniform(640, 950)), rng.uniform(660, 950)


def _drawing(scene: Scene, rng: np.random.Generator) -> None:
    """Numbers along the sides of a product; sizes of its parts among them."""
    count = int(rng.choice([1, 2, 3], p=[0.25, 0.45, 0.3]))
    axes = [str(a) for a in rng.choice(AXES, count, replace=False, p=[0.38, 0.37, 0.25])]
    worded, size = rng.random() < 0.25, rng.uniform(22, 60)
    for axis in axes:
        scene.values[axis], printed = _value(scene, "length", rng)
        word = str(rng.choice(WORDS[axis])) if worded else ""
        upright = axis == "height" and rng.random() < 0.45
        if word:
            scene.named.add(axis)
        _put(scene, rng, printed, *_position(axis, rng), size, upright, word)
    if rng.random() < 0.25:
        for _ in range(int(rng.integers(1, 4))):
            _, printed = _value(scene, "length", rng)
            scene.lengths.pop()
            _put(scene, rng, printed, rng.uniform(250, 750), rng.uniform(250, 750), size * rng.uniform(0.5, 0.8), False)
    if rng.random() < 0.2:
        entity = str(rng.choice(["item_weight", "item_volume", "maximum_weight_recommendation"], p=[0.5, 0.2, 0.3]))
        scene.values[entity], printed = _value(scene, KIND[entity], rng)
        word = str(rng.choice(WORDS[entity])) if entity != "item_weight" or rng.random() < 0.6 else ""
        _put(scene, rng, printed, rng.uniform(150, 850), rng.uniform(50, 950), size, False, word)


def _table(scene: Scene, rng: np.random.Generator) -> None:
    """A list of data, the words in the same line or in a column of their own; sometimes L x W x H."""
    entities = [str(e) for e in rng.permutation(list(WORDS))[: int(rng.integers(2, 6))]]
    if rng.random() < 0.35:
        entities = [e for e in entities if e not in AXES]
        _product_line(scene, rng, 0.5 * SIDE, rng.uniform(60, 180))
    size, top, apart = rng.uniform(22, 38), rng.uniform(200, 350), rng.random() < 0.4
    for i, entity in enumerate(entities):
        word, y = str(rng.choice(WORDS[entity])), top + i * 2.1 * size
        if entity in AXES:
            scene.named.add(entity)
        scene.values[entity], printed = _value(scene, "length" if entity in AXES else KIND[entity], rng)
        if entity == "voltage" and rng.random() < 0.5:
            printed = _range(scene, rng)
        if apart:
            _line(scene, rng, word, 250, y, size)
            _line(scene, rng, _joined(printed, rng), 560, y, size)
        else:
            _line(scene, rng, f"{word}: {_joined(printed, rng)}", 400, y, size)


def _product_line(scene: Scene, rng: np.random.Generator, x: float, y: float) -> None:
    """``30 x 20 x 10 cm``, with letters or without: then length, width, height in this order."""
    units = {u: f for u, f in UNITS["length"].items() if u in ("centimetre", "inch", "millimetre")}
    unit = str(rng.choice(list(units)))
    _, span, decimals, forms = units[unit]
    order = ["depth", "width", "height"] if rng.random() < 0.7 else ["width", "height"]
    numbers = [_number(span, decimals, rng) for _ in order]
    lettered = rng.random() < 0.45
    letters = {"depth": str(rng.choice(["L", "D"])), "width": "W", "height": "H"}
    parts = []
    for axis, number in zip(order, numbers, strict=True):
        scene.values[axis] = f"{number} {unit}"
        parts.append(f"{letters[axis]}{number}" if lettered else number)
    scene.named.update(order)
    form = str(rng.choice(forms))
    text = str(rng.choice([" x ", "x", " X ", "*"])).join(parts) + form
    _line(scene, rng, ("Size: " if rng.random() < 0.5 else "") + text, x, y, rng.uniform(22, 45))


def _range(scene: Scene, rng: np.random.Generator) -> list[str]:
    low, high = RANGES[int(rng.integers(len(RANGES)))]
    scene.values["voltage"] = f"{high} volt"
    return [f"{low}-{high}{rng.choice(UNITS['volt']['volt'][3])}"]


def _package(scene: Scene, rng: np.random.Generator) -> None:
    """A front with weight or volume, often at its foot; amounts of ingredients or per serving on some."""
    entity = "item_weight" if rng.random() < 0.7 else "item_volume"
    scene.values[entity], printed = _value(scene, KIND[entity], rng)
    word = str(rng.choice(WORDS[entity])) if rng.random() < 0.5 else ""
    y = rng.uniform(700, 960) if rng.random() < 0.6 else rng.uniform(60, 700)
    _put(scene, rng, printed, rng.uniform(150, 850), y, rng.uniform(20, 60), False, word)
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 4))):
            amount = _number((1, 12, 100), 0.2, rng)
            what = str(rng.choice(["{}g protein per serving", "{} mg vitamin", "serving size {}g", "{}g sugar",
                                   "{} g fat", "{}mg caffeine per dose"]))  # fmt: skip
            _line(scene, rng, what.format(amount), rng.uniform(200, 800), rng.uniform(100, 900), rng.uniform(14, 22))


def _load(scene: Scene, rng: np.random.Generator) -> None:
    """How much it carries; its own weight or sizes on some."""
    entity = "maximum_weight_recommendation"
    scene.values[entity], printed = _value(scene, "load", rng)
    word = str(rng.choice(WORDS[entity]))
    x, y, size = rng.uniform(200, 800), rng.uniform(80, 920), rng.uniform(26, 60)
    if rng.random() < 0.4:
        _line(scene, rng, word, x, y - 1.3 * size, size)
        word = ""
    _put(scene, rng, printed, x, y, size, False, word)
    if rng.random() < 0.5:
        _drawing(scene, rng) if rng.random() < 0.5 else _package(scene, rng)


def _power(scene: Scene, rng: np.random.Generator) -> None:
    """Voltage and power data; a lamp's equivalent, a charger's output."""
    size, x, y = rng.uniform(22, 50), rng.uniform(200, 800), rng.uniform(150, 700)
    if rng.random() < 0.7:
        scene.values["voltage"], texts = _value(scene, "volt", rng)
        if rng.random() < 0.5:
            texts = _range(scene, rng)
        _put(scene, rng, texts, x, y, size, False, str(rng.choice(WORDS["voltage"])) if rng.random() < 0.5 else "")
        if rng.random() < 0.25:
            _line(scene, rng, f"Output: {rng.choice([5, 9, 12, 24])}V 2A", x, y + 1.5 * size, size)
    if rng.random() < 0.7 or not scene.values:
        scene.values["wattage"], texts = _value(scene, "watt", rng)
        word = str(rng.choice(WORDS["wattage"])) if rng.random() < 0.4 else ""
        _put(scene, rng, texts, x, y + 3 * size, size, False, word)
        if rng.random() < 0.2:
            _line(scene, rng, f"{rng.choice([40, 60, 75, 100])}W equivalent", x, y + 5 * size, size * 0.8)


def _plain(scene: Scene, rng: np.random.Generator) -> None:
    """No value at all."""


_SCENES: dict[str, Callable[[Scene, np.random.Generator], None]] = {
    "drawing": _drawing, "table": _table, "package": _package, "load": _load, "power": _power, "plain": _plain,
}  # fmt: skip
