"""Batches of questions for answering: the prompt up to the question once per image, images of one size
together.

Made in a `DataLoader`'s processes. From them to the main process go NumPy arrays, because those go through a
pipe: tensors would go through shared memory, of which a Docker container has 64 MB.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import ProcessorMixin

from src.data.errors import InputError, unexpected
from src.data.questions import BROKEN, Question, by_image
from src.entities import ENTITIES
from src.images.decode import DriveError
from src.model.collator import Pixels, image_bytes, on_device, one_thread_in_workers, open_image
from src.model.family import family_of
from src.model.prompts import PromptFunction, prompt_for


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids int64 (rows, tokens), padded left, and how many of each row are its own, int64 (rows,)."""

    ids: np.ndarray
    lengths: np.ndarray

    @classmethod
    def padded(cls, rows: Sequence[Sequence[int]]) -> "Tokens":
        """Return the padded ids of these rows."""
        longest = max(map(len, rows))
        ids = np.array([[0] * (longest - len(row)) + list(row) for row in rows])
        return cls(ids, np.array([len(row) for row in rows]))

    def __getitem__(self, rows: Any) -> "Tokens":
        """Return some of the rows."""
        return Tokens(self.ids[rows], self.lengths[rows])

    def to(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ids and their mask (int64: 1 where a token is the row's own) on a device."""
        ids, lengths = on_device(self.ids, device), on_device(self.lengths, device)
        longest = ids.shape[1]
        return ids, (torch.arange(longest, device=device) >= longest - lengths.unsqueeze(1)).long()


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions ready for the model.

    ``pixels`` and ``prefixes`` (what all prompts about it begin with) have a row per image, ``suffixes`` (the
    rest of each prompt) one per question. ``image_index`` int64 (questions,): each one's image.
    """

    questions: list[Question]
    pixels: Pixels
    prefixes: Tokens
    suffixes: Tokens
    image_index: np.ndarray

    def part(self, start: int, end: int) -> "Batch":
        """Return its questions from ``start`` to ``end``; the batch itself, not a copy, where that is all of
        them."""
        if start == 0 and end >= len(self.questions):
            return self
        kept, image_index = np.unique(self.image_index[start:end], return_inverse=True)
        questions, suffixes = self.questions[start:end], self.suffixes[start:end]
        return Batch(questions, self.pixels[kept], self.prefixes[kept], suffixes, image_index)

    def pin_memory(self) -> "Batch":
        """Return it with the images in memory that a GPU reads by itself (`DataLoader` calls it)."""
        pinned = torch.from_numpy(self.pixels.values).pin_memory().numpy()
        return replace(self, pixels=Pixels(pinned, self.pixels.sizes))


class Preparation:
    """Makes a `Batch` of questions; an image that cannot be used costs only its own."""

    def __init__(self, processor: ProcessorMixin, prompt: PromptFunction | None = None) -> None:
        self.processor = processor
        self.prompt = prompt or prompt_for(processor)
        self.family = family_of(processor)

    def __call__(self, questions: Sequence[Question]) -> tuple[Batch | None, list[Question]]:
        """Return a batch of the questions, None when none could be asked, and those with a ``reason``."""
        one_thread_in_workers()
        images: list[Image.Image] = []
        groups: list[list[Question]] = []
        unanswered: list[Question] = []
        for group in by_image(questions):
            try:
                images.append(open_image(group[0], self.family))
                groups.append(group)
            except InputError:
                unanswered += [replace(question, reason=BROKEN) for question in group]
            except DriveError as error:
                unanswered += [replace(question, reason=str(error)) for question in group]
            except Exception as error:  # whatever an image brings up: it is not worth the run
                reason, trace = unexpected(error)
                unanswered += [replace(question, reason=reason, traceback=trace) for question in group]
        return self._batch(images, groups) if groups else None, unanswered

    def _batch(self, images: list[Image.Image], groups: list[list[Question]]) -> Batch:
        prefixes, suffixes = zip(*map(self._split, groups), strict=True)
        return Batch(
            questions=[question for group in groups for question in group],
            pixels=image_bytes(self.processor, images),
            prefixes=Tokens.padded(prefixes),
            suffixes=Tokens.padded([suffix for group in suffixes for suffix in group]),
            image_index=np.repeat(np.arange(len(groups)), [len(group) for group in groups]),
        )

    def _split(self, group: list[Question]) -> tuple[list[int], list[list[int]]]:
        """Return the token ids that all prompts about an image begin with, and the rest of each prompt.

        Split as ids, never as text. A prompt about another entity is among them, so that a single question is
        split, too.
        """
        asked_entity, context = group[0].entity, group[0].context
        other_entity = next(entity for entity in ENTITIES if entity != asked_entity)
        prompts = [self.prompt(entity, context) for entity in (*(q.entity for q in group), other_entity)]
        rows = self.family.tokenized(self.processor, prompts)["input_ids"]
        most = min(map(len, rows)) - 1  # the last token of a prompt is never shared
        shared = next((at for at in range(most) if len({row[at] for row in rows}) > 1), most)
        return rows[0][:shared], [row[shared:] for row in rows[:-1]]


def in_batches(
    questions: Sequence[Question], sizes: Mapping[str, tuple[int, int]], rows: int
) -> list[list[Question]]:
    """Return batches of at most about ``rows``: images of one size, contexts of like length, the largest
    first.

    ``sizes`` by file name of the model image; a context's characters are nearly in proportion to its tokens.
    Questions without options are together: their answers are written, one token after another.
    """
    groups = sorted(by_image(questions), key=partial(cost, sizes), reverse=True)  # memory fails at once
    batches: list[list[Question]] = []
    last_size = None
    for group in groups:
        size = cost(sizes, group)[0]
        if not batches or size != last_size or len(batches[-1]) + len(group) > rows:
            batches.append([])
        batches[-1] += group
        last_size = size
    return batches


def cost(
    sizes: Mapping[str, tuple[int, int]], group: Sequence[Question]
) -> tuple[tuple[int, int], bool, int]:
    """Return what the questions about an image cost: its size, whether an answer is written, the context."""
    is_written = any(not question.option_texts for question in group)
    return sizes.get(group[0].model_image.name, (0, 0)), is_written, len(group[0].context)
