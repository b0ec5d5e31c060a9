"""A loaded model that answers questions: the same object in a process of this machine and on a node of a
cluster."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.data.samples import Sample
from src.data.text_store import TextStore
from src.model.batches import Unanswered
from src.model.generation import Answered, Model, generate
from src.model.letterbox import letterboxed_sizes
from src.model.modeling import load_adapter, load_base, load_processor, merge
from src.model.precision import vision_in_bfloat16

Questions = dict[Sample, tuple[str, ...]]
"""The questions about one picture, each with the texts to weigh."""


@dataclass(frozen=True, slots=True)
class HowToAnswer:
    """What an `Answerer` is made of; small, so that it can go to another node."""

    model: str
    adapter: Path | None
    merged: bool
    image_splitting: bool
    processed: Path
    with_readings: bool
    batch_size: int
    workers: int | None


class Answerer:
    """The model with its adapter, and the folder of pictures that it is asked about."""

    def __init__(self, how: HowToAnswer) -> None:
        self._how = how
        base = load_base(how.model)
        vision_in_bfloat16(base)
        self._model: Model = base
        if how.adapter:
            self._model = merge(base, how.adapter) if how.merged else load_adapter(base, how.adapter)
        self._processor = load_processor(how.model, how.image_splitting)
        self._readings = TextStore(how.processed) if how.with_readings else None
        self._sizes = letterboxed_sizes(how.processed)

    def answers(
        self, samples: Sequence[Sample], options: Mapping[Sample, tuple[str, ...]], bar_name: str = "predict"
    ) -> Iterator[Answered | Unanswered]:
        """As `generate`."""
        return generate(
            self._model, self._processor, samples, self._readings, self._sizes, self._how.batch_size,
            self._how.workers, bar_name, options=options,
        )  # fmt: skip

    def __call__(self, pictures: Sequence[Questions]) -> list[list[Answered | Unanswered]]:
        """The answers to the questions about each picture, in their order."""
        options = {sample: texts for questions in pictures for sample, texts in questions.items()}
        found = {result.sample: result for result in self.answers(list(options), options, bar_name="")}
        return [[found[sample] for sample in questions] for questions in pictures]
