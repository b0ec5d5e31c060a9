"""Questions as JSON values and as the rows of ``test_out.details.csv``, and back."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from src.data.errors import InputError
from src.data.questions import Question
from src.data.tables import read_table
from src.reading.lines import Box
from src.reading.options import Option, rule_probabilities

_FIELDS = {
    "row": "index",
    "link": "image_link",
    "entity": "entity_name",
    "prediction": "prediction",
    "source": "source",
    "probability": "probability",
    "model_answer": "model_answer",
    "confidence": "confidence",
    "overridden": "overridden",
    "reason": "reason",
    "image": "image",
    "group": "group_id",
}
"""Fields of a question and the columns of the details table that hold them."""
COLUMNS = (*_FIELDS.values(), "model_image", "rules", "rules_probability", "candidates", "options")


def to_entry(question: Question) -> dict[str, Any]:
    """Return a question as JSON values, without context and traceback; `from_entry` reads it back."""
    options = zip(question.options, rule_probabilities(question.options), strict=True)
    return {
        **{name: json_number(getattr(question, name)) for name in _FIELDS},
        "label": question.label,
        "model_image": question.model_image.name,
        "options": [_option_entry(option, by_rules) for option, by_rules in options],
    }


def _option_entry(option: Option, by_rules: float) -> dict[str, Any]:
    """Return an option for people (``text`` and the probabilities by whom) and for `_option` (the rest)."""
    return {
        "text": option.text,
        "model": json_number(round(math.exp(option.log_probability), 4)),
        "rules": None if option.rule_logit is None else round(by_rules, 4),
        "combined": json_number(round(option.probability, 4)),
        "texts": option.texts,
        "boxes": [[round(side, 4) for side in box] for box in option.boxes],
        "rule_logit": option.rule_logit,
        "log_probability": json_number(option.log_probability),
        "log_prior": option.log_prior,
    }


def json_number(value: Any) -> Any:
    """Return a value as JSON has it: None for what is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_entry(entry: Mapping[str, Any]) -> Question:
    """Return the question that `to_entry` stored. Raises KeyError, TypeError or ValueError for other
    entries."""
    values = {name: entry[name] for name in _FIELDS}
    values |= {name: _float(entry[name]) for name in ("confidence", "probability")}
    question = Question(model_image=Path(entry["model_image"]), label=entry["label"], **values)
    return replace(question, options=tuple(map(_option, entry["options"])))


def _option(entry: Mapping[str, Any]) -> Option:
    boxes = tuple(Box(*map(float, box)) for box in entry["boxes"])
    logit = entry["rule_logit"]
    return Option(
        tuple(entry["texts"]),
        boxes,
        None if logit is None else float(logit),
        _float(entry["log_probability"]),
        float(entry["log_prior"]),
        _float(entry["combined"]),
    )


def _float(value: Any) -> float:
    return math.nan if value in (None, "") else float(value)


def details_table(questions: Iterable[Question]) -> pd.DataFrame:
    """Return the table of `COLUMNS`, a row per question; a cell that does not apply is empty.

    ``rules`` with ``rules_probability`` is what the rules alone answer, ``candidates`` all that was read,
    ``options`` JSON: ``text, model, rules, combined`` (probabilities) and what `from_entry` needs.
    """
    rows = []
    for question in questions:
        entry = to_entry(question)
        row = {column: entry[name] for name, column in _FIELDS.items()}
        text, probability = question.rules_answer
        texts = (
            text for option in question.options for text in option.texts if option.rule_logit is not None
        )
        row |= {"model_image": entry["model_image"], "rules": text, "rules_probability": probability}
        row |= {"candidates": "; ".join(dict.fromkeys(texts))}
        row["options"] = json.dumps(entry["options"], ensure_ascii=False) if question.options else ""
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    return table.where(table.notna(), "")


def read_details(path: Path) -> list[Question]:
    """Read the questions of a details file back. Raises `InputError`, also for one of an earlier version."""
    if not path.is_file():
        raise InputError(f"{path}: not found; run make run, or src.predict, first")
    table = read_table(path, ["index", "image_link", "entity_name", "prediction"])
    if missing := [column for column in COLUMNS if column not in table]:
        raise InputError(
            f"{path}: has no column {missing[0]}: it is of an earlier version; run src.predict again"
        )
    try:
        return [from_entry(_entry(cells)) for cells in table.to_dict("records")]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error!r}); run src.predict again") from None


def _entry(cells: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row's cells as the values of `to_entry`."""
    entry: dict[str, Any] = {name: cells[column] for name, column in _FIELDS.items()}
    entry |= {"row": int(cells["index"]), "overridden": cells["overridden"] == "True", "label": ""}
    options = json.loads(cells["options"]) if cells["options"] else []
    return entry | {"model_image": cells["model_image"], "options": options}
