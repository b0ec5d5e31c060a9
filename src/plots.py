"""Figures of the notebooks: images with captions, label statistics, the loss curve."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from src.data.files import write_whole
from src.data.processed import ModelImages
from src.images.decode import ImageError, read_image
from src.images.enhance import resize

_THUMBNAIL = 260
"""Longest side of an image in a gallery, px; keeps a notebook's outputs small."""
Box: TypeAlias = tuple[float, float, float, float]
_STYLES: dict[str, dict[str, Any]] = {
    "line": {"edgecolor": "grey", "linewidth": 1},
    "option": {"edgecolor": "tab:orange", "linewidth": 1.2},
    "answer": {"edgecolor": "tab:green", "linewidth": 2.5},
}
"""Boxes on an annotated photo: text lines, options, and those that are answers."""
_LARGE = 1000
"""Longest side of an annotated photo, px."""


def show_gallery(
    images: Sequence[Path], captions: Sequence[str], columns: int = 4, save: Path | None = None
) -> None:
    """Show images in a grid, each below its caption; the place of one that cannot be read stays grey.

    ``save`` is a path to write the figure to as well, as PNG.
    """
    rows = max(1, -(-len(images) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(3.1 * columns, 3.4 * rows), dpi=72, squeeze=False)
    for axis in axes.flat[len(images) :]:
        axis.axis("off")
    for axis, image, caption in zip(axes.flat, images, captions, strict=False):
        # Longer lines would run into the caption beside.
        lines = (textwrap.fill(line, 42) for line in caption.splitlines())
        axis.set_title("\n".join(lines), fontsize=10)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_color("lightgrey")
        try:
            axis.imshow(resize(read_image(image), _THUMBNAIL)[:, :, ::-1])
        except ImageError:
            axis.set_facecolor("lightgrey")
    figure.tight_layout(h_pad=2)
    if save:
        png = io.BytesIO()
        figure.savefig(png, format="png", bbox_inches="tight")
        write_whole(save, png.getvalue())
    plt.show()


def show_answers(
    processed: Path, answers: pd.DataFrame, column: str = "prediction", save: Path | None = None
) -> None:
    """Show a gallery of answers: columns ``model_image``, ``entity`` and ``column``.

    Columns ``truth``, ``probability`` (of the prediction) and ``candidates`` are optional.
    """
    captions = []
    for row in answers.to_dict("records"):
        probability = f" ({row['probability']:.0%})" if "probability" in row else ""
        lines = [f"{row['entity']}: {row[column] or '(empty)'}{probability}"]
        if "truth" in row:
            lines.append(f"truth: {row['truth'] or '(not visible)'}")
        if "candidates" in row:
            candidates = row["candidates"] or "nothing that fits"
            lines.append("read: " + textwrap.shorten(candidates, 36, placeholder=" ..."))
        captions.append("\n".join(lines))
    show_gallery(list(map(ModelImages(processed).path, answers["model_image"])), captions, save=save)


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
