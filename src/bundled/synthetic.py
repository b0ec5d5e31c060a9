"""Rendered product pictures with known values: the sample data folder.

    python -m src.bundled.synthetic --out data/sample --seed 0

Every picture is about 1000 px: a drawn product with dimension arrows, a spec panel, or a package front. Values come in
dual units and ranges, several entities share a picture, and some questions have no visible answer.
"""

import argparse
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from src.bundled.canvas import draw_arrow, draw_product, write_text
from src.data.errors import InputError, run_main
from src.data.labels import normalise_label
from src.images.decode import cv2  # imported there with its size limit set

# entity -> (unit name, printed forms, low, high, decimals, second unit printed, factor to it)
_KINDS: dict[str, list[tuple[str, tuple[str, ...], float, float, int, str, float]]] = {
    "length": [
        ("centimetre", ("cm", " cm", "CM"), 2, 180, 1, '"', 0.3937),
        ("inch", ('"', " in", " inch", " inches", "inch"), 1, 70, 1, "cm", 2.54),
        ("millimetre", ("mm", " mm"), 5, 900, 0, "in", 0.03937),
        ("foot", ("ft", " ft", " feet"), 1, 12, 1, "m", 0.3048),
    ],
    "item_weight": [
        ("gram", ("g", " g", " gms", " Grams"), 10, 950, 0, "oz", 0.03527),
        ("kilogram", ("kg", " kg", "Kg", " KG"), 1, 30, 1, "lb", 2.2046),
        ("ounce", ("oz", " oz", " OZ"), 1, 40, 1, "g", 28.35),
        ("pound", ("lb", " lbs", " lb"), 1, 60, 1, "kg", 0.4536),
        ("milligram", ("mg", " mg"), 5, 1000, 0, "", 0),
    ],
    "maximum_weight_recommendation": [
        ("kilogram", ("kg", " kg", " KGS"), 5, 300, 0, "lbs", 2.2046),
        ("pound", ("lb", " lbs", "LBS"), 10, 600, 0, "kg", 0.4536),
    ],
    "voltage": [("volt", ("V", " V", " Volt", "VAC"), 3, 240, 0, "", 0)],
    "wattage": [
        ("watt", ("W", " W", " Watts"), 3, 2000, 0, "", 0),
        ("kilowatt", ("kW", " kW"), 1, 4, 1, "", 0),
    ],
    "item_volume": [
        ("millilitre", ("ml", " ml", "mL", " ML"), 10, 950, 0, "fl oz", 0.0338),
        ("litre", ("L", " L", " Litre"), 1, 10, 1, "gal", 0.2642),
        ("fluid ounce", (" fl oz", " FL OZ", " fl.oz"), 1, 64, 1, "ml", 29.57),
    ],
}
_WORDS = {
    "width": ("Width", "Breite", "Ancho", "W"),
    "depth": ("Depth", "Tiefe", "Profundidad", "D"),
    "height": ("Height", "Höhe", "Altura", "H"),
    "item_weight": ("Weight", "Net Wt.", "Item weight", "Gewicht", "Peso"),
    "maximum_weight_recommendation": ("Max load", "Load capacity", "Max. weight", "Supports up to"),
    "voltage": ("Voltage", "Input", "Rated voltage", "Spannung"),
    "wattage": ("Power", "Wattage", "Rated power", "Leistung"),
    "item_volume": ("Capacity", "Volume", "Contents", "Inhalt"),
}
_RANGES = ((100, 240), (220, 240), (110, 130), (200, 250))
_BRANDS = ("NORDAL", "Kivo", "PURELINE", "Hexa+", "Brightly", "Oaken", "TERRA", "Vanta", "Milo & Co", "ZENIT")
_PHRASES = ("Premium quality", "Easy to clean", "BPA free", "2 year warranty", "Heavy duty", "Made with care",
            "100% cotton", "New design", "Pack of 2", "Model KX-210", "Dishwasher safe", "Ref. 40718")  # fmt: skip


@dataclass
class Picture:
    """A rendered picture: 8-bit BGR pixels and, per entity shown, the value as a label writes it (``12.5 inch``)."""

    image: np.ndarray
    values: dict[str, str] = field(default_factory=dict)


def render(rng: np.random.Generator) -> Picture:
    """Draw one picture; everything about it follows from ``rng``."""
    long, short = 1000, int(rng.choice([1000, 1000, 1000, 760, 680]))
    size = (long, short) if rng.random() < 0.5 else (short, long)
    tint = rng.integers(238, 256, 3).tolist() if rng.random() < 0.5 else (255, 255, 255)
    picture = Picture(np.full((*size, 3), tint, np.uint8))
    scene = rng.choice(["drawing", "panel", "package", "plain"], p=[0.42, 0.28, 0.24, 0.06])
    _SCENES[scene](picture, rng)
    return picture


def _value(entity: str, rng: np.random.Generator) -> tuple[str, str]:
    """A value for ``entity``: (as a label writes it, as it is printed)."""
    kinds = _KINDS["length" if entity in ("width", "depth", "height") else entity]
    unit, forms, low, high, decimals, other, factor = kinds[int(rng.integers(len(kinds)))]
    number = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))), decimals if rng.random() < 0.6 else 0)
    form = str(rng.choice(forms))
    if entity == "voltage" and rng.random() < 0.4:
        low, high = _RANGES[int(rng.integers(len(_RANGES)))]
        return f"[{low:.1f}, {high:.1f}] volt", f"{low}-{high}{form}"
    printed = f"{number:g}{form}"
    if other and rng.random() < 0.35:
        second = f"{number * factor:.1f}{other if other == chr(34) else ' ' + other}"
        printed += f" / {second}" if rng.random() < 0.6 else f" ({second})"
    return f"{number} {unit}", printed


def _drawing(picture: Picture, rng: np.random.Generator) -> None:
    """A product with dimension arrows: width below, height beside, depth along the slant; some are left out."""
    image = picture.image
    height, width = image.shape[:2]
    slant = int(rng.integers(60, 120)) if rng.random() < 0.6 else 0
    left = int(width * rng.uniform(0.2, 0.3))
    right = int(width * (rng.uniform(0.5, 0.58) if slant else rng.uniform(0.6, 0.74)))
    top, bottom = int(height * rng.uniform(0.24, 0.36)), int(height * rng.uniform(0.66, 0.78))
    draw_product(image, (left, top, right, bottom), slant, rng)
    size = int(rng.integers(26, 42))
    drawn = [e for e in ("width", "height", "depth") if rng.random() < 0.8 and (e != "depth" or slant)] or ["height"]
    for entity in drawn:
        picture.values[entity], printed = _value(entity, rng)
        if rng.random() < 0.2:
            printed = f"{rng.choice(_WORDS[entity])}: {printed}"
        if entity == "width":
            draw_arrow(image, (left, bottom + 40), (right, bottom + 40))
            write_text(image, printed, ((left + right) / 2, bottom + 40 + size), size, rng)
        elif entity == "height":
            draw_arrow(image, (left - 40, top), (left - 40, bottom))
            turned = rng.random() < 0.5 or len(printed) > 10
            position = (left - 40 - size, (top + bottom) / 2) if turned else (left / 2 - 15, (top + bottom) / 2)
            write_text(image, printed, position, size, rng, angle=90 if turned else 0)
        else:
            draw_arrow(image, (right + 22, bottom + 8), (right + slant + 22, bottom - slant + 8))
            write_text(image, printed, (right + slant / 2 + 44, bottom - slant / 2 + 26), min(size, 30), rng, anchor=0)
    if rng.random() < 0.4:
        entity = str(rng.choice(["item_weight", "item_volume", "maximum_weight_recommendation"]))
        picture.values[entity], printed = _value(entity, rng)
        text = f"{rng.choice(_WORDS[entity])} {printed}"
        write_text(image, text, (width / 2, height * 0.93), size, rng, (40, 40, 150))
    write_text(image, str(rng.choice(["Product size", "Dimensions", *_BRANDS])), (width / 2, 70), size + 14, rng)


def _panel(picture: Picture, rng: np.random.Generator) -> None:
    """A table of specifications, one per line, between lines that answer nothing."""
    image = picture.image
    height, width = image.shape[:2]
    entities = rng.permutation(list(_WORDS))[: int(rng.integers(2, 6))].tolist()
    rows = []
    for entity in entities:
        picture.values[entity], printed = _value(entity, rng)
        rows.append((str(rng.choice(_WORDS[entity])), printed))
    noise = (("Material", "Steel"), ("Colour", "Grey"), ("Model", "KX-210"), ("Frequency", "50/60 Hz"), ("Pieces", "4"))
    rows += [noise[int(i)] for i in rng.permutation(len(noise))[: int(rng.integers(1, 4))]]
    rows = [rows[int(i)] for i in rng.permutation(len(rows))]
    size, step = int(rng.integers(24, 36)), int(rng.integers(62, 80))
    step = min(step, int(height * 0.74 / len(rows)))
    top = int(height * 0.54 - step * (len(rows) - 1) / 2)
    write_text(image, f"{rng.choice(_BRANDS)} specifications", (width / 2, top - step), size + 10, rng, (120, 60, 20))
    for i, (word, printed) in enumerate(rows):
        y = top + i * step
        if i % 2 == 0:
            corners = (int(width * 0.06), y - step // 2), (int(width * 0.94), y + step // 2)
            cv2.rectangle(image, *corners, (232, 232, 226), -1)
        write_text(image, word, (width * 0.28, y), size, rng)
        write_text(image, printed, (width * 0.7, y), size, rng)


def _package(picture: Picture, rng: np.random.Generator) -> None:
    """The front of a package: brand, phrases, weight or volume at its foot, sometimes power data on a sticker."""
    image = picture.image
    height, width = image.shape[:2]
    left, right, top, bottom = int(width * 0.14), int(width * 0.86), int(height * 0.06), int(height * 0.95)
    shade = tuple(int(v) for v in rng.integers(195, 250, 3))
    cv2.rectangle(image, (left, top), (right, bottom), shade, -1)
    cv2.rectangle(image, (left, top), (right, bottom), (120, 120, 120), 3)
    write_text(
        image, str(rng.choice(_BRANDS)), (width / 2, height * 0.18), int(rng.integers(60, 90)), rng, (60, 30, 90)
    )
    for i, phrase in enumerate(rng.permutation(_PHRASES)[:3]):
        write_text(image, str(phrase), (width / 2, height * (0.34 + 0.08 * i)), int(rng.integers(24, 36)), rng)
    chosen = [["item_weight"], ["item_volume"], ["voltage", "wattage"], ["wattage", "item_weight"]]
    for i, entity in enumerate(chosen[int(rng.integers(len(chosen)))]):
        picture.values[entity], printed = _value(entity, rng)
        word = f"{rng.choice(_WORDS[entity])}: " if rng.random() < 0.6 or entity == "voltage" else ""
        position = (width / 2, height * (0.72 + 0.1 * i))
        write_text(image, word + printed, position, int(rng.integers(30, 46)), rng, (20, 20, 20))


def _plain(picture: Picture, rng: np.random.Generator) -> None:
    """A product with no value on it: every question about it has the empty answer."""
    image = picture.image
    height, width = image.shape[:2]
    draw_product(image, (int(width * 0.3), int(height * 0.25), int(width * 0.7), int(height * 0.75)), 0, rng)
    for i, phrase in enumerate(rng.permutation(_PHRASES)[:2]):
        write_text(image, str(phrase), (width / 2, height * (0.84 + 0.07 * i)), int(rng.integers(26, 40)), rng)


_SCENES = {"drawing": _drawing, "panel": _panel, "package": _package, "plain": _plain}


def question(picture: Picture, taken: set[str], rng: np.random.Generator, empty_share: float) -> tuple[str, str]:
    """An entity not in ``taken`` and its value, empty for about ``empty_share`` of the questions."""
    shown = [entity for entity in picture.values if entity not in taken]
    hidden = [entity for entity in _WORDS if entity not in picture.values and entity not in taken]
    entity = str(rng.choice(shown if shown and rng.random() >= empty_share else hidden))
    return entity, picture.values.get(entity, "")


def write_data_folder(out: Path, train_rows: int, test_rows: int, seed: int) -> None:
    """Write a data folder (``images/``, ``train.csv``, ``test.csv``, ``test_truth.csv``), whole or not at all."""
    if out.exists():
        raise InputError(f"{out}: exists already; remove it first, or give another --out")
    beside = out.with_name(out.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    (beside / "images").mkdir(parents=True)
    train = _rows(beside / "images", "train", train_rows, 0.12, 0.12, np.random.default_rng([seed, 0]))
    test = _rows(beside / "images", "test", test_rows, 0.45, 0.17, np.random.default_rng([seed, 1]))
    train.to_csv(beside / "train.csv", index=False)
    gaps = np.random.default_rng([seed, 2]).integers(1, 4, len(test))
    test.insert(0, "index", gaps.cumsum() - 1)  # the official indices have gaps, too
    truth = [normalise_label(v, e)[0] for v, e in zip(test["entity_value"], test["entity_name"], strict=True)]
    test[["index", "entity_name"]].assign(entity_value=truth).to_csv(beside / "test_truth.csv", index=False)
    test.drop(columns="entity_value").to_csv(beside / "test.csv", index=False)
    beside.replace(out)


def _rows(
    images: Path, split: str, count: int, more: float, empty_share: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Render pictures into ``images`` until there are ``count`` questions; ``more``: chance of one more per picture."""
    rows: list[tuple[str, int, str, str]] = []
    while len(rows) < count:
        picture, name = render(rng), f"{split}-{len(rows):04d}.jpg"
        taken: set[str] = set()
        _, data = cv2.imencode(".jpg", picture.image, [cv2.IMWRITE_JPEG_QUALITY, 76])
        (images / name).write_bytes(data.tobytes())
        group = int(rng.integers(100_000, 999_999))
        while len(rows) < count and (not taken or rng.random() < more):
            entity, value = question(picture, taken, rng, empty_share)
            taken.add(entity)
            rows.append((f"https://example.com/images/{name}", group, entity, value))
    return pd.DataFrame(rows, columns=["image_link", "group_id", "entity_name", "entity_value"])


def main() -> int:
    """Command line: write a data folder."""
    parser = argparse.ArgumentParser(description="Render a data folder of product pictures with known values.")
    parser.add_argument("--out", type=Path, default=Path("data/sample"))
    parser.add_argument("--train", type=int, default=144, help="train rows")
    parser.add_argument("--test", type=int, default=60, help="test rows")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write_data_folder(args.out, args.train, args.test, args.seed)
    print(f"{args.out}: {args.train} train rows, {args.test} test rows")
    return 0


if __name__ == "__main__":
    run_main(main)
