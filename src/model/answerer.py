"""A loaded model that answers questions: the same object in a process of this machine and on a node of a
cluster."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.data.questions import Question
from src.model.generation import Model, generate
from src.model.letterbox import letterboxed_sizes
from src.model.modeling import load_adapter, load_base, load_processor, merge
from src.model.precision import vision_in_bfloat16


@dataclass(frozen=True, slots=True)
class AnswererSettings:
    """Everything that an `Answerer` is made of; small, so that it can go to another node."""

    model: str
    adapter: Path | None
    merged: bool
    image_splitting: bool
    processed: Path
    batch_size: int
    workers: int | None


class Answerer:
    """The model with its adapter, and the folder of images that it is asked about."""

    def __init__(self, settings: AnswererSettings) -> None:
        self._settings = settings
        base = load_base(settings.model)
        vision_in_bfloat16(base)
        self._model: Model = base
        if settings.adapter:
            apply = merge if settings.merged else load_adapter
            self._model = apply(base, settings.adapter)
        self._processor = load_processor(settings.model, settings.image_splitting)
        self._sizes = letterboxed_sizes(settings.processed)

    def answers(self, questions: Sequence[Question], bar_name: str = "predict") -> Iterator[Question]:
        """Yield the answered questions, see `generate`."""
        settings = self._settings
        return generate(
            self._model,
            self._processor,
            questions,
            self._sizes,
            settings.batch_size,
            workers=settings.workers,
            bar_name=bar_name,
        )

    def __call__(self, groups: Sequence[Sequence[Question]]) -> list[list[Question]]:
        """Return the answered questions of each image, in their order."""
        questions = [question for group in groups for question in group]
        answered = {question.row: question for question in self.answers(questions, bar_name="")}
        return [[answered[question.row] for question in group] for group in groups]
