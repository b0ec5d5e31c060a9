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
    "images": {"settings", "images"},
    "reading": {"entities", "images", "reading"},
    "ocr": {"entities", "images", "reading", "ocr"},
    "data": {"entities", "reading", "data"},
    "prepare": {"settings", "images", "reading", "ocr", "data", "prepare"},
    "metrics": {"settings", "reading", "data"},
    "sanity": {"settings", "entities", "data"},
    "rules": {"settings", "reading", "data", "prepare"},
    "model": {"settings", "entities", "images", "reading", "data", "model"},
    "ensemble": {"metrics", "reading", "data"},
    "training": {"settings", "entities", "reading", "data", "model", "metrics", "rules", "training"},
    "plots": {"images", "data"},
    "train": {"settings", "data", "model", "training", "metrics"},
    "predict": {"settings", "data", "prepare", "model", "training", "ensemble", "sanity", "rules"},
    "report": {"settings", "images", "reading", "data", "model", "training", "metrics", "rules", "report"},
    "plan": {"settings", "data", "prepare", "model", "training", "rules", "plan"},
    "run": {"settings", "data", "model", "metrics", "report", "rules"},
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
    wrong = [f"{path.relative_to(ROOT)} ({room}) imports {other}"
             for path, room, other in imports() if other not in MAY_IMPORT[room]]  # fmt: skip
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


def test_rooms_are_small():
    for path in (ROOT / "src").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 300, path
    assert len(list((ROOT / "src").glob("[a-z]*.py"))) <= 10


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import src.sanity", {"cv2", "PIL", "torch", "transformers"}),
        ("import src.prepare.processes", {"torch", "pandas", "transformers", "rapidocr", "requests"}),
        ("import src.ocr.engine", {"torch", "pandas", "transformers"}),
    ],
)
def test_what_is_not_needed_is_not_loaded(code, unwanted):
    shown = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {shown}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert unwanted & set(done.stdout.split()) == set()
