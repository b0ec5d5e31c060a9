"""Answers about photos, without a table or a folder.

    python -m src.ask photo.jpg [more.jpg ...] [--entity height] [--adapter my/results] [--save annotated.png]

    from src.ask import ask
    for answer in ask("photo.jpg"):
        print(answer.entity, answer.text, answer.probability, answer.lines)

Without ``--adapter`` the rules answer. So they do in `predict`: in its ensemble a model without a training
has no weight. With it, model and ensemble are those of the run, and the label prior is that of its train.csv,
where that is still there. Exit code 2: a photo could not be answered; the others were.
"""

import functools
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from src.data.errors import InputError, run_main, unexpected
from src.data.files import read_json
from src.data.flags import settings_from_command_line
from src.data.folders import DataFolder, RunFolder
from src.data.label_prior import LabelPrior
from src.data.questions import Question
from src.data.tables import TRAIN_COLUMNS, read_table
from src.data.text_store import layout_of
from src.entities import ENTITIES
from src.images.decode import read_image
from src.prepare.processes import UNREAD, Job, Outcome, process
from src.reading.image_text import ImageText, parse_image_text
from src.reading.lines import Box, lines_in_order
from src.reading.options import Option, rule_probabilities
from src.settings import MAX_PIXELS, PROMPT, AskSettings, DownloadSettings, EnhanceSettings

Lines = Sequence[tuple[str, Box]]
"""Text lines of a photo with their places."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question about a photo.

    ``text``: canonical, empty for "not visible". ``lines``: the text lines that it was read in. ``options``:
    all that were considered, to abstain among them.
    """

    entity: str
    text: str
    probability: float
    lines: tuple[str, ...]
    options: tuple[Option, ...]

    @classmethod
    def of(cls, question: Question, lines: Lines) -> "Answer":
        """Return the answer of a question with a prediction, given the text lines of its photo."""
        chosen = next(o for o in question.options if o.text == question.prediction)
        middles = [box.middle for box in chosen.boxes]
        read_in = [text for text, place in lines if any(_is_inside(middle, place) for middle in middles)]
        probability = round(question.probability, 4)
        return cls(question.entity, question.prediction, probability, tuple(read_in), question.options)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values: boxes are left, top, right, bottom in shares of the photo."""
        options = [
            {"text": o.text, "probability": round(o.probability, 4), "boxes": o.boxes} for o in self.options
        ]
        answer = {"entity": self.entity, "text": self.text, "probability": self.probability}
        return answer | {"lines": self.lines, "options": options}


def _is_inside(point: tuple[float, float], box: Box) -> bool:
    return box.left <= point[0] <= box.right and box.top <= point[1] <= box.bottom


def ask(
    photo: str | Path, entity: str | None = None, adapter: Path | None = None, save: Path | None = None
) -> list[Answer]:
    """Return the answers about a photo, which is a file or a link (fetched within a download's limits).

    ``entity``: the only one to ask. ``adapter``: a run folder, loaded once per process. ``save``: a PNG to
    write, the photo with its text lines, options and answers. Raises `InputError`.
    """
    entities, model = _entities(entity), _model(adapter)
    with tempfile.TemporaryDirectory() as folder:
        source, model_image = _source(str(photo), Path(folder)), Path(folder) / "model.jpg"
        # Few photos show all entities: asked for all, OCR tries again only where there is no quantity.
        retry_entities = entities if entity else ()
        job = Job(
            str(photo),
            source,
            model_image,
            EnhanceSettings(),
            MAX_PIXELS,
            ocr="auto",
            entities=retry_entities,
        )
        outcome = process(job)
        text = _text_of(outcome, photo)
        questions = [
            Question(row, str(photo), model_image, name, context=text.context, options=text.options_for(name))
            for row, name in enumerate(entities)
        ]
        questions = model.answered(questions) if model else list(map(_answered_by_rules, questions))
        lines = _lines_of(outcome)
        answers = [Answer.of(question, lines) for question in questions]
        if save:
            _save(source, lines, answers, save)
    return answers


def _entities(entity: str | None) -> tuple[str, ...]:
    """Return the entities to ask. Raises `InputError`."""
    if entity and entity not in ENTITIES:
        raise InputError(f"entity is {entity}: it must be one of {', '.join(ENTITIES)}")
    return (entity,) if entity else tuple(ENTITIES)


def _source(photo: str, folder: Path) -> Path:
    """Return the file of a photo; a link is fetched into ``folder``."""
    if not photo.startswith(("http://", "https://")):
        return Path(photo)
    from src.prepare.fetch import FetchError, fetch  # half a second, for links only

    try:
        data = fetch(photo, DownloadSettings())
    except FetchError as error:
        raise InputError(f"{photo}: cannot be fetched ({error}); check the link, or save the photo") from None
    source = folder / "source"
    source.write_bytes(data)
    return source


def _text_of(outcome: Outcome, photo: str | Path) -> ImageText:
    """Return the parsed text of a processed photo. Raises `InputError` where there is none to parse."""
    if outcome["status"] != "ok" or UNREAD in outcome["error"]:
        raise InputError(f"{photo}: {outcome['error']}; give a whole image file, or a link to one")
    try:
        size = outcome["source_width"], outcome["source_height"]
        return parse_image_text(outcome["lines"], *size, layout_of(outcome))
    except Exception as error:  # whatever a text brings up: the other photos are answered
        raise InputError(f"{photo}: its text cannot be parsed ({unexpected(error)[0]})") from None


def _lines_of(outcome: Outcome) -> Lines:
    lines = lines_in_order(outcome["lines"], outcome["source_width"], outcome["source_height"])
    return [(line.text, line.box) for line in lines]


def _answered_by_rules(question: Question) -> Question:
    text, probability = question.rules_answer
    shares = zip(question.options, rule_probabilities(question.options), strict=True)
    options = tuple(replace(option, probability=share) for option, share in shares)
    return replace(question, prediction=text, probability=probability or 0.0, source="rules", options=options)


class _Model:
    """The model of a run, with the weights and the label prior of its ensemble."""

    def __init__(self, out: Path) -> None:
        from src import ensemble  # torch and its libraries take seconds, and the rules need none of them
        from src.model.generation import Answerer, AnswererSettings
        from src.model.memory import is_merged
        from src.model.modeling import card_memory, load_config
        from src.training.adapter import held_out, load_record

        run = RunFolder(out)
        record = load_record(run.adapter)
        if not record:
            raise InputError(f"{run.adapter}: no trained adapter here; give the run folder of a training")
        settings = record["settings"]
        model, splitting = settings["model"], settings["image_splitting"]
        merged = is_merged(load_config(model), card_memory())
        answerer = AnswererSettings(
            model, run.adapter, merged, splitting, settings.get("prompt", PROMPT), None, len(ENTITIES), 0
        )
        self._reads = settings["ocr"]
        self._weights = ensemble.fit(held_out(record))
        self._label_prior = _label_prior(run)
        self._answerer = Answerer.load(answerer)
        self._combine = ensemble.combine

    def answered(self, questions: Sequence[Question]) -> list[Question]:
        """Return the questions of a photo with the ensemble's predictions. Raises `InputError`."""
        if not self._reads:  # trained without OCR: the prompts were without text lines
            questions = [replace(question, context="", options=()) for question in questions]
        answered = list(self._answerer.answers(questions, bar_name=""))
        if failed := next((question for question in answered if question.reason), None):
            raise InputError(f"{failed.image}: no answer by the model ({failed.reason})")
        answered.sort(key=lambda question: question.row)
        return self._combine([self._label_prior.added_to(q) for q in answered], self._weights)


@functools.cache
def _model(out: Path | None) -> _Model | None:
    return _Model(out) if out else None


def _label_prior(run: RunFolder) -> LabelPrior:
    """Return the prior by the train labels of a run; a flat one where its data folder is gone."""
    try:
        train = DataFolder(Path(read_json(run.record)["data"])).train
        return LabelPrior.of_table(read_table(train, TRAIN_COLUMNS))
    except (KeyError, TypeError, OSError, InputError):
        return LabelPrior(())


def _save(source: Path, lines: Lines, answers: Sequence[Answer], path: Path) -> None:
    """Write the photo with its text lines, its options and the answers as PNG."""
    from src.plots import save_annotated  # matplotlib, for images only

    boxes: dict[tuple[float, float, float, float], str] = {box: "line" for _, box in lines}
    boxes |= {box: "option" for answer in answers for option in answer.options for box in option.boxes}
    texts: dict[tuple[float, float, float, float], list[str]] = {}
    for answer in answers:
        chosen = next(option for option in answer.options if option.text == answer.text)
        boxes |= dict.fromkeys(chosen.boxes, "answer")
        if chosen.boxes:
            rightmost = max(chosen.boxes, key=lambda box: box.right)
            texts.setdefault(rightmost, []).append(f"{_words(answer.entity)} {answer.text}")
    save_annotated(read_image(source), boxes, texts, table(answers), path)


def _words(entity: str) -> str:
    return entity.replace("_", " ").removesuffix(" recommendation")


def table(answers: Sequence[Answer]) -> str:
    """Return a line per answer: entity, text, probability, text lines that it was read in."""
    rows = ((_words(a.entity), a.text or "(empty)", f"{a.probability:.0%}", a.lines) for a in answers)
    return "\n".join(
        f"{entity:15s} {text:22s} {probability:>4s}   {' | '.join(lines)}".rstrip()
        for entity, text, probability, lines in rows
    )


def main() -> int:
    """Print the answers about the photos that the command line names; return 2 if one has none, else 0."""
    settings = settings_from_command_line(AskSettings, "Answer questions about photos.")
    _entities(settings.entity)  # what is wrong with the settings ends it, before the first photo
    _model(settings.adapter)
    failed = 0
    for number, photo in enumerate(settings.photos, 1):
        save = settings.save
        if save and len(settings.photos) > 1:
            save = save.with_stem(f"{save.stem}-{number}")
        try:
            answers = ask(photo, settings.entity, settings.adapter, save)
        except InputError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
            shown = json.dumps({"photo": photo, "error": str(error)}) if settings.json else ""
        else:
            entries = {"photo": photo, "answers": [answer.to_json() for answer in answers]}
            shown = (
                json.dumps(entries, ensure_ascii=False) if settings.json else f"{photo}\n{table(answers)}\n"
            )
        if shown:
            print(shown, flush=True)
    return 2 if failed else 0


if __name__ == "__main__":
    run_main(main)
