"""Generated product pictures to pretrain on, of some kinds: dimension drawings (most), tables, package
fronts, load and power data.

Units and sizes of numbers follow what the challenge's train rows show, layouts of lengths those of real
pictures (see `layouts`); two units for one value, parts' sizes in between, words in several languages, lines
that OCR missed.
"""

import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from src.bundled.layouts import Drawing, Told, draw_layout
from src.bundled.scene import SIDE, Scene, add_line, as_printed, joined, number, printed, put, value
from src.bundled.scene_words import GROSS, KIND, NOISE, RANGES, UNITS, WORDS
from src.entities import ENTITY_UNITS
from src.model.prompts import LINES
from src.reading.lines import Box
from src.reading.options import AXES
from src.reading.units import SIZE


def make_scene(rng: np.random.Generator, missed: float = 0.02) -> Scene:
    """Make one scene; everything about it follows from ``rng``. ``missed``: share of lines that OCR does not
    see."""
    scene = Scene()
    kind = rng.choice(
        ["drawing", "table", "package", "load", "power", "plain"], p=[0.5, 0.12, 0.18, 0.08, 0.08, 0.04]
    )
    _SCENES[kind](scene, rng)
    if kind in ("package", "load", "power") and scene.values.keys().isdisjoint(AXES) and rng.random() < 0.3:
        _drawing(scene, rng)
    while rng.random() < (0.1 if kind == "drawing" else 0.3):  # lengths stand alone on most pictures
        other = Scene()
        _SCENES[str(rng.choice(["package", "load", "power"]))](other, rng)
        if not other.unknown and other.values.keys().isdisjoint({*scene.values, *scene.unknown}):
            scene.lines += other.lines
            scene.values |= other.values
    for _ in range(int(rng.integers(0, 4))):
        add_line(
            scene,
            rng,
            str(rng.choice(NOISE)),
            rng.uniform(100, 900),
            rng.uniform(40, 960),
            rng.uniform(18, 45),
        )
    scene.lines = [line for line in scene.lines if rng.random() >= missed]
    return scene


def question(
    scene: Scene, rng: np.random.Generator, empty: float = 0.2, asked: frozenset[str] = frozenset()
) -> tuple[str, str]:
    """Return an entity that is not among ``asked``, and its answer: not shown for a share ``empty`` of
    questions."""
    shown = [entity for entity in scene.values if entity not in asked]
    if shown and rng.random() < 1 - empty:
        entity = str(rng.choice(shown, p=_weights(shown)))
    else:
        settled = asked | scene.unknown | scene.values.keys()
        hidden = [entity for entity in ENTITY_UNITS if entity not in settled]
        entity = str(rng.choice(hidden or shown or [e for e in ENTITY_UNITS if e not in asked]))
    return entity, scene.values.get(entity, "")


def _weights(entities: list[str]) -> np.ndarray:
    """A length is asked for most."""
    weights = np.array([2.0 if entity in AXES else 1.0 for entity in entities])
    return weights / weights.sum()


def _drawing(scene: Scene, rng: np.random.Generator) -> None:
    """Lengths around a product, of one unit, as they stand on pictures that are asked for one of them."""
    entity = str(rng.choice(list(AXES), p=[0.37, 0.31, 0.32]))
    scene.unknown |= set(AXES)
    drawing = draw_layout(entity, rng)
    half = rng.uniform(0.13, 0.4, 2)
    middle = rng.uniform(0.45, 0.55, 2)
    scene.product = Box(*(middle - half), *(middle + half))
    unit, amounts = _lengths(drawing, rng)
    size, both = rng.uniform(22, 55), 1.0 if rng.random() < 0.42 else 0.0
    for length, amount in zip(drawing.lengths, amounts, strict=True):
        text, texts = printed("length", amount, unit, rng, both)
        if length.is_answer:
            if rng.random() < 0.05 and len(amounts) > 1:  # then nothing of it answers
                scene.values[entity] = ""
                continue
            scene.values[entity] = text
        _place(scene, rng, length, texts, size)
    entity = str(rng.choice(list(KIND), p=[0.4, 0.25, 0.15, 0.1, 0.1]))
    if rng.random() < 0.2 and entity not in {*scene.values, *scene.unknown}:
        scene.values[entity], texts = value(KIND[entity], rng)
        word = str(rng.choice(WORDS[entity])) if entity != "item_weight" or rng.random() < 0.6 else ""
        put(scene, rng, texts, rng.uniform(150, 850), rng.uniform(50, 950), size, False, word)


def _lengths(drawing: Drawing, rng: np.random.Generator) -> tuple[str, list[str]]:
    """The unit and the numbers of a drawing's lengths, the longest first, no two alike."""
    longest = drawing.longest * rng.uniform(0.7, 1.4)
    usual = {"centimetre": 0.52, "inch": 0.35, "millimetre": 0.13}
    apt = {unit: share for unit, share in usual.items() if 1 < longest / _centimetres(unit) < 3000}
    units = apt or ({"millimetre": 1.0} if longest < 1 else {"metre": 0.5, "foot": 0.5})
    unit = str(rng.choice(list(units), p=np.array(list(units.values())) / sum(units.values())))
    decimals = UNITS["length"][unit][2] if rng.random() < 0.7 else 0.0
    while True:
        jitter = rng.uniform(0.92, 1.08, len(drawing.lengths))
        shares = np.sort(np.array([told.share for told in drawing.lengths]) * jitter)[::-1]
        amounts = [as_printed(float(longest * share / _centimetres(unit)), decimals, rng) for share in shares]
        if all(float(first) > float(second) for first, second in pairwise([*amounts, "0"])):
            return unit, amounts
        decimals, longest = min(1.0, decimals + 0.2), 1.1 * longest  # finer, and larger, until they differ


def _centimetres(unit: str) -> float:
    return float(100 * SIZE[unit])


def _place(scene: Scene, rng: np.random.Generator, length: Told, texts: list[str], size: float) -> None:
    """A length where its words say, and the line along it."""
    words = length.words.split()
    left, top, right, bottom = scene.product
    across, down = ("right" in words) - ("left" in words), ("bottom" in words) - ("top" in words)
    x = (
        left + right + (across * rng.uniform(0.6, 1.5) if across else rng.uniform(-0.4, 0.4)) * (right - left)
    ) / 2
    y = (
        top + bottom + (down * rng.uniform(0.6, 1.5) if down else rng.uniform(-0.4, 0.4)) * (bottom - top)
    ) / 2
    word = next((str(rng.choice(_PRINTED[word])) for word in words if word in _PRINTED), "")
    before = len(scene.lines)
    put(scene, rng, texts, x * SIDE, y * SIDE, size, "upright" in words, word)
    if length.line not in LINES:
        return
    points = np.array(scene.lines[before][2]) / SIDE
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    gap, reach = rng.uniform(0.005, 0.02), rng.uniform(0.1, 0.3)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    if length.line == "vertical":
        beside = x1 + gap if rng.random() < 0.5 else x0 - gap
        segment = beside, y - reach, beside, y + reach
    elif length.line == "horizontal":
        beside = y1 + gap if rng.random() < 0.5 else y0 - gap
        segment = x - reach, beside, x + reach, beside
    else:
        side = 1 if rng.random() < 0.5 else -1
        run, rise = 0.7 * reach, 0.7 * reach * rng.uniform(0.6, 1.4)
        y = y0 - gap if rng.random() < 0.5 else y1 + gap
        segment = x - run, y - side * rise, x + run, y + side * rise
    scene.segments.append(tuple(float(np.clip(end, 0, 1)) for end in segment))  # type: ignore[arg-type]


_PRINTED = {
    "height": WORDS["height"],
    "width": WORDS["width"],
    "depth": ("Depth", "Tiefe", "Profundidad", "Thickness"),
    "length": ("Length", "LENGTH", "Länge"),
    "diameter": ("Diameter", "Dia", "Durchmesser"),
} | {letter: (letter,) for letter in "HWDLØ"}
"""Words that are told so."""


def _table(scene: Scene, rng: np.random.Generator) -> None:
    """A list of data, the words in the same line or in a column of their own; sometimes L x W x H."""
    entities = [str(e) for e in rng.permutation(list(WORDS))[: int(rng.integers(2, 6))]]
    if rng.random() < 0.35:
        entities = [e for e in entities if e not in AXES]
        _product_line(scene, rng, 0.5 * SIDE, rng.uniform(60, 180))
    size, top, apart = rng.uniform(22, 38), rng.uniform(200, 350), rng.random() < 0.4
    _table_rules(scene, rng, top, size, len(entities))
    for i, entity in enumerate(entities):
        word, y = str(rng.choice(WORDS[entity])), top + i * 2.1 * size
        scene.values[entity], texts = value("length" if entity in AXES else KIND[entity], rng)
        if entity == "voltage" and rng.random() < 0.5:
            texts = _range(scene, rng)
        if apart:
            add_line(scene, rng, word, 250, y, size)
            add_line(scene, rng, joined(texts, rng), 560, y, size)
        else:
            add_line(scene, rng, f"{word}: {joined(texts, rng)}", 400, y, size)


def _table_rules(scene: Scene, rng: np.random.Generator, top: float, size: float, rows: int) -> None:
    """The lines between a table's rows, where it has some; a small picture of the product beside others."""
    if rng.random() < 0.5:
        scene.segments += [
            (0.1, y, 0.9, y) for y in ((top + (i + 0.5) * 2.1 * size) / SIDE for i in range(rows))
        ]
    elif rng.random() < 0.5:
        scene.product = Box(0.6, 0.6, 0.95, 0.95)


def _product_line(scene: Scene, rng: np.random.Generator, x: float, y: float) -> None:
    """``30 x 20 x 10 cm``, with letters or without: then length, width, height in this order."""
    units = {u: f for u, f in UNITS["length"].items() if u in ("centimetre", "inch", "millimetre")}
    unit = str(rng.choice(list(units)))
    _, span, decimals, forms = units[unit]
    order = ["depth", "width", "height"] if rng.random() < 0.7 else ["width", "height"]
    numbers = [number(span, decimals, rng) for _ in order]
    lettered = rng.random() < 0.45
    letters = {"depth": str(rng.choice(["L", "D"])), "width": "W", "height": "H"}
    parts = []
    for axis, amount in zip(order, numbers, strict=True):
        scene.values[axis] = f"{amount} {unit}"
        parts.append(f"{letters[axis]}{amount}" if lettered else amount)
    form = str(rng.choice(forms))
    text = str(rng.choice([" x ", "x", " X ", "*"])).join(parts) + form
    add_line(scene, rng, ("Size: " if rng.random() < 0.5 else "") + text, x, y, rng.uniform(22, 45))


def _range(scene: Scene, rng: np.random.Generator) -> list[str]:
    low, high = RANGES[int(rng.integers(len(RANGES)))]
    scene.values["voltage"] = f"{high} volt"
    unit = rng.choice(UNITS["volt"]["volt"][3])
    return [f"{low}{unit if rng.random() < 0.3 else ''}{rng.choice(['-', '-', '/', ' / ', '~'])}{high}{unit}"]


def _package(scene: Scene, rng: np.random.Generator) -> None:
    """A front with weight or volume, often at its foot; on some gross weight, amounts of ingredients or per
    serving."""
    entity = "item_weight" if rng.random() < 0.7 else "item_volume"
    scene.values[entity], texts = value(KIND[entity], rng)
    if scene.values[entity].endswith("fluid ounce") and rng.random() < 0.3:  # liquids are often printed so
        texts[0] = re.sub(r"(?i)fl\.? ?oz", "oz", texts[0])
        scene.unknown.add("item_weight")
    word = str(rng.choice(WORDS[entity])) if rng.random() < 0.5 else ""
    y = rng.uniform(700, 960) if rng.random() < 0.6 else rng.uniform(60, 700)
    put(scene, rng, texts, rng.uniform(150, 850), y, rng.uniform(20, 60), False, word)
    if entity == "item_weight" and rng.random() < 0.1:
        amount, unit = scene.values[entity].split(" ", 1)
        digits = len(amount.partition(".")[2])
        _, texts = printed("mass", f"{1.1 * float(amount) * rng.uniform(1, 1.5):.{digits}f}", unit, rng, 0.2)
        gross = str(rng.choice(GROSS))
        x, beside = rng.uniform(150, 850), y + rng.choice([-1, 1]) * rng.uniform(70, 140)
        put(scene, rng, texts, x, beside, rng.uniform(20, 45), False, gross)
    if word and rng.random() < 0.2:  # of the contents; nothing tells what but that the other has a word
        _, other = value(KIND["item_weight"], rng)
        put(scene, rng, other, rng.uniform(150, 850), rng.uniform(60, 940), rng.uniform(14, 30), False)
        scene.unknown |= {"item_weight"} - scene.values.keys()
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 4))):
            amount = number((1, 12, 100), 0.2, rng)
            what = str(rng.choice(["{}g protein per serving", "{} mg vitamin", "serving size {}g", "{}g sugar",
                                   "{} g fat", "{}mg caffeine per dose"]))  # fmt: skip
            add_line(
                scene,
                rng,
                what.format(amount),
                rng.uniform(200, 800),
                rng.uniform(100, 900),
                rng.uniform(14, 22),
            )


def _load(scene: Scene, rng: np.random.Generator) -> None:
    """How much it carries; its own weight or sizes on some."""
    entity = "maximum_weight_recommendation"
    scene.values[entity], texts = value("load", rng)
    word = str(rng.choice(WORDS[entity]))
    x, y, size = rng.uniform(200, 800), rng.uniform(80, 920), rng.uniform(26, 60)
    if rng.random() < 0.4:
        add_line(scene, rng, word, x, y - 1.3 * size, size)
        word = ""
    put(scene, rng, texts, x, y, size, False, word)
    if rng.random() < 0.5:
        _drawing(scene, rng) if rng.random() < 0.5 else _package(scene, rng)


def _power(scene: Scene, rng: np.random.Generator) -> None:
    """Voltage and power data; a lamp's equivalent, a charger's output."""
    size, x, y = rng.uniform(22, 50), rng.uniform(200, 800), rng.uniform(150, 700)
    if rng.random() < 0.7:
        scene.values["voltage"], texts = value("volt", rng)
        if rng.random() < 0.5:
            texts = _range(scene, rng)
        put(
            scene,
            rng,
            texts,
            x,
            y,
            size,
            False,
            str(rng.choice(WORDS["voltage"])) if rng.random() < 0.5 else "",
        )
        if rng.random() < 0.25:
            add_line(scene, rng, f"Output: {rng.choice([5, 9, 12, 24])}V 2A", x, y + 1.5 * size, size)
    if rng.random() < 0.7 or not scene.values:
        scene.values["wattage"], texts = value("watt", rng)
        word = str(rng.choice(WORDS["wattage"])) if rng.random() < 0.4 else ""
        put(scene, rng, texts, x, y + 3 * size, size, False, word)
        if rng.random() < 0.2:
            add_line(scene, rng, f"{rng.choice([40, 60, 75, 100])}W equivalent", x, y + 5 * size, size * 0.8)


def _plain(scene: Scene, rng: np.random.Generator) -> None:
    """No value at all."""


_SCENES: dict[str, Callable[[Scene, np.random.Generator], None]] = {
    "drawing": _drawing, "table": _table, "package": _package, "load": _load, "power": _power, "plain": _plain,
}  # fmt: skip
