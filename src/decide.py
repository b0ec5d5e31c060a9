"""From answers to predictions: the model's answer, the rules' one, or none, by calibrated probabilities.

Calibrated on held-out rows of training. A step is taken only if it gains F1 there, in folds whose rows it was not
calibrated on: the rules as second opinion where they are surer than the model, silence where the expected F1 says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from src import metrics
from src.data.errors import InputError

FOLDS = 5
_SCORES = ("confidence", "silence", "rules_score")
_PRIOR = 1.0
"""Weight of a calibration's prior (the probability as it is) against the rows it is fitted to."""

Weights = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """How predictions are made; as it comes, for a model that was not trained here.

    ``steps`` has the F1 on held-out rows after each step, with what was not taken, too.

    ``model``, ``rules``, ``empty``: weights of the calibrations (see `_features`); ``f1``: for silence.
    """

    second_opinion: bool = True
    silence: bool = False
    model: Weights = (1.0, 0.0, 0.0)
    rules: Weights = (1.0, 0.0, 0.0)
    empty: Weights = (1.0, 0.0, 0.0)
    f1: float = 0.5
    steps: tuple[tuple[str, float, bool], ...] = ()  # name, F1, whether it is taken


def fit(answers: pd.DataFrame) -> Policy:
    """Calibrate on held-out answers and choose the steps. Raises `InputError` for probabilities that are no numbers.

    ``answers``: one row per question with ``picture, truth, model_answer, confidence, silence, rules, rules_score,
    candidates`` as in `adapter.TrainResult`; without the last three (no OCR) the rules are left out.
    """
    odd = {name: int((~np.isfinite(answers[name].to_numpy(float))).sum()) for name in _SCORES if name in answers}
    if any(odd.values()):
        counts = ", ".join(f"{name} of {count}" for name, count in odd.items() if count)
        raise InputError(
            f"probabilities of the held-out answers are no numbers ({counts} rows): their model overflowed; remove the "
            f"adapter folder and train again"
        )
    f1 = _f1(answers, answers["model_answer"])
    policy = Policy(second_opinion=False, f1=f1)
    steps = [("model alone", f1, True)]

    def step(name: str, tried: Policy) -> Policy:
        f1 = _f1(answers, _in_folds(answers, tried))
        gains = f1 > max(value for _, value, taken in steps if taken)
        steps.append((name, f1, gains))
        return tried if gains else policy

    if "rules" in answers:
        policy = step("rules as second opinion", replace(policy, second_opinion=True))
    policy = step("silence", replace(policy, silence=True))
    best = max(value for _, value, taken in steps if taken)
    return _calibrated(answers, replace(policy, f1=best, steps=tuple(steps)))


def decide(answers: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """``prediction``, ``source`` (``model``, ``rules``, ``both`` or ``silence``) and ``chance`` that it is right.

    ``answers`` as for `fit`, without ``picture`` and ``truth``; index and order are kept.
    """
    model = _probability(_features(answers, "model_answer", "confidence"), policy.model)
    decided = pd.DataFrame({"prediction": answers["model_answer"], "source": "model", "chance": model})
    if "rules" in answers:
        agree = _same(answers["rules"], answers["model_answer"])
        decided.loc[agree, "source"] = "both"
        if policy.second_opinion:
            rules = _probability(_features(answers, "rules", "rules_score"), policy.rules)
            theirs = ~agree & (rules > model)
            decided.loc[theirs, "prediction"], decided.loc[theirs, "source"] = answers["rules"], "rules"
            decided["chance"] = np.maximum(model, rules)
    if policy.silence:
        empty = _probability(_empty_features(answers), policy.empty)
        # F1 = 2TP / (2TP + FP + FN): an answer gains its chance of being right, silence that there is no truth.
        quiet = decided["prediction"].ne("") & (decided["chance"] < empty * policy.f1 / (2 - policy.f1))
        decided.loc[quiet, ["prediction", "source"]] = "", "silence"
        decided.loc[quiet, "chance"] = empty[quiet]
    return decided


def show(policy: Policy) -> str:
    """The steps as text."""
    return "\n".join(
        f"{name:28s} F1 {f1:.3f}{'' if taken else '  (no gain: left out)'}" for name, f1, taken in policy.steps
    )


def _f1(answers: pd.DataFrame, predictions: pd.Series) -> float:
    return metrics.score(answers["truth"].tolist(), predictions.tolist()).f1


def _folds(answers: pd.DataFrame, policy: Policy) -> Iterator[tuple[np.ndarray, Policy]]:
    """Which rows are of each fifth of the pictures, with the policy calibrated on the others."""
    fold = pd.factorize(answers["picture"])[0] % FOLDS
    for number in sorted(set(fold)):
        here = fold == number
        yield here, _calibrated(answers[~here], policy)


def _in_folds(answers: pd.DataFrame, policy: Policy) -> pd.Series:
    """Predictions of each fold by calibrations on the others."""
    predictions = pd.Series("", index=answers.index)
    for here, calibrated in _folds(answers, policy):
        predictions[here] = decide(answers[here], calibrated)["prediction"]
    return predictions


def _calibrated(answers: pd.DataFrame, policy: Policy) -> Policy:
    """``policy`` with its probabilities fitted to the rows."""
    right = _same(answers["model_answer"], answers["truth"])
    fitted = replace(
        policy,
        model=_fit_logistic(_features(answers, "model_answer", "confidence"), right),
        empty=_fit_logistic(_empty_features(answers), answers["truth"].eq("").to_numpy()),
    )
    if "rules" not in answers:
        return fitted
    rules_right = _same(answers["rules"], answers["truth"])
    return replace(fitted, rules=_fit_logistic(_features(answers, "rules", "rules_score"), rules_right))


def _same(first: pd.Series, second: pd.Series) -> np.ndarray:
    pairs = zip(first, second, strict=True)
    return np.array([metrics.comparable(a) == metrics.comparable(b) for a, b in pairs], dtype=bool)


def _features(answers: pd.DataFrame, text: str, score: str) -> np.ndarray:
    """Per row: log-odds of the score, 1, and whether the answer is none that can be read on the picture."""
    off = np.zeros(len(answers))
    if "candidates" in answers:
        pairs = zip(answers[text], answers["candidates"], strict=True)
        off = np.array([bool(a) and a not in c.split("; ") for a, c in pairs], dtype=float)
    return np.column_stack([_log_odds(answers[score]), np.ones(len(answers)), off])


def _empty_features(answers: pd.DataFrame) -> np.ndarray:
    """Per row: log-odds of the model's silence, 1, and whether nothing that could be meant can be read."""
    nothing = answers["candidates"].eq("") if "candidates" in answers else np.zeros(len(answers))
    return np.column_stack([_log_odds(answers["silence"]), np.ones(len(answers)), np.asarray(nothing, float)])


def _log_odds(chances: pd.Series) -> np.ndarray:
    clipped = np.clip(chances.to_numpy(float), 1e-4, 1 - 1e-4)
    return np.log(clipped / (1 - clipped))


def _probability(features: np.ndarray, weights: Weights) -> np.ndarray:
    return 1 / (1 + np.exp(-features @ np.asarray(weights)))


def _fit_logistic(features: np.ndarray, right: np.ndarray, steps: int = 50) -> Weights:
    """Weights by Newton's method, with a normal prior around (1, 0, 0): temperature 1, no offset."""
    prior = np.array([1.0, 0.0, 0.0])
    weights, hits = prior.copy(), right.astype(float)
    for _ in range(steps):
        chance = _probability(features, tuple(weights))
        slope = features.T @ (chance - hits) + _PRIOR * (weights - prior)
        bend = (features * (chance * (1 - chance))[:, None]).T @ features + _PRIOR * np.eye(3)
        weights = weights - np.clip(np.linalg.solve(bend, slope), -1, 1)
    return tuple(float(weight) for weight in weights)


def reliability(answers: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """``chance, right, stage`` of each held-out row's model answer, as it is and calibrated on the other folds."""
    right = _same(answers["model_answer"], answers["truth"])
    after = np.zeros(len(answers))
    for here, calibrated in _folds(answers, policy):
        after[here] = _probability(_features(answers[here], "model_answer", "confidence"), calibrated.model)
    stages = {"as it is": answers["confidence"].to_numpy(), "calibrated": after}
    return pd.concat(
        [pd.DataFrame({"chance": chance, "right": right, "stage": stage}) for stage, chance in stages.items()],
        ignore_index=True,
    )
