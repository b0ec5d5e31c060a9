"""Layouts of lengths on product images: how they were counted, and sampling from the counts.

``layouts.json`` holds the counts that `measure` gives, as JSON with ``indent=0``. Places are thirds of the
product, amounts are shares of the longest length.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.data.tables import read_table
from src.data.text_store import TextStore
from src.entities import AXES
from src.reading.context import DIRECTIONS, mention_context
from src.reading.options import find_options, group_by_amount, rules_answer
from src.reading.quantity import canonical

MAX_LENGTHS = 6
"""Images with more lengths are not counted; there are few."""
MIN_PROBABILITY = 0.8
"""Probability above which the rules' answer counts."""
NO_LINE = "none"
_EXCHANGED = 0.4
"""Share of lengths that may take their words from another layout: more layouts than were counted."""


class Length(NamedTuple):
    """A length of a layout: its words in a prompt (``left upright vertical``), its share of the longest."""

    words: str
    share: float
    is_answer: bool

    @property
    def line(self) -> str:
        """The direction of the line along it, one of `DIRECTIONS`, or `NO_LINE`."""
        return next((line for line in DIRECTIONS if line in self.words.split()), NO_LINE)


def measure(processed: Sequence[Path], truths: Sequence[Path]) -> dict[str, int]:
    """Count layouts, as ``height | 30 | 1 left upright vertical; 0.4 bottom horizontal | 0``.

    The parts: the entity, the longest length in centimetres (to one digit), the share and words of each
    length, and which of them is the answer. ``processed`` are outputs of ``preprocess.py --ocr``. For each,
    ``truths`` has a table ``image, entity_name, agreed``: ``agreed`` is the answer (one of two readers who
    agree, say), or empty where it is not known; then the rules' answer counts, if they are sure. Raises
    `InputError`.
    """
    counts: Counter[str] = Counter()
    for folder, truth in zip(processed, truths, strict=True):
        counts.update(_layouts(TextStore(folder), truth))
    return dict(sorted(counts.items()))


def _layouts(store: TextStore, truth: Path) -> Iterator[str]:
    table = read_table(truth, ["image", "entity_name", "agreed"])
    agreed = dict(zip(zip(table["image"], table["entity_name"], strict=True), table["agreed"], strict=True))
    for image in dict.fromkeys(table["image"]):
        lines, layout = store.parsed(image)
        for entity in AXES:
            text, probability = rules_answer(find_options(lines, entity, layout))
            sure = text if probability > MIN_PROBABILITY else ""
            right = canonical(agreed.get((image, entity)) or sure)
            lengths = sorted(group_by_amount(lines, entity), key=lambda option: -option[0].quantity.amount)
            fits = [right in {str(candidate.quantity) for candidate in option} for option in lengths]
            if len(lengths) <= MAX_LENGTHS and sum(fits) == 1:
                longest = lengths[0][0].quantity.amount
                shares = [_one_digit(option[0].quantity.amount / longest) for option in lengths]
                words = [
                    " ".join(mention_context(option[0].line, option[0].mention, layout)) for option in lengths
                ]
                parts = "; ".join(map(" ".join, zip(shares, words, strict=True)))
                yield f"{entity} | {_one_digit(100 * longest)} | {parts} | {fits.index(True)}"


def _one_digit(number: Decimal) -> str:
    return f"{float(f'{number:.1g}'):g}"


@cache
def _counted(entity: str) -> tuple[list[str], np.ndarray]:
    """Return the layouts that were counted for an entity, and the share of each."""
    counts = json.loads(Path(__file__).with_suffix(".json").read_text())
    counts = {text: count for text, count in counts.items() if text.startswith(f"{entity} | ")}
    return list(counts), np.array(list(counts.values())) / sum(counts.values())


def _sampled(entity: str, rng: np.random.Generator) -> tuple[float, list[Length]]:
    texts, shares = _counted(entity)
    _, longest, lengths, right = str(rng.choice(texts, p=shares)).split(" | ")
    parts = enumerate(length.partition(" ") for length in lengths.split("; "))
    return float(longest), [Length(words, float(share), at == int(right)) for at, (share, _, words) in parts]


def sample_layout(entity: str, rng: np.random.Generator) -> tuple[float, list[Length]]:
    """Return a layout of an image that is asked for ``entity``, by the counts; half of them are mirrored.

    It is the longest length in centimetres, and all lengths, the longest first.
    """
    (longest, layout), (_, other) = _sampled(entity, rng), _sampled(entity, rng)
    mirrored = {"left": "right", "right": "left"} if rng.random() < 0.5 else {}
    lengths = []
    for length in layout:
        alike = [o.words for o in other if (o.line, o.is_answer) == (length.line, length.is_answer)]
        words = str(rng.choice(alike)) if alike and rng.random() < _EXCHANGED else length.words
        words = " ".join(mirrored.get(word, word) for word in words.split())
        lengths.append(length._replace(words=words))
    return longest, lengths
