"""From what was weighed to predictions: one conditional logit over a question's options (McFadden 1974).

An option's utility is a weighted sum of what the model, the rules and the train table's labels (`data.usual`) give it;
its probability is the softmax over the options of its question. The weights are fitted to training's held-out rows,
with a prior; whether that gains F1 over the rules or the model alone is checked in folds whose rows it was not fitted
to.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from src import metrics
from src.data.errors import InputError
from src.reading.choose import AXES, TEMPERATURE
from src.reading.quantity import parse_answer, same_amount

FOLDS = 5
FEATURES = ("the model's log probability", "the rules' logit", "silence", "the model's own writing", "how usual it is")
"""Of an option; each once for all questions, and once more for lengths."""
_PRIOR = np.array([0.05, 1 / TEMPERATURE, 0.0, -3.0, 0.3, *[0.0] * 5])
"""The rules decide, model and labels where they hesitate: what is done without held-out rows (benchmarks/README.md)."""
_PRECISION = np.array([256.0, 16.0, 64.0, 16.0, 64.0, 1024.0, *[256.0] * 4])
"""Of the prior: of model and labels a hundred rows or more say as much, of the rules dozens (benchmarks/README.md)."""
_OWN_BELOW = (0.0, 0.5, 0.9, 1.0)

Weights = tuple[float, ...]
RULES_ALONE: Weights = (0.0, 1 / TEMPERATURE, 0.0, -100.0, *[0.0] * 6)
MODEL_ALONE: Weights = (1.0, *[0.0] * 9)


@dataclass(frozen=True, slots=True)
class Policy:
    """How predictions are made; as it comes, for a model that was not trained here.

    ``weights``: of `FEATURES`, twice. ``quiet``: whether silence goes by the expected F1, which is ``f1``.
    ``own_below``: the model writes an answer of its own where the probabilities of options and silence sum up to less.
    ``steps`` has the F1 on held-out rows of each step, with what was not taken, too.
    """

    weights: Weights = tuple(_PRIOR)
    quiet: bool = False
    f1: float = 0.5
    own_below: float = 0.0
    steps: tuple[tuple[str, float, bool], ...] = ()  # name, F1, whether it is taken


def fit(answers: pd.DataFrame) -> Policy:
    """Fit to held-out answers and choose the steps, each taken only where it surely gains.

    Raises `InputError` for probabilities that are no numbers.

    ``answers``: one row per question with ``picture, entity, truth, weighed`` (see `generation.Answered.entry`) and,
    with OCR, ``logits`` (see `rules.ByRules.entry`); ``usual`` where labels tell it, of each text weighed (see
    `UsualAmounts.weigh`).
    """
    if "weighed" not in answers:
        raise InputError("the adapter is of an earlier version of this code; remove its folder and train again")
    odd = sum(not all(math.isfinite(value) for _, value in weighed) for weighed in answers["weighed"])
    if odd:
        raise InputError(
            f"probabilities of the held-out answers are no numbers ({odd} rows): their model overflowed; remove the "
            f"adapter folder and train again"
        )
    tried: dict[str, tuple[Policy, bool]] = {}  # by name, the usual one first; whether its weights are fitted
    if "logits" in answers:
        for below in _OWN_BELOW:
            own = f", own writing below {below:g}" if below else ""
            tried[f"model and rules{own}"] = Policy(own_below=below), True
        tried["rules alone"] = Policy(RULES_ALONE), False
    tried["model alone"] = Policy(MODEL_ALONE), False
    given = {name: _in_folds(answers, *way) for name, way in tried.items()}
    best, *others = tried
    for name in others:
        best = name if _gains(answers, given[best], given[name]) else best
    policy, fitted = tried[best]
    quiet, name = replace(policy, quiet=True, f1=_f1(answers, given[best])), "silence by the expected F1"
    given[name] = _in_folds(answers, quiet, fitted)
    taken = {best, name} if _gains(answers, given[best], given[name]) else {best}
    steps = tuple((name, _f1(answers, predictions), name in taken) for name, predictions in given.items())
    policy = replace(quiet if name in taken else policy, f1=max(f1 for _, f1, used in steps if used), steps=steps)
    return _fitted(answers, policy) if fitted else policy


def _gains(answers: pd.DataFrame, before: pd.Series, after: pd.Series) -> bool:
    """Whether predictions gain F1 beyond what the luck of some rows gives (one-sided, at 5 %).

    By each row's part in the F1: ``2 TP - F1 (answers given + truths)`` is a sum over rows, 0 for all of ``before``.
    """
    f1 = _f1(answers, before)

    def parts(given: pd.Series) -> np.ndarray:
        right = _same(given, answers["truth"]) & answers["truth"].ne("").to_numpy()
        return 2 * right - f1 * (given.ne("").to_numpy().astype(float) + answers["truth"].ne("").to_numpy())

    changes = parts(after) - parts(before)
    return bool(changes.sum() > 1.645 * np.sqrt((changes**2).sum()))


def decide(answers: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """``prediction``, ``source`` (``model``, ``rules``, ``both``, ``neither``) and ``chance`` that it is right.

    ``answers`` as for `fit`, without ``picture`` and ``truth``; index and order are kept. ``chances`` has the
    probability of each option of ``weighed``, in order.
    """
    table = _Options.of(answers, policy.own_below)
    chances = table.chances(policy.weights)
    best = chances.argmax(axis=1)
    if policy.quiet:
        # F1 = 2TP / (2TP + FP + FN): an answer gains its chance of being right, silence that there is no truth.
        answered = np.where(table.there & ~table.silent, chances, -1.0)
        empty = np.where(table.silent, chances, 0.0).sum(axis=1)
        speaks = answered.max(axis=1) >= empty * policy.f1 / (2 - policy.f1)
        best = np.where(speaks, answered.argmax(axis=1), table.silent.argmax(axis=1))
    texts = [[text for text, _ in weighed] for weighed in answers["weighed"]]
    chosen = [own[number] for own, number in zip(texts, best, strict=True)]
    by_model, by_rules = table.log_chances.argmax(axis=1) == best, table.logits.argmax(axis=1) == best
    if "logits" not in answers:
        by_rules[:] = False
    source = np.select([by_model & by_rules, by_model, by_rules], ["both", "model", "rules"], "neither")
    rows = np.arange(len(best))
    return pd.DataFrame(
        {
            "prediction": chosen,
            "source": source,
            "chance": chances[rows, best],
            "chances": [row[: len(own)].tolist() for row, own in zip(chances, texts, strict=True)],
        },
        index=answers.index,
    )


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of all questions, padded to the most of one: (rows, options) each, features (rows, options, 10)."""

    there: np.ndarray
    silent: np.ndarray
    log_chances: np.ndarray  # -inf where none is
    logits: np.ndarray  # likewise, and for the model's own writing
    features: np.ndarray

    @classmethod
    def of(cls, answers: pd.DataFrame, own_below: float) -> "_Options":
        """Of what was weighed; the model's own writing is left out where the others sum up to ``own_below``."""
        weighed = answers["weighed"].tolist()
        by_rules = answers["logits"].tolist() if "logits" in answers else [None] * len(weighed)
        shape = len(weighed), max(map(len, weighed), default=1)
        usual = np.zeros(shape)
        for row, values in enumerate(answers.get("usual", ())):
            usual[row, : len(values)] = values
        there, silent, own = (np.zeros(shape, bool) for _ in range(3))
        log_chances, logits = np.full(shape, -np.inf), np.full(shape, -np.inf)
        for row, (options, given) in enumerate(zip(weighed, by_rules, strict=True)):
            known = len(given) if given is not None else 0
            for number, (text, value) in enumerate(options):
                is_own = number > known or (given is None and bool(text))
                total = sum(math.exp(other) for _, other in options[: known + 1])
                if is_own and known and total >= own_below:
                    continue
                there[row, number], own[row, number] = True, is_own
                silent[row, number] = not text and not is_own
                log_chances[row, number] = value
                logits[row, number] = given[number] if given is not None and number < known else 0.0
        lengths = answers["entity"].isin(list(AXES)).to_numpy()[:, None, None]
        plain = np.stack([np.where(there, log_chances, 0.0), np.where(there, logits, 0.0), silent, own, usual], axis=2)
        return cls(there, silent, log_chances, np.where(own, -np.inf, logits), np.dstack([plain, plain * lengths]))

    def chances(self, weights: Sequence[float] | np.ndarray) -> np.ndarray:
        """The probability of each option (rows, options); 0 where none is."""
        utility = np.where(self.there, self.features @ np.asarray(weights), -np.inf)
        powers = np.exp(utility - utility.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def _fitted(answers: pd.DataFrame, policy: Policy, steps: int = 30) -> Policy:
    """``policy`` with the weights that make the true options most probable, by Newton's method, with the prior."""
    table = _Options.of(answers, policy.own_below)
    truths = [_position_of(*row) for row in zip(answers["weighed"], answers["truth"], answers["entity"], strict=True)]
    usable = [number for number, place in enumerate(truths) if place >= 0 and table.there[number, place]]
    table = _Options(*(getattr(table, name)[usable] for name in _Options.__slots__))
    right = np.array([truths[number] for number in usable], int)
    weights = _PRIOR.copy()
    for _ in range(steps):
        chances = table.chances(weights)
        expected = np.einsum("ro,rof->rf", chances, table.features)
        slope = (expected - table.features[np.arange(len(right)), right]).sum(axis=0) + _PRECISION * (weights - _PRIOR)
        spread = table.features - expected[:, None, :]
        bend = np.einsum("ro,rof,rog->fg", chances, spread, spread) + np.diag(_PRECISION)
        weights = weights - np.clip(np.linalg.solve(bend, slope), -1, 1)
    return replace(policy, weights=tuple(float(weight) for weight in weights))


def _position_of(weighed: Sequence[tuple[str, float]], truth: str, entity: str) -> int:
    """Which option says the truth, best in its unit, else its amount; -1: none."""
    texts = [text for text, _ in weighed]
    wanted = metrics.comparable(truth)
    exact = next((number for number, text in enumerate(texts) if metrics.comparable(text) == wanted), -1)
    quantity = parse_answer(truth, entity)
    if exact >= 0 or quantity is None:
        return exact
    parsed = [parse_answer(text, entity) for text in texts]
    return next((number for number, other in enumerate(parsed) if other and same_amount(other, quantity)), -1)


def shown(answers: pd.DataFrame, decided: pd.DataFrame) -> list[str]:
    """Per row what was weighed, as JSON: ``[text, probability by the model, by the rules, as decided]`` each.

    By the model: of all that it could write; by the rules: null for what the model wrote itself, or without OCR.
    """
    table = _Options.of(answers, own_below=1.0)
    by_rules = table.chances(RULES_ALONE)
    texts = []
    for row, (weighed, chances) in enumerate(zip(answers["weighed"], decided["chances"], strict=True)):
        ruled = [
            round(float(by_rules[row, number]), 4) if np.isfinite(table.logits[row, number]) else None
            for number in range(len(weighed))
        ]
        entries = [
            [text, round(math.exp(value), 4), rule if "logits" in answers else None, round(chance, 4)]
            for (text, value), rule, chance in zip(weighed, ruled, chances, strict=True)
        ]
        texts.append(json.dumps(entries, ensure_ascii=False))
    return texts


def show(policy: Policy) -> str:
    """The steps and the weights as text."""
    lines = [f"{name:36s} F1 {f1:.3f}{'' if taken else '  (left out)'}" for name, f1, taken in policy.steps]
    own, more_of_lengths = policy.weights[: len(FEATURES)], policy.weights[len(FEATURES) :]
    for name, weight, more in zip(FEATURES, own, more_of_lengths, strict=True):
        lines.append(f"{name:36s} {weight:+.2f}, of lengths {more:+.2f} more")
    return "\n".join(lines)


def _f1(answers: pd.DataFrame, predictions: pd.Series) -> float:
    return metrics.score(answers["truth"].tolist(), predictions.tolist()).f1


def _folds(answers: pd.DataFrame, policy: Policy, fitted: bool) -> Iterator[tuple[np.ndarray, Policy]]:
    """Which rows are of each fifth of the pictures, with the policy fitted to the others."""
    fold = pd.factorize(answers["picture"])[0] % FOLDS
    for number in sorted(set(fold)):
        here = fold == number
        yield here, _fitted(answers[~here], policy) if fitted else policy


def _in_folds(answers: pd.DataFrame, policy: Policy, fitted: bool) -> pd.Series:
    """Predictions of each fold by what was fitted to the others."""
    predictions = pd.Series("", index=answers.index)
    for here, own in _folds(answers, policy, fitted):
        predictions[here] = decide(answers[here], own)["prediction"]
    return predictions


def reliability(answers: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """``chance, right, stage`` of held-out rows: of the model's answer as it is, of predictions of the other folds."""
    parts = [(answers["confidence"], answers["model_answer"], "the model's answer")]
    fitted = policy.weights not in (MODEL_ALONE, RULES_ALONE)
    decided = pd.concat([decide(answers[here], own) for here, own in _folds(answers, policy, fitted)])
    decided = decided.reindex(answers.index)
    parts.append((decided["chance"], decided["prediction"], "the prediction"))
    return pd.concat(
        [pd.DataFrame({"chance": chance, "right": _same(given, answers["truth"]), "stage": stage})
         for chance, given, stage in parts],
        ignore_index=True,
    )  # fmt: skip


def _same(first: pd.Series, second: pd.Series) -> np.ndarray:
    pairs = zip(first, second, strict=True)
    return np.array([metrics.comparable(a) == metrics.comparable(b) for a, b in pairs], dtype=bool)
