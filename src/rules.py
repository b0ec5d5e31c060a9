"""Parse the text lines of images, and answer test.csv by rules alone, without any model.

    python -m src.rules --data data/sample --processed outputs/processed --out outputs/rules_out.csv

On all cores. Parsed images are kept in a journal as they come; training and inference take them from there.
Exit code 1: with --strict, an unexpected error has cost an image its answers.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from src.data.errors import run_main, shared_memory_named, unexpected
from src.data.files import Journal, cache_key, write_whole
from src.data.flags import settings_from_command_line
from src.data.names import read_files
from src.data.questions import Question, test_questions
from src.data.tables import read_test
from src.data.text_store import Place, TextStore, entry_at, layout_of
from src.prepare.processes import WORKER_DIED
from src.prepare.ray_backend import runner
from src.reading.image_text import ImageText, parse_image_text
from src.settings import RulesSettings, cpu_count

PER_PROCESS = 500
"""Images that are worth another process: one that loads torch takes as long to start as to parse so many."""


class ImageTexts(Mapping[str, ImageText]):
    """The parsed text of images by name; it stays in the journal, only offsets and errors are held."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._offsets = {entry["image"]: offset for offset, entry in journal.scan() if "image" in entry}
        self._failed: dict[str, ImageText] = {}

    def add(self, image: str, text: ImageText) -> None:
        """Add an image to the opened journal; one with an error is only held, so that a later run tries
        again."""
        if text.error:
            self._failed[image] = text
        else:
            self._offsets[image] = self._journal.add({"image": image, **text.to_json()})

    def __getitem__(self, image: str) -> ImageText:
        if image in self._failed:
            return self._failed[image]
        return ImageText.from_json(self._journal.at(self._offsets[image]))

    def __contains__(self, image: object) -> bool:
        return image in self._offsets or image in self._failed

    def __iter__(self) -> Iterator[str]:
        return iter({**self._offsets, **self._failed})

    def __len__(self) -> int:
        return len(self._offsets) + len(self._failed)


def parse_images(
    images: Iterable[str], store: TextStore, journal: Path, ray: str | None = None
) -> ImageTexts:
    """Return the parsed text of ``images``, each parsed once, on all cores; ``journal`` keeps them.

    An unexpected error, or the death of a process, costs one image its text. ``ray``: see
    `ray_backend.runner`.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    file = Journal(journal)
    key = {
        "key": cache_key("image texts", dict.fromkeys(store.folder.texts, "run preprocess.py --ocr first"))
    }
    with file.opened_for(key):
        texts = ImageTexts(file)
        todo = [(image, store.place(image)) for image in dict.fromkeys(images) if image not in texts]
        workers = min(cpu_count(), 1 + len(todo) // PER_PROCESS)
        results: Iterable[tuple[tuple[str, Place | None], ImageText]]
        if workers > 1 or (ray and todo):
            results = runner(ray)(_parse, todo, workers, lambda _: ImageText(error=f"error: {WORKER_DIED}"))
        else:
            results = ((job, _parse(job)) for job in todo)
        bar = tqdm(results, total=len(todo), desc="parse", unit="img", smoothing=0.05, disable=not todo)
        with shared_memory_named("make it larger"):
            for (image, _), text in bar:
                texts.add(image, text)
    return texts


def _parse(job: tuple[str, Place | None]) -> ImageText:
    """Parse an image's stored text; an unexpected error costs it only this."""
    try:
        entry = entry_at(job[1])
        return parse_image_text(entry["lines"], entry["width"], entry["height"], layout_of(entry))
    except Exception as error:  # whatever a text brings up: it is not worth the run
        reason, trace = unexpected(error)
        return ImageText(error=reason, traceback=trace)


def with_text(questions: Sequence[Question], texts: Mapping[str, ImageText]) -> list[Question]:
    """Return the questions with prompt context and options; what cost an image its text is their reason.

    Questions that cannot be asked have a reason already, and stay as they are.
    """
    return [q if q.reason else _with_text(q, texts[q.image]) for q in questions]


def _with_text(question: Question, text: ImageText) -> Question:
    if text.error:
        return replace(question, reason=text.error, traceback=text.traceback)
    return replace(question, context=text.context, options=text.options_for(question.entity))


def with_parsed_text(
    questions: Sequence[Question], store: TextStore, journal: Path, ray: str | None = None
) -> list[Question]:
    """Return `with_text` of the questions, their images parsed by `parse_images`."""
    images = [question.image for question in questions if not question.reason]
    return with_text(questions, parse_images(images, store, journal, ray))


def write_predictions(data: Path, processed: Path, out: Path) -> int:
    """Answer ``data``'s test.csv into the file ``out``; return how many images an unexpected error has cost.

    Raises `InputError`.
    """
    table = read_test(data)
    questions = test_questions(table, processed, read_files(data))
    askable = [question for question in questions if not question.reason]
    askable = with_parsed_text(askable, TextStore(processed), out.with_suffix(".journal.jsonl"))
    answers = {question.row: question.rules_answer[0] for question in askable}
    predictions = pd.DataFrame(
        {"index": table["index"], "prediction": table["index"].map(answers).fillna("")}
    )
    write_whole(out, predictions.to_csv(index=False))
    print(f"{out}: {len(predictions)} rows, {predictions['prediction'].ne('').sum()} with an answer")
    failed = {question.image: question for question in askable if question.reason}
    if failed:
        first = next(iter(failed.values()))
        message = f"rules: {len(failed)} images have no answer for an unexpected error, the first:"
        print(f"{message}\n{first.image}: {first.reason}\n{first.traceback}", file=sys.stderr)
    return len(failed)


def main() -> int:
    """Answer test.csv from the command line."""
    settings = settings_from_command_line(RulesSettings, "Answer test.csv by rules.")
    failed = write_predictions(settings.data, settings.processed, settings.predictions)
    return 1 if settings.strict and failed else 0


if __name__ == "__main__":
    run_main(main)
