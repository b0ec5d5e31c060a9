"""Answer test.csv by rules alone, without any model (see `reading.options`).

    python -m src.rules --data data/sample --processed outputs/processed --out outputs/rules_out.csv

On all cores. Answers are kept as they come, and inference takes them from there.
Exit code 1: with --strict, an unexpected error has cost a picture its answers.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from src.data.errors import run_main, unexpected
from src.data.files import Journal, fingerprint, write_whole
from src.data.names import read_files
from src.data.samples import Sample, by_picture, test_samples
from src.data.tables import read_test
from src.data.text_store import TextStore
from src.prepare.processes import WORKER_DIED
from src.prepare.ray_backend import runner
from src.reading.options import Answer, Option, pick, weigh
from src.settings import cpu_count

PER_PROCESS = 500
"""Pictures that are worth another process: one that loads torch takes as long to start as to answer so
many."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a picture (its source's name), and where its text is."""

    image: str
    entities: tuple[str, ...]
    readings: TextStore


@dataclass(frozen=True, slots=True)
class ByRules:
    """What could be meant by a question, as the rules weigh it.

    After an unexpected error ``reason`` and ``trace`` tell it, and there is no option.
    """

    options: tuple[Option, ...]
    reason: str = ""
    trace: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """Each option's answer."""
        return tuple(option.texts[0] for option in self.options)

    @property
    def answer(self) -> Answer:
        """What the rules pick."""
        return Answer("", 0.0) if self.reason else pick(self.options)

    def entry(self) -> dict[str, Any]:
        """What tables keep of it: what they pick, the chance of it, all candidates as text, the options'
        logits."""
        texts, picked = [text for option in self.options for text in option.texts], self.answer
        logits = [option.logit for option in self.options]
        return dict(
            zip(COLUMNS, (picked.text, picked.score, "; ".join(dict.fromkeys(texts)), logits), strict=True)
        )


COLUMNS = ("rules", "rules_score", "candidates", "logits")
NOTHING = ByRules(())


def answer_picture(asked: Asked) -> list[ByRules]:
    """The answer to each question about a picture; an unexpected error costs it all of them."""
    try:
        found, drawn = asked.readings.with_layout(asked.image)
        return [ByRules(tuple(weigh(found, entity, drawn))) for entity in asked.entities]
    except Exception as error:  # whatever a picture or its text brings up: it is not worth the run
        reason, trace = unexpected(error)
        return [replace(NOTHING, reason=reason, trace=trace)] * len(asked.entities)


def answer_samples(
    samples: Sequence[Sample], readings: TextStore, kept: Path | None = None, ray: str | None = None
) -> list[ByRules]:
    """The rules' answer to each sample, in order, on all cores; a picture is looked at once for all of its
    questions.

    ``kept``: a journal; what it has of the same texts is not answered again, and the rest is added to it. An
    unexpected error, or the death of a process, costs one picture its answers. ``ray``: a cluster's address,
    see `ray_backend.runner`.
    """
    known: dict[tuple[str, str], ByRules] = {}
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(_opened(kept, readings)) if kept else None
        for entry in journal.read()[1:] if journal else ():
            known |= {
                (entry["image"], entity): _from_json(found) for entity, found in entry["answers"].items()
            }
        todo = _asked([sample for sample in samples if (sample.image, sample.entity) not in known], readings)
        workers = min(cpu_count(), 1 + len(todo) // PER_PROCESS)
        died = replace(NOTHING, reason=f"error: {WORKER_DIED}")
        results: Iterable[tuple[Asked, list[ByRules]]] = ((asked, answer_picture(asked)) for asked in todo)
        if workers > 1 or (ray and todo):
            results = runner(ray)(answer_picture, todo, workers, lambda asked: [died] * len(asked.entities))
        for asked, answers in tqdm(
            results, total=len(todo), desc="rules", unit="img", smoothing=0.05, disable=not todo
        ):
            found = dict(zip(asked.entities, answers, strict=True))
            known |= {(asked.image, entity): by_rules for entity, by_rules in found.items()}
            if journal and not any(by_rules.reason for by_rules in answers):  # what went wrong is tried again
                journal.add(
                    {
                        "image": asked.image,
                        "answers": {e: _to_json(by_rules) for e, by_rules in found.items()},
                    }
                )
    return [known[sample.image, sample.entity] for sample in samples]


def _asked(samples: Sequence[Sample], readings: TextStore) -> list[Asked]:
    """The questions of each picture, each once."""
    groups = [[samples[position] for position in positions] for positions in by_picture(samples)]
    return [
        Asked(group[0].image, tuple(dict.fromkeys(s.entity for s in group)), readings.part(group[0].image))
        for group in groups
    ]


@contextlib.contextmanager
def _opened(path: Path, readings: TextStore) -> Iterator[Journal]:
    """A journal of answers to these readings, begun anew if it is of others."""
    depends_on = dict.fromkeys(
        (*readings.folder.texts, *readings.folder.manifests), "run preprocess.py first"
    )
    journal, key = Journal(path), {"fingerprint": fingerprint("rules", depends_on)}
    if next((entry for _, entry in journal.scan()), None) != key:
        journal.remove()
    begun = path.is_file()
    with journal:
        if not begun:
            journal.add(key)
        yield journal


def _to_json(by_rules: ByRules) -> list[Any]:
    return [[option.logit, *option.texts] for option in by_rules.options]


def _from_json(found: list[Any]) -> ByRules:
    return ByRules(tuple(Option(tuple(texts), logit) for logit, *texts in found))


def write_predictions(data: Path, processed: Path, out: Path) -> int:
    """Answer ``data``'s test.csv into the file ``out``; how many pictures an unexpected error cost their
    answers.

    Raises `InputError`.
    """
    table = read_test(data)
    samples, _ = test_samples(table, processed, read_files(data))
    answers = answer_samples(samples, TextStore(processed), out.with_suffix(".journal.jsonl"))
    texts = {sample.row: by_rules.answer.text for sample, by_rules in zip(samples, answers, strict=True)}
    predictions = pd.DataFrame({"index": table["index"], "prediction": table["index"].map(texts).fillna("")})
    write_whole(out, predictions.to_csv(index=False))
    print(f"{out}: {len(predictions)} rows, {predictions['prediction'].ne('').sum()} with an answer")
    failed = {
        sample.image: by_rules for sample, by_rules in zip(samples, answers, strict=True) if by_rules.reason
    }
    if failed:
        image, first = next(iter(failed.items()))
        print(f"rules: {len(failed)} pictures have no answer for an unexpected error, the first:\n"
              f"{image}: {first.reason}\n{first.trace}", file=sys.stderr)  # fmt: skip
    return len(failed)


def main() -> int:
    """Command line: answer test.csv."""
    parser = argparse.ArgumentParser(description="Answer test.csv by rules.")
    parser.add_argument("--data", type=Path, required=True, help="data folder with test.csv")
    parser.add_argument("--processed", type=Path, required=True, help="output of preprocess.py --ocr")
    parser.add_argument("--out", type=Path, required=True, help="prediction file to write")
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 after an unexpected error on a picture"
    )
    args = parser.parse_args()
    failed = write_predictions(args.data, args.processed, args.out)
    return 1 if args.strict and failed else 0


if __name__ == "__main__":
    run_main(main)
