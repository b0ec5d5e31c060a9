"""The adapter folder: LoRA weights, what made them, how well they answered held-out rows, a model card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from src import metrics
from src.data.details import from_entry
from src.data.errors import InputError
from src.data.files import replace_folder
from src.data.questions import Question

RECORD, CARD = "training.json", "README.md"
ANSWERS = "answers.json"
"""Of the best adapter while it is trained: its step, F1 and held-out answers."""

_CARD_TEXT = """---
base_model: {model}
library_name: peft
pipeline_tag: image-text-to-text
---

# Entity values from product pictures: a QLoRA adapter for `{model}`

Reads weight, volume, voltage, wattage, width, height, depth and maximum load off a product picture. Trained on the
answers of {trained_on} rows ({empty} of them empty: not visible on the picture) over an NF4 base; put it on that base,
or merge it into the *dequantised* one (`merge` in `src/model/modeling.py`), never into the original weights: the
answers differ.

{use}

## Held-out rows

Pictures it was not trained on, labels as they are. The adapter of step {step} of {steps} is kept, the best of
{evaluations}. `tn`: rightly silent.

```text
{scores}
```

## Made with

Data, pictures and base model as of fingerprint `{fingerprint}`.

```json
{settings}
```
"""
_USE = {
    True: "Its prompts hold what was read on the picture: run `preprocess.py --ocr` first.",
    False: "Its prompts hold the question only (trained without OCR).",
}


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run left: the folder, its log, the answers on held-out rows and their scores."""

    adapter: Path
    losses: pd.DataFrame  # step, loss
    f1: pd.DataFrame  # step, f1
    answers: list[Question]  # to held-out rows
    scores: pd.DataFrame  # `metrics.table` of the answers


def save(best: Path, adapter: Path, record: Mapping[str, Any]) -> None:
    """Make the best adapter of a run (left by `trainer.fit`) the adapter folder, whole, with `RECORD` and
    card.

    ``record``: fingerprint, settings, log, trained_on, empty.
    """
    kept = json.loads((best / ANSWERS).read_text())
    record = {**record, "step": kept["step"], "answers": kept["answers"]}
    (best / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    (best / CARD).write_text(_card(record))
    (best / ANSWERS).unlink()
    replace_folder(best, adapter)


def _card(record: Mapping[str, Any]) -> str:
    settings = record["settings"]
    steps = [entry["step"] for entry in record["log"]]
    return _CARD_TEXT.format(
        **{key: record[key] for key in ("trained_on", "empty", "fingerprint", "step")},
        model=settings["model"],
        use=_USE[settings["ocr"]],
        steps=max(steps),
        evaluations=sum("eval_f1" in entry for entry in record["log"]),
        scores=metrics.show(_scores(held_out(record))),
        settings=json.dumps(settings, indent=1),
    )


def load_result(adapter: Path, key: str) -> TrainResult | None:
    """The result in ``adapter`` if it is that of fingerprint ``key``."""
    record = load_record(adapter)
    if record.get("fingerprint") != key:
        return None
    answers, log = held_out(record), record["log"]
    losses = pd.DataFrame([(e["step"], e["loss"]) for e in log if "loss" in e], columns=["step", "loss"])
    f1 = pd.DataFrame([(e["step"], e["eval_f1"]) for e in log if "eval_f1" in e], columns=["step", "f1"])
    return TrainResult(adapter, losses, f1, answers, _scores(answers))


def load_record(adapter: Path) -> dict[str, Any]:
    """`RECORD` of an adapter folder; empty when it has none that can be read (made by something else)."""
    try:
        return json.loads((adapter / RECORD).read_text())
    except (OSError, ValueError):
        return {}


def held_out(record: Mapping[str, Any]) -> list[Question]:
    """Return the answered held-out questions of a record. Raises `InputError` for one of an earlier
    version."""
    try:
        return [from_entry(entry) for entry in record["answers"]]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            "the adapter is of an earlier version of this code; remove its folder and train again"
        ) from None


def _scores(answers: Sequence[Question]) -> pd.DataFrame:
    return metrics.table(
        [question.entity for question in answers],
        [question.label for question in answers],
        [question.model_answer for question in answers],
    )
