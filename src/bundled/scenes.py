"""Kinds of generated product images: dimension drawings (most), tables, package fronts, load and power data.

The layouts of lengths are those of real images (see `layouts`). There are second units for one value, sizes
of parts, words in several languages, and text lines that OCR missed.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from src.bundled.layouts import NO_LINE, Length, sample_layout
from src.bundled.scene import SIDE, SIDE_NAMES, Scene, number, rounded
from src.entities import AXES, ENTITIES
from src.reading.lines import Box
from src.reading.units import BY_NAME, SIZE

GROSS = "Gross weight|G.W.|Gross Wt.|Shipping weight|Peso bruto"
SERVINGS = "{}g protein per serving|{} mg vitamin|serving size {}g|{}g sugar|{} g fat|{}mg caffeine per dose"
_AXIS_SHARES = {"height": 0.37, "width": 0.31, "depth": 0.32}
"""Shares of the sides that drawings are asked for, as in the challenge's train rows."""
NOISE = (
    "Premium quality|Easy to clean|BPA free|2 year warranty|Made in Italy|100% cotton|New|Pack of 2|5 years"
    "|50/60 Hz|Ref. 40718|Size chart|Product size|DIMENSIONS|2.4 A|Organic|Vitamin C|For daily use|IP65"
    "|360 degrees|Model KX-210|Stainless steel"
)


def lengths_as_printed(
    longest: float, shares: Sequence[float], rng: np.random.Generator
) -> tuple[str, list[str]]:
    """Return a unit and the numbers of lengths in it, the longest first, no two alike.

    ``longest`` is in centimetres; ``shares`` are the lengths as shares of it.
    """
    longest *= rng.uniform(0.7, 1.4)
    per_metre = {unit: 100 * float(SIZE[unit]) for unit in ("centimetre", "inch", "millimetre")}
    units = [unit for unit, size in per_metre.items() if 1 < longest / size < 3000] or ["centimetre"]
    weights = np.array([ENTITIES["height"].numbers[unit].share for unit in units])
    unit = str(rng.choice(units, p=weights / weights.sum()))
    decimals = ENTITIES["height"].numbers[unit].decimals if rng.random() < 0.7 else 0.0
    while True:
        amounts = np.array(shares) * rng.uniform(0.92, 1.08, len(shares)) * longest / per_metre[unit]
        numbers = [rounded(amount, decimals, rng) for amount in sorted(amounts.tolist(), reverse=True)]
        if all(float(first) > float(second) for first, second in pairwise([*numbers, "0"])):
            return unit, numbers
        decimals, longest = min(1.0, decimals + 0.2), 1.1 * longest  # finer, and larger, until they differ


def _drawing(scene: Scene) -> None:
    """Lay out lengths around a product, in one unit, as on images that are asked for one of them."""
    rng = scene.rng
    entity = str(rng.choice(list(_AXIS_SHARES), p=list(_AXIS_SHARES.values())))
    scene.unsettled |= set(AXES)
    longest, lengths = sample_layout(entity, rng)
    middle, half = rng.uniform(0.45, 0.55, 2), rng.uniform(0.13, 0.4, 2)
    scene.product = Box(*(middle - half), *(middle + half))
    unit, numbers = lengths_as_printed(longest, [length.share for length in lengths], rng)
    size, both = rng.uniform(22, 55), float(scene.happens(0.42))
    for length, amount in zip(lengths, numbers, strict=True):
        is_missing = length.is_answer and len(numbers) > 1 and scene.happens(0.05)
        if length.is_answer:
            scene.values[entity] = "" if is_missing else f"{amount} {unit}"
        if not is_missing:
            _place(scene, length, scene.printed(amount, unit, both), size)


def _place(scene: Scene, length: Length, text: str, size: float) -> None:
    """Put a length where its words say, and the line along it."""
    words = length.words.split()
    left, top, right, bottom = scene.product
    x = _between(scene, left, right, ("right" in words) - ("left" in words))
    y = _between(scene, top, bottom, ("bottom" in words) - ("top" in words))
    word = next((scene.pick(SIDE_NAMES[word]) for word in words if word in SIDE_NAMES), "")
    box = scene.add_text(scene.named(word, text), size, (x, y), "upright" in words)
    if length.line != NO_LINE:
        scene.segments.append(_segment(np.array(box).reshape(2, 2) / SIDE, length.line, scene.rng))


def _between(scene: Scene, low: float, high: float, side: int) -> float:
    """Return a coordinate by the low (-1) or high (1) edge of a product, or near its middle (0)."""
    off = side * scene.rng.uniform(0.6, 1.5) if side else scene.rng.uniform(-0.4, 0.4)
    return float(SIDE * (low + high + off * (high - low)) / 2)


def _segment(corners: np.ndarray, line: str, rng: np.random.Generator) -> tuple[float, ...]:
    """Return a line of this direction just beside a text between two ``corners`` (2, 2)."""
    middle, half, across = corners.mean(axis=0), np.ptp(corners, axis=0) / 2, int(line != "vertical")
    middle[across] += rng.choice([-1, 1]) * (half[across] + rng.uniform(0.005, 0.02))
    slanting = (0.7, rng.choice([-1, 1]) * rng.uniform(0.42, 0.98))
    run = rng.uniform(0.1, 0.3) * np.array({"vertical": (0, 1), "horizontal": (1, 0)}.get(line, slanting))
    return tuple(np.clip([*(middle - run), *(middle + run)], 0, 1).tolist())


def _table(scene: Scene) -> None:
    """List data, with words in the same line or in a column of their own; some have L x W x H in one line."""
    rng = scene.rng
    entities = rng.permutation(list(ENTITIES))[: rng.integers(2, 6)].tolist()
    if scene.happens(0.35):
        entities = [entity for entity in entities if entity not in AXES]
        _sides_in_a_line(scene)
    size, top, has_columns = rng.uniform(22, 38), rng.uniform(200, 350), scene.happens(0.4)
    rows = top + 2.1 * size * np.arange(len(entities))
    if scene.happens(0.5):
        scene.segments += [(0.1, y, 0.9, y) for y in ((rows + 1.05 * size) / SIDE).tolist()]
    elif scene.happens(0.5):
        scene.product = Box(0.6, 0.6, 0.95, 0.95)
    for entity, y in zip(entities, rows, strict=True):
        scene.values[entity], text = scene.value(entity)
        word, text = scene.pick(ENTITIES[entity].names), text.replace("\n", " ")
        cells = [(word, 250), (text, 560)] if has_columns else [(f"{word}: {text}", 400)]
        for cell, x in cells:
            scene.add_text(cell, size, (x, y))


def _sides_in_a_line(scene: Scene) -> None:
    """Add ``30 x 20 x 10 cm``, with letters or without; without they are length, width and height."""
    unit = scene.pick("centimetre|inch|millimetre")
    letters = {"depth": scene.pick("L|D"), "width": "W", "height": "H"}
    has_letters, parts = scene.happens(0.45), []
    for entity in list(letters)[int(scene.happens(0.3)) :]:
        amount = number(ENTITIES["height"].numbers[unit], scene.rng)
        scene.values[entity] = f"{amount} {unit}"
        parts.append(letters[entity] + amount if has_letters else amount)
    text = scene.pick(" x |x| X |*").join(parts) + scene.pick(BY_NAME[unit].printed)
    scene.add_text(
        scene.pick("Size: ", 0.5) + text, scene.rng.uniform(22, 45), (500, scene.rng.uniform(60, 180))
    )


def _package(scene: Scene) -> None:
    """Show a front with weight or volume, often at its foot; some have gross weight, contents or servings."""
    rng = scene.rng
    entity = "item_weight" if scene.happens(0.7) else "item_volume"
    scene.values[entity], text = scene.value(entity)
    amount, unit = scene.values[entity].split(" ", 1)
    if unit == "fluid ounce" and scene.happens(0.3):  # liquids are often printed so
        text = re.sub(r"(?i)fl\.? ?oz", "oz", text)
        scene.unsettled.add("item_weight")
    word = scene.pick(ENTITIES[entity].names, 0.5)
    text = scene.named(word, text)
    if entity == "item_weight" and scene.happens(0.1):
        gross = f"{rng.uniform(1.1, 1.65) * float(amount):.{len(amount.partition('.')[2])}f}"
        text += "\n" + scene.named(scene.pick(GROSS), scene.printed(gross, unit, 0.2))
    height = rng.uniform(700, 960) if scene.happens(0.6) else rng.uniform(60, 700)
    scene.add_text(text, rng.uniform(20, 60), (rng.uniform(150, 850), height))
    if word and scene.happens(0.2):  # contents: only the word of the other value tells which one is meant
        scene.add_text(scene.value("item_weight")[1], rng.uniform(14, 30))
        scene.unsettled |= {"item_weight"} - scene.values.keys()
    if scene.happens(0.3):
        for _ in range(rng.integers(1, 4)):
            scene.add_text(scene.pick(SERVINGS).format(rng.integers(1, 100)), rng.uniform(14, 22))


def _load(scene: Scene) -> None:
    """Show how much a product carries; on some its own weight or sizes."""
    scene.show("maximum_weight_recommendation", scene.rng.uniform(26, 60))
    if scene.happens(0.5):
        scene.rng.choice(np.array([_drawing, _package]))(scene)


def _power(scene: Scene) -> None:
    """Show voltage and power; of some also a charger's output or what lamp it equals."""
    size, has_voltage = scene.rng.uniform(22, 50), scene.happens(0.7)
    if has_voltage:
        output = f"\nOutput: {scene.pick('5|9|12|24')}V 2A"
        scene.show("voltage", size, word_share=0.5, below=scene.pick(output, 0.25))
    if not has_voltage or scene.happens(0.7):
        equivalent = f"\n{scene.pick('40|60|75|100')}W equivalent"
        scene.show("wattage", size, word_share=0.4, below=scene.pick(equivalent, 0.2))


_FRONTS = np.array([_package, _load, _power])
_KINDS = np.array([_drawing, _table, *_FRONTS, lambda _: None])  # the last one shows no value


def make_scene(rng: np.random.Generator, missed: float = 0.02) -> Scene:
    """Make a scene; everything about it follows from ``rng``. OCR misses a share ``missed`` of its lines."""
    scene = Scene(rng)
    kind = rng.choice(_KINDS, p=[0.5, 0.12, 0.18, 0.08, 0.08, 0.04])
    kind(scene)
    if kind in _FRONTS and scene.values.keys().isdisjoint(AXES) and scene.happens(0.3):
        _drawing(scene)
    while scene.happens(0.2 if kind is _drawing else 0.3):  # lengths stand alone on most images
        front = Scene(rng, list(scene.lines))
        rng.choice(_FRONTS)(front)
        if not front.unsettled and front.values.keys().isdisjoint({*scene.values, *scene.unsettled}):
            scene.lines = front.lines
            scene.values |= front.values
    for _ in range(rng.integers(0, 4)):
        scene.add_text(scene.pick(NOISE), rng.uniform(18, 45))
    scene.lines = [line for line in scene.lines if not scene.happens(missed)]
    return scene


def question(
    scene: Scene,
    rng: np.random.Generator,
    empty_share: float = 0.2,
    asked_entities: frozenset[str] = frozenset(),
) -> tuple[str, str]:
    """Return an entity that is not among ``asked_entities``, and its answer.

    A share of questions has the empty answer. A length is asked for twice as often as another entity.
    """
    shown = [entity for entity in scene.values if entity not in asked_entities]
    weights = np.array([2.0 if entity in AXES else 1.0 for entity in shown])
    if shown and rng.random() >= empty_share:
        entity = str(rng.choice(shown, p=weights / weights.sum()))
    else:
        free = [entity for entity in ENTITIES if entity not in asked_entities]
        absent = [entity for entity in free if entity not in scene.unsettled | scene.values.keys()]
        entity = str(rng.choice(absent or shown or free))
    return entity, scene.values.get(entity, "")
