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
        axis.set_title("\n".join(lines), fontsize=10, color=colour, parse_math=False)  # a $ stays a $
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
    save: Path | None = None,
) -> None:
    """Show some answers of each kind: the image, and below it the print that the answer was read from.

    ``images``: folder of the source images, whose print is sharper than that of the model images in
    ``processed``. ``truths``: None where one is not known. ``save``: a path to write the figure to as well,
    as PNG; the rows are then linked to the report page beside it.
    """
    model_images, captions, colours, pictures, links = ModelImages(processed), [], [], [], []
    for at in varied(questions, truths):
        question, truth = questions[at], truths[at]
        is_right = _is_right(question, truth)
        mark, colour = _MARKS[is_right]
        lines = [
            f"{mark}row {question.row}: {question.entity}",
            f"{question.prediction or '(empty)'} ({question.probability:.0%})",
        ]
        if is_right is False:
            lines.append(f"truth: {truth or '(not visible)'}")
        captions.append("\n".join(lines))
        colours.append(colour)
        whole = _read(model_images.path(question.model_image.name))
        if whole is not None:
            source = _read(images / question.image)
            whole = with_print(whole, whole if source is None else source, question)
        pictures.append(whole)
        links.append(f'<a href="report.html#row-{question.row}">{question.row}</a>')
    _show_grid(pictures, captions, colours, save=save)
    if save:
        display(HTML(f"In OUT/report.html: rows {', '.join(links)}"))


_MARKS = {None: ("", "black"), True: ("✓ ", "green"), False: ("✗ ", "firebrick")}
"""How an answer's caption begins, and its colour: of a truth that is not known, a right and a wrong one."""


def _is_right(question: Question, truth: str | None) -> bool | None:
    """Tell whether a prediction is the truth; None where that is not known."""
    return None if truth is None else comparable(truth) == comparable(question.prediction)


def varied(questions: Sequence[Question], truths: Sequence[str | None], count: int = 8) -> list[int]:
    """Return positions of ``count`` answered questions (or of all), in order: some of each kind.

    A quarter are wrong, a quarter empty, the others right or of unknown truth; what lacks of a kind is filled
    up with the others. Entities and images that are there already come last.
    """
    kinds: dict[str, list[int]] = {"wrong": [], "empty": [], "others": []}
    for at, (question, truth) in enumerate(zip(questions, truths, strict=True)):
        if question.reason:
            continue
        is_wrong = _is_right(question, truth) is False
        kinds["wrong" if is_wrong else "others" if question.prediction else "empty"].append(at)
    quarter, chosen = count // 4, list[int]()
    for kind, most in (
        ("wrong", quarter),
        ("empty", quarter),
        ("others", count),
        ("empty", count),
        ("wrong", count),
    ):
        chosen += _unlike(questions, kinds[kind], chosen, min(most, count - len(chosen)))
    return sorted(chosen)


def _unlike(questions: Sequence[Question], places: list[int], chosen: Sequence[int], count: int) -> list[int]:
    """Take up to ``count`` of ``places`` out, first those whose entity and image are rare in ``chosen``."""
    taken: list[int] = []
    while places and len(taken) < count:
        entities = Counter(questions[at].entity for at in (*chosen, *taken))
        images = Counter(questions[at].image for at in (*chosen, *taken))
        rarest = min(places, key=lambda at: (entities[questions[at].entity], images[questions[at].image]))
        places.remove(rarest)
        taken.append(rarest)
    return taken


def with_print(whole: np.ndarray, source: np.ndarray, question: Question) -> np.ndarray:
    """Return a BGR uint8 image with the box of a question's answer, above an enlarged cut of ``source``.

    ``source`` is the same image, maybe larger. Without a box it is the image alone.
    """
    chosen = (option for option in question.options if option.texts and option.text == question.prediction)
    box = next((box for option in chosen for box in option.boxes), None)
    whole = resize(whole, _THUMBNAIL)
    if box is None:
        return whole
    cut = _cut(source, np.array(box))
    first, last = (np.array(box).reshape(2, 2) * whole.shape[1::-1]).round().astype(int).tolist()
    whole = cv2.rectangle(whole.copy(), first, last, color=(60, 160, 60), thickness=2)
    stacked = np.full((whole.shape[0] + 6 + cut.shape[0], _THUMBNAIL, 3), 255, np.uint8)
    for part, top in ((whole, 0), (cut, whole.shape[0] + 6)):
        left = (_THUMBNAIL - part.shape[1]) // 2
        stacked[top : top + part.shape[0], left : left + part.shape[1]] = part
    return stacked


def _cut(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the part of a BGR image around a box (shares of its sides), enlarged to a thumbnail's width."""
    height, width = image.shape[:2]
    left, top, right, bottom = box * [width, height, width, height]
    across = min(width, _CUT_MARGIN * max(right - left, _CUT_RATIO * (bottom - top)))
    down = min(height, across / _CUT_RATIO)
    x = int(np.clip((left + right - across) / 2, 0, max(0, width - across - 1)))
    y = int(np.clip((top + bottom - down) / 2, 0, max(0, height - down - 1)))
    cut = image[y : y + 1 + round(down), x : x + 1 + round(across)]
    scale = min(_THUMBNAIL / cut.shape[1], _THUMBNAIL / _CUT_RATIO / cut.shape[0])
    size = [max(1, round(scale * side)) for side in cut.shape[1::-1]]
    return cv2.resize(cut, size, interpolation=cv2.INTER_CUBIC)


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
    """Plot the parts of the loss, as means over a tenth of the log, and the F1 on held-out images.

    ``losses`` has the columns ``step, loss`` and one per part (``tokens, options``), ``f1`` has ``step, f1``.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3), dpi=72)
    window = max(5, len(losses) // 10)
    parts = [name for name in ("tokens", "options") if name in losses and losses[name].notna().any()]
    for name in ("loss", *parts):
        mean = losses[name].rolling(window, min_periods=1).mean()
        (line,) = left.plot(losses["step"], mean, label="sum" if name == "loss" else f"over {name}")
        left.plot(losses["step"], losses[name], alpha=0.25, color=line.get_color())
    left.set(title=f"training loss, mean of {window} logged ones", xlabel="step", ylabel="cross entropy")
    left.set(ylim=(0, None), xlim=(0, None))
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
