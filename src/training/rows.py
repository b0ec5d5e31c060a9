"""Training rows: usable ones, split by image, audited, in the test's proportions, ordered.

Only the table, options and prompt contexts are held in memory; images stay on disk until the collator opens
them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from accelerate import PartialState

from src.data.errors import InputError
from src.data.folders import RunFolder
from src.data.label_prior import LabelPrior
from src.data.labels import USABLE_REASONS
from src.data.names import read_files
from src.data.questions import Question, split_by_image, train_questions
from src.data.sampling import in_proportions, sampled_rows, test_counts
from src.data.tables import read_train
from src.data.text_store import TextStore
from src.model.family import family_of
from src.model.modeling import load_config
from src.reading.image_text import ImageText
from src.rules import parse_images, with_text
from src.settings import TrainSettings
from src.training import audit
from src.training.audit import Verdict


@dataclass(frozen=True, slots=True)
class TrainData:
    """The questions that are trained and scored on.

    Held-out questions keep their labels as they are; with OCR, made ones with the empty label are among them,
    too, because the test's rows have such and the labels have none.
    """

    questions: list[Question]  # to train on, after the audit, in the order of training
    held_out: list[Question]
    reasons: Counter[str]  # rows per reason of `train_questions`
    counts: dict[str, int]  # from the sampled rows to those that are trained on, in steps that add up
    audited: list[tuple[Question, Verdict]]  # before what the audit does; none without OCR
    ocr: bool
    sizes: dict[str, tuple[int, int]]  # see `Family.padded_sizes`
    label_prior: LabelPrior  # of the images to train on


def load_data(settings: TrainSettings) -> TrainData:
    """Read, sample, split by image, audit the labels, add empty labels (these two with OCR only), order.

    The rows per optimizer step are taken into account in the order, see `bucketed`. Raises `InputError`.
    """
    run, shares = RunFolder(settings.out), test_counts(settings.data)
    questions, reasons = _usable_questions(settings, shares)
    share = min(settings.held_out, settings.scored_rows / len(questions))
    train_part, held_out = split_by_image(questions, share, settings.seed)
    counts = {
        "sampled": sum(reasons.values()),
        "unusable": len(questions) - sum(reasons.values()),
        "held out": -len(held_out),
    }
    prior = LabelPrior((question.entity, question.group, question.label) for question in train_part)
    wanted = settings.rows
    texts: Mapping[str, ImageText] = {}
    audited: list[tuple[Question, Verdict]] = []
    kept = train_part
    if settings.ocr:
        texts = _parsed(questions, TextStore(run.processed), run)
        train_part, held_out = with_text(train_part, texts), with_text(held_out, texts)
        verdicts = audit.audit(train_part, texts)
        audited = list(zip(train_part, verdicts, strict=True))
        kept = audit.apply(train_part, verdicts) if settings.audit else train_part
        kept, held_out = ([q for q in part if not q.reason] for part in (kept, held_out))
        empty = sum(not question.label for question in kept) / max(1, len(kept))
        if empty < settings.empty_share:
            wanted = int(wanted * (1 - settings.empty_share) / (1 - empty))
    counts["left out by the audit"] = len(kept) - len(train_part)
    entities = [question.entity for question in kept]
    kept = [kept[position] for position in in_proportions(entities, wanted, shares, settings.seed)]
    added = _more_empty(kept, texts, settings)
    counts["over the test's proportions"] = len(kept) - len(entities)
    counts["made, with an empty answer"] = len(added)
    counts["to train on"] = len(kept) + len(added)
    held_out = held_out + _more_empty(held_out, texts, settings)
    # By the rows of an optimizer step, so that batch size times accumulation alone decides what a step sees.
    sizes = family_of(load_config(settings.model)).padded_sizes(run.processed)
    ordered = bucketed(kept + added, sizes, settings.rows_per_step, settings.seed)
    return TrainData(ordered, held_out, reasons, counts, audited, settings.ocr, sizes, prior)


def _usable_questions(
    settings: TrainSettings, shares: Mapping[str, float]
) -> tuple[list[Question], Counter[str]]:
    """Return the questions of the sampled rows that can be used, and the rows per reason; print what is left
    out."""
    table = read_train(settings.data)
    table = table.iloc[sampled_rows(table, settings.rows, shares, settings.seed)]
    processed, path = RunFolder(settings.out).processed, settings.data / "train.csv"
    questions, reasons = train_questions(table, processed, read_files(settings.data))
    left_out = {reason: count for reason, count in reasons.items() if reason not in USABLE_REASONS}
    if left_out:
        listed = ", ".join(f"{reason}: {count}" for reason, count in left_out.items())
        print(f"{path}: {sum(left_out.values())} of {len(table)} rows are left out ({listed})")
    if len({question.model_image for question in questions}) < 2:
        listed = ", ".join(f"{reason}: {count}" for reason, count in reasons.items())
        raise InputError(f"{path}: fewer than two images with a usable row ({listed})")
    return questions, reasons


def _parsed(questions: Sequence[Question], store: TextStore, run: RunFolder) -> Mapping[str, ImageText]:
    """Return the parsed text of the questions' images; of several processes one parses, the others read the
    journal."""
    images = [question.image for question in questions]
    with PartialState().main_process_first():
        return parse_images(images, store, run.rules_journal)


def _more_empty(
    questions: Sequence[Question], texts: Mapping[str, ImageText], settings: TrainSettings
) -> list[Question]:
    """Return made questions with the empty label, as many as lack to their share; none without OCR."""
    if not texts:
        return []
    valued = sum(bool(question.label) for question in questions)
    missing = round(valued / (1 - settings.empty_share)) - len(questions)
    return audit.empty_questions(questions, texts, max(0, missing), settings.seed)


def bucketed(
    questions: Sequence[Question], sizes: Mapping[str, tuple[int, int]], count: int, seed: int
) -> list[Question]:
    """Return ``questions`` ordered so that each ``count`` have images of one size and contexts of like
    length.

    A batch is padded to its widest and highest image and longest prompt: what differs costs what no row
    needs. ``sizes`` by the model image's name. What does not fill a batch of its size goes into mixed ones,
    of neighbouring sizes. The batches are shuffled.
    """
    rng = np.random.default_rng(seed)
    buckets: dict[tuple[int, int], list[Question]] = {}
    for position in rng.permutation(len(questions)):
        question = questions[position]
        buckets.setdefault(sizes.get(question.model_image.name, (0, 0)), []).append(question)
    batches: list[list[Question]] = []
    remainders: list[Question] = []
    for _, bucket in sorted(buckets.items(), key=lambda item: item[0]):
        full = len(bucket) - len(bucket) % count
        remainders += bucket[full:]
        alike = sorted(bucket[:full], key=lambda question: len(question.context))
        batches += [alike[start : start + count] for start in range(0, full, count)]
    batches += [remainders[start : start + count] for start in range(0, len(remainders), count)]
    # A short batch in between would shift all others.
    last = batches.pop() if batches and len(batches[-1]) < count else []
    return [question for number in rng.permutation(len(batches)) for question in batches[number]] + last
