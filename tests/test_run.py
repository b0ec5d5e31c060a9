"""The whole pipeline as a user runs it, on a small folder with odd rows; bad input; the Makefile's own
checks."""

import errno
import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from src import sanity
from src.data.errors import InputError, run_main
from src.data.tables import read_table, read_test, read_train
from src.run import run
from tests.conftest import ROOT, SAMPLE, TINY, assert_one_sentence, make_folder, run_python


def test_the_pipeline_runs_reuses_and_survives_odd_rows(tmp_path):
    data, out = make_folder(tmp_path / "data", 16, 6), tmp_path / "out"
    (data / "images" / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    with (data / "test.csv").open("a") as table:
        table.write("800,https://example.com/images/broken.jpg,1,height\n")
        table.write("801,https://example.com/images/gone.jpg,1,height\n802,,1,height\n")
        table.write("803,https://example.com/images/train-0000.jpg,1,colour\n")
    with (data / "train.csv").open("a") as table:
        table.write("https://example.com/images/gone.jpg,1,height,5 inch\n,1,height,5 inch\n")
        table.write("https://example.com/images/train-0000.jpg,1,height,five inch\n")
    with (data / "test_truth.csv").open("a") as table:
        table.write("800,height,\n801,height,\n802,height,5 inch\n803,colour,\n")
    call = ["-m", "src.run", "--data", data, "--out", out]
    first = run_python(*call)
    assert first.returncode == 0, first.stderr
    for name in (
        "adapter",
        "processed/manifest.csv",
        "processed/text.jsonl",
        "training.ipynb",
        "inference.ipynb",
    ):
        assert (out / name).exists()
    assert {p.name for p in out.iterdir()} == {
        "adapter",
        "processed",
        "training.ipynb",
        "inference.ipynb",
        "rules_out.csv",
        "rules_out.journal.jsonl",
        "gallery.png",
        "test_out.csv",
        "test_out.details.csv",
        "test_out.journal-0.jsonl",
        "metrics.jsonl",
        "report.html",
        "run.json",
    }
    assert sanity.check(out / "test_out.csv", data / "test.csv") == []
    assert sanity.check(out / "rules_out.csv", data / "test.csv") == []
    details = pd.read_csv(out / "test_out.details.csv", keep_default_na=False).set_index("index")
    assert details.loc[[800, 801, 802, 803], "reason"].tolist() == [
        "no image",
        "no image",
        "blank link",
        "unknown entity",
    ]
    assert details.loc[[800, 801, 802, 803], "prediction"].tolist() == [""] * 4
    for words in (
        "broken.jpg",
        "gone.jpg",
        "PASS",
        f"{out / 'test_out.csv'} is valid (10 rows",
        "f1",
        "by rules alone",
        "training ",
    ):
        assert words in first.stdout
    assert "train: 100%" in first.stderr  # the notebook's bar is passed on

    before = {p: p.stat().st_mtime_ns for p in [*out.glob("adapter/*"), *out.glob("processed/*.jpg")]}
    answers = (out / "test_out.csv").read_bytes()
    times = {p: p.stat().st_mtime_ns for p in out.glob("*.ipynb")}
    for path in data.glob("*.csv"):
        os.utime(path)
    second = run_python(*call)
    assert second.returncode == 0, second.stderr
    assert second.stdout.count("is current: nothing that it depends on has changed") == 2
    assert {p: p.stat().st_mtime_ns for p in out.glob("*.ipynb")} == times
    (out / "training.ipynb").unlink()
    (out / "test_out.csv").unlink()
    third = run_python(*call)
    assert third.returncode == 0, third.stderr
    assert "is current" not in third.stdout
    assert "already trained" in third.stdout
    assert "predict:" not in third.stderr
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert (out / "test_out.csv").read_bytes() == answers
    cells = json.loads((out / "training.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    plots = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(plots) >= 3  # a reused run still shows its loss curve


def test_without_ocr_the_model_gets_images_only(tmp_path):
    data, out = make_folder(tmp_path / "data", 6, 2), tmp_path / "out"
    result = run_python("-m", "src.run", "--data", data, "--out", out, "--no-ocr")
    assert result.returncode == 0, result.stderr
    assert not (out / "processed" / "text.jsonl").exists()
    assert not (out / "rules_out.csv").exists()
    assert sanity.check(out / "test_out.csv", data / "test.csv") == []
    notebook = (out / "training.ipynb").read_text()
    assert "Read: " not in notebook
    assert json.loads((out / "adapter" / "training.json").read_text())["settings"]["ocr"] is False
    before = sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*"))
    again = run_python("-m", "src.run", "--data", data, "--out", out, "--no-ocr", "--lora-r", 8)
    assert_one_sentence(again, "adapter", "lora_r 16, now 8", "--overwrite")
    assert "==" not in again.stdout  # no stage has begun
    assert sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*")) == before


def test_a_folder_of_ones_own_images_needs_no_labels(tmp_path):
    """As the README shows it: images, and a test.csv written by hand."""
    data, out = tmp_path / "mine", tmp_path / "out"
    (data / "images").mkdir(parents=True)
    truth = read_test(SAMPLE).merge(
        read_table(SAMPLE / "test_truth.csv", ["index"]).astype({"index": int}), on="index"
    )
    asked = truth.head(6)
    lines = ["index,image_link,group_id,entity_name"]
    for row in asked.itertuples():
        name = row.image_link.rsplit("/", 1)[-1]
        shutil.copy(SAMPLE / "images" / name, data / "images")
        lines.append(f"{row.index},{name},0,{row.entity_name_x}")
    (data / "test.csv").write_text("\n".join(lines) + "\n")
    result = run_python("-m", "src.run", "--data", data, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "has no train.csv" in result.stdout
    assert sanity.check(out / "test_out.csv", data / "test.csv") == []
    answers = pd.read_csv(out / "test_out.csv", keep_default_na=False)
    assert (answers["prediction"].tolist() == asked["entity_value"]).sum() >= 4


def test_unreadable_input_ends_with_one_sentence_before_any_work(tmp_path):
    data, out = make_folder(tmp_path / "data", 4, 2), tmp_path / "out"
    other = tmp_path / "not-idefics2"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "llama"}')
    result = run_python("-m", "src.run", "--data", data, "--out", out, "--model", other)
    assert_one_sentence(result, "is a llama model; only idefics2")
    assert not out.exists()

    test, train = read_test(data), read_train(data)
    test.head(0).to_csv(data / "test.csv", index=False)
    with pytest.raises(InputError, match=r"test\.csv.*no rows"):
        run({"data": data, "out": out, "model": str(TINY)})
    test.to_csv(data / "test.csv", index=False)
    train.drop(columns="entity_value").to_csv(data / "train.csv", index=False)
    with pytest.raises(InputError, match=r"train\.csv: has no column entity_value"):
        run({"data": data, "out": out, "model": str(TINY)})
    for content, words in (
        (b"image_link,\x81\xff", "not a readable"),
        (b"\xff\xfe\x00\x01", "has no column"),
    ):
        (data / "train.csv").write_bytes(content)  # neither UTF-8 nor UTF-16; UTF-16 of one letter
        with pytest.raises(InputError, match=words):
            run({"data": data, "out": out, "model": str(TINY)})
    train.to_csv(data / "train.csv", index=False)
    shutil.rmtree(data / "images")
    assert_one_sentence(run_python("-m", "src.run", "--data", data, "--out", out), "no images")


def test_an_out_that_is_a_file_gets_one_sentence(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert_one_sentence(
        run_python("-m", "src.run", "--data", SAMPLE, "--out", blocked), str(blocked), "not a file"
    )
    rules = ("-m", "src.rules", "--data", SAMPLE, "--processed", tmp_path, "--out", blocked / "rules_out.csv")
    assert_one_sentence(run_python(*rules), "run preprocess.py")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "can be written"),
        (errno.EIO, "run the same command again"),
    ],
)
def test_an_error_of_the_file_system_is_one_sentence(capsys, number, advice):
    def full() -> int:
        raise OSError(number, os.strerror(number), "results/test_out.csv")

    with pytest.raises(SystemExit) as ended:
        run_main(full)
    assert ended.value.code == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith(f"error: results/test_out.csv: {os.strerror(number)}; ")
    assert advice in sentence


def test_a_relative_path_is_one_of_the_current_folder_for_every_stage(tmp_path):
    """The first stage names the path where it looks for images."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "test.csv").write_text("index,image_link,group_id,entity_name\n0,a.jpg,0,height\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "src.run", "--data", "mine", "--out", "res", "--model", str(TINY)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"error: {tmp_path / 'mine' / 'images'}: no images there" in done.stderr
    assert (tmp_path / "res").is_dir()
    assert not (ROOT / "res").exists()


def test_a_failure_inside_a_notebook_is_one_sentence(tmp_path):
    data, out = make_folder(tmp_path / "data", 4, 2), tmp_path / "out"
    table = read_train(data)
    table.assign(entity_value="five").to_csv(data / "train.csv", index=False)
    result = run_python("-m", "src.run", "--data", data, "--out", out)
    assert_one_sentence(result, "train.csv", "fewer than two images", "not a value: 4")
    assert not list(out.glob("*.ipynb"))


@pytest.mark.parametrize("python", ["false", "no-such-python"])
def test_an_old_or_missing_python_gets_one_sentence(tmp_path, python):
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    command = ["make", "run", f"PYTHON={python}"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert f"error: {python} is not Python 3.11 or newer" in result.stderr
    assert not (tmp_path / ".venv").exists()
