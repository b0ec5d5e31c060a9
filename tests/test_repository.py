"""What the repository itself promises: its notebooks, its README."""

import json
import re

import nbformat
import pytest

from src.run import clean
from tests.conftest import ROOT

NOTEBOOKS = ("training.ipynb", "inference.ipynb")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_short_executed_and_of_no_machine(name):
    text = (ROOT / name).read_text()
    cells = [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    assert len(cells) <= 15
    assert sum("parameters" in c["metadata"].get("tags", []) for c in cells) == 1
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert not re.search(r"^\s*(def|class|async def) |lambda", "".join(cell["source"]), re.M)
        assert not any(output["output_type"] == "error" for output in cell["outputs"])
    assert len(text) < 700_000
    assert not re.search(r"(/home/|/root/|/tmp/|/work/|/Users/)\w", text)
    assert "papermill" not in text


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
    assert set(re.findall(r"^\s*make ([a-z][\w-]*)|`make ([a-z][\w-]*)", readme, re.M)) - {(t, "") for t in targets} - {
        ("", t) for t in targets
    } == set()  # fmt: skip
    for path in re.findall(r"`((?:src|data|tests)/[\w./-]+)`", readme):
        assert (ROOT / path).exists(), path
    modules = {p.name for p in (ROOT / "src").glob("*.py")} - {"__init__.py"}
    assert modules == set(re.findall(r"^\| `(?:src/)?(\w+\.py)`", readme, re.M))  # the map of src/ is complete
