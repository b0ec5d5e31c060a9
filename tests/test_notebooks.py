"""The notebooks: the recipe stands in their cells, and what a cell sets takes effect."""

import json
from pathlib import Path

import nbformat
import pytest

from src import sanity, train
from src.data.details import read_details
from src.data.errors import InputError
from src.data.flags import overridden
from src.data.folders import RunFolder
from src.model.modeling import lora_config, quantization_config
from src.notebooks.execution import execute_notebook
from src.settings import TrainSettings
from src.training.configuration import resolve, training_arguments
from tests.conftest import ROOT, TINY

RECIPE = ("LoraConfig", "BitsAndBytesConfig", "TrainingArguments", "Trainer", "from_pretrained", "lora_r")


def code_cells(name: str) -> list[nbformat.NotebookNode]:
    cells = nbformat.read(ROOT / name, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def test_the_recipe_stands_in_the_cells():
    training = "\n".join(cell.source for cell in code_cells("training.ipynb"))
    assert [name for name in (*RECIPE, "learning_rate", "get_peft_model") if name not in training] == []
    inference = "\n".join(cell.source for cell in code_cells("inference.ipynb"))
    assert [
        name for name in ("BitsAndBytesConfig", "from_pretrained", "score_options") if name not in inference
    ] == []


def test_the_command_builds_the_objects_of_the_notebook(tmp_path):
    settings = resolve(TrainSettings(Path("data/sample"), tmp_path, str(TINY)))
    sources = [cell.source for cell in code_cells("training.ipynb")]
    imports, recipe = sources[1], next(source for source in sources if "quantization =" in source)
    space = {"SETTINGS": {}, "DATA": "data/sample", "OUT": str(tmp_path), "MODEL": str(TINY), "OCR": True}
    exec(imports + "\n" + recipe, space)
    assert space["settings"] == settings
    assert space["quantization"].to_dict() == quantization_config().to_dict()
    assert space["lora"].to_dict() == lora_config(settings).to_dict()
    of_the_command = training_arguments(settings, RunFolder(tmp_path).checkpoints)
    assert space["arguments"].to_dict() == of_the_command.to_dict()


def changed(name: str, folder: Path, *changes: tuple[str, str]) -> Path:
    """Return a copy of a notebook in which a source has changed, as a reader changes it."""
    notebook = nbformat.read(ROOT / name, as_version=4)
    for before, after in changes:
        cells = [cell for cell in notebook.cells if before in cell.source]
        assert cells, before
        for cell in cells:
            cell.source = cell.source.replace(before, after)
    nbformat.write(notebook, folder / name)
    return folder / name


@pytest.fixture(scope="module")
def trained_by_cells(processed, tmp_path_factory):
    """A run whose training notebook was changed in its cells, and trained in two processes."""
    folder = tmp_path_factory.mktemp("cells")
    out = folder / "out"
    out.mkdir()
    (out / "processed").symlink_to(processed[1] / "processed")
    notebook = changed(
        "training.ipynb",
        folder,
        ("r=settings.lora_r", "r=4"),
        ("learning_rate=settings.learning_rate", "learning_rate=5e-4"),
    )
    settings = {"batch_size": 4, "evaluations": 1, "scored_rows": 4, "prompt": "{context} Say: {question}"}
    parameters = {"DATA": str(processed[0]), "OUT": str(out), "SETTINGS": settings, "PROCESSES": 2}
    execute_notebook(notebook, out / "training.ipynb", parameters)
    return processed[0], out, folder


def test_what_the_training_cells_set_takes_effect_in_all_processes(trained_by_cells):
    _, out, _ = trained_by_cells
    config = json.loads((out / "adapter" / "adapter_config.json").read_text())
    record = json.loads((out / "adapter" / "training.json").read_text())
    assert config["r"] == record["settings"]["lora_r"] == 4
    assert record["settings"]["learning_rate"] == 5e-4
    assert record["settings"]["prompt"] == "{context} Say: {question}"
    rates = [entry["learning_rate"] for entry in record["log"] if "learning_rate" in entry]
    assert 0 < max(rates) <= 5e-4
    assert all(entry["loss_tokens"] > 0 for entry in record["log"] if "loss" in entry)
    shown = (out / "training.ipynb").read_text()
    assert "Say: What is the" in shown
    assert "train: 100%" in shown  # the bar of the processes


def test_another_scorer_in_a_cell_changes_the_run_and_the_prompt_is_that_of_the_training(trained_by_cells):
    data, out, folder = trained_by_cells
    parameters = {"DATA": str(data), "OUT": str(out)}
    execute_notebook(ROOT / "inference.ipynb", out / "inference.ipynb", parameters)
    plain = {question.row: question for question in read_details(out / "test_out.details.csv")}
    assert "Say: What is the" in (out / "inference.ipynb").read_text()
    backwards = (
        "score=lambda *a, **k: [dataclasses.replace(x, log_probabilities=tuple("
        "(text, -p) for text, p in x.log_probabilities)) for x in score_options(*a, **k)]"
    )
    notebook = changed(
        "inference.ipynb",
        folder,
        ("score=score_options", backwards),
        ("import time", "import dataclasses\nimport time"),
    )
    execute_notebook(notebook, out / "again.ipynb", parameters)
    other = {question.row: question for question in read_details(out / "test_out.details.csv")}
    assert sanity.check(out / "test_out.csv", data / "test.csv") == []
    scored = [row for row, question in plain.items() if len(question.options) > 1]
    assert scored
    for row in scored:
        before = {option.text: option.log_probability for option in plain[row].options}
        after = {option.text: option.log_probability for option in other[row].options}
        assert after == pytest.approx({text: -value for text, value in before.items()}, abs=1e-3)


def test_a_change_that_other_processes_cannot_know_is_refused_before_they_start(processed, tmp_path):
    settings = resolve(TrainSettings(processed[0], tmp_path, str(TINY)))
    (tmp_path / "processed").symlink_to(processed[1] / "processed")
    with pytest.raises(InputError, match="is not known to other processes: set PROCESSES = 1"):
        train.on_every_gpu(settings, 2, {"quantization": "another"})


def test_a_prompt_that_cannot_be_filled_is_refused_in_one_sentence(tmp_path):
    for template in ("", "{context}", "{question} {entity}", "{question", "{question} {}"):
        settings = overridden(
            TrainSettings, {"prompt": template}, data=Path("x"), out=tmp_path, model=str(TINY)
        )
        with pytest.raises(InputError, match="must hold"):
            resolve(settings)
