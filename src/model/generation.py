"""Answers: options are weighed, or the model writes; a picture is encoded once for all of its questions.

Everything of a prompt up to the question (picture, readings) is run through the model once per picture; its
key-value cache is repeated for each question. Batches are made in other processes, see `batches`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from peft import PeftModel
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import DynamicCache, Idefics2ForConditionalGeneration, Idefics2Processor

from src.data.samples import Sample
from src.data.text_store import TextStore
from src.model.batches import Batch, Preparation, Unanswered, described_lengths, in_batches
from src.model.collator import on_device
from src.model.decoding import AnswerGrammar, ModelAnswer, generate_in_grammar
from src.model.precision import in_float32
from src.model.scoring import score_options
from src.settings import decoding_workers

NO_NUMBER = "probabilities that are no numbers"
"""Why a question has no answer that the model overflowed at, in float32, too."""
Model: TypeAlias = PeftModel | Idefics2ForConditionalGeneration
ENTRY = ("model_answer", "confidence", "silence", "overridden", "weighed")
"""What is kept of an answer, see `Answered.entry`."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A sample with the model's answer."""

    sample: Sample
    weighed: ModelAnswer

    def entry(self) -> dict[str, Any]:
        """What is kept of it: `ENTRY`; ``weighed`` has text and log probability of each possible answer."""
        own = self.weighed
        pairs = [list(pair) for pair in own.log_probabilities]
        values = own.answer, own.confidence, own.abstain, own.overridden, pairs
        return dict(zip(ENTRY, values, strict=True))


def generate(
    model: Model,
    processor: Idefics2Processor,
    samples: Sequence[Sample],
    readings: TextStore | None,
    sizes: Mapping[str, tuple[int, int]],
    batch_size: int,
    workers: int | None = None,
    bar_name: str = "predict",
    to_the_limit: bool = False,
    options: Mapping[Sample, tuple[str, ...]] = MappingProxyType({}),
) -> Iterator[Answered | Unanswered]:
    """Yield each sample with its answer, or why it has none, in no certain order.

    ``options`` of a sample are weighed; where there are none, an answer is written, greedily within the
    grammar. Out of memory, a batch is halved, and so are those after it; one whose probabilities are no
    numbers (an overflow) is answered once more in float32. ``sizes`` as in `in_batches`; ``workers`` as in
    `settings.decoding_workers`; ``bar_name`` empty for no bar; ``to_the_limit`` as in
    `decoding.generate_in_grammar`.
    """
    model.eval()
    grammar = AnswerGrammar(processor.tokenizer).to(model.device)
    cuda = model.device.type == "cuda"
    batches = in_batches(samples, sizes, described_lengths(samples, readings), batch_size)
    loader: DataLoader[Any] = DataLoader(
        batches,  # type: ignore[arg-type]  # lists of samples, one batch each: all that a map-style dataset needs
        batch_size=None,
        collate_fn=Preparation(processor, readings, options),
        num_workers=min(decoding_workers(workers, cuda), len(batches)),
        pin_memory=cuda,
    )
    bar = tqdm(total=len(samples), desc=bar_name, unit="row", disable=not bar_name)
    limit = batch_size
    for asked, (batch, unanswered) in zip(batches, loader, strict=True):
        yield from unanswered
        start = 0
        while batch is not None and start < len(batch.questions):
            part = batch.part(start, start + limit)
            try:
                weighed = finite_answers(model, grammar, part, to_the_limit)
            except torch.OutOfMemoryError:
                if len(part.questions) == 1:
                    raise
                limit = (len(part.questions) + 1) // 2
                torch.cuda.empty_cache()
                continue
            start += len(part.questions)
            for sample, row in zip(part.questions, weighed, strict=True):
                yield Unanswered(sample, NO_NUMBER) if row is None else Answered(sample, row)
        bar.update(len(asked))
    bar.close()


def finite_answers(
    model: Model, grammar: AnswerGrammar, batch: Batch, to_the_limit: bool = False
) -> list[ModelAnswer | None]:
    """`answer`; rows whose probabilities are no numbers come from a second try in float32, else are None."""
    weighed: list[ModelAnswer | None] = [*answer(model, grammar, batch, to_the_limit)]
    if all(row and row.is_finite for row in weighed):
        return weighed
    try:
        with in_float32(model):
            again: list[ModelAnswer | None] = [*answer(model, grammar, batch, to_the_limit)]
    except torch.OutOfMemoryError:  # with weights of twice the size
        again = [None] * len(weighed)
    better = [
        first if first and first.is_finite else second for first, second in zip(weighed, again, strict=True)
    ]
    return [row if row and row.is_finite else None for row in better]


@torch.inference_mode()
def answer(
    model: Model, grammar: AnswerGrammar, batch: Batch, to_the_limit: bool = False
) -> list[ModelAnswer]:
    """Answer the rows of a batch.

    Equal to plain passes and ``generate`` of each whole prompt: the logits to 1e-4, but for
    `vision_in_bfloat16`.
    """
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    device = model.device
    prefixes, prefix_mask = batch.prefixes.to(device)
    suffixes, suffix_mask = batch.suffixes.to(device)
    picture_index = on_device(batch.picture_index, device)
    cache = DynamicCache(config=base.config)
    base.model(
        **batch.pixels.as_input(device, base.dtype),
        input_ids=prefixes,
        attention_mask=prefix_mask,
        position_ids=(prefix_mask.cumsum(dim=1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    )
    cache.batch_select_indices(picture_index)
    entities = [sample.entity for sample in batch.questions]
    before, begun = prefix_mask[picture_index], prefixes[picture_index]
    answers: dict[int, ModelAnswer] = {}
    if any(batch.options):
        scored = score_options(
            base,
            grammar,
            entities,
            batch.options,
            cache=cache,
            before=before,
            questions=suffixes,
            question_mask=suffix_mask,
        )
        answers = dict(enumerate(scored))
    rows = [row for row, texts in enumerate(batch.options) if not texts]
    if rows:
        if len(rows) < len(entities):
            cache.batch_select_indices(torch.tensor(rows, device=device))
        free_form = generate_in_grammar(
            base,
            grammar,
            [entities[row] for row in rows],
            to_the_limit,
            input_ids=torch.cat([begun[rows], suffixes[rows]], dim=1),
            attention_mask=torch.cat([before[rows], suffix_mask[rows]], dim=1),
            past_key_values=cache,
        )
        answers |= zip(rows, free_form, strict=True)
    return [answers[row] for row in range(len(entities))]
