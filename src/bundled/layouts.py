"""How lengths stand on product pictures: counts, from which `scenes` draws layouts like real ones.

    python -m src.bundled.layouts --processed my/processed --truth rows.csv

measures them into ``layouts.json``: on folders of ``preprocess.py --ocr``, by the questions about lengths of a table
``image, entity_name, agreed`` each whose answers are known (to two readers who agree, say). Nothing but counts is kept.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from src.data.errors import InputError, run_main
from src.data.files import write_whole
from src.data.readings import ReadingStore
from src.data.tables import read_table
from src.model.prompts import LINES, told_of
from src.reading.choose import AXES, options
from src.reading.quantity import canonical

FILE = Path(__file__).with_suffix(".json")
MOST = 5
"""Lengths on a picture that are counted together; the few pictures with more are left out."""
NO_LINE = "none"


@dataclass(frozen=True, slots=True)
class Told:
    """A length of a layout: what a prompt tells of it (``left upright vertical``), and whether it is the answer."""

    words: str
    is_answer: bool

    @property
    def line(self) -> str:
        """The line along it, one of `LINES`, or `NO_LINE`."""
        return next((line for line in LINES if line in self.words.split()), NO_LINE)


def measure(processed: Sequence[Path], truths: Sequence[Path]) -> dict[str, dict[str, int]]:
    """Two tables of counts: ``together``, ``height | vertical horizontal | 0`` for the lines along the lengths of a
    picture, the largest first, and which of them is the answer; ``words``, ``height | answer | left upright vertical``
    or ``... | other | ...`` for what is told of one. Raises `InputError`.
    """  # fmt: skip
    together: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for folder, truth in zip(processed, truths, strict=True):
        for entity, lengths in _layouts(ReadingStore(folder), truth):
            lines = " ".join(length.line for length in lengths)
            right = next(number for number, length in enumerate(lengths) if length.is_answer)
            together[f"{entity} | {lines} | {right}"] += 1
            for length in lengths:
                words[f"{entity} | {'answer' if length.is_answer else 'other'} | {length.words}"] += 1
    return {"together": dict(sorted(together.items())), "words": dict(sorted(words.items()))}


def _layouts(store: ReadingStore, truth: Path) -> Iterator[tuple[str, list[Told]]]:
    """The entity and the lengths, the largest first, of each question whose answer is among them."""
    table = read_table(truth, ["image", "entity_name", "agreed"])
    for image, entity, answer in zip(table["image"], table["entity_name"], table["agreed"], strict=True):
        found, drawn = store.with_layout(image)
        groups = options(found, entity) if entity in AXES else []
        groups.sort(key=lambda group: -group[0].quantity.amount)
        texts = [{str(candidate.quantity) for candidate in group} for group in groups]
        if 0 < len(groups) <= MOST and sum(canonical(answer) in own for own in texts) == 1:
            told = [" ".join(told_of(group[0].reading, group[0].mention, drawn)) for group in groups]
            yield entity, [Told(w, canonical(answer) in own) for w, own in zip(told, texts, strict=True)]


@cache
def _tables() -> tuple[dict[str, tuple[list[str], np.ndarray]], dict[str, tuple[list[str], np.ndarray]]]:
    """Of ``layouts.json``: by entity the rest of ``together``'s keys, by all before it that of ``words``' keys."""
    counts = json.loads(FILE.read_text())
    together: dict[str, Counter[str]] = {}
    words: dict[str, Counter[str]] = {}
    for key, count in counts["together"].items():
        entity, _, rest = key.partition(" | ")
        together.setdefault(entity, Counter())[rest] += count
    for key, count in counts["words"].items():
        role, _, rest = key.rpartition(" | ")
        words.setdefault(f"{role} | {Told(rest, False).line}", Counter())[rest] += count
    return _shares(together), _shares(words)


def _shares(tables: dict[str, Counter[str]]) -> dict[str, tuple[list[str], np.ndarray]]:
    return {key: (list(counter), np.array(list(counter.values())) / counter.total()) for key, counter in tables.items()}


def draw_layout(entity: str, rng: np.random.Generator) -> list[Told]:
    """The lengths of a picture that is asked for ``entity``, the largest first, by the counts."""
    together, words = _tables()
    lines, _, right = str(rng.choice(together[entity][0], p=together[entity][1])).partition(" | ")
    told = []
    for number, line in enumerate(lines.split()):
        is_answer = number == int(right)
        known, shares = words[f"{entity} | {'answer' if is_answer else 'other'} | {line}"]
        told.append(Told(str(rng.choice(known, p=shares)), is_answer))
    return told


def main() -> int:
    """Command line: measure."""
    parser = argparse.ArgumentParser(description="Count how lengths stand on product pictures.")
    parser.add_argument("--processed", type=Path, nargs="+", required=True, help="outputs of preprocess.py --ocr")
    parser.add_argument("--truth", type=Path, nargs="+", required=True, help="a table for each of them")
    args = parser.parse_args()
    if len(args.processed) != len(args.truth):
        raise InputError("give as many --truth as --processed")
    counts = measure(args.processed, args.truth)
    write_whole(FILE, json.dumps(counts, indent=0) + "\n")
    print(f"{FILE}: {sum(counts['together'].values())} questions")
    return 0


if __name__ == "__main__":
    run_main(main)
