"""Answers by generation: a picture is encoded once for all of its questions, and the grammar allows valid answers only.

Everything of a prompt up to the question (picture, readings) is run through the model once per picture; its key-value
cache is repeated for each question. Batches are made in other processes, see `batches`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeAlias

import torch
from peft import PeftModel
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import DynamicCache, Idefics2ForConditionalGeneration, Idefics2Processor

from src.data.readings import ReadingStore
from src.data.samples import Sample
from src.model.batches import Batch, Preparation, Unanswered, described_lengths, in_batches
from src.model.collator import on_device
from src.model.decoding import AnswerGrammar, Decoded, generate_in_grammar
from src.model.modeling import in_float32
from src.reading.quantity import canonical
from src.settings import decoding_workers

NO_NUMBER = "probabilities that are no numbers"
"""Why a question has no answer that the model overflowed at, in float32, too."""
Model: TypeAlias = PeftModel | Idefics2ForConditionalGeneration
ENTRY = ("model_answer", "confidence", "silence", "overridden")
"""What is kept of an answer, see `Answered.entry`."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A sample with the model's answer."""

    sample: Sample
    decoded: Decoded

    def entry(self) -> dict[str, Any]:
        """What is kept of it: `ENTRY`."""
        text, decoded = canonical(self.decoded.text, self.sample.entity), self.decoded
        return dict(zip(ENTRY, (text, decoded.confidence, decoded.silence, decoded.overridden), strict=True))


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

    Greedy within the grammar. Out of memory, a batch is halved, and so are those after it; one whose probabilities are
    no numbers (an overflow) is answered once more in float32. ``sizes`` as in `in_batches`; ``workers`` as in
    `settings.decoding_workers`; ``bar_name`` empty for no bar; ``to_the_limit`` as in `decoding.generate_in_grammar`.
    """
    model.eval()
    grammar = AnswerGrammar(processor.tokenizer).to(model.device)
    cuda = model.device.type == "cuda"
    batches = in_batches(samples, sizes, described_lengths(samples, readings), batch_size)
    loader: DataLoader[Any] = DataLoader(
        batches,  # type: ignore[arg-type]  # lists of samples, one batch each: all that a map-style dataset needs
        batch_size=None,
        collate_fn=Preparation(processor, readings),
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
                decoded = finite_answers(model, grammar, part, to_the_limit)
            except torch.OutOfMemoryError:
                if len(part.questions) == 1:
                    raise
                limit = (len(part.questions) + 1) // 2
                torch.cuda.empty_cache()
                continue
            start += len(part.questions)
            for sample, row in zip(part.questions, decoded, strict=True):
                yield Unanswered(sample, NO_NUMBER) if row is None else Answered(sample, row)
        bar.update(len(asked))
    bar.close()


def finite_answers(
    model: Model, grammar: AnswerGrammar, batch: Batch, to_the_limit: bool = False
) -> list[Decoded | None]:
    """`answer`; rows whose probabilities are no numbers come from a second try in float32, else are None."""
    decoded: list[Decoded | None] = [*answer(model, grammar, batch, to_the_limit)]
    if all(_is_finite(row) for row in decoded):
        return decoded
    try:
        with in_float32(model):
            again: list[Decoded | None] = [*answer(model, grammar, batch, to_the_limit)]
    except torch.OutOfMemoryError:  # with weights of twice the size
        again = [None] * len(decoded)
    better = [first if _is_finite(first) else second for first, second in zip(decoded, again, strict=True)]
    return [row if _is_finite(row) else None for row in better]


def _is_finite(decoded: Decoded | None) -> bool:
    return decoded is not None and isfinite(decoded.confidence) and isfinite(decoded.silence)


@torch.inference_mode()
def answer(model: Model, grammar: AnswerGrammar, batch: Batch, to_the_limit: bool = False) -> list[Decoded]:
    """Answer the rows of a batch. Equal to plain ``generate`` of each whole prompt (the logits to 1e-4)."""
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
    return generate_in_grammar(
        base,
        grammar,
        [sample.entity for sample in batch.questions],
        to_the_limit,
        input_ids=torch.cat([prefixes[picture_index], suffixes], dim=1),
        attention_mask=torch.cat([prefix_mask[picture_index], suffix_mask], dim=1),
        past_key_values=cache,
    )
