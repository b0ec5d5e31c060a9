"""Samples to tensors: the picture and the prompt, and for training the labels."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import BatchFeature, Idefics2Processor

from src.data.errors import InputError
from src.data.readings import ReadingStore
from src.data.samples import Sample
from src.model.prompts import completion, describe, prompt
from src.reading.images import ImageError, letterbox, read_image

IGNORED = -100
"""Label of a token the loss leaves out (the only value PyTorch's cross entropy ignores)."""


def open_picture(sample: Sample) -> Image.Image:
    """The processed picture as RGB, letterboxed (see `images.letterbox`); `InputError` when it cannot be read."""
    try:
        return Image.fromarray(letterbox(read_image(sample.picture))[:, :, ::-1])
    except ImageError as error:
        raise InputError(f"{sample.picture}: {error}; delete it and run preprocess.py again") from None


def encode(
    processor: Idefics2Processor, pictures: Sequence[Image.Image], texts: Sequence[str], padding_side: str
) -> BatchFeature:
    """Tensors for one picture per text, padded to the longest; never truncated (that would cut image tokens).

    ``input_ids`` and ``attention_mask`` int64 (batch, tokens), ``pixel_values`` float32 (batch, 1, 3, height, width),
    ``pixel_attention_mask`` int64 (batch, 1, height, width).
    """
    return processor(
        text=list(texts),
        images=[[picture] for picture in pictures],
        padding=True,
        padding_side=padding_side,
        return_tensors="pt",
    )


def prompt_of(sample: Sample, readings: ReadingStore | None) -> str:
    """The prompt of a sample, with what was read on its picture; ``readings`` is None for the pipeline without OCR."""
    return prompt(sample.entity, "" if readings is None else describe(readings[sample.image]))


class TrainingCollator:
    """Batches samples for training: padded right, prompt and padding masked, answer and end token as labels."""

    def __init__(self, processor: Idefics2Processor, readings: ReadingStore | None = None) -> None:
        self.processor, self.readings = processor, readings

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """`encode`'s tensors and ``labels`` int64 (batch, tokens), `IGNORED` but for the answer and its end token.

        ``logits_to_keep`` bool (batch, tokens) and ``shift_labels`` int64 (labelled tokens,) make the model compute
        logits at labelled positions only; loss and gradients equal those of ``labels`` alone.
        """
        prompts = [prompt_of(sample, self.readings) for sample in samples]
        return self.batch([open_picture(sample) for sample in samples], prompts, [s.answer for s in samples])

    def batch(self, pictures: Sequence[Image.Image], prompts: Sequence[str], answers: Sequence[str]) -> dict[str, Any]:
        """Like calling it, with pictures, prompts and answers given."""
        texts = [text + completion(answer) for text, answer in zip(prompts, answers, strict=True)]
        inputs = encode(self.processor, pictures, texts, padding_side="right")
        # The prompt's ids are a prefix of the whole row's (a test holds that), and the picture's placeholder expands
        # alike in both: so the answer is the tail of this many tokens.
        ids = self.processor.tokenizer
        tails = [
            len(whole) - len(start) for whole, start in zip(ids(texts).input_ids, ids(prompts).input_ids, strict=True)
        ]
        ends = inputs["attention_mask"].sum(dim=1, keepdim=True)
        starts = ends - torch.tensor(tails).unsqueeze(1)
        position = torch.arange(inputs["input_ids"].shape[1])
        inputs["labels"] = inputs["input_ids"].where((position >= starts) & (position < ends), IGNORED)
        shifted = torch.nn.functional.pad(inputs["labels"], (0, 1), value=IGNORED)[:, 1:]
        inputs["logits_to_keep"] = shifted != IGNORED
        inputs["shift_labels"] = shifted[inputs["logits_to_keep"]]
        return dict(inputs)
