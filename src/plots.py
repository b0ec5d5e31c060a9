"""Figures of the notebooks: images with captions, label statistics, the loss curve."""

import io
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, display
from matplotlib.patches import Rectangle

from src.data.files import write_whole
from src.data.processed import ModelImages
from src.data.questions import Question
from src.images.decode import ImageError, cv2, read_image
from src.images.enhance import resize
from src.metrics import comparable

_THUMBNAIL = 260
"""Longest side of an image in a gallery, px; keeps a notebook's outputs small."""
_CUT_RATIO, _CUT_MARGIN = 3.0, 1.6
"""Width of a cut of print over its height, and over the width of the print itself."""
Box: TypeAlias = tuple[float, float, float, float]
_STYLES: dict[str, dict[str, Any]] = {
    "line": {"edgecolor": "grey", "linewidth": 1},
    "option": {"edgecolor": "tab:orange", "linewidth": 1.2},
    "answer": {"edgecolor": "tab:green", "linewidth": 2.5},
}
"""Boxes on an annotated photo: text lines, options, and those that are answers."""
_LARGE = 1000
"""Longest side of an annotated photo, px."""


def show_gallery(images: Sequence[Path], captions: Sequence[str], columns: int = 4) -> None:
    """Show images in a grid, each below its caption; the place of one that cannot be read stays grey."""
    pictures = [_read(image) for image in images]
    small = [picture if picture is None else resize(picture, _THUMBNAIL) for picture in pictures]
    _show_grid(small, captions, ["black"] * len(images), columns)


def _read(image: Path) -> np.ndarray | None:
    """Return an image as BGR uint8, None if it cannot be read."""
    try:
        return read_image(image)
    except ImageError:
        return None


def _show_grid(
    images: Sequence[np.ndarray | None],
    captions: Sequence[str],
    colours: Sequence[str],
    columns: int = 4,
    save: Path | None = None,
) -> None:
    """Show BGR images in a grid, captions in ``colours``; ``save``: a path to write it to as well, as PNG."""
    rows = max(1, -(-len(images) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(3.1 * columns, 3.6 * rows), dpi=80, squeeze=False)
    for axis in axes.flat[len(images) :]:
        axis.axis("off")
    for axis, image, caption, colour in zip(axes.flat, images, captions, colours, strict=False):
        # Longer lines would run into the caption beside.
        lines = (textwrap.fill(line, 42) for line in caption.splitlines())
        axis.set_title("\n".join(lines), fontsize=10, color=colour)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_color("lightgrey")
        if image is None:
            axis.set_facecolor("lightgrey")
        else:
            axis.imshow(image[:, :, ::-1])
    figure.tight_layout(h_pad=2)
    if save:
        png = io.BytesIO()
        figure.savefig(png, format="png", bbox_inches="tight")
        write_whole(save, png.getvalue())
    plt.show()


def show_answers(
    images: Path,
    processed: Path,
    questions: Sequence[Question],
    truths: Sequence[str | None],
    *,
    row_prefix: str = "",
    save: Path | None = None,
) -> None:
    """Show some answers of each kind: the image, and below it the print that the answer was read from.

    ``images``: folder of the source images, whose print is sharper than that of the model images in
    ``processed``. ``truths``: None where one is not known. ``row_prefix``: how the names of such rows begin
    on the report page, to which links lead. ``save``: a path to write the figure to as well, as PNG.
    """
    shown = [(questions[at], truths[at]) for at in varied(questions, truths)]
    captions, colours, pictures, links = [], [], [], []
    for question, truth in shown:
        is_right = truth is not None and comparable(truth) == comparable(question.prediction)
        mark, colour = (
            ("", "black") if truth is None else ("✓ ", "green") if is_right else ("✗ ", "firebrick")
        )
        lines = [
            f"{mark}row {question.row}: {question.entity}",
            f"{question.prediction or '(empty)'} ({question.probability:.0%})",
        ]
        if truth is not None and not is_right:
            lines.append(f"truth: {truth or '(not visible)'}")
        captions.append("\n".join(lines))
        colours.append(colour)
        whole = _read(ModelImages(processed).path(question.model_image.name))
        source = _read(images / question.image)
        pictures.append(
            None if whole is None else with_print(whole, whole if source is None else source, question)
        )
        links.append(f'<a href="report.html#row-{row_prefix}{question.row}">{question.row}</a>')
    _show_grid(pictures, captions, colours, save=save)
    display(HTML(f"In the report: {', '.join(links)}"))


def varied(questions: Sequence[Question], truths: Sequence[str | None], count: int = 8) -> list[int]:
    """Return positions of answered questions, in order: a quarter wrong ones and a quarter empty ones.

    So many where there are enough. Entities and images that others are of come last.
    """
    kinds: dict[str, list[int]] = {"wrong": [], "empty": [], "others": []}
    for at, (question, truth) in enumerate(zip(questions, truths, strict=True)):
        is_wrong = truth is not None and comparable(truth) != comparable(question.prediction)
        if not question.reason:
            kinds["wrong" if is_wrong else "others" if question.prediction else "empty"].append(at)
    chosen: list[int] = []
    for kind, until in (("wrong", count // 4), ("empty", count // 2), ("others", count)):
        while kinds[kind] and len(chosen) < until:
            entities = Counter(questions[at].entity for at in chosen)
            images = Counter(questions[at].image for at in chosen)
            best = min(
                kinds[kind], key=lambda at: (entities[questions[at].entity], images[questions[at].image])
            )
            kinds[kind].remove(best)
            chosen.append(best)
    return sorted(chosen)


def with_print(whole: np.ndarray, source: np.ndarray, question: Question) -> np.ndarray:
    """Return a BGR uint8 image with the box of a question's answer, above an enlarged cut of ``source``.

    ``source`` is the same image, maybe larger. Without a box it is the image alone.
    """
    chosen = (option for option in question.options if option.texts and option.text == question.prediction)
    box = next((box for option in chosen for box in option.boxes), None)
    whole = resize(whole, _THUMBNAIL)
    if box is None:
        return whole
    height, width = source.shape[:2]
    left, top, right, bottom = np.array(box) * [width, height, width, height]
    across = min(width, _CUT_MARGIN * max(right - left, _CUT_RATIO * (bottom - top)))
    down = min(height, across / _CUT_RATIO)
    x, y = ((left + right - across) / 2, (top + bottom - down) / 2)
    x, y = (int(np.clip(x, 0, max(0, width - across - 1))), int(np.clip(y, 0, max(0, height - down - 1))))
    cut = source[y : y + 1 + round(down), x : x + 1 + round(across)]
    scale = min(_THUMBNAIL / cut.shape[1], _THUMBNAIL / _CUT_RATIO / cut.shape[0])
    size = [max(1, round(scale * side)) for side in cut.shape[1::-1]]
    cut = cv2.resize(cut, size, interpolation=cv2.INTER_CUBIC)
    first, last = (np.array(box).reshape(2, 2) * whole.shape[1::-1]).round().astype(int).tolist()
    whole = cv2.rectangle(whole.copy(), first, last, color=(60, 160, 60), thickness=2)
    stacked = np.full((whole.shape[0] + 6 + cut.shape[0], _THUMBNAIL, 3), 255, np.uint8)
    for part, down in ((whole, 0), (cut, whole.shape[0] + 6)):
        start = (_THUMBNAIL - part.shape[1]) // 2
        stacked[down : down + part.shape[0], start : start + part.shape[1]] = part
    return stacked


def show_reliability(answers: pd.DataFrame) -> None:
    """Plot the share of right answers over ``probability``: columns ``probability, right, stage``."""
    figure, axis = plt.subplots(figsize=(4.6, 3.6), dpi=72)
    axis.plot([0, 1], [0, 1], color="lightgrey")
    for stage, rows in answers.groupby("stage"):
        bins = rows.groupby((rows["probability"] * 5).clip(upper=4.999).astype(int))
        means, label = bins[["probability", "right"]].mean(), f"{stage} ({len(rows)} rows)"
        axis.plot(means["probability"], means["right"], marker="o", label=label)
    axis.set(title="reliability on held-out rows", xlabel="probability", ylabel="right")
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.legend()
    figure.tight_layout()
    plt.show()


def show_labels(entities: pd.Series, labels: pd.Series) -> None:
    """Plot rows per entity, with and without a value, and the most frequent units of canonical ``labels``."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.2), dpi=72)
    kinds = labels.ne("").map({True: "value", False: "not visible"})
    pd.crosstab(entities, kinds).plot.barh(
        stacked=True, ax=left, color={"value": "tab:blue", "not visible": "silver"}
    )
    left.set(title="rows per entity", xlabel="rows", ylabel="")
    left.legend(title=None)
    units = labels[labels.ne("")].str.split(n=1).str[1].value_counts().head(12)
    units[::-1].plot.barh(ax=right, color="tab:green")
    right.set(title="units of the answers", xlabel="rows", ylabel="")
    figure.tight_layout()
    plt.show()


def show_training(losses: pd.DataFrame, f1: pd.DataFrame) -> None:
    """Plot the parts of the loss per step, means over a tenth of the run, and the F1 on held-out images.

    ``losses`` has the columns ``step, loss`` and one per part (``tokens, options``), ``f1`` has ``step, f1``.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3), dpi=72)
    window = max(5, len(losses) // 10)
    parts = [name for name in ("tokens", "options") if name in losses and losses[name].notna().any()]
    for name in ("loss", *parts):
        mean = losses[name].rolling(window, min_periods=1).mean()
        (line,) = left.plot(losses["step"], mean, label="sum" if name == "loss" else f"over {name}")
        left.plot(losses["step"], losses[name], alpha=0.25, color=line.get_color())
    left.set(title=f"training loss, mean of {window} steps", xlabel="step", ylabel="cross entropy")
    left.set(ylim=(0, None))
    left.legend()
    right.plot(f1["step"], f1["f1"], marker="o", color="tab:green")
    right.set(title="F1 on held-out images", xlabel="step", ylabel="F1", ylim=(0, 1), xlim=left.get_xlim())
    figure.tight_layout()
    plt.show()


def save_annotated(
    photo: np.ndarray, boxes: Mapping[Box, str], texts: Mapping[Box, Sequence[str]], caption: str, path: Path
) -> None:
    """Write a BGR uint8 photo as PNG, with ``boxes`` (a key of `_STYLES` each) and a ``caption`` below.

    Boxes are left, top, right, bottom in shares of the photo. ``texts`` stand beside it, tied to their boxes.
    """
    photo = resize(photo, _LARGE)
    ratio = photo.shape[0] / photo.shape[1]
    figure, axis = plt.subplots(figsize=(8, 8 * ratio), dpi=100)
    axis.imshow(photo[:, :, ::-1], extent=(0, 1, 1, 0), aspect=ratio)
    axis.axis("off")
    for (left, top, right, bottom), kind in boxes.items():
        axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **_STYLES[kind]))
    free = 0.0  # from here down nothing is written beside the photo
    arrow = {"arrowstyle": "-", "linewidth": 0.8} | {"color": _STYLES["answer"]["edgecolor"]}
    for box, lines in sorted(texts.items(), key=lambda item: item[0][1]):
        free = max(free, box[1])
        for line in lines:
            middle = (box[2], (box[1] + box[3]) / 2)
            axis.annotate(line, middle, (1.02, free), va="top", arrowprops=arrow)
            free += 0.035 / ratio
    axis.text(0, 1.03, caption, fontsize=9, family="monospace", va="top")
    png = io.BytesIO()
    figure.savefig(png, format="png", bbox_inches="tight")
    plt.close(figure)
    write_whole(path, png.getvalue())
