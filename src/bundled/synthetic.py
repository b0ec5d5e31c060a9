"""Scenes as images, and a data folder of such images with known values, like the bundled sample.

    python -m src.bundled.synthetic --out my/sample --seed 0

The committed ``data/sample`` was made by an earlier generator, whose last version is in commit 3224257: of
other scenes, in other proportions.
"""

import shutil
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.bundled.scene import SIDE, Scene
from src.bundled.scenes import make_scene, question
from src.data.errors import InputError, run_main
from src.data.flags import settings_from_command_line
from src.data.labels import normalise_label
from src.images.decode import cv2  # imported there with its size limit set
from src.reading.lines import WHOLE
from src.settings import required, setting

FACES, WEIGHTS = ("sans", "sans", "uni", "italic"), (400, 400, 600, 700)
"""OpenCV's own typefaces, and thicknesses of letters, in the proportions of their use."""


@dataclass(frozen=True, slots=True)
class SyntheticSettings:
    """The flags of this command."""

    out: Path = required("folder to make")
    train: int = setting(144, "train rows", least=0)
    test: int = setting(60, "test rows", least=0)
    seed: int = setting(0, "random seed", least=0)


def write_data_folder(out: Path, train_rows: int, test_rows: int, seed: int) -> None:
    """Write ``images/``, ``train.csv``, ``test.csv``, ``test_truth.csv`` into a folder, or nothing at all."""
    if out.exists():
        raise InputError(f"{out}: exists already; remove it first, or give another --out")
    beside = out.with_name(out.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    (beside / "images").mkdir(parents=True)
    train = _rows(beside / "images", "train", train_rows, np.random.default_rng([seed, 0]))
    test = _rows(beside / "images", "test", test_rows, np.random.default_rng([seed, 1]))
    train.to_csv(beside / "train.csv", index=False)
    gaps = np.random.default_rng([seed, 2]).integers(1, 4, len(test))
    test.insert(0, "index", gaps.cumsum() - 1)  # the official indices have gaps, too
    truth = [normalise_label(v, e)[0] for v, e in zip(test["entity_value"], test["entity_name"], strict=True)]
    test[["index", "entity_name"]].assign(entity_value=truth).to_csv(beside / "test_truth.csv", index=False)
    test.drop(columns="entity_value").to_csv(beside / "test.csv", index=False)
    beside.replace(out)


def _rows(images: Path, split: str, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw images until there are ``count`` questions about them; test images have more questions each."""
    rows: list[tuple[str, int, str, str]] = []
    another, empty = (0.12, 0.12) if split == "train" else (0.45, 0.17)  # shares of questions
    while len(rows) < count:
        scene, name = make_scene(rng, missed=0.0), f"{split}-{len(rows):04d}.jpg"
        _, data = cv2.imencode(".jpg", draw(scene, rng, SIDE), [cv2.IMWRITE_JPEG_QUALITY, 76])
        (images / name).write_bytes(data.tobytes())
        group, asked_entities = int(rng.integers(100_000, 999_999)), set[str]()
        while len(rows) < count and (not asked_entities or rng.random() < another):
            entity, value = question(scene, rng, empty, frozenset(asked_entities))
            asked_entities.add(entity)
            rows.append((f"https://example.com/images/{name}", group, entity, value))
    return pd.DataFrame(rows, columns=["image_link", "group_id", "entity_name", "entity_value"])


def draw(scene: Scene, rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw the product, the lines along lengths and the text lines: 8-bit BGR of shape (size, size, 3)."""
    image = np.full((size, size, 3), 255 if rng.random() < 0.6 else rng.integers(225, 255), np.uint8)
    if scene.product != WHOLE:  # else it is not known where the product is
        left, top, right, bottom = (int(side * size) for side in scene.product)
        _draw_product(image, (left, top, right, bottom), rng)
    for segment in scene.segments:
        ends = (np.array(segment).reshape(2, 2) * size).astype(int).tolist()
        for tip, tail in (ends, ends[::-1]):
            cv2.arrowedLine(image, tail, tip, (60, 60, 60), max(1, size // 300), cv2.LINE_AA, tipLength=0.04)
    for text, _, corners in scene.lines:
        _write(image, text, np.array(corners) * size / SIDE, rng)
    return image


def _draw_product(image: np.ndarray, box: tuple[int, int, int, int], rng: np.random.Generator) -> None:
    """Draw a block, a disc or a bottle in a box (left, top, right, bottom) of pixels."""
    left, top, right, bottom = box
    base = rng.integers(90, 215, 3)
    front, flank, lid = (np.clip(base + shade, 0, 255).tolist() for shade in (0, -35, 25))
    kind = rng.choice(["block", "disc", "bottle"], p=[0.4, 0.3, 0.3])
    if kind == "block":
        near = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        far = near + np.array([1, -1]) * (len(image) // 10)
        cv2.fillConvexPoly(image, cv2.convexHull(np.concatenate([near, far])), flank, cv2.LINE_AA)
        cv2.fillConvexPoly(image, np.array([near[0], near[1], far[1], far[0]]), lid, cv2.LINE_AA)
        cv2.rectangle(image, (left, top), (right, bottom), front, -1)
    elif kind == "disc":
        size = (right - left, bottom - top)
        cv2.ellipse(image, (((left + right) / 2, (top + bottom) / 2), size, 0), front, -1, cv2.LINE_AA)
    else:
        neck, shoulder = (right - left) // 4, top + (bottom - top) // 4
        cv2.rectangle(image, (left + neck, top), (right - neck, bottom), lid, -1)
        cv2.rectangle(image, (left, shoulder), (right, bottom), front, -1)


def _write(image: np.ndarray, text: str, corners: np.ndarray, rng: np.random.Generator) -> None:
    """Write a text line in dark letters in the middle of its ``corners`` (4, 2), in pixels."""
    printable = "".join(character for character in text if character in string.printable)
    size = max(6, int(0.8 * np.ptp(corners, axis=0).min()))
    face, weight = cv2.FontFace(str(rng.choice(FACES))), int(rng.choice(WEIGHTS))
    x, y, across, down = cv2.getTextSize((1, 1), printable, (0, 0), face, size, weight)
    patch: np.ndarray = np.full((down + 8, across + 8, 3), 255, np.uint8)
    cv2.putText(patch, printable, (4 - x, 4 - y), (30, 30, 30), face, size, weight)
    if corners[1, 1] < corners[0, 1]:  # it begins at its bottom
        patch = cv2.rotate(patch, cv2.ROTATE_90_COUNTERCLOCKWISE)
    height, width = patch.shape[:2]
    middle_x, middle_y = corners.mean(axis=0)
    left = int(max(0, min(middle_x - width / 2, len(image) - width)))
    top = int(max(0, min(middle_y - height / 2, len(image) - height)))
    target = image[top : top + height, left : left + width]
    np.minimum(target, patch[: target.shape[0], : target.shape[1]], out=target)


def main() -> int:
    """Run the command: write a data folder."""
    description = "Draw a data folder of product images with known values."
    settings = settings_from_command_line(SyntheticSettings, description)
    write_data_folder(settings.out, settings.train, settings.test, settings.seed)
    print(f"{settings.out}: {settings.train} train rows, {settings.test} test rows")
    return 0


if __name__ == "__main__":
    run_main(main)
