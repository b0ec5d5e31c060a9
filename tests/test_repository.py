"""The promises of the repository itself: its notebooks, its README, its commands."""

import importlib
import json
import re
import subprocess

import nbformat
import pytest

from benchmarks import pictures
from src.data.folders import Entry, RunFolder
from src.notebooks.execution import clean
from tests.conftest import ROOT

NOTEBOOKS = ("training.ipynb", "inference.ipynb")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_short_executed_and_of_no_machine(name):
    text = (ROOT / name).read_text()
    cells = [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    assert len(cells) <= 18
    assert sum("parameters" in c["metadata"].get("tags", []) for c in cells) == 1
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert not re.search(r"^\s*(def|class|async def) |lambda", "".join(cell["source"]), re.M)
        assert not any(output["output_type"] == "error" for output in cell["outputs"])
    assert len(text) < 700_000
    assert not re.search(r"(/home/|/root/|/tmp/|/work/|/Users/)\w", text)
    assert "papermill" not in text


@pytest.mark.parametrize("picture", pictures.CODE)
def test_pictures_are_drawn_by_the_code_as_it_is_now(picture):
    assert pictures.recorded_code_key(ROOT / "data" / picture) == pictures.code_key(picture), (
        "run make pictures"
    )


def test_cleaning_keeps_the_last_state_of_a_bar():
    stream = {"output_type": "stream", "name": "stderr"}
    outputs = [
        nbformat.from_dict({**stream, "text": "\rtrain: 10%"}),
        nbformat.from_dict({**stream, "text": "\rtrain: 100%"}),
        nbformat.from_dict({**stream, "text": "\nwarning\n"}),
    ]
    cell = nbformat.v4.new_code_cell("1", outputs=outputs, metadata={"papermill": {}, "tags": ["parameters"]})
    notebook = clean(nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {}, "widgets": {}}))
    assert [o.text for o in notebook.cells[0].outputs] == ["train: 100%\nwarning\n"]
    assert notebook.cells[0].metadata == {"tags": ["parameters"]}
    assert notebook.metadata == {}


def test_readme_names_only_what_is_there():
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake ([a-z][\w-]*)", readme)) <= targets
    for path in re.findall(r"`((?:src|data|tests|benchmarks)/[\w./-]+)`", readme):
        assert (ROOT / path).exists(), path
    rooms = {path.name for path in (ROOT / "src").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == set(re.findall(r"^    src/(\w+)/ ", readme, re.M))


def test_readme_lists_what_a_run_leaves():
    shown = re.findall(r"^- `([^`]+)`: (.+)$", (ROOT / "README.md").read_text(), re.M)
    entries = [(e.name, e.purpose) for e in vars(RunFolder).values() if isinstance(e, Entry)]
    assert shown[: len(entries)] == entries
    assert len(entries) >= 15


def shown_commands() -> list[tuple[str, tuple[str, ...]]]:
    """Every command of README and Makefile: script or module, and its flags."""
    pattern = r"(?:python|\$\(PY\)|launch .*) (?:-m )?(\w[\w/]*\.py|(?:src|benchmarks)\.\w+)([^`\n]*)"
    text = (ROOT / "README.md").read_text() + (ROOT / "Makefile").read_text()
    commands = re.findall(pattern, text)
    return sorted({(name, tuple(re.findall(r"(--[a-z][\w-]*)", rest))) for name, rest in commands})


@pytest.mark.parametrize(("command", "flags"), shown_commands())
def test_every_command_shown_runs_and_knows_its_flags(command, flags, monkeypatch, capsys):
    name = command.removesuffix(".py").replace("/", ".")
    if not hasattr(importlib.import_module(name), "main"):
        name += ".__main__"  # a package that is run
    module = importlib.import_module(name)
    monkeypatch.setattr("sys.argv", [command, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    assert set(flags) <= set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))


def test_every_target_of_the_makefile_is_a_command():
    targets = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M)
    done = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count("-m src.run") >= 2
