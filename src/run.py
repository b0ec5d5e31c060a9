"""The whole pipeline in one command, which ``make run`` calls.

    python -m src.run --data data/sample --out outputs --model my/model

It runs preprocess.py, src/rules.py (the baseline), training.ipynb, inference.ipynb and src/sanity.py in turn,
prints the time of each, and writes a page to look at every answer (src/report). Every stage reuses what it
finished before, and a notebook whose result is current is not executed. Every setting of a stage is a flag.
Exit code: 0 valid predictions, 1 a fault in them, 2 unusable input.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from src import metrics
from src.data.errors import run_main
from src.data.files import read_json, write_whole
from src.data.flags import overrides_for, parser_for, settings_of
from src.data.folders import DataFolder, RunFolder
from src.data.tables import read_table, read_test, read_train
from src.launch import ROOT
from src.model.contents import model_contents
from src.notebooks import currency
from src.report.page import write_report
from src.rules import write_predictions
from src.settings import PredictSettings, PreprocessSettings, RunSettings, TrainSettings
from src.training.replacing import check_recipe, recorded_recipe

STAGES = (PreprocessSettings, TrainSettings, PredictSettings)


def run(settings: Mapping[str, Any]) -> int:
    """Run every stage with ``settings`` by name; the others have the defaults of `RunSettings` or the stage.

    Returns the exit code. Raises `InputError`.
    """
    settings = asdict(RunSettings()) | dict(settings)
    if Path.cwd() != ROOT:  # the stages run there, but relative paths are those of the current folder
        settings |= {name: path.absolute() for name, path in settings.items() if isinstance(path, Path)}
        if Path(settings["model"]).exists():
            settings["model"] = str(Path(settings["model"]).absolute())
    data, out = DataFolder(settings["data"]), RunFolder(settings["out"])
    _check(settings, out)
    out.root.mkdir(parents=True, exist_ok=True)
    if not data.train.is_file():
        print(f"{data.root} has no train.csv: answers by {out.adapter}, or else by the model as it is")
    times = {}
    for name, stage in _stages(settings, data, out):
        print(f"== {name}", flush=True)
        start = time.monotonic()
        code = stage()
        times[name] = time.monotonic() - start
        if code:
            return code
    _print_scores(data, out, ocr=settings["ocr"])
    _note(out, data=str(data.root), times=times)
    print(f"every answer with its image: {write_report(out.root)}")
    listed = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in times.items())
    print(f"{listed} (sum {sum(times.values()):.0f} s)")
    return 0


def _note(out: RunFolder, **values: Any) -> None:
    """Write values into the run's record, beside those that are there."""
    write_whole(out.record, json.dumps(read_json(out.record) | values) + "\n")


def _check(settings: Mapping[str, Any], out: RunFolder) -> None:
    """Raise `InputError` for bad input now, not after the long stages."""
    for stage in STAGES:
        settings_of(stage, settings)
    has_labels = DataFolder(settings["data"]).train.is_file()
    if has_labels:
        read_train(settings["data"])
    read_test(settings["data"])
    model = str(settings["model"])
    # A model that a notebook here was executed with need not be checked again: torch takes long to load.
    if not Path(model).is_dir() or read_json(out.record).get("model") != model_contents(model):
        from src.model.modeling import load_config, preset_for

        preset_for(load_config(model), settings.get("cpu", False))
    if has_labels and (recorded := recorded_recipe(out.adapter)):
        values = {**settings, "model": model_contents(model)}
        recipe = {name: values[name] for name in recorded if name in values}
        check_recipe(out.adapter, recipe, settings.get("overwrite", False))


def _stages(
    settings: Mapping[str, Any], data: DataFolder, out: RunFolder
) -> list[tuple[str, Callable[[], int]]]:
    """Return the stages in order, each as (name, function that runs it and returns an exit code)."""
    shared = overrides_for(RunSettings, settings)
    others = {name: value for name, value in settings.items() if name not in shared}
    folders = {"data": data.root, "out": out.processed, "ocr": settings["ocr"]}
    preprocess = overrides_for(PreprocessSettings, others) | folders

    def notebook(target: Path, stage: type, leaves: Sequence[Path]) -> Callable[[], int]:
        values = {"settings": overrides_for(stage, others), **overrides_for(stage, shared)}
        parameters = {name.upper(): str(v) if isinstance(v, Path) else v for name, v in values.items()}
        return partial(_execute, target, parameters, data, out, [target, *leaves])

    adapter = [out.adapter / "adapter_model.safetensors", out.adapter / "training.json"]
    answers = [out.predictions, out.details, out.gallery]
    predictions, test = str(out.predictions), str(data.test)
    stages: list[tuple[str, Callable[[], int]]] = [
        ("preprocess", partial(_python, "preprocess.py", *(f"--{k}={v}" for k, v in preprocess.items()))),
        ("rules", partial(_answer_by_rules, data, out)),
        ("training", notebook(out.training_notebook, TrainSettings, adapter)),
        ("inference", notebook(out.inference_notebook, PredictSettings, adapter + answers)),
        ("sanity", partial(_python, "src/sanity.py", "--predictions", predictions, "--test", test)),
    ]
    is_needed = {"rules": settings["ocr"], "training": data.train.is_file()}
    return [(name, stage) for name, stage in stages if is_needed.get(name, True)]


def _execute(
    target: Path, parameters: Mapping[str, Any], data: DataFolder, out: RunFolder, leaves: Sequence[Path]
) -> int:
    """Execute a notebook into ``target``, unless all of ``leaves`` is as it left it; return 0."""
    source, executed = ROOT / target.name, read_json(out.record).get("executed", {})
    key = currency.depends_on(source, parameters, data, out)
    if executed.get(target.name) == [key, currency.left(leaves)]:
        print(f"{target} is current: nothing that it depends on has changed")
        return 0
    from src.notebooks.execution import execute_notebook  # takes seconds to load

    code = execute_notebook(source, target, parameters)
    executed[target.name] = [key, currency.left(leaves)]
    _note(out, executed=executed, model=model_contents(str(parameters["MODEL"])))
    return code


def _answer_by_rules(data: DataFolder, out: RunFolder) -> int:
    """Write the predictions by rules; return 0, since rows without an answer do not stop a run."""
    write_predictions(data.root, out.processed, out.by_rules)
    return 0


def _python(*arguments: str) -> int:
    """Run this Python with ``arguments``; return its exit code."""
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False).returncode


def _print_scores(data: DataFolder, out: RunFolder, ocr: bool) -> None:
    """Print what a successful run predicted, and its scores where the truth is known."""
    answered = read_table(out.predictions, ["prediction"])["prediction"] != ""
    print(f"== done: {out.predictions} is valid ({len(answered)} rows, {answered.sum()} with an answer)")
    if data.truth.is_file():
        print(metrics.show(metrics.score_files(data.truth, out.predictions)))
        if ocr:
            baseline = metrics.score_files(data.truth, out.by_rules).iloc[-1]["f1"]
            print(f"by rules alone ({out.by_rules}): F1 {baseline:.3f}")


def main() -> int:
    """Run the pipeline with the settings of the command line; return the exit code."""
    description = "From product images to a validated prediction file."
    return run(vars(parser_for(*STAGES, RunSettings, description=description).parse_args()))


if __name__ == "__main__":
    run_main(main)
