"""Questions to tensors: the image and the prompt, and for training the labels.

Images stay bytes until they are on the model's device: a quarter of the memory on the way there.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import ProcessorMixin

from src.data.errors import InputError, unexpected
from src.data.questions import Question
from src.images.decode import DriveError, ImageError, cv2, read_image
from src.model.decoding import AnswerGrammar
from src.model.family import Family, family_of
from src.model.option_loss import IGNORED, OF_OPTIONS, attention, with_options
from src.model.prompts import PromptFunction, prompt_for
from src.settings import TrainSettings


def open_image(question: Question, family: Family) -> Image.Image:
    """Return the model image as RGB, padded (see `Family.padded`).

    Raises `InputError` when it is broken, `DriveError` when its drive does not give it.
    """
    try:
        return Image.fromarray(family.padded(read_image(question.model_image))[:, :, ::-1])
    except DriveError:
        raise
    except ImageError as error:
        raise InputError(f"{question.model_image}: {error}; delete it and run preprocess.py again") from None


@dataclass(frozen=True, slots=True)
class Pixels:
    """Images as they are: uint8 (rows, images, 3, height, width), padded at right and bottom.

    ``sizes`` int64 (rows, images, 2): height and width of each without the padding.
    """

    values: np.ndarray
    sizes: np.ndarray

    def __getitem__(self, rows: Any) -> "Pixels":
        """Return some of the rows."""
        return Pixels(self.values[rows], self.sizes[rows])

    def as_input(self, device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """Return the model's inputs, bit for bit as `encode` makes them in float32, then in ``dtype``.

        ``pixel_values`` (rows, images, 3, height, width) in -1..1, 0 for padding; ``pixel_attention_mask``
        bool (rows, images, height, width).
        """
        values, sizes = on_device(self.values, device), on_device(self.sizes, device)
        height, width = values.shape[-2:]
        rows = torch.arange(height, device=device) < sizes[..., :1]
        columns = torch.arange(width, device=device) < sizes[..., 1:]
        mask = rows.unsqueeze(-1) & columns.unsqueeze(-2)
        pixels = torch.empty(values.shape, device=device, dtype=dtype)
        # One row at a time: float32 is four times as much.
        for row, row_mask, target in zip(values, mask, pixels, strict=True):
            scaled = row.float().div_(255).sub_(0.5).div_(0.5)
            target.copy_(scaled.masked_fill_(~row_mask.unsqueeze(1), 0))
        return {"pixel_values": pixels, "pixel_attention_mask": mask}


def on_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return an array as a tensor on a device; not waited for, where it lies in pinned memory."""
    return torch.from_numpy(array).to(device, non_blocking=True)


def image_bytes(processor: Any, images: Sequence[Image.Image]) -> Pixels:
    """Return the images, each in a row of its own; split into five where the processor is set so."""
    rows = processor.image_processor(
        [[image] for image in images], do_rescale=False, do_normalize=False, do_pad=False
    )["pixel_values"]
    sizes = np.array([[image.shape[-2:] for image in row] for row in rows])
    values = np.zeros((*sizes.shape[:2], 3, *sizes.max(axis=(0, 1))), np.uint8)
    for row, padded in zip(rows, values, strict=True):
        for image, target in zip(row, padded, strict=True):
            target[:, : image.shape[1], : image.shape[2]] = image
    return Pixels(values, sizes)


def one_thread_in_workers() -> None:
    """Keep OpenCV to one thread in a `DataLoader`'s process: there is one per core already."""
    if torch.utils.data.get_worker_info():
        cv2.setNumThreads(1)


def encode(processor: Any, images: Sequence[Image.Image], texts: Sequence[str], padding_side: str) -> Any:
    """Return tensors for one image per text, padded to the longest; never truncated (that would cut image
    tokens).

    ``input_ids`` and ``attention_mask`` int64 (batch, tokens), ``pixel_values`` float32 (batch, 1, 3, height,
    width), ``pixel_attention_mask`` int64 (batch, 1, height, width).
    """
    return processor(
        text=list(texts),
        images=[[image] for image in images],
        padding=True,
        padding_side=padding_side,
        return_tensors="pt",
    )


MOST_OPTIONS = 16
"""Options of a row that is trained on, at most: a table of sizes has hundreds."""


def training_options(question: Question) -> tuple[list[str], int]:
    """Return the texts of a question's options and which of them is its label, as `with_options` wants it."""
    options = [option for option in question.options if option.texts]
    options.sort(key=lambda option: question.label not in option.texts)
    texts = [option.text for option in options[:MOST_OPTIONS]]
    if not question.label:
        return texts, len(texts)
    return texts, 0 if options and question.label in options[0].texts else -1


class TrainingCollator:
    """Batches questions for training: padded right, prompt and padding masked, label and end token as labels.

    With a ``grammar`` each row has its options behind it, for `option_loss`. ``prompt``: the words around a
    question, by default those of `prompt_for`.
    """

    def __init__(
        self,
        processor: ProcessorMixin,
        grammar: AnswerGrammar | None = None,
        prompt: PromptFunction | None = None,
    ) -> None:
        self.processor: Any = processor
        self.grammar = grammar
        self.prompt = prompt or prompt_for(processor)
        self.family = family_of(processor)

    def __call__(self, questions: Sequence[Question]) -> dict[str, Any]:
        """Return ``rows``, ``pixels`` (see `model_inputs`), ``input_ids``, ``attention_mask`` and ``labels``.

        ``labels`` int64 (batch, tokens) are `IGNORED` but for the answer and its end token.
        ``logits_to_keep`` bool (batch, tokens) and ``shift_labels`` int64 (labelled tokens,) make the model
        compute logits at labelled positions only; loss and gradients equal those of ``labels`` alone. With
        options, see `with_options`. A row with an unexpected error is left out and reported on stderr.
        """
        one_thread_in_workers()
        images: list[Image.Image] = []
        kept: list[Question] = []
        for question in questions:
            try:
                images.append(open_image(question, self.family))
                kept.append(question)
            except InputError:
                raise
            except DriveError as error:
                advice = "copy the run folder to a local disk and run again to go on"
                raise InputError(f"{question.model_image}: {error}; {advice}") from None
            except Exception as error:  # whatever an image brings up: it costs this row
                reason, trace = unexpected(error)
                print(
                    f"train row {question.row} ({question.image}) is left out: {reason}\n{trace}",
                    file=sys.stderr,
                )
        if not kept:
            row = questions[0].row
            raise InputError(f"no row of a batch could be made ready (train row {row} is one of them)")
        prompts = [self.prompt(question.entity, question.context) for question in kept]
        batch = self.batch(images, prompts, [question.label for question in kept])
        batch["rows"] = [question.row for question in kept]
        if self.grammar is None:
            return handed_over(batch)
        texts, right = zip(*map(training_options, kept), strict=True)
        entities = [question.entity for question in kept]
        return handed_over(with_options(batch, self.grammar, entities, texts, right))

    def batch(
        self, images: Sequence[Image.Image], prompts: Sequence[str], answers: Sequence[str]
    ) -> dict[str, Any]:
        """Return a batch of these images, prompts and answers, without ``rows``."""
        texts = [text + answer + self.family.end for text, answer in zip(prompts, answers, strict=True)]
        inputs = self.family.tokenized(
            self.processor, texts, padding=True, padding_side="right", return_tensors="pt"
        )
        # The prompt's ids are a prefix of the whole row's (a test holds that), and the image's placeholder
        # expands alike in both: so the answer is the tail of this many tokens.
        tokenizer = self.processor.tokenizer
        pairs = zip(tokenizer(texts).input_ids, tokenizer(prompts).input_ids, strict=True)
        tails = torch.tensor([len(whole) - len(start) for whole, start in pairs])
        ends = inputs["attention_mask"].sum(dim=1, keepdim=True)
        starts = ends - tails.unsqueeze(1)
        position = torch.arange(inputs["input_ids"].shape[1])
        inputs["labels"] = inputs["input_ids"].where((position >= starts) & (position < ends), IGNORED)
        shifted = torch.nn.functional.pad(inputs["labels"], (0, 1), value=IGNORED)[:, 1:]
        inputs["logits_to_keep"] = shifted != IGNORED
        inputs["shift_labels"] = shifted[inputs["logits_to_keep"]]
        return {"pixels": image_bytes(self.processor, images), **inputs}


def training_collator(processor: ProcessorMixin, settings: TrainSettings) -> TrainingCollator:
    """Return the collator of a training: with OCR the options of each question are trained on, too."""
    grammar = AnswerGrammar(processor) if settings.ocr else None
    return TrainingCollator(processor, grammar, prompt_for(processor, settings.prompt))


def handed_over(batch: dict[str, Any]) -> dict[str, Any]:
    """Return the batch; a `DataLoader`'s process puts its tensors into shared memory.

    They would get there on their way to the main process, too, but then an error is lost (the memory is too
    small) and the main process waits for ever.
    """
    if torch.utils.data.get_worker_info():
        for value in batch.values():
            if isinstance(value, torch.Tensor):
                value.share_memory_()
    return batch


def model_inputs(batch: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Return the model's inputs of a batch of `TrainingCollator`, on the device."""
    tensors = {
        name: value.to(device) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
        if name not in ("pixels", "rows", *OF_OPTIONS)
    }
    if "tree" in batch:
        tensors["attention_mask"] = attention(batch, device, dtype)
    return batch["pixels"].as_input(device, dtype) | tensors
