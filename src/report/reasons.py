"""Sentences on a row: what put its answer before another option, and why a wrong answer is wrong."""

from collections.abc import Mapping

import numpy as np

from src import ensemble
from src.data.questions import Question
from src.metrics import comparable
from src.reading.options import Option
from src.reading.quantity import parse_answer, same_amount
from src.report.rows import WRONG, Row

FAILURES = {
    "other unit": "it is the same amount in another unit",
    "should be empty": "the image does not show it, and something was answered",
    "not asked": "it was not asked",
    "not read": "the truth is not among the options",
    "both chose another": "rules and model both chose another option than the truth",
    "rules had it": "the rules chose the truth, the model another option",
    "model had it": "the model chose the truth, the rules another option",
    "both had it": "rules and model chose the truth, and the rest tipped it",
}
"""Classes of wrong answers, and what to say of each."""
LabelCounts = Mapping[tuple[str, str], int]
"""Numbers of labels in train.csv by entity and group."""
_MODEL, _RULES, _ABSTAINING, _FREE_FORM, _PRIOR = range(len(ensemble.FEATURES))


def failure_of(row: Row) -> str:
    """Return a key of `FAILURES`; empty for an answer that is right, or whose truth is not known."""
    if row.outcome not in WRONG:
        return ""
    question, truth = row.question, row.truth or ""
    if question.reason:
        return "not asked"
    if is_other_unit(row.answer, truth):
        return "other unit"
    if not comparable(truth):
        return "should be empty"
    true = next((option for option in question.options if _says(option, truth)), None)
    if true is None:
        return "not read"
    by_rules, by_model = (
        true is max(question.options, key=score) for score in (_rule_logit, _log_probability)
    )
    if by_rules == by_model:
        return "both had it" if by_rules else "both chose another"
    return "rules had it" if by_rules else "model had it"


def is_other_unit(answer: str, truth: str) -> bool:
    """Tell whether two answers say the same amount in different units."""
    first, second = parse_answer(answer), parse_answer(truth)
    return bool(first and second and first.unit != second.unit and same_amount(first, second))


def _says(option: Option, text: str) -> bool:
    return comparable(text) in ({comparable(amount) for amount in option.texts} or {""})


def _rule_logit(option: Option) -> float:
    return -np.inf if option.rule_logit is None else option.rule_logit


def _log_probability(option: Option) -> float:
    return option.log_probability if np.isfinite(option.log_probability) else -np.inf


def why(row: Row, counts: LabelCounts) -> str:
    """Return a sentence on what put the answer before the truth, if that was an option, else before the next.

    The score that it names is one without which the other option would have won; of several, or if there is
    none, the one that says most for the answer.
    """
    options = row.question.options
    chosen = next((option for option in options if option.text == row.answer), None)
    if not row.is_answered or chosen is None:
        return ""
    others = [option for option in options if option is not chosen]
    if not others:
        return "Nothing that fits the question was read."
    true = [option for option in others if row.outcome in WRONG and _says(option, row.truth or "")]
    other = max(true or others, key=lambda option: option.probability)
    table = ensemble.contributions(row.question, row.weights)
    tipped_by = int((table[options.index(chosen)] - table[options.index(other)]).argmax())
    against = [
        name
        for name, score, number in (
            ("the rules", _rule_logit, _RULES),
            ("the model", _log_probability, _MODEL),
        )
        if number != tipped_by and score(chosen) < score(other)
    ]
    tail = f"; {' and '.join(against)} would choose {_name(other)}" if against else ""
    return f"{_tipped(tipped_by, row.question, chosen, other, counts)}{tail}."


def _name(option: Option) -> str:
    return option.text or "the empty answer"


def _tipped(by: int, question: Question, chosen: Option, other: Option, counts: LabelCounts) -> str:
    """Return the sentence on one of `ensemble.FEATURES`, without its full stop."""
    if by == _PRIOR:
        return _by_prior(question, chosen, other, counts)
    if by == _ABSTAINING:
        comparison = "less" if chosen.texts else "more"
        return f"On held-out rows the empty answer is right {comparison} often than the scores say"
    if by == _FREE_FORM:
        return f"{_name(other)} was not read on the image, the model wrote it"
    return f"{('The model prefers', 'The rules prefer')[by == _RULES]} {_name(chosen)} to {_name(other)}"


def _by_prior(question: Question, chosen: Option, other: Option, counts: LabelCounts) -> str:
    entity = question.entity.replace("_", " ")
    if chosen.texts and other.texts:
        sentence = f"{chosen.text} is a more usual {entity} than {other.text} among train labels"
    else:
        common = "a usual" if chosen.texts else "an unusual"
        sentence = f"{chosen.text or other.text} is {common} {entity} among train labels"
    if not question.group or not counts:
        return sentence
    return f"{sentence} (group {question.group} has {counts.get((question.entity, question.group), 'none')})"
