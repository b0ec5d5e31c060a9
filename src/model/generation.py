"""Answers by generation: a picture is encoded once for all of its questions, and the grammar allows valid answers only.

Everything of a prompt up to the question (picture, readings) is run through the model once per picture; its key-value
cache is repeated for each question. Batches are of one picture size; pictures are decoded in other processes, and the
rules' answers and candidates come along from there.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import (
    DynamicCache,
    Idefics2ForConditionalGeneration,
    Idefics2Processor,
    LogitsProcessorList,
    StoppingCriteriaList,
)

from src.data.errors import InputError
from src.data.readings import ReadingStore
from src.data.samples import Sample, by_picture
from src.model.collator import encode, open_picture
from src.model.decoding import AnswerGrammar, Decoded, Determined, Guide
from src.model.modeling import SPECIAL_TOKENS
from src.model.prompts import describe, prefix, prompt
from src.reading import choose
from src.reading.candidates import candidates
from src.reading.quantity import canonical
from src.settings import decoding_workers

Model = PeftModel | Idefics2ForConditionalGeneration
MAX_NEW_TOKENS = 16
ENTRY = ("text", "confidence", "silence", "overridden", "rules", "rules_score", "candidates")
"""What is kept of an answer, see `Answered.entry`."""
_EOS = [2, SPECIAL_TOKENS["<end_of_utterance>"]]


@dataclass(frozen=True, slots=True)
class Answered:
    """A sample with the model's answer, and beside it what the rules say and what could be meant (with OCR only)."""

    sample: Sample
    decoded: Decoded
    by_rules: choose.Answer | None
    candidates: tuple[str, ...]

    def entry(self) -> dict[str, Any]:
        """What is kept of it: `ENTRY`; the last three are empty without OCR."""
        model, by_rules = self.decoded, self.by_rules
        text, score = ("", "") if by_rules is None else (by_rules.text, by_rules.score)
        values = (
            canonical(model.text, self.sample.entity), model.confidence, model.silence, model.overridden,
            text, score, "; ".join(self.candidates),
        )  # fmt: skip
        return dict(zip(ENTRY, values, strict=True))


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions ready for the model.

    ``pictures``: `collator.encode` of the prompts' beginnings, one per picture, padded left. ``suffixes`` int64 (rows,
    tokens) and their mask: the rest of each prompt, padded left. ``picture_of`` int64 (rows,): each row's picture.
    """

    samples: list[Sample]
    by_rules: list[choose.Answer | None]
    candidates: list[tuple[str, ...]]
    pictures: dict[str, torch.Tensor]
    suffixes: torch.Tensor
    suffix_mask: torch.Tensor
    picture_of: torch.Tensor

    def part(self, start: int, end: int) -> "Batch":
        """Its rows from ``start`` to ``end``."""
        kept, picture_of = self.picture_of[start:end].unique(return_inverse=True)
        return Batch(
            self.samples[start:end], self.by_rules[start:end], self.candidates[start:end],
            {name: tensor[kept] for name, tensor in self.pictures.items()},
            self.suffixes[start:end], self.suffix_mask[start:end], picture_of,
        )  # fmt: skip


class Preparation:
    """Makes a `Batch` of samples, in a `DataLoader`'s processes. Pictures that cannot be read are left out."""

    def __init__(self, processor: Idefics2Processor, texts: ReadingStore | None) -> None:
        self.processor, self.texts = processor, texts

    def __call__(self, samples: Sequence[Sample]) -> Batch | None:
        """A batch of the samples, those of one picture next to each other; None when no picture could be read."""
        made = Batch([], [], [], {}, torch.empty(0), torch.empty(0), torch.empty(0))
        pictures, beginnings, suffixes, picture_of = [], [], [], []
        for group in by_picture(samples):
            first = samples[group[0]]
            try:
                picture = open_picture(first)
            except InputError:
                continue
            found = None if self.texts is None else self.texts[first.image]
            read = "" if found is None else describe(found)
            drawn = choose.layout_for(first.picture, found, [samples[i].entity for i in group]) if found else None
            for place in group:
                sample = samples[place]
                made.samples.append(sample)
                made.by_rules.append(None if found is None else choose.answer(found, sample.entity, drawn))
                texts = [str(c.quantity) for c in candidates(found or [], sample.entity)]
                made.candidates.append(tuple(dict.fromkeys(texts)))
                suffixes.append(self._rest(sample.entity, read))
                picture_of.append(len(pictures))
            pictures.append(picture)
            beginnings.append(prefix(read))
        if not pictures:
            return None
        length = max(map(len, suffixes))
        padded = [[0] * (length - len(ids)) + ids for ids in suffixes]
        mask = [[0] * (length - len(ids)) + [1] * len(ids) for ids in suffixes]
        return dataclasses.replace(
            made,
            pictures=dict(encode(self.processor, pictures, beginnings, padding_side="left")),
            suffixes=torch.tensor(padded),
            suffix_mask=torch.tensor(mask),
            picture_of=torch.tensor(picture_of),
        )

    def _rest(self, entity: str, read: str) -> list[int]:
        """Token ids of a prompt after its `prompts.prefix`: of the whole text, split as ids and never as text."""
        ids = self.processor.tokenizer
        return ids(prompt(entity, read)).input_ids[len(ids(prefix(read)).input_ids) :]


def in_batches(samples: Sequence[Sample], sizes: Mapping[str, tuple[int, int]], rows: int) -> list[list[Sample]]:
    """Batches of at most about ``rows``: pictures of one size (``sizes`` by file name), largest first."""
    groups = [[samples[place] for place in places] for places in by_picture(samples)]
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
    texts: ReadingStore | None,
    sizes: Mapping[str, tuple[int, int]],
    batch_size: int,
    workers: int | None = None,
    shown: str = "predict",
) -> Iterator[Answered]:
    """Yield each sample with its answer, in no certain order; those whose picture cannot be read are left out.

    Greedy within the grammar. Out of memory, a batch is halved, and so are those after it. ``sizes`` as in
    `in_batches`; ``workers`` as in `settings.decoding_workers`; ``shown``: the bar's name, empty for none.
    """
    model.eval()
    grammar = AnswerGrammar(processor.tokenizer).to(model.device)
    batches = in_batches(samples, sizes, batch_size)
    loader = DataLoader(
        batches,  # lists of samples, one batch each
        batch_size=None,
        collate_fn=Preparation(processor, texts),
        num_workers=decoding_workers(workers, cuda=model.device.type == "cuda"),
    )
    bar = tqdm(total=len(samples), desc=shown, unit="row", disable=not shown)
    limit = batch_size
    for asked, batch in zip(batches, loader, strict=True):
        start = 0
        while batch is not None and start < len(batch.samples):
            part = batch.part(start, start + limit)
            try:
                decoded = answer(model, grammar, part)
            except torch.OutOfMemoryError:
                if len(part.samples) == 1:
                    raise
                limit = (len(part.samples) + 1) // 2
                torch.cuda.empty_cache()
                continue
            start += len(part.samples)
            for row in zip(part.samples, decoded, part.by_rules, part.candidates, strict=True):
                yield Answered(*row)
        bar.update(len(asked))
    bar.close()


@torch.inference_mode()
def answer(model: Model, grammar: AnswerGrammar, batch: Batch) -> list[Decoded]:
    """Answer the rows of a batch. Equal to plain ``generate`` of each whole prompt (the logits to 1e-4)."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    pictures = {name: tensor.to(model.device) for name, tensor in batch.pictures.items()}
    of, mask = batch.picture_of.to(model.device), pictures["attention_mask"]
    cache = DynamicCache(config=base.config)
    base.model(
        **pictures | {"pixel_values": pictures["pixel_values"].to(base.dtype)},
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    )
    cache.batch_select_indices(of)
    inputs: dict[str, Any] = {
        "input_ids": torch.cat([pictures["input_ids"][of], batch.suffixes.to(model.device)], dim=1),
        "attention_mask": torch.cat([mask[of], batch.suffix_mask.to(model.device)], dim=1),
    }
    guide = Guide(grammar, [sample.entity for sample in batch.samples], inputs["input_ids"].shape[1])
    made = base.generate(
        **inputs,
        past_key_values=cache,
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=False,
        eos_token_id=_EOS,
        pad_token_id=0,
        logits_processor=LogitsProcessorList([guide]),
        stopping_criteria=StoppingCriteriaList([Determined(guide)]),
        return_dict_in_generate=True,
        output_scores=True,
    )
    return guide.decode(made.sequences, made.scores)
