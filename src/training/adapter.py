"""The adapter folder: LoRA weights, what made them, how well they answered held-out rows, a model card."""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from src import metrics
from src.data.details import from_entry
from src.data.errors import InputError
from src.data.files import read_json, replace_folder, write_whole
from src.data.folders import RunFolder
from src.data.questions import Question
from src.model.prompts import Prompt
from src.settings import TrainSettings
from src.training.replacing import RECORD, check_recipe

CARD = "README.md"
BEST = "best"
"""Folder beside the checkpoints: the best adapter so far, its `RECORD` with step, F1 and held-out answers."""

_CARD_TEXT = """---
base_model: {model}
library_name: peft
pipeline_tag: image-text-to-text
---

# Entity values from product images: a QLoRA adapter for `{model}`

Reads weight, volume, voltage, wattage, width, height, depth and maximum load off a product image. Trained
on {trained_on} rows, {empty} of them with an empty answer (not visible on the image), over an NF4 base.
Put it on that base or merge it into the *dequantised* one (`merge` in `src/model/modeling.py`),
never into the original weights: the answers differ. Where `ocr` is true below, its prompts hold the text
lines of the image: run `preprocess.py --ocr` first.

Scores on held-out rows, with their labels as they are, at step {step} of {steps}, the best of {evaluations}
evaluations; `tn` are rows that it rightly left empty:

```text
{scores}
```

Settings (the cache key of these, the data and the base model is `{cache_key}`):

```json
{settings}
```
"""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The result of a training: adapter folder, log, answers on held-out rows and their scores."""

    adapter: Path
    losses: pd.DataFrame  # step, loss, and its parts: tokens, options
    f1: pd.DataFrame  # step, f1
    answers: list[Question]  # to the held-out rows
    scores: pd.DataFrame  # `metrics.table` of the answers


def keep_if_best(
    model: Any, checkpoints: Path, step: int, f1: float, answers: Sequence[Mapping[str, Any]]
) -> None:
    """Put the LoRA weights of ``model`` into `BEST`, unless those there have a higher F1.

    `Trainer`'s own best checkpoint would keep the earlier of equal ones, and no answers.
    """
    best = checkpoints / BEST
    if f1 < load_record(best).get("f1", 0.0):
        return
    part = checkpoints / f"{BEST}.part"
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    (part / RECORD).write_text(json.dumps({"step": step, "f1": f1, "answers": answers}))
    replace_folder(part, best)


def save(trainer: Any) -> TrainResult:
    """Make the best adapter of a finished `F1Trainer` the run's adapter folder, with `RECORD` and model card.

    The folder appears whole. Every process calls this, and the first one writes.
    """
    run, questions = RunFolder(trainer.settings.out), trainer.data.questions
    if trainer.is_world_process_zero():
        best, prompt = Path(trainer.args.output_dir) / BEST, trainer.collator.prompt
        record = {
            **load_record(best),
            "cache_key": trainer.key,
            "recipe": trainer.recipe,
            "settings": as_json(trainer.settings),
            "prompt": dataclasses.asdict(prompt) if isinstance(prompt, Prompt) else None,
            "log": trainer.state.log_history,
            "trained_on": len(questions),
            "empty": sum(not question.label for question in questions),
        }
        write_whole(best / RECORD, json.dumps(record, indent=1) + "\n")
        (best / CARD).write_text(_card(record))  # peft's own has no scores, settings or use
        replace_folder(best, run.adapter)
        shutil.rmtree(run.checkpoints, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    return _result(run.adapter, load_record(run.adapter))


def load_result(
    adapter: Path, key: str, recipe: Mapping[str, Any], overwrite: bool = False
) -> TrainResult | None:
    """Return the result in ``adapter`` if its cache key is ``key``, None where one is to be made.

    An adapter of the same ``recipe`` (see `configuration.recipe_values`) and other data may be replaced; one
    of another recipe only with ``overwrite``. Raises `InputError` without.
    """
    record = load_record(adapter)
    if record.get("cache_key") == key:
        return _result(adapter, record)
    check_recipe(adapter, recipe, overwrite)
    return None


def load_record(adapter: Path) -> dict[str, Any]:
    """Return the `RECORD` of an adapter folder; empty when it has none that can be read."""
    return read_json(adapter / RECORD)


def as_json(settings: TrainSettings) -> dict[str, Any]:
    """Return the settings as JSON values, without the paths: a moved folder changes nothing."""
    return {
        name: value for name, value in dataclasses.asdict(settings).items() if name not in ("data", "out")
    }


def _result(adapter: Path, record: Mapping[str, Any]) -> TrainResult:
    log, answers = pd.DataFrame(record["log"]), held_out(record)
    losses = log.reindex(columns=["step", "loss", "loss_tokens", "loss_options"])
    losses = losses.dropna(subset="loss", ignore_index=True)
    losses = losses.rename(columns={"loss_tokens": "tokens", "loss_options": "options"})
    f1 = log.reindex(columns=["step", "eval_f1"]).dropna(ignore_index=True)
    return TrainResult(adapter, losses, f1.rename(columns={"eval_f1": "f1"}), answers, _scores(answers))


def _card(record: Mapping[str, Any]) -> str:
    return _CARD_TEXT.format(
        **{name: record[name] for name in ("trained_on", "empty", "cache_key", "step")},
        model=record["settings"]["model"],
        steps=max(entry["step"] for entry in record["log"]),
        evaluations=sum("eval_f1" in entry and entry["step"] > 0 for entry in record["log"]),
        scores=metrics.show(_scores(held_out(record))),
        settings=json.dumps(record["settings"], indent=1),
    )


def held_out(record: Mapping[str, Any]) -> list[Question]:
    """Return the answered held-out questions of a record; `InputError` for one of an earlier version."""
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
