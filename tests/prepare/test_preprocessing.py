import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from src.data.files import content_hash, held
from src.data.names import processed_name
from src.data.processed import read_manifest
from src.images.decode import cv2, read_bytes, read_image
from src.images.enhance import enhance
from src.ocr import engine
from src.prepare.manifest import MANIFEST_COLUMNS, ManifestRow, is_current
from src.prepare.preprocessing import preprocess
from src.prepare.processes import source_stamp
from src.prepare.stores import FolderStore
from src.settings import EnhanceSettings, PreprocessSettings
from tests.conftest import ROOT, assert_one_sentence, make_folder, run_python


@pytest.fixture
def data(tmp_path):
    return make_folder(tmp_path / "data", 8, 4)


def manifest_of(out):
    return pd.read_csv(out / "manifest.csv", keep_default_na=False).set_index("image")


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_the_command_leaves_images_manifest_and_untouched_sources(data, tmp_path):
    before, out = hashes(data / "images"), tmp_path / "out"
    result = run_python("preprocess.py", "--data", data, "--out", out, "--workers", 2)
    assert result.returncode == 0, result.stderr
    assert "preprocess: 100%" in result.stderr  # the bar
    assert hashes(data / "images") == before
    manifest = manifest_of(out)
    assert ["image", *manifest.columns] == list(MANIFEST_COLUMNS)
    assert sorted(manifest.index) == sorted(before)
    assert set(manifest["status"]) == {"ok"}
    assert sorted(p.name for p in out.iterdir()) == sorted([*before, "manifest.csv"])
    for image, row in manifest.iterrows():
        source, made = read_image(data / "images" / image), read_image(out / row["file"])
        assert (row["source_height"], row["source_width"]) == source.shape[:2]
        assert (row["height"], row["width"]) == made.shape[:2]
        assert max(made.shape) == 600
        assert abs(made.shape[1] / made.shape[0] - source.shape[1] / source.shape[0]) < 0.01
        want = enhance(source, EnhanceSettings())
        assert np.abs(made.astype(int) - want).mean() < 2  # JPEG at quality 95


def test_options_change_the_images_and_nothing_else_is_redone(data, tmp_path):
    out = tmp_path / "out"
    call = ["preprocess.py", "--data", data, "--out", out]
    assert "(0 reused)" in run_python(*call).stdout
    first = hashes(out)
    assert "(10 reused)" in run_python(*call).stdout
    assert hashes(out) == first
    some = sorted(p.name for p in (data / "images").iterdir())[0]
    (data / "images" / some).unlink()
    cv2.imwrite(str(data / "images" / some), np.eye(700, 900, dtype=np.uint8) * 255)
    assert "(9 reused)" in run_python(*call).stdout
    assert "(0 reused)" in run_python(*call, "--max-size", 300, "--clip-limit", 2).stdout
    assert set(manifest_of(out)[["width", "height"]].max(axis=1)) == {300}


@pytest.mark.parametrize("shards", [False, True])
def test_a_touched_image_of_the_same_bytes_is_not_processed_anew(tmp_path, shards, monkeypatch, capsys):
    linked, data, out = make_folder(tmp_path / "linked", 3, 2), tmp_path / "data", tmp_path / "out"
    shutil.copytree(linked, data)
    settings = PreprocessSettings(data, out, workers=1, shards=shards, per_shard=10)
    preprocess(settings)
    pictures = sorted((data / "images").iterdir())
    for path in pictures:
        os.utime(path, (1, 1))
    compared = []
    monkeypatch.setattr(
        "src.prepare.manifest.read_bytes", lambda path: compared.append(path) or read_bytes(path)
    )
    for expected in (pictures, []):  # compared once, then known by the new time
        capsys.readouterr()
        preprocess(settings)
        assert f"({len(pictures)} reused)" in capsys.readouterr().out
        assert sorted(compared) == expected
        compared.clear()
    pictures[0].write_bytes(pictures[0].read_bytes()[:-2] + b"\0\0")  # of the same size
    preprocess(settings)
    assert f"({0 if shards else len(pictures) - 1} reused)" in capsys.readouterr().out
    hashes_now = {content_hash(path.read_bytes()) for path in pictures}
    assert set(read_manifest(out, ["source_hash"])["source_hash"]) == hashes_now


def test_a_manifest_without_hashes_is_taken_over(data, tmp_path):
    out = tmp_path / "out"
    preprocess(PreprocessSettings(data, out, workers=1))
    table = pd.read_csv(out / "manifest.csv", dtype=str, keep_default_na=False)
    table.drop(columns=["source_hash", "file_hash"]).to_csv(out / "manifest.csv", index=False)
    pictures = read_at(out)
    preprocess(PreprocessSettings(data, out, workers=1))
    assert read_at(out) == pictures
    assert set(read_manifest(out, ["file_hash"])["file_hash"]) == {""}


def test_broken_and_missing_images_stop_nothing(data, tmp_path):
    images = data / "images"
    (images / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    (images / "empty.jpg").write_bytes(b"")
    (images / "shop page.html").write_text("<html></html>")
    cv2.imwrite(str(images / "drawing.png"), np.eye(9, dtype=np.uint8) * 255)
    with (data / "test.csv").open("a") as table:
        table.write("900,https://example.com/images/gone.jpg,1,height\n901,,1,height\n")
    out = tmp_path / "out"
    result = run_python("preprocess.py", "--data", data, "--out", out)
    assert result.returncode == 0, result.stderr
    manifest = manifest_of(out)
    status = manifest["status"].to_dict()
    assert (status["broken.jpg"], status["empty.jpg"], status["shop page.html"]) == ("failed",) * 3
    assert (status["gone.jpg"], status["drawing.png"]) == ("missing", "ok")
    assert manifest.loc["empty.jpg", "error"] == "empty file"
    assert "broken.jpg" in result.stdout
    assert "gone.jpg" in result.stdout
    assert not (out / "broken.jpg").exists()
    assert (out / processed_name("drawing.png")).is_file()


def test_the_result_does_not_depend_on_the_number_of_workers(data, tmp_path):
    for workers in (1, 3):
        preprocess(PreprocessSettings(data, tmp_path / str(workers), workers=workers))
    assert hashes(tmp_path / "1") == hashes(tmp_path / "3")


def test_text_is_read_at_full_resolution(data, tmp_path):
    out = tmp_path / "out"
    large = cv2.resize(
        read_image(data / "images" / "train-0000.jpg"), (1500, 1300), interpolation=cv2.INTER_CUBIC
    )
    cv2.imwrite(str(data / "images" / "large.jpg"), large)
    cv2.imwrite(
        str(data / "images" / "thread.png"), np.arange(5000, dtype=np.uint8)[None]
    )  # OCR cannot take it
    assert run_python("preprocess.py", "--data", data, "--out", out).returncode == 0
    assert not (out / "text.jsonl").exists()
    pictures = {p.name: p.read_bytes() for p in out.glob("*.jpg")}
    result = run_python("preprocess.py", "--data", data, "--out", out, "--ocr")
    assert result.returncode == 0, result.stderr
    assert {p.name: p.read_bytes() for p in out.glob("*.jpg")} == pictures  # reading changes no image
    entries = {e["image"]: e for e in map(json.loads, (out / "text.jsonl").read_text().splitlines())}
    manifest = manifest_of(out)
    assert set(entries) == set(manifest.index)
    assert manifest.loc["thread.png", "error"] == "text not read (ResizeImgError)"
    assert entries["thread.png"]["lines"] == []
    read = 0
    truth = pd.read_csv(data / "train.csv", dtype=str, keep_default_na=False)
    for row in truth[truth["entity_value"].ne("")].itertuples():
        entry = entries[row.image_link.rsplit("/", 1)[-1]]
        assert (entry["width"], entry["height"]) == tuple(
            manifest.loc[entry["image"], ["source_width", "source_height"]]
        )
        number = f"{float(row.entity_value.strip('[').split(',')[0].split()[0]):g}"
        read += any(number in text for text, _, _ in entry["lines"])
        for _, confidence, box in entry["lines"]:
            assert 0 <= confidence <= 1
            assert np.array(box).shape == (4, 2)
    assert read >= 0.8 * truth["entity_value"].ne("").sum()
    assert "(12 reused)" in run_python("preprocess.py", "--data", data, "--out", out, "--ocr").stdout


def test_images_are_read_again_when_something_else_is_asked_of_them(tmp_path):
    data, out = make_folder(tmp_path / "data", 1, 1), tmp_path / "out"
    settings = PreprocessSettings(data, out, ocr=True, workers=1)
    asked = pd.read_csv(data / "test.csv", dtype=str)["entity_name"].tolist()
    preprocess(settings)
    entries = [json.loads(line) for line in (out / "text.jsonl").read_text().splitlines()]
    assert sorted(set(asked)) in [entry["asked"] for entry in entries]
    stamp, text = read_at(out), (out / "text.jsonl").read_bytes()
    preprocess(settings)
    assert read_at(out) == stamp  # the same is asked
    table = pd.read_csv(data / "test.csv", dtype=str)
    other = table.assign(entity_name="no entity")
    other.to_csv(data / "test.csv", index=False)
    preprocess(replace(settings, ocr=False))
    assert read_at(out) == stamp  # without OCR old text may stay
    assert (out / "text.jsonl").read_bytes() == text
    preprocess(settings)
    changed = {name for name, at in read_at(out).items() if stamp[name] != at}
    assert changed == {processed_name(link.rsplit("/", 1)[-1]) for link in table["image_link"]}


def test_another_ocr_engine_reads_again_and_without_ocr_its_text_stays(tmp_path, monkeypatch):
    data, out = make_folder(tmp_path / "data", 1, 1), tmp_path / "out"
    settings = PreprocessSettings(data, out, ocr=True, workers=1)
    preprocess(settings)
    manifest = (out / "manifest.csv").read_bytes()
    stamp = read_at(out)
    monkeypatch.setattr(engine, "NAME", "another engine/2")
    preprocess(replace(settings, ocr=False))
    assert read_at(out) == stamp
    preprocess(settings)
    assert not set(read_at(out).values()) & set(stamp.values())
    assert manifest_of(out)["settings"].str.contains(" ocr=another engine/2", regex=False).all()
    stamp = read_at(out)
    preprocess(settings)
    preprocess(replace(settings, ocr=False))
    assert read_at(out) == stamp
    monkeypatch.undo()
    preprocess(settings)
    assert {name for name, at in read_at(out).items() if stamp[name] == at} == set()
    assert len((out / "manifest.csv").read_bytes()) == len(manifest)


def test_text_of_either_precision_stays_unless_one_is_asked_for(tmp_path, monkeypatch):
    data, out = make_folder(tmp_path / "data", 1, 1), tmp_path / "out"
    settings = PreprocessSettings(data, out, ocr=True, workers=1)
    exact = replace(settings, ocr_precision="f32")
    preprocess(exact)
    assert not manifest_of(out)["settings"].str.contains(" ocr=", regex=False).any()
    stamp = read_at(out)
    preprocess(settings)
    assert read_at(out) == stamp
    rounded = manifest_of(out).reset_index()
    rounded["settings"] += f" ocr={engine.NAME}{engine.IN_BFLOAT16}"  # as of a CPU that has AMX
    rounded[list(MANIFEST_COLUMNS)].to_csv(out / "manifest.csv", index=False)
    preprocess(settings)
    assert read_at(out) == stamp
    preprocess(exact)
    assert not set(read_at(out).values()) & set(stamp.values())


def test_text_of_a_gpu_stays_but_what_it_did_not_read_is_read_again(tmp_path):
    data, out = make_folder(tmp_path / "data", 1, 1), tmp_path / "out"
    settings = PreprocessSettings(data, out, ocr=True, workers=1, ocr_precision="f32")
    preprocess(settings)
    stamp = read_at(out)
    manifest = manifest_of(out).reset_index()
    manifest["settings"] += f" ocr={engine.NAME}{engine.ON_CUDA}"
    manifest[list(MANIFEST_COLUMNS)].to_csv(out / "manifest.csv", index=False)
    preprocess(settings)
    assert read_at(out) == stamp
    manifest.loc[0, "error"] = "text not read (MemoryError)"
    manifest[list(MANIFEST_COLUMNS)].to_csv(out / "manifest.csv", index=False)
    preprocess(settings)
    changed = {name for name, at in read_at(out).items() if stamp[name] != at}
    assert changed == {processed_name(manifest.loc[0, "image"])}


@pytest.mark.parametrize("gone", ["deleted", "renamed", "a folder"])
def test_an_image_that_is_gone_is_missing_and_the_run_goes_on(fresh, gone):
    data, out = fresh
    image = pd.read_csv(data / "test.csv", dtype=str)["image_link"][0].rsplit("/", 1)[-1]
    source = data / "images" / image
    if gone == "renamed":
        source.rename(source.with_name("another name.jpg"))
    else:
        source.unlink()
    if gone == "a folder":
        source.mkdir()
    settings = PreprocessSettings(data, out / "processed", max_size=378, ocr=True, workers=1)
    for _ in range(2):
        manifest = preprocess(settings).set_index("image")
        assert manifest.loc[image, "status"] == "missing"
        assert set(manifest.drop(image)["status"]) == {"ok"}
        read = [
            json.loads(line)["image"] for line in (out / "processed" / "text.jsonl").read_text().splitlines()
        ]
        assert image not in read
        assert len(read) == len(manifest) - 1


def read_at(out):
    return {p.name: p.stat().st_mtime_ns for p in out.glob("*.jpg")}


def test_an_unexpected_error_costs_its_image_and_leaves_a_traceback(tmp_path, capsys):
    data, out = make_folder(tmp_path / "data", 1, 1), tmp_path / "out"
    broken = PreprocessSettings(data, out, workers=1, strength="strong")  # no command line lets it through
    manifest = preprocess(broken)
    assert set(manifest["status"]) == {"failed"}
    assert manifest["error"].str.startswith("error: ").all()
    assert "enhance" in (out / "errors.log").read_text()
    assert f"unexpected errors on {len(manifest)} images" in capsys.readouterr().out
    assert set(preprocess(replace(broken, strength=1.5))["status"]) == {"ok"}
    assert not (out / "errors.log").exists()


def test_killed_at_any_moment_the_next_run_goes_on(data, tmp_path):
    images = data / "images"
    for i in range(150):  # enough work to be killed in
        os.link(images / "train-0000.jpg", images / f"more-{i:03d}.jpg")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    preprocess(PreprocessSettings(data, whole, workers=2))
    command = [sys.executable, "preprocess.py", "--data", str(data), "--out", str(cut), "--workers", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    while not (cut / "journal.jsonl").exists() or (cut / "journal.jsonl").read_text().count("\n") < 20:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (cut / "manifest.csv").exists()
    for picture in cut.glob("[!.]*.jpg"):
        assert read_image(picture).size  # no half file
    with (cut / "journal.jsonl").open("a") as journal:
        journal.write('{"image": "more-1')  # a line cut off
    result = run_python("preprocess.py", "--data", data, "--out", cut)
    assert result.returncode == 0, result.stderr
    assert "(0 reused)" not in result.stdout
    assert hashes(cut) == hashes(whole)


def test_what_a_killed_worker_was_writing_does_not_stay(tmp_path, monkeypatch):
    data, out = make_folder(tmp_path / "data", 2, 1), tmp_path / "out"

    def kept(store, is_current):
        images = find_kept(store, is_current)
        (out / ".a.jpg.1234.part").touch()  # written after the run's start
        return images

    find_kept = FolderStore.kept
    monkeypatch.setattr(FolderStore, "kept", kept)
    preprocess(PreprocessSettings(data, out, workers=1))
    assert not list(out.glob(".*"))


def test_unusable_folders_get_one_sentence(tmp_path):
    call = ["preprocess.py", "--out", tmp_path / "out", "--data"]
    assert_one_sentence(run_python(*call, tmp_path / "nowhere"), "nowhere", "no such folder")
    empty = tmp_path / "empty"
    (empty / "images").mkdir(parents=True)
    assert_one_sentence(run_python(*call, empty), "no images")
    bad = make_folder(tmp_path / "bad", 1, 1)
    (bad / "test.csv").write_text("index,link\n1,x.jpg\n")
    assert_one_sentence(run_python(*call, bad), "test.csv", "image_link")
    (bad / "test.csv").write_bytes(b"\x00\xff\xfe\x81")
    assert_one_sentence(run_python(*call, bad), "test.csv")
    good, blocked = make_folder(tmp_path / "good", 1, 1), tmp_path / "file"
    blocked.write_text("in the way")
    assert_one_sentence(run_python("preprocess.py", "--data", good, "--out", blocked), "cannot be written")


def test_every_real_image_comes_out(real, tmp_path):
    manifest = preprocess(PreprocessSettings(real, tmp_path, workers=2))
    assert len(manifest) == 983
    assert set(manifest["status"]) == {"ok"}
    long, source = (
        manifest[["width", "height"]].max(axis=1),
        manifest[["source_width", "source_height"]].max(axis=1),
    )
    assert (long == source.clip(upper=600)).all()
    scale = long / source
    assert ((manifest["source_width"] * scale - manifest["width"]).abs() <= 1).all()
    assert ((manifest["source_height"] * scale - manifest["height"]).abs() <= 1).all()


def test_a_second_run_into_a_folder_is_refused_while_the_first_is_at_work(tmp_path):
    data, out = make_folder(tmp_path / "data", 3, 2), tmp_path / "out"
    with held(out):
        result = run_python("preprocess.py", "--data", data, "--out", out)
    assert_one_sentence(result, "another run is at work here", f"process {os.getpid()}, since")
    (out / ".lock").write_text("process 1, since 09:00")  # of a process that died
    assert run_python("preprocess.py", "--data", data, "--out", out).returncode == 0
    assert not (out / ".lock").exists()


UNREADABLE = "/proc/self/mem"
"""A regular file whose first byte Linux refuses with Errno 5, as a flaky drive does."""


def test_an_image_that_its_drive_does_not_give_is_tried_again_by_the_next_run(tmp_path, capsys):
    data, out = make_folder(tmp_path / "data", 3, 2), tmp_path / "out"
    image = sorted(path.name for path in (data / "images").iterdir())[0]
    source = data / "images" / image
    source.rename(tmp_path / image)
    source.symlink_to(UNREADABLE)
    settings = PreprocessSettings(data, out, workers=2)
    rows = preprocess(settings).set_index("image")
    assert rows.loc[image, ["status", "error"]].tolist() == [
        "failed",
        "unreadable drive (Input/output error)",
    ]
    assert set(rows.drop(image)["status"]) == {"ok"}
    assert "1 images could not be read off their drive; run again" in capsys.readouterr().out
    row = ManifestRow(image, status="failed", error=rows.loc[image, "error"], **source_stamp(source))
    row = row._replace(settings=rows.loc[image, "settings"])
    assert not is_current(row, None, settings, ())
    assert is_current(row._replace(error="empty file"), None, settings, ())  # a fault of the file
    source.unlink()
    (tmp_path / image).rename(source)
    assert set(preprocess(settings)["status"]) == {"ok"}
