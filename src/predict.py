"""Answer the test rows: the loop of ``inference.ipynb`` as a command, for several GPUs

    accelerate launch -m src.predict --data my/folder --out my/results --model HUB_ID
    python -m src.predict --ray auto --data my/folder --out my/results --model HUB_ID

Answers are kept as they come, so nothing is computed twice; the processes share the rows out, and one file
comes out.
"""

import inspect
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import torch
from accelerate import PartialState
from tqdm import tqdm

from src import ensemble, sanity
from src.data.contents import image_contents
from src.data.details import details_table, from_entry, to_entry
from src.data.errors import InputError, run_main, shared_memory_named
from src.data.files import Journal, cache_key, write_whole
from src.data.flags import settings_from_command_line
from src.data.folders import DataFolder, ProcessedFolder, RunFolder
from src.data.label_prior import LabelPrior
from src.data.names import image_names, read_files
from src.data.questions import Question, by_image, test_questions
from src.data.tables import read_test
from src.data.text_store import TextStore
from src.entities import ENTITIES
from src.model.batches import cost
from src.model.contents import model_contents
from src.model.family import family_of
from src.model.generation import Answerer, AnswererSettings
from src.model.memory import ON_A_CPU, answering, is_merged, is_small
from src.model.modeling import card_memory, load_config, load_processor, preset_for, quantization_config
from src.model.precision import compute_dtype
from src.model.prompts import prompt_for
from src.model.scoring import score_options
from src.prepare.processes import WORKER_DIED
from src.prepare.ray_backend import run_by_actors
from src.rules import with_parsed_text
from src.settings import PROMPT, PredictSettings
from src.training import adapter

Results: TypeAlias = Callable[[list[list[Question]]], Iterator[Question]]
"""Answers groups of questions, each about one image."""


@dataclass(frozen=True, slots=True)
class Task:
    """Everything that a run of `predict` needs, but for the model."""

    run: RunFolder
    questions: list[Question]  # one per test row; some have a reason already
    store: TextStore | None  # None without OCR
    answerer: AnswererSettings
    weights: ensemble.Weights
    label_prior: LabelPrior
    depends_on: dict[Path, str]  # files that the answers depend on, and what to do where one is missing
    contents: dict[str, tuple[int, str, str]]  # of the images and their texts, see `image_contents`


def predict(settings: PredictSettings, answerer: Answerer | None = None) -> pd.DataFrame:
    """Answer every row of ``test.csv``, write ``test_out.csv`` and ``test_out.details.csv``, return the
    details.

    ``answerer``: the model, prompt and scorer of a notebook; by default they are loaded where a row is left
    to answer. Details have one row per test row in its order, see `details.details_table`. The CSV gets its
    name only after it has passed the sanity check. Raises `InputError`.
    """
    process = _process()
    if settings.ray and process.num_processes > 1:
        raise InputError("--ray: shares the rows out by itself; start it without accelerate launch")
    task = load_task(settings)
    key = answers_key(task, answerer)
    if process.is_main_process:
        _drop_others(task.run, key)
    process.wait_for_everyone()
    questions = task.questions
    if task.store is not None:
        with process.main_process_first():  # by one process, on all cores; the others find the journal
            questions = with_parsed_text(questions, task.store, task.run.rules_journal, settings.ray)
    _score(questions, task, process, partial(_results, task.answerer, answerer, settings.ray), key)
    process.wait_for_everyone()
    questions = _combine(questions, task)
    details = details_table(questions)
    if process.is_main_process:
        _write(details, task.run, DataFolder(settings.data).test)
        _report_errors(questions, task.run)
    process.wait_for_everyone()
    return details


def _process() -> PartialState:
    """Return this process among those of ``accelerate launch``; they may wait long for the slowest one."""
    cuda, several = torch.cuda.is_available(), int(os.environ.get("WORLD_SIZE", "1")) > 1
    backend = "gloo" if several and not cuda else None
    return PartialState(cpu=not cuda, timeout=timedelta(days=2), backend=backend)


def load_task(settings: PredictSettings) -> Task:
    """Read the tables and the adapter's record. Raises `InputError` for what is missing."""
    run, data = RunFolder(settings.out), DataFolder(settings.data)
    processed = ProcessedFolder(run.processed)
    table, files = read_test(settings.data), read_files(settings.data)
    record = adapter.load_record(run.adapter)
    trained_with = record.get("settings", {})
    depends_on = {data.test: "a data folder needs this file"}
    # Where there is nothing to train on, the model answers as it is.
    has_adapter = run.adapter.is_dir() or data.train.is_file()
    if has_adapter:
        depends_on[run.adapter / "adapter_model.safetensors"] = "run training.ipynb first"
    # An adapter that does not tell whether it was trained with OCR gets what is there.
    store = TextStore(run.processed) if trained_with.get("ocr", bool(processed.texts)) else None
    contents = image_contents(run.processed, image_names(table["image_link"], files), store is not None)
    config = load_config(settings.model)
    merged = is_merged(config, card_memory()) if settings.merged is None else settings.merged
    answerer = AnswererSettings(
        settings.model,
        run.adapter if has_adapter else None,
        merged,
        trained_with.get("image_splitting", False),
        trained_with.get("prompt", PROMPT),
        run.processed,
        settings.predict_batch_size or preset_for(config, settings.cpu).predict_batch_size,
        settings.workers,
        settings.cpu,
    )
    weights = ensemble.fit(adapter.held_out(record)) if record else ensemble.PRIOR
    return Task(
        run,
        test_questions(table, run.processed, files),
        store,
        answerer,
        weights if store is not None else ensemble.MODEL_ALONE,
        LabelPrior.of_train(data.train, table, files) if data.train.is_file() else LabelPrior(()),
        depends_on,
        contents,
    )


def answers_key(task: Task, answerer: Answerer | None = None) -> dict[str, str]:
    """Return the cache key of the answers' journals: model, adapter, files, and the words of the prompts.

    It also has what a notebook may have changed: quantization, image splitting, the source of another scorer.
    Raises `InputError` for a missing file.
    """
    settings = task.answerer
    prompt = answerer.prompt if answerer else prompt_for(load_processor(settings.model), settings.prompt)
    prompts = [prompt(entity, "CONTEXT") for entity in ENTITIES]
    scorer = ""
    if answerer and answerer.score is not score_options:
        scorer = repr(answerer.score)  # what has no source is another one in each process
        with suppress(OSError, TypeError):
            scorer = inspect.getsource(answerer.score)
    splitting, quantization = settings.image_splitting, quantization_config().to_dict()
    if answerer:
        splitting = answerer.processor.image_processor.do_image_splitting
        quantization = answerer.model.quantized_by
    values = [
        model_contents(settings.model),
        settings.merged,
        splitting,
        sorted(map(str, quantization.items())),
    ]
    values += [prompts, scorer, task.contents]
    return {"key": cache_key(values, task.depends_on)}


def _score(
    questions: Sequence[Question], task: Task, process: PartialState, results: Results, key: Mapping[str, str]
) -> None:
    """Let the model answer this process's share of the questions, into its journal."""
    finished = {row for row, question in _journalled(task.run).items() if not question.reason}
    todo = [question for question in questions if not question.reason and question.row not in finished]
    groups = by_image(todo)[process.process_index :: process.num_processes]
    process.wait_for_everyone()  # all have shared out the same rows before the first answer is written
    if not groups:
        return
    journal = Journal(task.run.answers(process.process_index))
    with journal.opened_for(key), shared_memory_named():
        for question in results(groups):
            journal.add(to_entry(question) | {"traceback": question.traceback})


def _results(
    settings: AnswererSettings,
    answerer: Answerer | None,
    ray: str | None,
    groups: list[list[Question]],
) -> Iterator[Question]:
    """Yield the answers of the model here, or of those on a cluster's nodes."""
    config, rows = load_config(settings.model), settings.batch_size
    if card := card_memory():
        estimate = answering(config, rows, settings.merged, compute_dtype())
        print(f"memory, estimated: {estimate} of {card / 1e9:.1f} for {rows} rows at once", flush=True)
    elif not (ray or is_small(config)):
        print(f"no GPU: {ON_A_CPU}", flush=True)
    if ray:
        yield from _on_cluster(ray, groups, settings)
    else:
        answerer = answerer or Answerer.load(settings)
        yield from answerer.answers([question for group in groups for question in group])


def _on_cluster(address: str, groups: list[list[Question]], settings: AnswererSettings) -> Iterator[Question]:
    """Yield the answers of a cluster's nodes; all questions about an image go to one, those that cost alike
    together."""
    sizes = family_of(load_config(settings.model)).padded_sizes(settings.processed)
    groups = sorted(groups, key=partial(cost, sizes), reverse=True)

    def died(group: Sequence[Question]) -> list[Question]:
        return [replace(question, reason=f"error: {WORKER_DIED}") for question in group]

    with tqdm(total=sum(map(len, groups)), desc="predict", unit="row") as bar:
        make = partial(Answerer.load, settings)
        for group, results in run_by_actors(address, make, groups, settings.batch_size, died):
            yield from results
            bar.update(len(group))


def _journals(run: RunFolder) -> list[Journal]:
    pattern = run.answers("*")
    return [Journal(path) for path in sorted(pattern.parent.glob(pattern.name))]


def _drop_others(run: RunFolder, cache_key: Mapping[str, str]) -> None:
    """Remove the journals of another model, adapter, test file or image folder."""
    for journal in _journals(run):
        journal.drop_unless(cache_key)


def _journalled(run: RunFolder) -> dict[int, Question]:
    """Return the answered questions of all journals by row, without prompt context; of two the answered
    one."""
    entries = [entry for journal in _journals(run) for entry in journal.read()[1:]]
    entries.sort(key=lambda entry: not entry["reason"])  # of two, the later one counts
    return {entry["row"]: replace(from_entry(entry), traceback=entry["traceback"]) for entry in entries}


def _combine(questions: Sequence[Question], task: Task) -> list[Question]:
    """Return the questions with what the journals have of them, and the ensemble's predictions."""
    answers = _journalled(task.run)
    questions = [answers.get(question.row, question) for question in questions]
    answered = [task.label_prior.added_to(question) for question in questions if not question.reason]
    combined = {question.row: question for question in ensemble.combine(answered, task.weights)}
    return [combined.get(question.row, question) for question in questions]


def _report_errors(questions: Sequence[Question], run: RunFolder) -> None:
    """Print how many rows an unexpected error has cost; the first traceback goes to the run's log of
    errors."""
    run.errors.unlink(missing_ok=True)
    failed = [question for question in questions if question.reason.startswith("error: ")]
    if failed:
        write_whole(run.errors, next((question.traceback for question in failed if question.traceback), ""))
        print(
            f"predict: {len(failed)} rows have no answer for an unexpected error, "
            f"the first: {failed[0].reason} (see {run.errors})"
        )


def _write(details: pd.DataFrame, run: RunFolder, test: Path) -> None:
    """Write the details, and the prediction file once it has passed `sanity.check`."""
    write_whole(run.details, details.to_csv(index=False))
    unchecked = run.predictions.with_suffix(".unchecked.csv")
    write_whole(unchecked, details[["index", "prediction"]].to_csv(index=False))
    faults = sanity.check(unchecked, test)
    if faults:
        raise InputError(
            f"{unchecked}: fails the sanity check ({len(faults)} faults, the first: {faults[0]})"
        )
    unchecked.replace(run.predictions)


def main() -> int:
    """Answer test.csv from the command line."""
    settings = settings_from_command_line(PredictSettings, "Answer test.csv with a trained adapter.")
    details = predict(settings)
    if PartialState().is_main_process:
        answered = details["prediction"].ne("").sum()
        print(f"{RunFolder(settings.out).predictions}: {len(details)} rows, {answered} with an answer")
        print("not asked:", dict(Counter(details["reason"][details["reason"].ne("")])) or "none")
    return 0


if __name__ == "__main__":
    run_main(main)
