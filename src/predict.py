"""Answer the test rows: what ``inference.ipynb`` calls, and for several GPUs

    accelerate launch -m src.predict --data my/folder --out my/results --model HuggingFaceM4/idefics2-8b

Answers are kept as they come, so nothing is computed twice; the processes share the rows out, and one file comes out.
"""

import os
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import PartialState

from src import decide, sanity
from src.data.errors import InputError, run_main
from src.data.files import Journal, fingerprint, write_whole
from src.data.flags import parser_for, settings_of
from src.data.folders import RunFolder
from src.data.names import picture_names, processed_name, read_files
from src.data.readings import ReadingStore
from src.data.samples import Sample, by_picture, letterboxed_sizes, test_samples
from src.data.tables import read_test
from src.model.generation import ENTRY, Model, generate
from src.model.modeling import load_adapter, load_base, load_config, load_processor, merge, model_stamp, preset_for
from src.settings import PredictSettings
from src.training import adapter

BROKEN = "broken picture"


def predict(settings: PredictSettings) -> pd.DataFrame:
    """Answer every row of ``test.csv``, write ``test_out.csv`` and ``test_out.details.csv``, return the details.

    Details, one row per test row in its order: ``index, image_link, entity_name, prediction``; its ``source``
    and ``chance`` (see `decide.decide`); the model's answer ``model`` with ``confidence, silence, overridden`` as in
    `decoding.Decoded`; ``rules, rules_score, candidates``; ``reason`` why there was no question (see
    `dataset.unusable`, or `BROKEN`); ``picture``, the processed picture's name. What does not apply is empty.
    The CSV gets its name only after it has passed the sanity check. Raises `InputError`.
    """
    place = _place()
    table, files = read_test(settings.data), read_files(settings.data)
    processed = settings.out / "processed"
    samples, refused = test_samples(table, processed, files)
    record = adapter.load_record(settings.out / "adapter")
    made_with = record.get("settings", {})
    depends_on = {
        processed / "manifest.csv": "run preprocess.py first",
        settings.data / "test.csv": "a data folder needs this file",
    }
    if _has_adapter(settings):
        depends_on[settings.out / "adapter" / "adapter_model.safetensors"] = "run training.ipynb first"
    # An adapter that does not tell whether it was trained with OCR gets what is there.
    texts = ReadingStore(processed) if made_with.get("ocr", (processed / "text.jsonl").is_file()) else None
    if texts is not None:
        depends_on[processed / "text.jsonl"] = "run preprocess.py with --ocr"
    merged = _merged(settings)
    key = {"fingerprint": fingerprint(f"{model_stamp(settings.model)} merged={merged}", depends_on)}
    if place.is_main_process:
        _drop_others(settings.out, key)
    place.wait_for_everyone()
    written = _written(settings.out)
    todo = [sample for sample in samples if sample.row not in written]
    todo = [todo[i] for group in by_picture(todo)[place.process_index :: place.num_processes] for i in group]
    place.wait_for_everyone()  # all have shared out the same rows before the first answer is written
    if todo:
        _answer(settings, todo, texts, made_with, merged, place.process_index, key)
    place.wait_for_everyone()
    written = _written(settings.out)
    for sample in samples:
        if sample.row not in written:
            refused[sample.row] = BROKEN
    policy = decide.fit(pd.DataFrame(record["answers"])) if record else decide.Policy()
    details = _details(table, files, written, refused, policy)
    if place.is_main_process:
        _write(details, settings)
    place.wait_for_everyone()
    return details


def _has_adapter(settings: PredictSettings) -> bool:
    """Whether there is an adapter, or has to be; where there is nothing to train on, the model answers as it is."""
    return (settings.out / "adapter").is_dir() or (settings.data / "train.csv").is_file()


def _place() -> PartialState:
    """This process among those of ``accelerate launch``; they may wait long for the slowest one."""
    cuda, several = torch.cuda.is_available(), int(os.environ.get("WORLD_SIZE", "1")) > 1
    return PartialState(cpu=not cuda, timeout=timedelta(days=2), backend="gloo" if several and not cuda else None)


def _merged(settings: PredictSettings) -> bool:
    """Whether the adapter is merged into the dequantised base: faster, where the memory (2 bytes a weight) suffices."""
    if settings.merged is not None:
        return settings.merged
    if not torch.cuda.is_available():
        return not preset_for(load_config(settings.model)).needs_cuda
    return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory > 40 * 2**30


def _answer(
    settings: PredictSettings,
    todo: list[Sample],
    texts: ReadingStore | None,
    made_with: Mapping[str, Any],
    merged: bool,
    process: int,
    key: Mapping[str, str],
) -> None:
    """Answer samples into this process's journal."""
    model: Model = load_base(settings.model)
    batch_size = settings.predict_batch_size or preset_for(model.config).predict_batch_size
    if _has_adapter(settings):
        put_on = merge if merged else load_adapter
        model = put_on(model, settings.out / "adapter")
    processor = load_processor(settings.model, made_with.get("image_splitting", False))
    sizes = letterboxed_sizes(settings.out / "processed")
    journal = Journal(settings.out / f"test_out.journal-{process}.jsonl")
    begun = journal.path.is_file()
    with journal:
        if not begun:
            journal.add(key)
        for answered in generate(model, processor, todo, texts, sizes, batch_size, settings.workers):
            journal.add({"index": answered.sample.row, **answered.entry()})


def _journals(out: Path) -> list[Journal]:
    return [Journal(path) for path in sorted(out.glob("test_out.journal-*.jsonl"))]


def _drop_others(out: Path, key: Mapping[str, str]) -> None:
    """Remove what another model, adapter, test file or picture folder left."""
    for journal in _journals(out):
        if next((entry for _, entry in journal.scan()), None) != key:
            journal.remove()


def _written(out: Path) -> dict[int, dict[str, Any]]:
    """The answers in all journals by index."""
    entries = (entry for journal in _journals(out) for entry in journal.read()[1:])
    return {entry.pop("index"): entry for entry in entries}


def _details(
    table: pd.DataFrame,
    files: Mapping[str, str],
    written: Mapping[int, dict[str, Any]],
    refused: Mapping[int, str],
    policy: decide.Policy,
) -> pd.DataFrame:
    """The details table of `predict`."""
    details = table[["index", "image_link", "entity_name"]].copy()
    rows = pd.DataFrame.from_dict(written, orient="index", columns=list(ENTRY)).rename(columns={"text": "prediction"})
    ocr = rows["rules_score"].ne("").any()
    chosen = decide.decide(rows if ocr else rows.drop(columns=["rules", "rules_score", "candidates"]), policy)
    rows = rows.rename(columns={"prediction": "model"}).join(chosen)
    columns = ["prediction", "source", "chance", "model", *ENTRY[1:]]
    details = details.join(rows[columns].astype(object), on="index")
    details[columns] = details[columns].fillna("")
    details["reason"] = [refused.get(index, "") for index in table["index"]]
    details["picture"] = [processed_name(image) for image in picture_names(table["image_link"], files)]
    return details


def _write(details: pd.DataFrame, settings: PredictSettings) -> None:
    """Write the details, and the prediction file once it has passed `sanity.check`."""
    write_whole(settings.out / "test_out.details.csv", details.to_csv(index=False))
    final, beside = settings.out / "test_out.csv", settings.out / "test_out.unchecked.csv"
    write_whole(beside, details[["index", "prediction"]].to_csv(index=False))
    faults = sanity.check(beside, settings.data / "test.csv")
    if faults:
        raise InputError(f"{beside}: fails the sanity check ({len(faults)} faults, the first: {faults[0]})")
    beside.replace(final)


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
