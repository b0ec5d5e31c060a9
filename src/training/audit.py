"""The audit: which training labels to trust, by comparing each with the text lines of its image.

About a quarter of the challenge's labels are wrong. A label is *supported* when it is among the options,
*other unit* when only its amount is (and is then repaired to what is printed), *contradicted* when only other
options are there (not trained on), *not visible* when there is none (becomes an empty label), *doubtful* when
its number is there without a unit (kept: the reading may be at fault), and *error* when the image's text
brought up an unexpected one (dropped).
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from src.data.questions import Question
from src.entities import ENTITIES
from src.reading.image_text import ImageText
from src.reading.quantity import parse_answer, same_amount
from src.reading.units import DIMENSION

ACTIONS: Mapping[str, str] = {
    "supported": "keep",
    "other unit": "repair",
    "contradicted": "drop",
    "not visible": "empty",
    "doubtful": "keep",
    "error": "drop",
}
"""Actions on the rows of each verdict."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A key of `ACTIONS`, and the label to train on (canonical or empty; without meaning for ``drop``)."""

    verdict: str
    label: str


def judge(question: Question, text: str) -> Verdict:
    """Compare a question's label with its options, and with the ``text`` of its image."""
    if question.reason:
        return Verdict("error", "")
    quantity = parse_answer(question.label, question.entity)
    if quantity is None:
        return Verdict("supported", "")  # labelled as not visible
    options = [option.texts for option in question.options if option.texts]
    if any(question.label in texts for texts in options):
        return Verdict("supported", question.label)
    for texts in options:
        amounts = [parse_answer(text, question.entity) for text in texts]
        if any(amount and same_amount(amount, quantity) for amount in amounts):
            return Verdict("other unit", texts[0])
    if options:
        return Verdict("contradicted", question.label)
    number = re.escape(f"{quantity.number:f}").replace(r"\.", "[.,]")
    if re.search(rf"(?<![0-9.,]){number}(?![0-9])", text):
        return Verdict("doubtful", question.label)
    return Verdict("not visible", "")


def audit(questions: Sequence[Question], texts: Mapping[str, ImageText]) -> list[Verdict]:
    """Judge every question; the first unexpected error of an image's text is shown on stderr."""
    if failed := next((question for question in questions if question.reason), None):
        print(
            f"audit: row {failed.row} ({failed.image}): {failed.reason}\n{failed.traceback}", file=sys.stderr
        )
    # Few questions need the text: unpacking each once more would double the minutes before the first step.
    return [
        judge(question, "" if question.option_texts else texts[question.image].text) for question in questions
    ]


def apply(questions: Sequence[Question], verdicts: Sequence[Verdict]) -> list[Question]:
    """Return the questions to train on, with the labels of their verdicts; ``drop`` leaves out."""
    return [
        replace(question, label=verdict.label)
        for question, verdict in zip(questions, verdicts, strict=True)
        if ACTIONS[verdict.verdict] != "drop"
    ]


def report(questions: Sequence[Question], verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Return the rows per entity (index, and ``all``) and verdict (columns, in the order of `ACTIONS`)."""
    entities = [question.entity for question in questions]
    rows = pd.DataFrame({"entity": entities, "verdict": [verdict.verdict for verdict in verdicts]})
    table = pd.crosstab(rows["entity"], rows["verdict"]).reindex(columns=list(ACTIONS), fill_value=0)
    table.loc["all"] = table.sum()
    return table


def empty_questions(
    questions: Sequence[Question], texts: Mapping[str, ImageText], count: int, seed: int
) -> list[Question]:
    """Return at most ``count`` more questions with the empty label, which the images do not answer.

    Each is about something of which the image shows no quantity at all (of lengths: no length). Entities are
    as frequent as in ``questions``, so that an entity alone does not tell that the answer is empty.
    """
    rng = np.random.default_rng(seed)
    images = sorted({question.image: question for question in questions}.items())
    asked_pairs = {(question.image, question.entity) for question in questions}
    entities = [question.entity for question in questions]
    added: list[Question] = []
    for number in rng.permutation(len(images)):
        if len(added) >= count:
            break
        image, question = images[number]
        entity = entities[rng.integers(len(entities))]
        text = texts[image]
        is_new = not text.error and (image, entity) not in asked_pairs
        if is_new and DIMENSION[ENTITIES[entity].units[0]] not in text.dimensions:
            added.append(replace(question, entity=entity, label="", options=text.options_for(entity)))
    return added
