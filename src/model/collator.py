"""Samples to tensors: the picture and the prompt, and for training the labels.

Pictures stay bytes until they are on the model's device: a quarter of the memory on the way there.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature, Idefics2Processor

from src.data.errors import InputError, unexpected
from src.data.samples import Sample
from src.data.text_store import TextStore
from src.images.decode import ImageError, cv2, read_image
from src.model.decoding import AnswerGrammar
from src.model.letterbox import letterbox
from src.model.option_loss import IGNORED, OF_OPTIONS, attention, with_options
from src.model.prompts import completion, describe, prompt
from src.reading.options import options


def open_picture(sample: Sample) -> Image.Image:
    """The processed picture as RGB, letterboxed (see `images.letterbox`); `InputError` when it cannot be
    read."""
    try:
        return Image.fromarray(letterbox(read_image(sample.picture))[:, :, ::-1])
    except ImageError as error:
        raise InputError(f"{sample.picture}: {error}; delete it and run preprocess.py again") from None


@dataclass(frozen=True, slots=True)
class Pixels:
    """Pictures as they are: uint8 (rows, pictures, 3, height, width), padded at right and bottom.

    ``sizes`` int64 (rows, pictures, 2): height and width of each without the padding.
    """

    values: np.ndarray
    sizes: np.ndarray

    def __getitem__(self, rows: Any) -> "Pixels":
        """Some of the rows."""
        return Pixels(self.values[rows], self.sizes[rows])

    def as_input(self, device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """What the model takes, bit for bit as `encode` makes it in float32, then in ``dtype``.

        ``pixel_values`` (rows, pictures, 3, height, width) in -1..1, 0 for padding; ``pixel_attention_mask``
        bool (rows, pictures, height, width).
        """
        values, sizes = on_device(self.values, device), on_device(self.sizes, device)
        height, width = values.shape[-2:]
        rows = torch.arange(height, device=device) < sizes[..., :1]
        columns = torch.arange(width, device=device) < sizes[..., 1:]
        mask = rows.unsqueeze(-1) & columns.unsqueeze(-2)
        pixels = torch.empty(values.shape, device=device, dtype=dtype)
        for row, own, target in zip(
            values, mask, pixels, strict=True
        ):  # one at a time: float32 is four times as much
            scaled = row.float().div_(255).sub_(0.5).div_(0.5)
            target.copy_(scaled.masked_fill_(~own.unsqueeze(1), 0))
        return {"pixel_values": pixels, "pixel_attention_mask": mask}


def on_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array as a tensor there; not waited for, where it lies in pinned memory."""
    return torch.from_numpy(array).to(device, non_blocking=True)


def picture_bytes(processor: Idefics2Processor, pictures: Sequence[Image.Image]) -> Pixels:
    """The pictures, each in a row of its own; split into five where the processor is set so."""
    rows = processor.image_processor(
        [[picture] for picture in pictures], do_rescale=False, do_normalize=False, do_pad=False
    )["pixel_values"]
    sizes = np.array([[picture.shape[-2:] for picture in row] for row in rows])
    values = np.zeros((*sizes.shape[:2], 3, *sizes.max(axis=(0, 1))), np.uint8)
    for row, padded in zip(rows, values, strict=True):
        for picture, target in zip(row, padded, strict=True):
            target[:, : picture.shape[1], : picture.shape[2]] = picture
    return Pixels(values, sizes)


def one_thread_in_workers() -> None:
    """Keep OpenCV to one thread in a `DataLoader`'s process: there is one per core already."""
    if torch.utils.data.get_worker_info():
        cv2.setNumThreads(1)


def encode(
    processor: Idefics2Processor, pictures: Sequence[Image.Image], texts: Sequence[str], padding_side: str
) -> BatchFeature:
    """Tensors for one picture per text, padded to the longest; never truncated (that would cut image tokens).

    ``input_ids`` and ``attention_mask`` int64 (batch, tokens), ``pixel_values`` float32 (batch, 1, 3, height,
    width), ``pixel_attention_mask`` int64 (batch, 1, height, width).
    """
    return processor(
        text=list(texts),
        images=[[picture] for picture in pictures],
        padding=True,
        padding_side=padding_side,
        return_tensors="pt",
    )


def prompt_of(sample: Sample, readings: TextStore | None) -> str:
    """The prompt of a sample, with what was read on its picture; ``readings`` is None for the pipeline
    without OCR."""
    return prompt(sample.entity, "" if readings is None else describe(*readings.with_layout(sample.image)))


MOST_OPTIONS = 16
"""Of a row that is trained on: a table of sizes has hundreds."""


def options_of(sample: Sample, readings: TextStore) -> tuple[list[str], int]:
    """What could be answered to a sample's question, and which of it is its answer, as `with_options` wants
    it."""
    found = options(readings[sample.image], sample.entity)
    groups = [[str(candidate.quantity) for candidate in group] for group in found]
    groups.sort(key=lambda texts: sample.answer not in texts)
    texts = [own[0] for own in groups[:MOST_OPTIONS]]
    if not sample.answer:
        return texts, len(texts)
    return texts, 0 if groups and sample.answer in groups[0] else -1


class TrainingCollator:
    """Batches samples for training: padded right, prompt and padding masked, answer and end token as labels.

    With readings and a ``grammar`` each row has its options behind it, for `option_loss`.
    """

    def __init__(
        self,
        processor: Idefics2Processor,
        readings: TextStore | None = None,
        grammar: AnswerGrammar | None = None,
    ) -> None:
        self.processor, self.readings, self.grammar = processor, readings, grammar

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """``rows``, ``pixels`` (see `model_inputs`), ``input_ids`` and ``attention_mask`` as of `encode`,
        ``labels``.

        ``labels`` int64 (batch, tokens) are `IGNORED` but for the answer and its end token.
        ``logits_to_keep`` bool (batch, tokens) and ``shift_labels`` int64 (labelled tokens,) make the model
        compute logits at labelled positions only; loss and gradients equal those of ``labels`` alone. With
        options, see `with_options`. A row with an unexpected error is left out and told on stderr.
        """
        one_thread_in_workers()
        ready: list[tuple[Sample, Image.Image, str, tuple[list[str], int]]] = []
        for sample in samples:
            try:
                own = options_of(sample, self.readings) if self.grammar and self.readings else ([], -1)
                ready.append((sample, open_picture(sample), prompt_of(sample, self.readings), own))
            except InputError:
                raise
            except Exception as error:  # whatever a picture or its text brings up: it costs this row
                reason, trace = unexpected(error)
                print(
                    f"train row {sample.row} ({sample.image}) is left out: {reason}\n{trace}", file=sys.stderr
                )
        if not ready:
            raise InputError(
                f"no row of a batch could be made ready (train row {samples[0].row} is one of them)"
            )
        kept = [sample for sample, *_ in ready]
        pictures, prompts = [picture for _, picture, *_ in ready], [text for _, _, text, _ in ready]
        batch = {"rows": [s.row for s in kept], **self.batch(pictures, prompts, [s.answer for s in kept])}
        if self.grammar is None:
            return batch
        known = [own for *_, own in ready]
        texts, right = [texts for texts, _ in known], [number for _, number in known]
        return with_options(batch, self.grammar, [sample.entity for sample in kept], texts, right)

    def batch(
        self, pictures: Sequence[Image.Image], prompts: Sequence[str], answers: Sequence[str]
    ) -> dict[str, Any]:
        """Like calling it, with pictures, prompts and answers given, and without ``rows``."""
        texts = [text + completion(answer) for text, answer in zip(prompts, answers, strict=True)]
        inputs = self.processor(text=texts, padding=True, padding_side="right", return_tensors="pt")
        # The prompt's ids are a prefix of the whole row's (a test holds that), and the picture's placeholder
        # expands alike in both: so the answer is the tail of this many tokens.
        ids = self.processor.tokenizer
        tails = [
            len(whole) - len(start)
            for whole, start in zip(ids(texts).input_ids, ids(prompts).input_ids, strict=True)
        ]
        ends = inputs["attention_mask"].sum(dim=1, keepdim=True)
        starts = ends - torch.tensor(tails).unsqueeze(1)
        position = torch.arange(inputs["input_ids"].shape[1])
        inputs["labels"] = inputs["input_ids"].where((position >= starts) & (position < ends), IGNORED)
        shifted = torch.nn.functional.pad(inputs["labels"], (0, 1), value=IGNORED)[:, 1:]
        inputs["logits_to_keep"] = shifted != IGNORED
        inputs["shift_labels"] = shifted[inputs["logits_to_keep"]]
        return {"pixels": picture_bytes(self.processor, pictures), **inputs}


def model_inputs(batch: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """A batch of `TrainingCollator` as the model takes it: its `Pixels` on the device, and what is for the
    model."""
    rest = {
        name: value.to(device) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
        if name not in ("pixels", "rows", *OF_OPTIONS)
    }
    if "tree" in batch:
        rest["attention_mask"] = attention(batch, device, dtype)
    return batch["pixels"].as_input(device, dtype) | rest
