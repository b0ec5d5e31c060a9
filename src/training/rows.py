"""What ``train.csv`` comes down to: usable rows, split by picture, audited, in the test's proportions,
ordered.

Only the table is held in memory; pictures and texts stay on disk until the collator asks for them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.data.errors import InputError
from src.data.folders import RunFolder
from src.data.label_prior import LabelPrior
from src.data.labels import USABLE_REASONS
from src.data.names import read_files
from src.data.samples import Sample, split_by_picture, train_samples
from src.data.sampling import in_proportions, sampled_rows, test_counts
from src.data.tables import read_train
from src.data.text_store import TextStore
from src.model.batches import described_lengths
from src.model.letterbox import letterboxed_sizes
from src.rules import ByRules, answer_samples
from src.settings import TrainSettings
from src.training import audit
from src.training.audit import Verdict


@dataclass(frozen=True, slots=True)
class TrainData:
    """What is trained and scored on.

    Held-out samples keep their labels as they are; with OCR, made ones with the empty answer are among them,
    too, because the test's rows have such and the labels have none.
    """

    samples: list[Sample]  # to train on, after the audit, in the order of training
    held_out: list[Sample]
    reasons: Counter[str]  # rows per reason of `samples.train_samples`
    audited: list[tuple[Sample, Verdict]]  # before what the audit does
    added: int  # made rows with the empty answer
    readings: TextStore | None  # None without OCR
    by_rules: Mapping[Sample, ByRules]  # of held-out samples; none without OCR
    sizes: dict[str, tuple[int, int]]  # `samples.letterboxed_sizes`
    usual: LabelPrior  # of the labels of the pictures to train on


def load_data(settings: TrainSettings) -> TrainData:
    """Read, draw, split by picture, audit the labels to train on, add empty answers (these two with OCR
    only), order.

    The rows per optimizer step are taken into account in the order, see `bucketed`. Raises `InputError`.
    """
    processed = RunFolder(settings.out).processed
    table, shares = read_train(settings.data), test_counts(settings.data)
    table = table.iloc[sampled_rows(table, settings.rows, shares, settings.seed)]
    samples, reasons = train_samples(table, processed, read_files(settings.data))
    left_out = {reason: count for reason, count in reasons.items() if reason not in USABLE_REASONS}
    if left_out:
        listed = ", ".join(f"{reason}: {count}" for reason, count in left_out.items())
        print(
            f"{settings.data / 'train.csv'}: {sum(left_out.values())} of {len(table)} rows are left out ({listed})"
        )
    if len({sample.picture for sample in samples}) < 2:
        found = ", ".join(f"{reason}: {count}" for reason, count in reasons.items())
        raise InputError(
            f"{settings.data / 'train.csv'}: fewer than two pictures with a usable row ({found})"
        )
    share = min(settings.held_out, settings.scored_rows / len(samples))
    train_part, held_part = split_by_picture(samples, share, settings.seed)
    usual = LabelPrior((sample.entity, sample.group, sample.answer) for sample in train_part)
    wanted, readings = settings.rows, None
    audited: list[tuple[Sample, Verdict]] = []
    more: list[Sample] = []
    kept, sizes = train_part, letterboxed_sizes(processed)
    if settings.ocr:
        readings = TextStore(processed)
        verdicts = audit.audit(train_part, readings)
        kept = audit.apply(train_part, verdicts) if settings.audit else train_part
        audited = list(zip(train_part, verdicts, strict=True))
        empty = sum(not sample.answer for sample in kept) / max(1, len(kept))
        if empty < settings.empty_share:
            wanted = int(wanted * (1 - settings.empty_share) / (1 - empty))
    entities = [sample.entity for sample in kept]
    kept = [kept[position] for position in in_proportions(entities, wanted, shares, settings.seed)]
    if readings is not None:
        more = _more_empty(kept, readings, settings)
        held_part = held_part + _more_empty(held_part, readings, settings)
    # By the rows of an optimizer step, so that batch size times accumulation alone decides what a step sees.
    rows_per_step = (settings.batch_size or 1) * (settings.accumulation or 1)
    drawn = kept + more
    ordered = bucketed(drawn, sizes, described_lengths(drawn, readings), rows_per_step, settings.seed)
    by_rules: dict[Sample, ByRules] = {}
    if readings is not None:
        by_rules = dict(zip(held_part, answer_samples(held_part, readings), strict=True))
    return TrainData(ordered, held_part, reasons, audited, len(more), readings, by_rules, sizes, usual)


def _more_empty(samples: Sequence[Sample], readings: TextStore, settings: TrainSettings) -> list[Sample]:
    """Made samples with the empty answer, as many as lack to their share."""
    valued = sum(bool(sample.answer) for sample in samples)
    missing = round(valued / (1 - settings.empty_share)) - len(samples)
    return audit.empty_samples(samples, readings, max(0, missing), settings.seed)


def bucketed(
    samples: Sequence[Sample],
    sizes: Mapping[str, tuple[int, int]],
    lengths: Mapping[str, int],
    count: int,
    seed: int,
) -> list[Sample]:
    """``samples`` in an order whose consecutive ``count`` have pictures of one size and prompts of like
    length.

    A batch is padded to its widest and highest picture and longest prompt: what differs costs what no row
    needs. ``sizes`` by the processed picture's name, ``lengths`` by image, see `batches.described_lengths`.
    What does not fill a batch of its size goes into mixed ones, of neighbouring sizes. The batches are
    shuffled.
    """

    def length(sample: Sample) -> int:
        return lengths.get(sample.image, 0)

    order = np.random.default_rng(seed)
    buckets: dict[tuple[int, int], list[Sample]] = {}
    for position in order.permutation(len(samples)):
        sample = samples[position]
        buckets.setdefault(sizes.get(sample.picture.name, (0, 0)), []).append(sample)
    whole, rest = [], []
    for size in sorted(buckets):
        bucket = buckets[size]
        full = len(bucket) - len(bucket) % count
        rest += bucket[full:]
        alike = sorted(bucket[:full], key=length)
        whole += [alike[start : start + count] for start in range(0, full, count)]
    mixed = [rest[start : start + count] for start in range(0, len(rest), count)]
    last = (
        mixed.pop() if mixed and len(mixed[-1]) < count else []
    )  # a short one in between would shift all others
    batches = whole + mixed
    return [sample for number in order.permutation(len(batches)) for sample in batches[number]] + last
