"""Answers of the model: options are scored, or the model writes freely within the answer grammar.

The prompt up to the question (image, context) is run through the model once per image; its key-value cache is
repeated for each question. Batches are made in other processes, see `batches`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from peft import PeftModel
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import DynamicCache, PreTrainedModel, ProcessorMixin

from src.data.questions import Question
from src.model.batches import Batch, Preparation, in_batches
from src.model.collator import on_device
from src.model.decoding import AnswerGrammar, ModelAnswer, generate_in_grammar
from src.model.family import family_of
from src.model.memory import free_memory
from src.model.modeling import load_adapter, load_base, load_config, load_processor, merge, preset_for
from src.model.precision import in_float32, vision_in_bfloat16
from src.model.prompts import PromptFunction, prompt_for
from src.model.scoring import score_options
from src.reading.options import Option
from src.settings import decoding_workers

NO_NUMBER = "probabilities that are no numbers"
"""Reason of a question that the model overflowed at, in float32, too."""
Model: TypeAlias = PeftModel | PreTrainedModel
Scorer: TypeAlias = Callable[..., list[ModelAnswer]]
"""Scores the options of a batch, with the arguments of `score_options`."""


def generate(
    model: Model,
    processor: ProcessorMixin,
    questions: Sequence[Question],
    sizes: Mapping[str, tuple[int, int]],
    batch_size: int,
    *,
    workers: int | None = None,
    bar_name: str = "predict",
    prompt: PromptFunction | None = None,
    score: Scorer = score_options,
    to_the_limit: bool = False,
) -> Iterator[Question]:
    """Yield each question with the model's answer and scores, or with a ``reason``, in no certain order.

    Options of a question are scored; where there are none but to abstain, an answer is written, greedily
    within the grammar. Out of memory, a batch is halved, and so are those after it; one whose probabilities
    are no numbers (an overflow) is answered once more in float32. ``sizes`` as in `in_batches`; ``workers``
    as in `settings.decoding_workers`; ``bar_name`` empty for no bar; ``prompt``: the words around a question,
    by default those of `prompt_for`; ``score``: scores the options, as `score_options` does;
    ``to_the_limit`` as in `decoding.generate_in_grammar`.
    """
    model.eval()
    grammar = AnswerGrammar(processor).to(model.device)
    cuda = model.device.type == "cuda"
    batches = in_batches(questions, sizes, batch_size)
    loader: DataLoader[Any] = DataLoader(
        batches,  # type: ignore[arg-type]  # lists of questions, one batch each: all that a map-style dataset needs
        batch_size=None,
        collate_fn=Preparation(processor, prompt),
        num_workers=min(decoding_workers(workers, cuda), len(batches)),
        pin_memory=cuda,
    )
    bar = tqdm(total=len(questions), desc=bar_name, unit="row", disable=not bar_name)
    limit = batch_size
    for batch_questions, (batch, unanswered) in zip(batches, loader, strict=True):
        yield from unanswered
        start = 0
        while batch is not None and start < len(batch.questions):
            part = batch.part(start, start + limit)
            answers = None
            try:
                answers = finite_answers(model, grammar, part, score, to_the_limit)
            except torch.OutOfMemoryError:
                if len(part.questions) == 1:
                    raise
            if answers is None:  # here, because the error holds the tensors of what failed
                limit = (len(part.questions) + 1) // 2
                free_memory()
                continue
            start += len(part.questions)
            yield from map(scored, part.questions, answers)
        bar.update(len(batch_questions))
    bar.close()


def scored(question: Question, answer: ModelAnswer | None) -> Question:
    """Return a question with the model's answer and scores; None: a ``reason`` instead."""
    if answer is None:
        return replace(question, reason=NO_NUMBER)
    asked_options = question.options or (Option(),)
    options = [
        replace(option, log_probability=value)
        for option, (_, value) in zip(asked_options, answer.log_probabilities, strict=False)
    ]
    free_form = answer.log_probabilities[len(asked_options) :]
    return replace(
        question,
        options=(*options, *(Option((text,), log_probability=value) for text, value in free_form)),
        model_answer=answer.answer,
        confidence=answer.confidence,
        overridden=answer.overridden,
    )


def finite_answers(
    model: Model,
    grammar: AnswerGrammar,
    batch: Batch,
    score: Scorer = score_options,
    to_the_limit: bool = False,
) -> list[ModelAnswer | None]:
    """Return `answer`; a row whose probabilities are no numbers is tried in float32, or None in the end."""
    answers: list[ModelAnswer | None] = [*answer(model, grammar, batch, score, to_the_limit)]
    if all(row and row.is_finite for row in answers):
        return answers
    try:
        with in_float32(model):
            again: list[ModelAnswer | None] = [*answer(model, grammar, batch, score, to_the_limit)]
    except torch.OutOfMemoryError:  # with weights of twice the size
        again = [None] * len(answers)
    better = [
        first if first and first.is_finite else second for first, second in zip(answers, again, strict=True)
    ]
    return [row if row and row.is_finite else None for row in better]


def answer(
    model: Model,
    grammar: AnswerGrammar,
    batch: Batch,
    score: Scorer = score_options,
    to_the_limit: bool = False,
) -> list[ModelAnswer]:
    """Return the model's answer to each question of a batch.

    Equal to plain passes and ``generate`` of each whole prompt: the logits to 1e-4, but for
    `vision_in_bfloat16`. Beside a model in half precision, LoRA layers, which are in float32, compute in it,
    too, as in training.
    """
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    is_half = isinstance(model, PeftModel) and base.dtype is not torch.float32
    with torch.inference_mode(), torch.autocast(model.device.type, base.dtype, enabled=is_half):
        return _answer(base, grammar, batch, score, to_the_limit)


def _answer(
    base: Any, grammar: AnswerGrammar, batch: Batch, score: Scorer, to_the_limit: bool
) -> list[ModelAnswer]:
    device = base.device
    prefixes, prefix_mask = batch.prefixes.to(device)
    suffixes, suffix_mask = batch.suffixes.to(device)
    image_index = on_device(batch.image_index, device)
    cache = DynamicCache(config=base.config)
    base.model(
        **batch.pixels.as_input(device, base.dtype),
        input_ids=prefixes,
        attention_mask=prefix_mask,
        position_ids=(prefix_mask.cumsum(dim=1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    )
    cache.batch_select_indices(image_index)
    entities = [question.entity for question in batch.questions]
    options = [question.option_texts for question in batch.questions]
    before, begun = prefix_mask[image_index], prefixes[image_index]
    answers: dict[int, ModelAnswer] = {}
    if any(options):
        scores = score(
            base,
            grammar,
            entities,
            options,
            cache=cache,
            before=before,
            questions=suffixes,
            question_mask=suffix_mask,
        )
        answers = dict(enumerate(scores))
    rows = [row for row, texts in enumerate(options) if not texts]
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


@dataclass(frozen=True, slots=True)
class AnswererSettings:
    """Everything that an `Answerer` is made of; small, so that it can go to another node."""

    model: str
    adapter: Path | None
    merged: bool
    image_splitting: bool
    prompt: str  # the template of `prompt_for`
    processed: Path | None  # None: images are of one size, or asked one by one
    batch_size: int
    workers: int | None
    cpu: bool = False


class Answerer:
    """A model with its processor, prompt and scorer, and the folder of images that it is asked about."""

    def __init__(
        self,
        settings: AnswererSettings,
        model: Model,
        processor: ProcessorMixin,
        *,
        prompt: PromptFunction | None = None,
        score: Scorer = score_options,
    ) -> None:
        self.settings, self.model, self.processor, self.score = settings, model, processor, score
        self.prompt = prompt or prompt_for(processor, settings.prompt)
        self.sizes = family_of(processor).padded_sizes(settings.processed)

    @classmethod
    def load(cls, settings: AnswererSettings) -> "Answerer":
        """Load the base model, put the adapter on it, and load the processor. Raises `InputError`."""
        preset_for(load_config(settings.model), settings.cpu)  # of this node
        processor = load_processor(settings.model, settings.image_splitting)
        return cls(settings, with_adapter(load_base(settings.model), settings), processor)

    def answers(self, questions: Sequence[Question], bar_name: str = "predict") -> Iterator[Question]:
        """Yield the answered questions, see `generate`."""
        return generate(
            self.model,
            self.processor,
            questions,
            self.sizes,
            self.settings.batch_size,
            workers=self.settings.workers,
            bar_name=bar_name,
            prompt=self.prompt,
            score=self.score,
        )

    def __call__(self, groups: Sequence[Sequence[Question]]) -> list[list[Question]]:
        """Return the answered questions of each image, in their order."""
        questions = [question for group in groups for question in group]
        answered = {question.row: question for question in self.answers(questions, bar_name="")}
        return [[answered[question.row] for question in group] for group in groups]


def with_adapter(base: PreTrainedModel, settings: AnswererSettings) -> Model:
    """Put the adapter on a base from `load_base`, merged where the settings say so; the base without one."""
    vision_in_bfloat16(base)
    if settings.adapter is None:
        return base
    return merge(base, settings.adapter) if settings.merged else load_adapter(base, settings.adapter)
