"""Answer the test rows: what ``inference.ipynb`` calls, and for several GPUs

    accelerate launch -m src.predict --data my/folder --out my/results --model HuggingFaceM4/idefics2-8b
    python -m src.predict --ray auto --data my/folder --out my/results --model HuggingFaceM4/idefics2-8b

Answers are kept as they come, so nothing is computed twice; the processes share the rows out, and one file
comes out.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import PartialState
from tqdm import tqdm

from src import ensemble, sanity
from src.data.errors import InputError, run_main
from src.data.files import Journal, fingerprint, write_whole
from src.data.flags import parser_for, settings_of
from src.data.folders import DataFolder, ProcessedFolder, RunFolder
from src.data.label_prior import LabelPrior
from src.data.names import picture_names, processed_name, read_files
from src.data.samples import Sample, by_picture, test_samples
from src.data.tables import TRAIN_COLUMNS, read_table, read_test
from src.data.text_store import TextStore
from src.model.answerer import Answerer, HowToAnswer, Questions
from src.model.batches import Unanswered
from src.model.generation import ENTRY, Answered
from src.model.letterbox import letterboxed_sizes
from src.model.memory import answering, is_merged
from src.model.modeling import card_memory, load_config, model_stamp, preset_for
from src.model.precision import compute_dtype
from src.prepare.processes import WORKER_DIED
from src.prepare.ray_backend import run_by_actors
from src.rules import COLUMNS, ByRules, answer_samples
from src.settings import PredictSettings
from src.training import adapter


def predict(settings: PredictSettings) -> pd.DataFrame:
    """Answer every row of ``test.csv``, write ``test_out.csv`` and ``test_out.details.csv``, return the
    details.

    Details, one row per test row in its order: ``index, image_link, entity_name, prediction``; its ``source``
    and ``chance`` (see `ensemble.combine`); ``model_answer`` with ``confidence, silence, overridden`` as in
    `scoring.Weighed`; ``rules, rules_score, candidates``; ``weighed``, what could be answered as JSON:
    ``[text, probability by the model, by the rules, as decided]`` each; ``reason`` why there was no question
    (see `samples.unusable`, `samples.BROKEN`, or ``error: ...``); ``picture``, the processed picture's name.
    What does not apply is empty. The CSV gets its name only after it has passed the sanity check. Raises
    `InputError`.
    """
    process, run = _process(), RunFolder(settings.out)
    if settings.ray and process.num_processes > 1:
        raise InputError("--ray: shares the rows out by itself; start it without accelerate launch")
    table, files = read_test(settings.data), read_files(settings.data)
    data, processed = DataFolder(settings.data), ProcessedFolder(run.processed)
    samples, reasons = test_samples(table, run.processed, files)
    record = adapter.load_record(run.adapter)
    trained_with = record.get("settings", {})
    held_out = pd.DataFrame(record["answers"]) if record else None
    weights = ensemble.PRIOR if held_out is None else ensemble.fit(held_out)
    heard = data.train.is_file() and (
        held_out is None or "usual" in held_out
    )  # else no weight was fitted to labels
    usual = _usual(data.train, table, files) if heard else LabelPrior(())
    depends_on = dict.fromkeys(processed.manifests, "run preprocess.py first")
    depends_on[data.test] = "a data folder needs this file"
    if _has_adapter(settings):
        depends_on[run.adapter / "adapter_model.safetensors"] = "run training.ipynb first"
    # An adapter that does not tell whether it was trained with OCR gets what is there.
    readings = TextStore(run.processed) if trained_with.get("ocr", bool(processed.texts)) else None
    if readings is not None:
        depends_on |= dict.fromkeys(processed.texts, "run preprocess.py with --ocr")
    merged = settings.merged
    if merged is None:
        merged = is_merged(load_config(settings.model), card_memory())
    key = {"fingerprint": fingerprint(f"{model_stamp(settings.model)} merged={merged} weighed", depends_on)}
    if process.is_main_process:
        _drop_others(run, key)
    process.wait_for_everyone()
    # By one process, on all cores; the others find them there.
    by_rules: dict[int, ByRules] = {}
    for turn in (process.is_main_process, not process.is_main_process):
        if turn and readings is not None:
            found = answer_samples(samples, readings, run.rules_journal, settings.ray)
            by_rules = {sample.row: answer for sample, answer in zip(samples, found, strict=True)}
        process.wait_for_everyone()
    reasons |= {row: answer.reason for row, answer in by_rules.items() if answer.reason}
    answers, _ = _journalled(run)
    todo = [sample for sample in samples if sample.row not in answers | reasons]
    shared = by_picture(todo)[process.process_index :: process.num_processes]
    todo = [todo[position] for positions in shared for position in positions]
    process.wait_for_everyone()  # all have shared out the same rows before the first answer is written
    if todo:
        options = {sample: by_rules[sample.row].texts for sample in todo if sample.row in by_rules}
        how = HowToAnswer(
            settings.model,
            run.adapter if _has_adapter(settings) else None,
            merged,
            trained_with.get("image_splitting", False),
            run.processed,
            readings is not None,
            settings.predict_batch_size or preset_for(load_config(settings.model)).predict_batch_size,
            settings.workers,
        )
        _answer(settings, todo, options, how, process.process_index, key)
    process.wait_for_everyone()
    answers, failed = _journalled(run)
    rules_entries = {row: answer.entry() for row, answer in by_rules.items()}
    details = _details(table, files, answers, rules_entries, reasons | failed, weights, usual)
    if process.is_main_process:
        _write(details, settings)
        _report_errors(details, run, [answer.trace for answer in by_rules.values() if answer.trace])
    process.wait_for_everyone()
    return details


def _usual(train: Path, test: pd.DataFrame, files: Mapping[str, str]) -> LabelPrior:
    """Of the train table's labels, but for those of pictures that are asked about."""
    table = read_table(train, TRAIN_COLUMNS)
    asked = set(picture_names(test["image_link"], files))
    names = pd.Series(picture_names(table["image_link"], files), table.index, dtype=object)
    return LabelPrior.of_table(table[~names.isin(asked)])


def _has_adapter(settings: PredictSettings) -> bool:
    """Whether there is an adapter, or has to be; where there is nothing to train on, the model answers as it
    is."""
    return RunFolder(settings.out).adapter.is_dir() or DataFolder(settings.data).train.is_file()


def _process() -> PartialState:
    """This process among those of ``accelerate launch``; they may wait long for the slowest one."""
    cuda, several = torch.cuda.is_available(), int(os.environ.get("WORLD_SIZE", "1")) > 1
    return PartialState(
        cpu=not cuda, timeout=timedelta(days=2), backend="gloo" if several and not cuda else None
    )


def _answer(
    settings: PredictSettings,
    todo: list[Sample],
    options: Mapping[Sample, tuple[str, ...]],
    how: HowToAnswer,
    process: int,
    key: Mapping[str, str],
) -> None:
    """Answer samples into this process's journal; of one that cannot be asked, the reason."""
    if card := card_memory():
        estimate = answering(load_config(settings.model), how.batch_size, how.merged, compute_dtype())
        print(
            f"memory, estimated: {estimate} of {card / 1e9:.1f} for {how.batch_size} rows at once", flush=True
        )
    journal = Journal(RunFolder(settings.out).answers(process))
    begun = journal.path.is_file()
    with journal:
        if not begun:
            journal.add(key)
        results = (
            _spread(settings.ray, todo, options, how)
            if settings.ray
            else Answerer(how).answers(todo, options)
        )
        for result in results:
            if isinstance(result, Answered):
                journal.add({"index": result.sample.row, **result.entry()})
            else:
                journal.add({"index": result.sample.row, "reason": result.reason, "trace": result.trace})


def _spread(
    address: str, todo: list[Sample], options: Mapping[Sample, tuple[str, ...]], how: HowToAnswer
) -> Iterator[Answered | Unanswered]:
    """The answers of a cluster's nodes; all questions about a picture go to one, pictures of one size
    together."""
    sizes = letterboxed_sizes(how.processed)
    groups = [[todo[position] for position in positions] for positions in by_picture(todo)]
    groups.sort(key=lambda group: sizes.get(group[0].picture.name, (0, 0)), reverse=True)
    pictures = [{sample: options.get(sample, ()) for sample in group} for group in groups]

    def died(questions: Questions) -> list[Answered | Unanswered]:
        return [Unanswered(sample, f"error: {WORKER_DIED}") for sample in questions]

    with tqdm(total=len(todo), desc="predict", unit="row") as bar:
        for questions, results in run_by_actors(
            address, partial(Answerer, how), pictures, how.batch_size, died
        ):
            yield from results
            bar.update(len(questions))


def _journals(run: RunFolder) -> list[Journal]:
    pattern = run.answers("*")
    return [Journal(path) for path in sorted(pattern.parent.glob(pattern.name))]


def _drop_others(run: RunFolder, key: Mapping[str, str]) -> None:
    """Remove what another model, adapter, test file or picture folder left."""
    for journal in _journals(run):
        if next((entry for _, entry in journal.scan()), None) != key:
            journal.remove()


def _journalled(run: RunFolder) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
    """Of all journals, by index: the answers, and the reasons of rows that have none."""
    answers: dict[int, dict[str, Any]] = {}
    reasons: dict[int, str] = {}
    for journal in _journals(run):
        for entry in journal.read()[1:]:
            index = entry.pop("index")
            if "reason" in entry:
                reasons[index] = entry["reason"]
            else:
                answers[index] = entry
    return answers, {index: reason for index, reason in reasons.items() if index not in answers}


def _report_errors(details: pd.DataFrame, run: RunFolder, traces: list[str]) -> None:
    """Tell how many rows an unexpected error has cost; the traceback of the first goes to the run's log of
    errors."""
    hit = details["reason"].str.startswith("error: ")
    run.errors.unlink(missing_ok=True)
    if not hit.any():
        return
    entries = (entry for journal in _journals(run) for entry in journal.read()[1:])
    traces += [entry["trace"] for entry in entries if entry.get("trace")]
    write_whole(run.errors, traces[0] if traces else "")
    first = details.loc[hit, "reason"].iloc[0]
    print(
        f"predict: {hit.sum()} rows have no answer for an unexpected error, the first: {first} (see {run.errors})"
    )


def _details(
    table: pd.DataFrame,
    files: Mapping[str, str],
    answers: Mapping[int, dict[str, Any]],
    by_rules: Mapping[int, dict[str, Any]],
    reasons: Mapping[int, str],
    weights: ensemble.Weights,
    usual: LabelPrior,
) -> pd.DataFrame:
    """The details table of `predict`; ``by_rules`` is empty without OCR."""
    details = table[["index", "image_link", "entity_name"]].copy()
    rows = pd.DataFrame(list(answers.values()), index=list(answers), columns=list(ENTRY))
    asked = table.set_index("index").reindex(list(answers))
    rows["entity"] = asked["entity_name"]
    pairs = zip(asked["entity_name"], asked["group_id"], rows["weighed"], strict=True)
    rows["usual"] = [usual.weigh(entity, group, [text for text, _ in own]) for entity, group, own in pairs]
    rules_rows = pd.DataFrame(
        [by_rules.get(row, {}) for row in answers], index=list(answers), columns=list(COLUMNS)
    )
    rows = rows.join(rules_rows if by_rules else rules_rows.drop(columns="logits"))
    chosen = ensemble.combine(rows, weights if by_rules else ensemble.MODEL_ALONE)
    rows["weighed"] = ensemble.options_as_json(rows, chosen)
    columns = ["prediction", "source", "chance", *ENTRY, *(name for name in COLUMNS if name != "logits")]
    details = details.join(rows.join(chosen)[columns].astype(object), on="index")
    details[columns] = details[columns].fillna("")
    details["reason"] = [reasons.get(index, "") for index in table["index"]]
    details["picture"] = [processed_name(image) for image in picture_names(table["image_link"], files)]
    return details


def _write(details: pd.DataFrame, settings: PredictSettings) -> None:
    """Write the details, and the prediction file once it has passed `sanity.check`."""
    run = RunFolder(settings.out)
    write_whole(run.details, details.to_csv(index=False))
    beside = run.predictions.with_suffix(".unchecked.csv")
    write_whole(beside, details[["index", "prediction"]].to_csv(index=False))
    faults = sanity.check(beside, DataFolder(settings.data).test)
    if faults:
        raise InputError(f"{beside}: fails the sanity check ({len(faults)} faults, the first: {faults[0]})")
    beside.replace(run.predictions)


def main() -> int:
    """Command line."""
    given = parser_for(PredictSettings, description="Answer test.csv with a trained adapter.").parse_args()
    settings = settings_of(PredictSettings, vars(given))
    details = predict(settings)
    if PartialState().is_main_process:
        answered = details["prediction"].ne("").sum()
        print(f"{RunFolder(settings.out).predictions}: {len(details)} rows, {answered} with an answer")
        print("not asked:", dict(Counter(details["reason"][details["reason"].ne("")])) or "none")
    return 0


if __name__ == "__main__":
    run_main(main)
