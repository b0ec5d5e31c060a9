"""Shared data of the tests: the sample folder, small folders made of it, real images where they are at
hand."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from src.data.names import read_files
from src.data.questions import Question, test_questions, train_questions
from src.data.tables import read_test, read_train
from src.data.text_store import TextStore
from src.prepare.preprocessing import preprocess
from src.rules import parse_images, with_text
from src.settings import PreprocessSettings
from tests import child

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "data" / "sample"
TINY = ROOT / "data" / "idefics2-tiny"
REAL = ROOT.parent / "shared" / "real"


LONGEST = (
    "test_run.py",
    "test_train.py",
    "test_scenes.py",
    "test_benchmarks.py",
    "test_ray_backend.py",
    "test_preprocessing.py",
    "test_real_images.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: of two processes that share the files, none waits long for the other at the
    end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def real() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"the real product images are not at hand ({REAL.name} is absent)")
    return REAL


_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(child.LIBRARIES)


def run_python(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run this Python with ``arguments``, as a user would, in a process of its own: only its libraries are
    there."""
    command = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = _SERVER.Process(
            target=child.run, args=(command, str(cwd), dict(os.environ), str(out), str(err))
        )
        process.start()
        process.join(timeout=600)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"{command} ran for more than ten minutes")
        code = process.exitcode or 0
        return subprocess.CompletedProcess([sys.executable, *command], code, out.read_text(), err.read_text())


def hear_ctrl_c() -> None:
    """For ``preexec_fn``: a shell's background job hands its children SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def assert_one_sentence(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """The run failed with one error line that holds ``words``, and without a traceback."""
    assert result.returncode != 0
    assert "Traceback" not in result.stderr + result.stdout
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    for word in words:
        assert word in errors[0]


def make_folder(folder: Path, train_rows: int, test_rows: int) -> Path:
    """A data folder of the first rows of the sample, with the images they name (hard links)."""
    (folder / "images").mkdir(parents=True)
    for name, rows in (("train.csv", train_rows), ("test.csv", test_rows), ("test_truth.csv", test_rows)):
        table = pd.read_csv(SAMPLE / name, dtype=str, keep_default_na=False).head(rows)
        table.to_csv(folder / name, index=False)
        for link in table.get("image_link", []):
            image = link.rsplit("/", 1)[-1]
            if not (folder / "images" / image).exists():
                os.link(SAMPLE / "images" / image, folder / "images" / image)
    return folder


@pytest.fixture(scope="session")
def processed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(data folder of 16 train and 7 test rows, output folder with its images of at most 378 px and their
    text)."""
    folder = tmp_path_factory.mktemp("small")
    data, out = make_folder(folder / "data", 16, 7), folder / "out"
    preprocess(PreprocessSettings(data, out / "processed", max_size=378, ocr=True, workers=2))
    return data, out


def parsed_questions(data: Path, processed: Path, journal: Path) -> dict[str, list[Question]]:
    """The ``train`` and ``test`` questions of a data folder, with context and options."""
    files = read_files(data)
    questions = {
        "train": train_questions(read_train(data), processed, files)[0],
        "test": test_questions(read_test(data), processed, files),
    }
    images = [question.image for part in questions.values() for question in part]
    texts = parse_images(images, TextStore(processed), journal)
    return {name: with_text(part, texts) for name, part in questions.items()}


@pytest.fixture(scope="session")
def questions(
    processed: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Question]]:
    """`parsed_questions` of `processed`."""
    return parsed_questions(
        processed[0], processed[1] / "processed", tmp_path_factory.mktemp("texts") / "texts.jsonl"
    )


@pytest.fixture(scope="session")
def gold_read(real: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    """(every fifth hand-read row, the folder with the text of their images)."""
    gold = pd.read_csv(real / "gold_dev.csv", dtype=str, keep_default_na=False).iloc[::5]
    folder = tmp_path_factory.mktemp("gold")
    (folder / "images").mkdir()
    for image in set(gold["image"]):
        (folder / "images" / image).symlink_to(real / "images" / image)
    preprocess(PreprocessSettings(folder, folder / "processed", ocr=True, workers=2))
    return gold, folder / "processed"


@pytest.fixture
def fresh(processed: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of `processed` that a test may change."""
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(processed[0], data)
    shutil.copytree(processed[1], out)
    return data, out
