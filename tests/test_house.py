"""How the house is built: which room may know which, and what is not loaded where it is not needed."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# What each room may import, itself included; modules at the top of src/ are rooms of their own. One way, no
# circle.
MAY_IMPORT = {
    "settings": set(),
    "entities": set(),
    "units": set(),
    "images": {"settings", "images"},
    "reading": {"entities", "units", "images", "reading"},
    "ocr": {"entities", "images", "reading", "data", "ocr"},
    "data": {"entities", "reading", "data"},
    "prepare": {"settings", "images", "reading", "ocr", "data", "prepare"},
    "metrics": {"settings", "reading", "data"},
    "sanity": {"settings", "entities", "reading", "data"},
    "rules": {"settings", "reading", "data", "prepare"},
    "model": {"settings", "entities", "images", "reading", "data", "model"},
    "ensemble": {"entities", "metrics", "reading", "data"},
    "training": {"settings", "entities", "reading", "data", "model", "metrics", "rules", "training"},
    "plots": {"images", "data", "metrics"},
    "train": {"settings", "data", "model", "training", "metrics", "launch"},
    "predict": {
        *("settings", "entities", "data", "prepare", "model"),
        *("training", "ensemble", "sanity", "rules"),
    },
    "ask": {
        *("settings", "entities", "images", "reading", "data", "prepare"),
        *("model", "training", "ensemble", "plots"),
    },
    "report": {
        *("settings", "entities", "images", "reading", "data"),
        *("training", "metrics", "ensemble", "rules", "report"),
    },
    "plan": {"settings", "data", "prepare", "model", "training", "rules", "plan"},
    "launch": {"data"},
    "notebooks": {"data", "model", "launch"},
    "run": {
        *("settings", "data", "model", "training", "metrics"),
        *("report", "rules", "notebooks", "launch"),
    },
    "bundled": {"settings", "entities", "images", "reading", "data", "model", "bundled"},
}


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports():
    """(file, room, imported room) of every import of src in src, also those inside functions."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        room = path.relative_to(ROOT / "src").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [f"{node.module}.{a.name}" for a in node.names] if isinstance(node, ast.ImportFrom) else []
            )
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.startswith("src."):
                    yield path, room, room_of(name)


def test_arrows_go_one_way():
    wrong = [
        f"{path.relative_to(ROOT)} ({room}) imports {other}"
        for path, room, other in imports()
        if other not in MAY_IMPORT[room]
    ]
    assert wrong == []


def test_the_table_of_arrows_has_no_circle_and_no_arrow_that_is_not_there():
    order: list[str] = []
    while len(order) < len(MAY_IMPORT):
        free = [
            room for room, others in MAY_IMPORT.items() if room not in order and others - {room} <= set(order)
        ]
        assert free, f"a circle among {set(MAY_IMPORT) - set(order)}"
        order += free
    drawn = {(room, other) for _, room, other in imports()}
    assert {(room, other) for room, others in MAY_IMPORT.items() for other in others} - drawn == set()


RECORDS = {
    "TextLine": "one line that OCR found",
    "ParsedLine": "a text line with what it says",
    "Mention": "a quantity in a line",
    "Candidate": "a mention that fits a question",
    "Option": "a possible answer with its scores",
    "ImageText": "all that later stages need of an image's text lines",
    "Question": "a row of a table, from its image to its prediction",
    "ModelAnswer": "the model's answer and log-probabilities",
}
"""The types that carry an image's data from ``preprocess.py`` to ``test_out.csv``."""
PARTS = {"Task", "Box", "Quantity", "Unit", "Token", "Parsed", "Layout", "OcrPass", "RetryPass"}
"""Values within these records, within the parser, and settings of OCR."""


def test_few_types_carry_the_data_from_an_image_to_its_prediction():
    files = [*(ROOT / "src" / "reading").glob("*.py"), *(ROOT / "src" / "ocr").glob("*.py")]
    files += [ROOT / "src" / name for name in ("rules.py", "predict.py", "ensemble.py", "data/details.py")]
    files += [
        ROOT / "src" / name for name in ("data/questions.py", "data/text_store.py", "model/decoding.py")
    ]
    files += [ROOT / "src" / name for name in ("model/scoring.py", "report/page.py")]
    records = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                is_record = "dataclass" in map(_name, node.decorator_list)
                if is_record or "NamedTuple" in map(_name, node.bases):
                    records.add(node.name)
    assert records - PARTS - {"OptionTree"} == set(RECORDS)


def _name(node):
    function = node.func if isinstance(node, ast.Call) else node
    return getattr(function, "id", "")


def test_rooms_are_small():
    for path in (ROOT / "src").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 300, path
    assert len(list((ROOT / "src").glob("[a-z]*.py"))) <= 13


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import src.run", {"torch", "transformers", "papermill"}),
        ("import src.sanity", {"cv2", "PIL", "torch", "transformers"}),
        ("import src.prepare.processes", {"torch", "pandas", "transformers", "rapidocr", "requests"}),
        ("import src.ocr.engine", {"torch", "pandas", "transformers"}),
        ("import src.ask", {"torch", "transformers", "matplotlib", "requests"}),
    ],
)
def test_what_is_not_needed_is_not_loaded(code, unwanted):
    shown = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {shown}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert unwanted & set(done.stdout.split()) == set()
