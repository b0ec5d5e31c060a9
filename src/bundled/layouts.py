"""How lengths stand on product pictures: counts of whole layouts, from which `scenes` draws some like real
ones.

    python -m src.bundled.layouts --processed my/processed --truth rows.csv

counts them into ``layouts.json``: on folders of ``preprocess.py --ocr``, by the questions about lengths of a
table ``image, entity_name, agreed`` each whose answers are known (to two readers who agree, say; blank: not
known), and by what the rules say of the other lengths on these pictures, where they are sure. Places are
thirds, amounts shares of the longest.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from src.data.errors import InputError, run_main
from src.data.files import write_whole
from src.data.tables import read_table
from src.data.text_store import TextStore
from src.model.prompts import LINES, told_of
from src.reading.options import AXES, options
from src.reading.options import answer as rules_answer
from src.reading.quantity import canonical

FILE = Path(__file__).with_suffix(".json")
MOST = 6
"""Lengths on a picture that are counted together; the few pictures with more are left out."""
SURE = 0.8
"""How probable the rules' answer is to them where it counts."""
NO_LINE = "none"
_MIXED = 0.3
"""How often the words of a length are those of another one along such a line: more layouts than were
counted."""


@dataclass(frozen=True, slots=True)
class Told:
    """A length of a layout: what a prompt tells of it (``left upright vertical``), its share of the longest
    one's amount, and whether it is the answer.
    """

    words: str
    share: float
    is_answer: bool

    @property
    def line(self) -> str:
        """The line along it, one of `LINES`, or `NO_LINE`."""
        return next((line for line in LINES if line in self.words.split()), NO_LINE)


@dataclass(frozen=True, slots=True)
class Drawing:
    """The lengths of a picture, the longest first, and the longest in centimetres (to a digit)."""

    longest: float
    lengths: tuple[Told, ...]


def measure(processed: Sequence[Path], truths: Sequence[Path]) -> dict[str, int]:
    """Counts of ``height | 30 | 1 left upright vertical; 0.4 bottom horizontal | 0``: the axis,
    `Drawing.longest`, the lengths' shares and words, which of them is the answer. Raises `InputError`.
    """
    counts: Counter[str] = Counter()
    for folder, truth in zip(processed, truths, strict=True):
        counts.update(_layouts(TextStore(folder), truth))
    return dict(sorted(counts.items()))


def _layouts(store: TextStore, truth: Path) -> Iterator[str]:
    table = read_table(truth, ["image", "entity_name", "agreed"])
    known = dict(zip(zip(table["image"], table["entity_name"], strict=True), table["agreed"], strict=True))
    for image in dict.fromkeys(table["image"]):
        found, drawn = store.with_layout(image)
        for entity in AXES:
            by_rules = rules_answer(found, entity, drawn)
            answer = canonical(known.get((image, entity)) or (by_rules.text if by_rules.score > SURE else ""))
            groups = sorted(options(found, entity), key=lambda group: -group[0].quantity.amount)
            right = [answer in {str(candidate.quantity) for candidate in group} for group in groups]
            if 0 < len(groups) <= MOST and sum(right) == 1:
                longest = float(groups[0][0].quantity.amount)
                told = [
                    f"{_rounded(float(group[0].quantity.amount) / longest)} "
                    f"{' '.join(told_of(group[0].reading, group[0].mention, drawn))}"
                    for group in groups
                ]
                yield f"{entity} | {_rounded(100 * longest)} | {'; '.join(told)} | {right.index(True)}"


def _rounded(number: float) -> str:
    return f"{float(f'{number:.1g}'):g}"


@cache
def _counted() -> dict[str, tuple[list[Drawing], np.ndarray]]:
    """Of ``layouts.json``: by entity the drawings and how often each was counted, as shares of all."""
    found: dict[str, list[tuple[Drawing, int]]] = {}
    for key, count in json.loads(FILE.read_text()).items():
        entity, longest, told, right = key.split(" | ")
        parts = [part.partition(" ") for part in told.split("; ")]
        lengths = (Told(words, float(share), n == int(right)) for n, (share, _, words) in enumerate(parts))
        found.setdefault(entity, []).append((Drawing(float(longest), tuple(lengths)), count))
    tables = {}
    for entity, rows in found.items():
        counts = np.array([count for _, count in rows], float)
        tables[entity] = [drawing for drawing, _ in rows], counts / counts.sum()
    return tables


@cache
def _words() -> dict[tuple[str, bool, str], list[str]]:
    """By entity, whether it is the answer, and line: the words of all lengths counted."""
    words: dict[tuple[str, bool, str], list[str]] = {}
    for entity, (drawings, _) in _counted().items():
        for told in (told for drawing in drawings for told in drawing.lengths):
            words.setdefault((entity, told.is_answer, told.line), []).append(told.words)
    return words


def draw_layout(entity: str, rng: np.random.Generator) -> Drawing:
    """The lengths of a picture that is asked for ``entity``, by the counts; half of them mirrored."""
    drawings, shares = _counted()[entity]
    drawing = drawings[int(rng.choice(len(drawings), p=shares))]
    mirrored = rng.random() < 0.5
    lengths = []
    for told in drawing.lengths:
        if rng.random() < _MIXED:
            told = replace(told, words=str(rng.choice(_words()[entity, told.is_answer, told.line])))
        if mirrored:
            swapped = {"left": "right", "right": "left"}
            told = replace(told, words=" ".join(swapped.get(word, word) for word in told.words.split()))
        lengths.append(told)
    return Drawing(drawing.longest, tuple(lengths))


def main() -> int:
    """Command line: measure."""
    parser = argparse.ArgumentParser(description="Count how lengths stand on product pictures.")
    parser.add_argument(
        "--processed", type=Path, nargs="+", required=True, help="outputs of preprocess.py --ocr"
    )
    parser.add_argument("--truth", type=Path, nargs="+", required=True, help="a table for each of them")
    args = parser.parse_args()
    if len(args.processed) != len(args.truth):
        raise InputError("give as many --truth as --processed")
    counts = measure(args.processed, args.truth)
    write_whole(FILE, json.dumps(counts, indent=0) + "\n")
    print(f"{FILE}: {sum(counts.values())} questions")
    return 0


if __name__ == "__main__":
    run_main(main)
