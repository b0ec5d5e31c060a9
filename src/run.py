"""The whole pipeline in one command: what ``make run`` calls.

    python -m src.run --data data/sample --out outputs --model data/idefics2-tiny

Runs preprocess.py, src/rules.py (the baseline), training.ipynb, inference.ipynb and src/sanity.py one after
the other, tells the time of each, and leaves a page to look at every answer (src/report). Every stage reuses
what it has finished before. Every setting of a stage is a flag. Exit code: 0 valid predictions, 1 a fault in
them, 2 unusable input.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
import papermill
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
from src.settings import PredictSettings, PreprocessSettings, TrainSettings

ROOT = Path(__file__).resolve().parent.parent
DEFAULTS: dict[str, Any] = {
    "data": Path("data/sample"),
    "out": Path("outputs"),
    "model": "data/idefics2-tiny",
    "ocr": True,
}


def run(given: Mapping[str, Any]) -> int:
    """Run every stage with the settings ``given`` by name, the rest being `DEFAULTS` or the stages' own.

    Returns the exit code. Raises `InputError`.
    """
    given = DEFAULTS | dict(given)
    if Path.cwd() != ROOT:  # the stages run there; a relative path is one of the current folder
        given |= {key: value.absolute() for key, value in given.items() if isinstance(value, Path)}
        if Path(given["model"]).exists():
            given["model"] = str(Path(given["model"]).absolute())
    data, out, ocr = DataFolder(given["data"]), RunFolder(given["out"]), bool(given["ocr"])
    # Bad input fails now, not after the long stages.
    for settings in (PreprocessSettings, TrainSettings, PredictSettings):
        settings_of(settings, given)
    trained = data.train.is_file()
    if trained:
        read_train(data.root)
    read_test(data.root)
    preset_for(load_config(given["model"]))
    out.root.mkdir(parents=True, exist_ok=True)
    if not trained:
        print(f"{data.root} has no train.csv: answers by {out.adapter}, or else by the model as it is")

    times = {}
    for name, stage in _stages(given, data, out, ocr, trained):
        print(f"== {name}", flush=True)
        start = time.monotonic()
        code = stage()
        times[name] = time.monotonic() - start
        if code:
            return code
    predictions = read_table(out.predictions, ["prediction"])["prediction"]
    print(
        f"== done: {out.predictions} is valid ({len(predictions)} rows, {(predictions != '').sum()} with an answer)"
    )
    if data.truth.is_file():
        print(metrics.show(metrics.score_files(data.truth, out.predictions)))
        if ocr:
            baseline = metrics.score_files(data.truth, out.by_rules).iloc[-1]["f1"]
            print(f"by rules alone ({out.by_rules}): F1 {baseline:.3f}")
    write_whole(out.record, json.dumps({"data": str(data.root), "times": times}) + "\n")
    print(f"every answer with its picture: {write_report(out.root)}")
    print(
        ", ".join(f"{name} {seconds:.0f} s" for name, seconds in times.items()),
        f"(sum {sum(times.values()):.0f} s)",
    )
    return 0


def _stages(
    given: Mapping[str, Any], data: DataFolder, out: RunFolder, ocr: bool, trained: bool
) -> list[tuple[str, Callable[[], int]]]:
    """The stages to run, in their order, each with what runs it and returns an exit code."""
    own = {key: given[key] for key in DEFAULTS}
    rest = {key: value for key, value in given.items() if key not in DEFAULTS}
    preprocess = overrides_for(PreprocessSettings, rest) | {
        "data": data.root,
        "out": out.processed,
        "ocr": ocr,
    }
    parameters = {key.upper(): str(value) if isinstance(value, Path) else value for key, value in own.items()}

    def answer_by_rules() -> int:
        write_predictions(data.root, out.processed, out.by_rules)
        return 0

    def notebook(path: Path, stage: type) -> Callable[[], int]:
        known = {
            key: value for key, value in parameters.items() if key.lower() in {f.name for f in fields(stage)}
        }
        return partial(
            execute_notebook, ROOT / path.name, path, known | {"SETTINGS": overrides_for(stage, rest)}
        )

    stages: list[tuple[str, Callable[[], int]]] = [
        (
            "preprocess",
            partial(_python, "preprocess.py", *(f"--{key}={value}" for key, value in preprocess.items())),
        ),
        ("rules", answer_by_rules),
        ("training", notebook(out.training_notebook, TrainSettings)),
        ("inference", notebook(out.inference_notebook, PredictSettings)),
        (
            "sanity",
            partial(_python, "src/sanity.py", "--file", str(out.predictions), "--test", str(data.test)),
        ),
    ]
    left_out = {"rules"} if not ocr else set()
    left_out |= {"training"} if not trained else set()
    return [(name, stage) for name, stage in stages if name not in left_out]


def execute_notebook(source: Path, target: Path, parameters: Mapping[str, Any]) -> int:
    """Execute ``source`` with those ``parameters`` that differ from its own into ``target``, whole or not at
    all.

    Always by this Python and with this repository's ``src``. Its text output is passed on as it comes.
    Returns 0; raises `InputError` with the sentence of one raised inside; for any other error the copy with
    the traceback is kept as ``failed-NAME`` beside the target.
    """
    failed = target.with_name(f"failed-{target.name}")
    own = {key: known["default"].strip("'\"") for key, known in papermill.inspect_notebook(source).items()}
    try:
        with _this_python() as kernel:
            papermill.execute_notebook(
                source,
                failed,
                {key: value for key, value in parameters.items() if own.get(key, str(value)) != str(value)},
                kernel_name=kernel,
                progress_bar=False,
                cwd=ROOT,
                stdout_file=sys.stdout,
                stderr_file=sys.stderr,
                extra_arguments=[
                    "--IPKernelApp.log_level=CRITICAL"
                ],  # its notes on sockets are no user's concern
            )
    except PapermillExecutionError as error:
        if error.ename == InputError.__name__:
            failed.unlink()
            raise InputError(error.evalue) from None
        raise InputError(
            f"{source.name}: {error.ename}: {error.evalue} (the whole error is in {failed})"
        ) from None
    except DeadKernelError:
        raise InputError(
            f"{source.name}: its process died (killed, or out of memory); run again to go on"
        ) from None
    write_whole(target, nbformat.writes(clean(nbformat.read(failed, as_version=4))) + "\n")
    failed.unlink()
    return 0


@contextlib.contextmanager
def _this_python() -> Iterator[str]:
    """The name of a kernel, for as long as it lasts: this interpreter, with this repository first in its
    path.

    The kernel named python3 may be another one: of a folder in JUPYTER_PATH, or of another user.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Python", "language": "python", "env": {"PYTHONPATH": path}}
    with tempfile.TemporaryDirectory() as folder:
        kernel = Path(folder) / "kernels" / "this-python"
        kernel.mkdir(parents=True)
        (kernel / "kernel.json").write_text(json.dumps(spec))
        jupyter_path = os.pathsep.join(filter(None, [folder, os.environ.get("JUPYTER_PATH")]))
        with mock.patch.dict(os.environ, JUPYTER_PATH=jupyter_path):
            yield kernel.name


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what is of one run only: papermill's and nbclient's timings, widget states, overwritten progress
    bars."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return CoalesceStreamsPreprocessor().preprocess(notebook, {})[0]


def _python(*arguments: str) -> int:
    """The exit code of this Python on ``arguments``."""
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False).returncode


def main() -> int:
    """Command line; returns the exit code."""
    stages = (PreprocessSettings, TrainSettings, PredictSettings)
    parser = parser_for(*stages, description="From product pictures to a validated prediction file.")
    return run(vars(parser.parse_args()))


if __name__ == "__main__":
    run_main(main)
