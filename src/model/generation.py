"""Answers by generation: a picture is encoded once for all of its questions, and the grammar allows valid answers only.

Everything of a prompt up to the question (picture, readings) is run through the model once per picture; its key-value
cache is repeated for each question. Batches are of one picture size; pictures are decoded in other processes, and the
rules' answers and candidates come along from there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from peft import PeftModel
from PIL import Image
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import DynamicCache, Idefics2ForConditionalGeneration, Idefics2Processor

from src.data.errors import InputError, unexpected
from src.data.readings import ReadingStore
from src.data.samples import Sample, by_picture
from src.model.collator import encode, open_picture
from src.model.decoding import AnswerGrammar, Decoded, generate_in_grammar
from src.model.prompts import describe, prefix, prompt
from src.reading import choose
from src.reading.candidates import candidates
from src.reading.quantity import canonical
from src.settings import decoding_workers

BROKEN = "broken picture"
"""Why a sample whose picture cannot be read has no answer."""
Model: TypeAlias = PeftModel | Idefics2ForConditionalGeneration
ENTRY = ("model_answer", "confidence", "silence", "overridden", "rules", "rules_score", "candidates")
"""What is kept of an answer, see `Answered.entry`."""


@dataclass(frozen=True, slots=True)
class Question:
    """A sample, and beside it what the rules say and what could be meant (with OCR only)."""

    sample: Sample
    by_rules: choose.Answer | None
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with the model's answer."""

    question: Question
    decoded: Decoded

    @property
    def sample(self) -> Sample:
        """The question's."""
        return self.question.sample

    def entry(self) -> dict[str, Any]:
        """What is kept of it: `ENTRY`; the last three are empty without OCR."""
        by_rules = self.question.by_rules
        text, score = ("", "") if by_rules is None else (by_rules.text, by_rules.score)
        values = (
            canonical(self.decoded.text, self.sample.entity), self.decoded.confidence, self.decoded.silence,
            self.decoded.overridden, text, score, "; ".join(self.question.candidates),
        )  # fmt: skip
        return dict(zip(ENTRY, values, strict=True))


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A sample that could not be asked, and why; ``trace`` is the traceback of an unexpected error, else empty."""

    sample: Sample
    reason: str
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions ready for the model.

    ``pictures``: `collator.encode` of the prompts' beginnings, one per picture, padded left. ``suffixes`` int64 (rows,
    tokens) and their mask: the rest of each prompt, padded left. ``picture_index`` int64 (rows,): each row's picture.
    """

    questions: list[Question]
    pictures: dict[str, torch.Tensor]
    suffixes: torch.Tensor
    suffix_mask: torch.Tensor
    picture_index: torch.Tensor

    def part(self, start: int, end: int) -> "Batch":
        """Its rows from ``start`` to ``end``."""
        kept, picture_index = self.picture_index[start:end].unique(return_inverse=True)
        pictures = {name: tensor[kept] for name, tensor in self.pictures.items()}
        rows = slice(start, end)
        return Batch(self.questions[rows], pictures, self.suffixes[rows], self.suffix_mask[rows], picture_index)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A picture with its questions, before it goes into a batch; ``suffixes``: token ids after the beginning."""

    picture: Image.Image
    beginning: str
    questions: list[Question]
    suffixes: list[list[int]]


class Preparation:
    """Makes a `Batch` of samples, in a `DataLoader`'s processes. A picture that cannot be asked costs only itself."""

    def __init__(self, processor: Idefics2Processor, readings: ReadingStore | None) -> None:
        self.processor, self.readings = processor, readings

    def __call__(self, samples: Sequence[Sample]) -> tuple[Batch | None, list[Unanswered]]:
        """A batch of the samples, those of one picture next to each other; None when none could be asked."""
        prepared: list[_Prepared] = []
        unanswered: list[Unanswered] = []
        for positions in by_picture(samples):
            group = [samples[position] for position in positions]
            try:
                prepared.append(self._prepare(group))
            except InputError:
                unanswered += [Unanswered(sample, BROKEN) for sample in group]
            except Exception as error:  # whatever a picture or its text brings up: it is not worth the run
                reason, trace = unexpected(error)
                unanswered += [Unanswered(sample, reason, trace) for sample in group]
        return self._batch(prepared) if prepared else None, unanswered

    def _prepare(self, group: list[Sample]) -> _Prepared:
        """The questions about one picture."""
        first = group[0]
        picture = open_picture(first)
        found = None if self.readings is None else self.readings[first.image]
        read = "" if found is None else describe(found)
        layout = choose.layout_for(first.picture, found, [s.entity for s in group]) if found else None
        questions = []
        for sample in group:
            by_rules = None if found is None else choose.answer(found, sample.entity, layout)
            texts = [str(c.quantity) for c in candidates(found or [], sample.entity)]
            questions.append(Question(sample, by_rules, tuple(dict.fromkeys(texts))))
        return _Prepared(picture, prefix(read), questions, [self._suffix(s.entity, read) for s in group])

    def _batch(self, prepared: list[_Prepared]) -> Batch:
        suffixes = [ids for p in prepared for ids in p.suffixes]
        length = max(map(len, suffixes))
        encoded = encode(
            self.processor, [p.picture for p in prepared], [p.beginning for p in prepared], padding_side="left"
        )
        return Batch(
            questions=[question for p in prepared for question in p.questions],
            pictures=dict(encoded),
            suffixes=torch.tensor([[0] * (length - len(ids)) + ids for ids in suffixes]),
            suffix_mask=torch.tensor([[0] * (length - len(ids)) + [1] * len(ids) for ids in suffixes]),
            picture_index=torch.tensor([number for number, p in enumerate(prepared) for _ in p.questions]),
        )

    def _suffix(self, entity: str, read: str) -> list[int]:
        """Token ids of a prompt after its `prompts.prefix`: of the whole text, split as ids and never as text."""
        tokenizer = self.processor.tokenizer
        return tokenizer(prompt(entity, read)).input_ids[len(tokenizer(prefix(read)).input_ids) :]


def in_batches(samples: Sequence[Sample], sizes: Mapping[str, tuple[int, int]], rows: int) -> list[list[Sample]]:
    """Batches of at most about ``rows``: pictures of one size (``sizes`` by file name), largest first."""
    groups = [[samples[position] for position in positions] for positions in by_picture(samples)]
    groups.sort(key=lambda group: sizes.get(group[0].picture.name, (0, 0)), reverse=True)  # memory is short at once
    batches: list[list[Sample]] = []
    last = None
    for group in groups:
        size = sizes.get(group[0].picture.name)
        if not batches or size != last or len(batches[-1]) + len(group) > rows:
            batches.append([])
        batches[-1] += group
        last = size
    return batches


def generate(
    model: Model,
    processor: Idefics2Processor,
    samples: Sequence[Sample],
    readings: ReadingStore | None,
    sizes: Mapping[str, tuple[int, int]],
    batch_size: int,
    workers: int | None = None,
    bar_name: str = "predict",
    to_the_limit: bool = False,
) -> Iterator[Answered | Unanswered]:
    """Yield each sample with its answer, or why it has none, in no certain order.

    Greedy within the grammar. Out of memory, a batch is halved, and so are those after it. ``sizes`` as in
    `in_batches`; ``workers`` as in `settings.decoding_workers`; ``bar_name`` empty for no bar; ``to_the_limit`` as in
    `decoding.generate_in_grammar`.
    """
    model.eval()
    grammar = AnswerGrammar(processor.tokenizer).to(model.device)
    batches = in_batches(samples, sizes, batch_size)
    loader: DataLoader[Any] = DataLoader(
        batches,  # type: ignore[arg-type]  # lists of samples, one batch each: all that a map-style dataset needs
        batch_size=None,
        collate_fn=Preparation(processor, readings),
        num_workers=decoding_workers(workers, cuda=model.device.type == "cuda"),
    )
    bar = tqdm(total=len(samples), desc=bar_name, unit="row", disable=not bar_name)
    limit = batch_size
    for asked, (batch, unanswered) in zip(batches, loader, strict=True):
        yield from unanswered
        start = 0
        while batch is not None and start < len(batch.questions):
            part = batch.part(start, start + limit)
            try:
                decoded = answer(model, grammar, part, to_the_limit)
            except torch.OutOfMemoryError:
                if len(part.questions) == 1:
                    raise
                limit = (len(part.questions) + 1) // 2
                torch.cuda.empty_cache()
                continue
            start += len(part.questions)
            yield from map(Answered, part.questions, decoded)
        bar.update(len(asked))
    bar.close()


@torch.inference_mode()
def answer(model: Model, grammar: AnswerGrammar, batch: Batch, to_the_limit: bool = False) -> list[Decoded]:
    """Answer the rows of a batch. Equal to plain ``generate`` of each whole prompt (the logits to 1e-4)."""
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    pictures = {name: tensor.to(model.device) for name, tensor in batch.pictures.items()}
    picture_index, mask = batch.picture_index.to(model.device), pictures["attention_mask"]
    cache = DynamicCache(config=base.config)
    base.model(
        **pictures | {"pixel_values": pictures["pixel_values"].to(base.dtype)},
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    )
    cache.batch_select_indices(picture_index)
    return generate_in_grammar(
        base,
        grammar,
        [question.sample.entity for question in batch.questions],
        to_the_limit,
        input_ids=torch.cat([pictures["input_ids"][picture_index], batch.suffixes.to(model.device)], dim=1),
        attention_mask=torch.cat([mask[picture_index], batch.suffix_mask.to(model.device)], dim=1),
        past_key_values=cache,
    )
