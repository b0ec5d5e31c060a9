"""The whole pipeline in one command, which ``make run`` calls.

    python -m src.run --data data/sample --out outputs --model my/model

It runs preprocess.py, src/rules.py (the baseline), training.ipynb, inference.ipynb and src/sanity.py in turn,
prints the time of each, and writes a page to look at every answer (src/report). Every stage reuses what it
finished before. Every setting of a stage is a flag. Exit code: 0 valid predictions, 1 a fault in them, 2
unusable input.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor
from papermill.exceptions import PapermillExecutionError

from src import metrics
from src.data.errors import InputError, run_main
from src.data.files import write_whole
from src.data.flags import overrides_for, parser_for, settings_of
from src.data.folders import DataFolder, RunFolder
from src.data.tables import read_table, read_test, read_train
from src.model.modeling import load_config, preset_for
from src.report.page import write_report
from src.rules import write_predictions
from src.settings import PredictSettings, PreprocessSettings, RunSettings, TrainSettings

ROOT = Path(__file__).resolve().parent.parent
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
    _check(settings)
    data, out = DataFolder(settings["data"]), RunFolder(settings["out"])
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
    write_whole(out.record, json.dumps({"data": str(data.root), "times": times}) + "\n")
    print(f"every answer with its picture: {write_report(out.root)}")
    listed = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in times.items())
    print(f"{listed} (sum {sum(times.values()):.0f} s)")
    return 0


def _check(settings: Mapping[str, Any]) -> None:
    """Raise `InputError` for bad input now, not after the long stages."""
    for stage in STAGES:
        settings_of(stage, settings)
    if DataFolder(settings["data"]).train.is_file():
        read_train(settings["data"])
    read_test(settings["data"])
    preset_for(load_config(settings["model"]), settings.get("cpu", False))


def _stages(
    settings: Mapping[str, Any], data: DataFolder, out: RunFolder
) -> list[tuple[str, Callable[[], int]]]:
    """Return the stages in order, each as (name, function that runs it and returns an exit code)."""
    shared = overrides_for(RunSettings, settings)
    others = {name: value for name, value in settings.items() if name not in shared}
    folders = {"data": data.root, "out": out.processed, "ocr": settings["ocr"]}
    preprocess = overrides_for(PreprocessSettings, others) | folders

    def notebook(target: Path, stage: type) -> Callable[[], int]:
        values = {"settings": overrides_for(stage, others), **overrides_for(stage, shared)}
        parameters = {name.upper(): str(v) if isinstance(v, Path) else v for name, v in values.items()}
        return partial(execute_notebook, ROOT / target.name, target, parameters)

    predictions, test = str(out.predictions), str(data.test)
    stages: list[tuple[str, Callable[[], int]]] = [
        ("preprocess", partial(_python, "preprocess.py", *(f"--{k}={v}" for k, v in preprocess.items()))),
        ("rules", partial(_answer_by_rules, data, out)),
        ("training", notebook(out.training_notebook, TrainSettings)),
        ("inference", notebook(out.inference_notebook, PredictSettings)),
        ("sanity", partial(_python, "src/sanity.py", "--predictions", predictions, "--test", test)),
    ]
    is_needed = {"rules": settings["ocr"], "training": data.train.is_file()}
    return [(name, stage) for name, stage in stages if is_needed.get(name, True)]


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


class _ThisPython(AsyncKernelManager):
    """A notebook kernel of this interpreter, with this repository first in its path.

    The kernel that Jupyter finds by the name python3 may be another one: of a folder in JUPYTER_PATH, or of
    another user.
    """

    @property
    def kernel_spec(self) -> KernelSpec:
        """The command and the environment of the kernel."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, env={"PYTHONPATH": path}, language="python")


def execute_notebook(source: Path, target: Path, parameters: Mapping[str, Any]) -> int:
    """Execute ``source`` with those ``parameters`` that differ from its own into ``target``; return 0.

    The target appears whole or not at all; text output is passed on as it comes. Raises `InputError` with the
    sentence of one raised inside. After any other error, ``failed-NAME`` beside the target has the traceback.
    """
    failed = target.with_name(f"failed-{target.name}")
    changed = dict(parameters)
    for name, parameter in papermill.inspect_notebook(source).items():
        if str(changed.get(name)) == parameter["default"].strip("'\""):
            changed.pop(name, None)
    try:
        papermill.execute_notebook(
            source,
            failed,
            changed,
            kernel_name="python3",
            kernel_manager_class=_ThisPython,
            progress_bar=False,
            cwd=ROOT,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # its notes on sockets do not concern users
        )
    except PapermillExecutionError as error:
        if error.ename == InputError.__name__:
            failed.unlink()
            raise InputError(error.evalue) from None
        fault = f"{error.ename}: {error.evalue} (the whole error is in {failed})"
        raise InputError(f"{source.name}: {fault}") from None
    except DeadKernelError:
        fault = "its process died (killed, or out of memory); run again to go on"
        raise InputError(f"{source.name}: {fault}") from None
    write_whole(target, nbformat.writes(clean(nbformat.read(failed, as_version=4))) + "\n")
    failed.unlink()
    return 0


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what belongs to one run only: timings, widget states, overwritten progress bars."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return CoalesceStreamsPreprocessor().preprocess(notebook, {})[0]


def main() -> int:
    """Run the pipeline with the settings of the command line; return the exit code."""
    description = "From product images to a validated prediction file."
    return run(vars(parser_for(*STAGES, RunSettings, description=description).parse_args()))


if __name__ == "__main__":
    run_main(main)
