"""Batches of questions for answering: what stands before the question once per picture, pictures of one size
together.

Made in a `DataLoader`'s processes. What goes from them to the main process are NumPy arrays, because those go
through a pipe: tensors would go through shared memory, of which a Docker container has 64 MB.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Idefics2Processor

from src.data.errors import InputError, unexpected
from src.data.samples import BROKEN, Sample, by_picture
from src.data.text_store import TextStore
from src.model.collator import Pixels, on_device, one_thread_in_workers, open_picture, picture_bytes
from src.model.prompts import describe, prefix, prompt


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A sample without an answer, and why; ``trace`` is the traceback of an unexpected error, else empty."""

    sample: Sample
    reason: str
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids int64 (rows, tokens), padded left, and how many of each row are its own, int64 (rows,)."""

    ids: np.ndarray
    lengths: np.ndarray

    @classmethod
    def padded(cls, rows: Sequence[Sequence[int]]) -> "Tokens":
        """Of token ids per row."""
        longest = max(map(len, rows))
        ids = np.array([[0] * (longest - len(row)) + list(row) for row in rows])
        return cls(ids, np.array([len(row) for row in rows]))

    def __getitem__(self, rows: Any) -> "Tokens":
        """Some of the rows."""
        return Tokens(self.ids[rows], self.lengths[rows])

    def to(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """The ids and their mask (int64: 1 where a token is the row's own), made on the device."""
        ids, lengths = on_device(self.ids, device), on_device(self.lengths, device)
        longest = ids.shape[1]
        return ids, (torch.arange(longest, device=device) >= longest - lengths.unsqueeze(1)).long()


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions ready for the model.

    ``options``: texts to weigh for each question. ``pixels`` and ``prefixes`` (the beginnings of the prompts)
    have a row per picture, ``suffixes`` (the rest of each prompt) one per question. ``picture_index`` int64
    (questions,): each one's picture.
    """

    questions: list[Sample]
    options: list[tuple[str, ...]]
    pixels: Pixels
    prefixes: Tokens
    suffixes: Tokens
    picture_index: np.ndarray

    def part(self, start: int, end: int) -> "Batch":
        """Its questions from ``start`` to ``end``; the batch itself, not a copy, where that is all of
        them."""
        if start == 0 and end >= len(self.questions):
            return self
        kept, picture_index = np.unique(self.picture_index[start:end], return_inverse=True)
        rows = slice(start, end)
        return Batch(
            self.questions[rows], self.options[rows], self.pixels[kept], self.prefixes[kept], self.suffixes[rows],
            picture_index,
        )  # fmt: skip

    def pin_memory(self) -> "Batch":
        """With the pictures in memory that a GPU reads by itself (`DataLoader` calls it)."""
        pinned = torch.from_numpy(self.pixels.values).pin_memory().numpy()
        return replace(self, pixels=Pixels(pinned, self.pixels.sizes))


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A picture with its questions, before it goes into a batch; ``suffixes``: token ids after the prefix."""

    picture: Image.Image
    prefix: str
    questions: list[Sample]
    suffixes: list[list[int]]


class Preparation:
    """Makes a `Batch` of samples. A picture that cannot be asked costs only itself; ``readings``: None
    without OCR.

    ``options``: texts that the model is to weigh for a sample; of those that have none it writes its own.
    """

    def __init__(
        self,
        processor: Idefics2Processor,
        readings: TextStore | None,
        options: Mapping[Sample, tuple[str, ...]],
    ) -> None:
        self.processor, self.readings, self.options = processor, readings, options

    def __call__(self, samples: Sequence[Sample]) -> tuple[Batch | None, list[Unanswered]]:
        """A batch of the samples, those of one picture next to each other; None when none could be asked."""
        one_thread_in_workers()
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
        read = "" if self.readings is None else describe(*self.readings.with_layout(first.image))
        return _Prepared(picture, prefix(read), group, [self._suffix(s.entity, read) for s in group])

    def _batch(self, prepared: list[_Prepared]) -> Batch:
        questions = [question for p in prepared for question in p.questions]
        return Batch(
            questions=questions,
            options=[self.options.get(question, ()) for question in questions],
            pixels=picture_bytes(self.processor, [p.picture for p in prepared]),
            prefixes=Tokens.padded(self.processor(text=[p.prefix for p in prepared])["input_ids"]),
            suffixes=Tokens.padded([ids for p in prepared for ids in p.suffixes]),
            picture_index=np.array([number for number, p in enumerate(prepared) for _ in p.questions]),
        )

    def _suffix(self, entity: str, read: str) -> list[int]:
        """Token ids of a prompt after its `prompts.prefix`: of the whole text, split as ids and never as
        text."""
        tokenizer = self.processor.tokenizer
        return tokenizer(prompt(entity, read)).input_ids[len(tokenizer(prefix(read)).input_ids) :]


def described_lengths(samples: Iterable[Sample], readings: TextStore | None) -> dict[str, int]:
    """Characters of what a prompt tells of each image (a millisecond each): nearly in proportion to its
    tokens."""
    lengths: dict[str, int] = {}
    if readings is None:
        return lengths
    for image in dict.fromkeys(sample.image for sample in samples):
        with contextlib.suppress(Exception):  # whoever asks about the picture meets it again, and tells
            lengths[image] = len(describe(*readings.with_layout(image)))
    return lengths


def in_batches(
    samples: Sequence[Sample], sizes: Mapping[str, tuple[int, int]], lengths: Mapping[str, int], rows: int
) -> list[list[Sample]]:
    """Batches of at most about ``rows``: pictures of one size, prompts of like length, the largest and
    longest first.

    ``sizes`` by file name of the processed picture, ``lengths`` as of `described_lengths`.
    """

    def size_and_length(group: list[Sample]) -> tuple[tuple[int, int], int]:
        return sizes.get(group[0].picture.name, (0, 0)), lengths.get(group[0].image, 0)

    groups = [[samples[position] for position in positions] for positions in by_picture(samples)]
    groups.sort(key=size_and_length, reverse=True)  # memory is short at once, or never
    batches: list[list[Sample]] = []
    last = None
    for group in groups:
        size, _ = size_and_length(group)
        if not batches or size != last or len(batches[-1]) + len(group) > rows:
            batches.append([])
        batches[-1] += group
        last = size
    return batches
