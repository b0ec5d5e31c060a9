"""Combines the scores of a question's options into a prediction: a conditional logit (McFadden 1974).

An option's utility is a weighted sum of `FEATURES`: what the model, the rules and the labels of train.csv
(`data.label_prior`) say of it. Its probability is the softmax over the options of its question, of which
abstaining (the empty answer) is one. The weights are fitted to training's held-out rows, by ridge regression
around `_PRIOR`.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from src import metrics
from src.data.errors import InputError
from src.reading.options import AXES, TEMPERATURE
from src.reading.quantity import parse_answer, same_amount

FOLDS = 5
FEATURES = (
    "the model's log probability",
    "the rules' logit",
    "abstaining",
    "a free-form answer",
    "labels' log prior",
)
"""Features of an option; each has one weight for all questions, and one that is added for lengths."""
Weights = tuple[float, ...]
_PRIOR = np.array([0.0, 1 / TEMPERATURE, 0.0, -3.0, 0.3, *[0.0] * 5])
"""Weights without held-out rows: the rules decide, the labels where they hesitate; a model has to earn its
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


def combine(answers: pd.DataFrame, weights: Weights) -> pd.DataFrame:
    """Return ``prediction``, its probability ``chance``, ``source`` and the probability of each option
    (``chances``).

    ``answers``: one row per question with ``entity, weighed`` (see `generation.Answered.entry`) and, with
    OCR, ``logits`` (see `rules.ByRules.entry`); ``usual``: the log prior of each option, where labels tell
    it. Index and order are kept. ``source`` says whose best option the prediction is: ``model``, ``rules``,
    ``both``, ``neither``.
    """
    options = _Options.of(answers)
    chances = options.probabilities(weights)
    best = chances.argmax(axis=1)
    texts = [[text for text, _ in weighed] for weighed in answers["weighed"]]
    by_model, by_rules = (
        options.log_probabilities.argmax(axis=1) == best,
        options.logits.argmax(axis=1) == best,
    )
    if "logits" not in answers:
        by_rules[:] = False
    return pd.DataFrame(
        {
            "prediction": [own[number] for own, number in zip(texts, best, strict=True)],
            "source": np.select(
                [by_model & by_rules, by_model, by_rules], ["both", "model", "rules"], "neither"
            ),
            "chance": chances[np.arange(len(best)), best],
            "chances": [row[: len(own)].tolist() for row, own in zip(chances, texts, strict=True)],
        },
        index=answers.index,
    )


def fit(answers: pd.DataFrame) -> Weights:
    """Return the weights under which the true options of held-out rows are most probable.

    ``answers`` as for `combine`, with ``truth`` and ``picture``. Without OCR the model alone decides. Raises
    `InputError` for an adapter of an earlier version, and for probabilities that are no numbers.
    """
    if "weighed" not in answers:
        raise InputError(
            "the adapter is of an earlier version of this code; remove its folder and train again"
        )
    odd = sum(not all(math.isfinite(value) for _, value in weighed) for weighed in answers["weighed"])
    if odd:
        raise InputError(
            f"probabilities of the held-out answers are no numbers ({odd} rows): their model overflowed; remove the "
            f"adapter folder and train again"
        )
    if "logits" not in answers:
        return MODEL_ALONE
    options = _Options.of(answers)
    columns = (answers["weighed"], answers["truth"], answers["entity"])
    truths = np.array([_position_of(*row) for row in zip(*columns, strict=True)], int)
    usable = np.flatnonzero(truths >= 0)
    options = _Options(*(getattr(options, name)[usable] for name in _Options.__slots__))
    right = options.features[np.arange(len(usable)), truths[usable]]
    weights = _PRIOR.copy()
    for _ in range(_STEPS):
        chances = options.probabilities(weights)
        expected = np.einsum("ro,rof->rf", chances, options.features)
        gradient = (expected - right).sum(axis=0) + _PRECISION * (weights - _PRIOR)
        spread = options.features - expected[:, None, :]
        hessian = np.einsum("ro,rof,rog->fg", chances, spread, spread) + np.diag(_PRECISION)
        weights = weights - np.clip(np.linalg.solve(hessian, gradient), -1, 1)
    return tuple(float(weight) for weight in weights)


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of all questions, padded to the most of one: (rows, options) each, features (rows, options,
    10)."""

    there: np.ndarray
    log_probabilities: np.ndarray  # -inf where there is no option
    logits: np.ndarray  # likewise, and for a free-form answer
    features: np.ndarray

    @classmethod
    def of(cls, answers: pd.DataFrame) -> "_Options":
        weighed = answers["weighed"].tolist()
        by_rules = answers["logits"].tolist() if "logits" in answers else [[]] * len(weighed)
        shape = len(weighed), max(map(len, weighed), default=1)
        log_prior = np.zeros(shape)
        for row, values in enumerate(answers.get("usual", ())):
            log_prior[row, : len(values)] = values
        log_probabilities, logits = np.full(shape, -np.inf), np.full(shape, -np.inf)
        abstains, is_free = np.zeros(shape, bool), np.zeros(shape, bool)
        for row, (own, given) in enumerate(zip(weighed, by_rules, strict=True)):
            log_probabilities[row, : len(own)] = [value for _, value in own]
            logits[row, : len(own)] = [*given, *[0.0] * len(own)][: len(own)]
            abstains[row, : len(own)] = [not text for text, _ in own]
            is_free[row, : len(own)] = [
                bool(text) and number >= len(given) for number, (text, _) in enumerate(own)
            ]
        there = np.isfinite(log_probabilities)
        values = [
            np.where(there, log_probabilities, 0.0),
            np.where(there, logits, 0.0),
            abstains,
            is_free,
            log_prior,
        ]
        for_all = np.stack(values, axis=2)
        is_length = answers["entity"].isin(AXES).to_numpy()[:, None, None]
        features = np.dstack([for_all, for_all * is_length])
        return cls(there, log_probabilities, np.where(is_free, -np.inf, logits), features)

    def probabilities(self, weights: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return the probability of each option (rows, options); 0 where there is none."""
        utility = np.where(self.there, self.features @ np.asarray(weights), -np.inf)
        powers = np.exp(utility - utility.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def _position_of(weighed: Sequence[tuple[str, float]], truth: str, entity: str) -> int:
    """Return which option says the truth, if possible in its unit, else its amount; -1 if none does."""
    texts = [text for text, _ in weighed]
    wanted = metrics.comparable(truth)
    exact = next((number for number, text in enumerate(texts) if metrics.comparable(text) == wanted), -1)
    quantity = parse_answer(truth, entity)
    if exact >= 0 or quantity is None:
        return exact
    parsed = [parse_answer(text, entity) for text in texts]
    return next((number for number, other in enumerate(parsed) if other and same_amount(other, quantity)), -1)


def options_as_json(answers: pd.DataFrame, combined: pd.DataFrame) -> list[str]:
    """Return per row its options as JSON: ``[text, probability by the model, by the rules, combined]`` each.

    That by the model is of all that it could write; that by the rules is null for a free-form answer and
    without OCR.
    """
    options = _Options.of(answers)
    by_rules = options.probabilities(RULES_ALONE)
    texts = []
    for row, (weighed, chances) in enumerate(zip(answers["weighed"], combined["chances"], strict=True)):
        entries = []
        for number, ((text, value), chance) in enumerate(zip(weighed, chances, strict=True)):
            is_ruled = "logits" in answers and np.isfinite(options.logits[row, number])
            rule = round(float(by_rules[row, number]), 4) if is_ruled else None
            entries.append([text, round(math.exp(value), 4), rule, round(chance, 4)])
        texts.append(json.dumps(entries, ensure_ascii=False))
    return texts


def describe(answers: pd.DataFrame, weights: Weights) -> str:
    """Return the weights as text, and the F1 on held-out rows of model, rules and ensemble (fitted to other
    folds)."""
    given = {"the model alone": combine(answers, MODEL_ALONE)["prediction"]}
    if "logits" in answers:
        given["the rules alone"] = combine(answers, RULES_ALONE)["prediction"]
    given["the ensemble"] = _in_folds(answers)["prediction"]
    truths = answers["truth"].tolist()
    lines = [f"{name:28s} F1 {metrics.score(truths, own.tolist()).f1:.3f}" for name, own in given.items()]
    for name, weight, more in zip(FEATURES, weights, weights[len(FEATURES) :], strict=False):
        lines.append(f"{name:28s} {weight:+.2f}, for lengths {more:+.2f} more")
    return "\n".join(lines)


def _folds(answers: pd.DataFrame) -> Iterator[tuple[np.ndarray, Weights]]:
    """Yield which rows are of each fifth of the pictures, with the weights fitted to the others."""
    fold = pd.factorize(answers["picture"])[0] % FOLDS
    for number in sorted(set(fold)):
        here = fold == number
        yield here, fit(answers[~here])


def _in_folds(answers: pd.DataFrame) -> pd.DataFrame:
    """Return `combine` of each fold by the weights of the others."""
    return pd.concat([combine(answers[here], weights) for here, weights in _folds(answers)]).reindex(
        answers.index
    )


def reliability(answers: pd.DataFrame) -> pd.DataFrame:
    """Return ``chance, right, stage`` of held-out rows: of the model's answers, and of predictions in
    folds."""
    combined = _in_folds(answers)
    parts = [(answers["confidence"], answers["model_answer"], "the model's answer"),
             (combined["chance"], combined["prediction"], "the prediction")]  # fmt: skip
    tables = []
    for chance, given, stage in parts:
        pairs = zip(given, answers["truth"], strict=True)
        right = [metrics.comparable(a) == metrics.comparable(b) for a, b in pairs]
        tables.append(pd.DataFrame({"chance": chance, "right": right, "stage": stage}))
    return pd.concat(tables, ignore_index=True)
