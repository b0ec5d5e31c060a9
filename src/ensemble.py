"""The ensemble: the scores of a question's options become a prediction, by a conditional logit (McFadden
1974).

An option's utility is a weighted sum of `FEATURES`: the model's log-probability, the rule logit, and the log
prior of train labels (`data.label_prior`). Its probability is the softmax over the options of its question,
of which abstaining (the empty answer) is one. The weights are fitted to training's held-out rows,
L2-regularised towards `_PRIOR`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from src import metrics
from src.data.errors import InputError
from src.data.questions import Question
from src.entities import AXES
from src.reading.options import TEMPERATURE, Option
from src.reading.quantity import parse_answer, same_amount

FOLDS = 5
FEATURES = (
    "the model's log-probability",
    "the rule logit",
    "abstaining",
    "a free-form answer",
    "the labels' log prior",
)
"""Features of an option; each has one weight for all questions, and one that is added for lengths."""
Weights = tuple[float, ...]
_PRIOR = np.array([0.0, 1 / TEMPERATURE, 0.0, -3.0, 0.3, *[0.0] * 5])
"""Weights without held-out rows: the rules decide, labels where they hesitate; a model has to earn its
weight.

Chosen in folds on the official rows (benchmarks/README.md).
"""
_PRECISION = np.array([256.0, 16.0, 64.0, 16.0, 64.0, 1024.0, *[256.0] * 4])
"""Ridge penalties: about 100 held-out rows outweigh those of model and labels, about 30 that of the rules."""
_STEPS = 30
"""Steps of Newton's method."""

PRIOR: Weights = tuple(_PRIOR)
RULES_ALONE: Weights = (0.0, 1 / TEMPERATURE, 0.0, -100.0, *[0.0] * 6)
MODEL_ALONE: Weights = (1.0, *[0.0] * 9)


def combine(questions: Sequence[Question], weights: Weights) -> list[Question]:
    """Return the questions with ``prediction``, its ``probability``, its ``source``, and those of each
    option.

    ``source`` says whose best option the prediction is: ``model``, ``rules``, ``both``, ``neither``.
    Questions need options that the model has scored.
    """
    if not questions:
        return []
    table = _OptionTable.of(questions)
    probabilities = table.probabilities(weights)
    best = probabilities.argmax(axis=1)
    by_model = table.log_probabilities.argmax(axis=1) == best
    by_rules = (table.rule_logits.argmax(axis=1) == best) & np.isfinite(table.rule_logits).any(axis=1)
    sources = np.select([by_model & by_rules, by_model, by_rules], ["both", "model", "rules"], "neither")
    combined = []
    for row, question in enumerate(questions):
        options = tuple(
            replace(option, probability=float(probability))
            for option, probability in zip(question.options, probabilities[row], strict=False)
        )
        chosen = options[best[row]]
        combined.append(
            replace(
                question,
                options=options,
                prediction=chosen.text,
                probability=chosen.probability,
                source=str(sources[row]),
            )
        )
    return combined


def contributions(question: Question, weights: Weights) -> np.ndarray:
    """Return what each of `FEATURES` adds to the utility of a question's options: (options, features)."""
    products = _OptionTable.of([question]).features[0] * np.asarray(weights)
    return products[:, : len(FEATURES)] + products[:, len(FEATURES) :]


def fit(questions: Sequence[Question]) -> Weights:
    """Return the weights under which the true options of held-out questions are most probable.

    Without OCR the model alone decides. Raises `InputError` for log-probabilities that are no numbers.
    """
    overflowed = sum(
        not all(math.isfinite(option.log_probability) for option in question.options)
        for question in questions
    )
    if overflowed:
        raise InputError(
            f"probabilities of the held-out answers are no numbers ({overflowed} rows): "
            "their model overflowed; remove the adapter folder and train again"
        )
    if not any(question.has_rule_logits for question in questions):
        return MODEL_ALONE
    truths = [_position_of(question.options, question.label, question.entity) for question in questions]
    usable = [number for number, truth in enumerate(truths) if truth >= 0]
    if not usable:
        return PRIOR
    table = _OptionTable.of([questions[number] for number in usable])
    right = table.features[np.arange(len(usable)), [truths[number] for number in usable]]
    weights = _PRIOR.copy()
    for _ in range(_STEPS):
        probabilities = table.probabilities(weights)
        expected = np.einsum("ro,rof->rf", probabilities, table.features)
        gradient = (expected - right).sum(axis=0) + _PRECISION * (weights - _PRIOR)
        deviation = table.features - expected[:, None, :]
        hessian = np.einsum("ro,rof,rog->fg", probabilities, deviation, deviation) + np.diag(_PRECISION)
        weights = weights - np.clip(np.linalg.solve(hessian, gradient), -1, 1)
    return tuple(float(weight) for weight in weights)


@dataclass(frozen=True, slots=True)
class _OptionTable:
    """The options of questions, padded to the most of one: (rows, options), features (rows, options, 10)."""

    log_probabilities: np.ndarray  # -inf where there is no option
    rule_logits: np.ndarray  # likewise, and for a free-form answer
    features: np.ndarray

    @classmethod
    def of(cls, questions: Sequence[Question]) -> "_OptionTable":
        def padded(value: Callable[[Option], float], padding: float) -> np.ndarray:
            table = np.full((len(questions), max(len(q.options) for q in questions)), padding)
            for row, question in enumerate(questions):
                table[row, : len(question.options)] = [value(option) for option in question.options]
            return table

        log_probabilities = padded(lambda option: option.log_probability, -np.inf)
        rule_logits = padded(lambda o: -np.inf if o.rule_logit is None else o.rule_logit, -np.inf)
        columns = [
            np.where(np.isfinite(log_probabilities), log_probabilities, 0.0),
            np.where(np.isfinite(rule_logits), rule_logits, 0.0),
            padded(lambda option: not option.texts, 0.0),
            padded(lambda option: bool(option.texts) and option.rule_logit is None, 0.0),
            padded(lambda option: option.log_prior, 0.0),
        ]
        shared = np.stack(columns, axis=2)
        is_length = np.array([question.entity in AXES for question in questions])[:, None, None]
        return cls(log_probabilities, rule_logits, np.dstack([shared, shared * is_length]))

    def probabilities(self, weights: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return the probability of each option (rows, options); 0 where there is none."""
        is_there = np.isfinite(self.log_probabilities)
        utility = np.where(is_there, self.features @ np.asarray(weights), -np.inf)
        powers = np.exp(utility - utility.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def _position_of(options: Sequence[Option], label: str, entity: str) -> int:
    """Return which option says the label, if possible in its unit, else its amount; -1 if none does."""
    texts = [option.text for option in options]
    wanted = metrics.comparable(label)
    exact = next((number for number, text in enumerate(texts) if metrics.comparable(text) == wanted), -1)
    quantity = parse_answer(label, entity)
    if exact >= 0 or quantity is None:
        return exact
    amounts = [parse_answer(text, entity) for text in texts]
    return next(
        (number for number, other in enumerate(amounts) if other and same_amount(other, quantity)), -1
    )


def describe(questions: Sequence[Question], weights: Weights) -> str:
    """Return a text: the F1 on held-out rows of model, rules and ensemble (fitted to other folds), with
    intervals, and the weights."""
    combined = {"the model alone": combine(questions, MODEL_ALONE)}
    if any(question.has_rule_logits for question in questions):
        combined["the rules alone"] = combine(questions, RULES_ALONE)
    combined["the ensemble"] = combine_in_folds(questions)
    lines = [f"{len(questions)} held-out rows, F1 with its 95 % interval:"]
    for name, answered in combined.items():
        score = metrics.score([q.label for q in answered], [q.prediction for q in answered])
        low, high = metrics.f1_interval(score)
        lines.append(f"{name:28s} {score.f1:.2f} ({low:.2f} to {high:.2f})")
    lines.append("weights:")
    for name, weight, extra in zip(FEATURES, weights, weights[len(FEATURES) :], strict=False):
        lines.append(f"{name:28s} {weight:+.2f}, for lengths {extra:+.2f} more")
    return "\n".join(lines)


def folds(questions: Sequence[Question]) -> Iterator[tuple[np.ndarray, Weights]]:
    """Yield which rows are of each fifth of the images, with the weights fitted to the others."""
    fold = (
        pd.factorize(pd.Series([question.model_image.name for question in questions], dtype=object))[0]
        % FOLDS
    )
    for number in sorted(set(fold)):
        here = fold == number
        yield here, fit([question for question, is_here in zip(questions, here, strict=True) if not is_here])


def combine_in_folds(questions: Sequence[Question]) -> list[Question]:
    """Return `combine` of each fold by the weights of the others; order is kept."""
    combined = list(questions)
    for here, weights in folds(questions):
        positions = np.flatnonzero(here).tolist()
        for position, question in zip(
            positions, combine([questions[p] for p in positions], weights), strict=True
        ):
            combined[position] = question
    return combined


def reliability(questions: Sequence[Question]) -> pd.DataFrame:
    """Return ``probability, right, stage`` of held-out rows: of the model's answers, and of predictions in
    folds."""
    rows = [(q.confidence, q.model_answer, q.label, "the model's answer") for q in questions]
    rows += [(q.probability, q.prediction, q.label, "the prediction") for q in combine_in_folds(questions)]
    return pd.DataFrame(
        [
            (probability, metrics.comparable(answer) == metrics.comparable(label), stage)
            for probability, answer, label, stage in rows
        ],
        columns=["probability", "right", "stage"],
    )
