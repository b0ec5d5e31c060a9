"""The whole pipeline in one command: what ``make run`` calls.

    python -m src.run --data data/sample --out outputs --model data/idefics2-tiny

Runs preprocess.py, src/rules.py (the baseline), training.ipynb, inference.ipynb and src/sanity.py one after the other
and tells the time of each. Every stage reuses what it has finished before.
Exit code: 0 valid predictions, 1 a fault in them, 2 unusable input.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from src import metrics
from src.data.errors import InputError, run_main
from src.data.files import write_whole
from src.data.tables import read_table, read_test, read_train
from src.model.modeling import load_config, preset_for

ROOT = Path(__file__).resolve().parent.parent


def execute_notebook(name: str, out: Path, parameters: dict[str, str | bool]) -> None:
    """Execute ``ROOT/name`` with those ``parameters`` that differ from its own into ``out/name``, whole or not at all.

    Its text output is passed on as it comes. Raises `InputError` with the sentence of one raised inside; for any other
    error the copy with the traceback is kept as ``out/failed-name``.
    """
    source, failed = ROOT / name, out / f"failed-{name}"
    own = {key: known["default"].strip("'\"") for key, known in papermill.inspect_notebook(source).items()}
    given = {key: value for key, value in parameters.items() if own.get(key, str(value)) != str(value)}
    try:
        papermill.execute_notebook(
            source,
            failed,
            given,
            progress_bar=False,
            cwd=ROOT,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # its notes on sockets are no user's concern
        )
    except PapermillExecutionError as error:
        if error.ename == InputError.__name__:
            failed.unlink()
            raise InputError(error.evalue) from None
        raise InputError(f"{name}: {error.ename}: {error.evalue} (the whole error is in {failed})") from None
    except DeadKernelError:
        raise InputError(f"{name}: its process died (killed, or out of memory); run again to go on") from None
    write_whole(out / name, nbformat.writes(clean(nbformat.read(failed, as_version=4))) + "\n")
    failed.unlink()


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what is of one run only: papermill's and nbclient's timings, widget states, overwritten progress bars."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if "outputs" in cell:
            cell.outputs = _merge_streams(cell.outputs)
    return notebook


def _merge_streams(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join neighbouring pieces of one stream, and keep of each line what stands after its last carriage return."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            merged.append(output)
    for output in merged:
        if output.output_type == "stream":
            output.text = "\n".join(line.rpartition("\r")[2] for line in output.text.split("\n"))
    return merged


def run(data: Path, out: Path, model: str, ocr: bool = True) -> int:
    """Run every stage; return the exit code. Without ``ocr`` the model gets the pictures only. Raises `InputError`."""
    # Bad input fails now, not after the long stages.
    trained = (data / "train.csv").is_file()
    if trained:
        read_train(data)
    read_test(data)
    preset_for(load_config(model))
    out.mkdir(parents=True, exist_ok=True)
    predictions, by_rules, times = out / "test_out.csv", out / "rules_out.csv", {}
    parameters: dict[str, str | bool] = {"DATA": str(data), "OUT": str(out), "MODEL": model, "OCR": ocr}
    check = ["src/sanity.py", "--file", str(predictions), "--test", str(data / "test.csv")]
    stages = {
        "preprocess": lambda: _python(
            "preprocess.py", "--data", str(data), "--out", str(out / "processed"), *(["--ocr"] if ocr else [])
        ),
        "rules": lambda: _python(
            "-m", "src.rules", "--data", str(data), "--processed", str(out / "processed"), "--out", str(by_rules)
        ),
        "training": lambda: execute_notebook("training.ipynb", out, parameters),
        "inference": lambda: execute_notebook("inference.ipynb", out, parameters),
        "sanity": lambda: _python(*check),
    }
    if not ocr:
        del stages["rules"]
    if not trained:
        print(f"{data} has no train.csv: answers by {out / 'adapter'}, or else by the model as it is")
        del stages["training"]
    for name, stage in stages.items():
        print(f"== {name}", flush=True)
        start = time.monotonic()
        code = stage()
        times[name] = time.monotonic() - start
        if code:
            return code
    answers = read_table(predictions, ["prediction"])["prediction"]
    print(f"== done: {predictions} is valid ({len(answers)} rows, {(answers != '').sum()} with an answer)")
    truth = data / "test_truth.csv"
    if truth.is_file():
        print(metrics.show(metrics.score_files(truth, predictions)))
        if ocr:
            baseline = metrics.score_files(truth, by_rules).iloc[-1]["f1"]
            print(f"by rules alone ({by_rules}): F1 {baseline:.3f}")
    print(", ".join(f"{name} {seconds:.0f} s" for name, seconds in times.items()), f"(sum {sum(times.values()):.0f} s)")
    return 0


def _python(*arguments: str) -> int:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False).returncode


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="From product pictures to a validated prediction file.")
    parser.add_argument("--data", type=Path, default=Path("data/sample"), help="data folder (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("outputs"), help="default: %(default)s")
    parser.add_argument("--model", default="data/idefics2-tiny", help="folder or hub id (default: %(default)s)")
    parser.add_argument("--no-ocr", action="store_true", help="pictures only: no text is read, no label audited")
    args = parser.parse_args()
    return run(args.data, args.out, args.model, not args.no_ocr)


if __name__ == "__main__":
    run_main(main)
