"""Which training labels to trust: each is compared with what can be read on its picture.

About a quarter of the challenge's labels are wrong. A label is *supported* when its quantity is among the
picture's candidates, *other unit* when only its amount is (and is then repaired to what is printed),
*contradicted* when only other fitting quantities are there (not trained on), *not visible* when none is
(becomes an empty answer), *doubtful* when its number is there without a unit (kept: the reading may be at
fault), and *error* when its picture's text brought up an unexpected one (dropped).
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from tqdm import tqdm

from src.data.errors import unexpected
from src.data.samples import Sample
from src.data.text_store import TextStore
from src.entities import ENTITY_UNITS
from src.reading.lines import ParsedLine
from src.reading.options import options
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
"""What is done with the rows of each verdict."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A key of `ACTIONS`, and the answer to train on (canonical or empty; without meaning for ``drop``)."""

    verdict: str
    answer: str


def judge(found: Sequence[ParsedLine], entity: str, label: str) -> Verdict:
    """Compare a canonical ``label`` with the readings of its picture."""
    quantity = parse_answer(label, entity)
    if quantity is None:
        return Verdict("supported", "")  # labelled as not visible
    groups = options(found, entity)
    for group in groups:
        if any(str(candidate.quantity) == label for candidate in group):
            return Verdict("supported", label)
    for group in groups:
        if any(same_amount(candidate.quantity, quantity) for candidate in group):
            return Verdict("other unit", str(group[0].quantity))
    if groups:
        return Verdict("contradicted", label)
    number = re.escape(f"{quantity.number:f}").replace(r"\.", "[.,]")
    if any(re.search(rf"(?<![0-9.,]){number}(?![0-9])", reading.text) for reading in found):
        return Verdict("doubtful", label)
    return Verdict("not visible", "")


def audit(samples: Sequence[Sample], readings: TextStore) -> list[Verdict]:
    """`judge` every sample; an unexpected error costs its row, and the first one is shown on stderr."""
    verdicts: list[Verdict] = []
    for sample in tqdm(samples, desc="audit", unit="row", smoothing=0.05):
        try:
            verdicts.append(judge(readings[sample.image], sample.entity, sample.answer))
        except Exception as error:  # whatever a text brings up: it is not worth the run
            reason, trace = unexpected(error)
            if all(verdict.verdict != "error" for verdict in verdicts):
                print(f"audit: row {sample.row} ({sample.image}): {reason}\n{trace}", file=sys.stderr)
            verdicts.append(Verdict("error", ""))
    return verdicts


def apply(samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> list[Sample]:
    """The samples to train on, with the answers of their verdicts; ``drop`` leaves out."""
    return [
        replace(sample, answer=verdict.answer)
        for sample, verdict in zip(samples, verdicts, strict=True)
        if ACTIONS[verdict.verdict] != "drop"
    ]


def report(samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Rows per entity (index, and ``all``) and verdict (columns, in the order of `ACTIONS`)."""
    rows = pd.DataFrame({"entity": [s.entity for s in samples], "verdict": [v.verdict for v in verdicts]})
    table = pd.crosstab(rows["entity"], rows["verdict"]).reindex(columns=list(ACTIONS), fill_value=0)
    table.loc["all"] = table.sum()
    return table


def empty_samples(samples: Sequence[Sample], readings: TextStore, count: int, seed: int) -> list[Sample]:
    """At most ``count`` more samples with the empty answer: questions that a picture of ``samples`` does not
    answer.

    A question about something of which the picture shows no quantity at all (of lengths: no length). Entities
    are drawn as often as in ``samples``, so that an entity alone does not tell that the answer is empty.
    """
    draw = np.random.default_rng(seed)
    pictures = sorted({sample.image: sample for sample in samples}.items())
    asked = {(sample.image, sample.entity) for sample in samples}
    entities = [sample.entity for sample in samples]
    added: list[Sample] = []
    for number in draw.permutation(len(pictures)):
        if len(added) >= count:
            break
        image, sample = pictures[number]
        entity = entities[draw.integers(len(entities))]
        try:
            shown = {DIMENSION[m.quantity.unit] for reading in readings[image] for m in reading.mentions}
        except Exception:  # whatever a text brings up: then it is not known what the picture shows
            continue
        if (image, entity) not in asked and DIMENSION[ENTITY_UNITS[entity][0]] not in shown:
            added.append(replace(sample, entity=entity, answer=""))
    return added
