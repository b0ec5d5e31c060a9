"""ModelImages in shards: what is in them is what single files would be, and every later stage reads it."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from upath import UPath

from src.data.errors import InputError
from src.data.files import write_whole
from src.data.processed import ModelImages, read_manifest
from src.data.questions import test_questions as make_test_questions
from src.data.tables import read_test
from src.data.text_store import TextStore, entry_at
from src.images.decode import read_bytes
from src.model.modeling import add_lora, load_base, lora_config
from src.predict import predict
from src.prepare.manifest import MANIFEST_COLUMNS
from src.prepare.preprocessing import preprocess
from src.prepare.processes import WORKER_DIED
from src.prepare.stores import Shard, make
from src.report.page import write_report
from src.rules import parse_images
from src.settings import LoraSettings, PredictSettings, PreprocessSettings
from tests.conftest import TINY, make_folder
from tests.family import FAMILY
from tests.prepare.test_preprocessing import hashes
from tests.prepare.test_processes import Deadly, job


@pytest.fixture(scope="module")
def sharded(processed, tmp_path_factory):
    """The folders of `processed`, and one with the same images in shards of five."""
    data, single = processed
    out = tmp_path_factory.mktemp("sharded")
    preprocess(
        PreprocessSettings(
            data, out / "processed", max_size=378, ocr=True, workers=1, shards=True, per_shard=5
        )
    )
    return data, single, out


def sorted_rows(processed):
    table = read_manifest(processed, MANIFEST_COLUMNS).drop(columns="tar")
    return table.sort_values("image").to_csv(index=False)


def test_shards_hold_what_single_files_hold(sharded):
    _, single, out = sharded
    one, many = single / "processed", out / "processed"
    assert sorted_rows(many) == sorted_rows(one)
    assert FAMILY.padded_sizes(many) == FAMILY.padded_sizes(one)
    pictures, texts = ModelImages(many), TextStore(many)
    assert sorted(texts) == sorted(TextStore(one))
    for image in TextStore(one):
        assert read_bytes(pictures.of(image)) == (one / image).read_bytes()
        assert entry_at(texts.place(image)) == entry_at(TextStore(one).place(image))
    assert pictures.of("gone.jpg") is None
    names = {path.name.partition(".")[2] for path in (many / "shards").iterdir()}
    assert names == {"tar", "index.json", "manifest.csv", "text.jsonl"}


def test_every_later_stage_reads_them(sharded, tmp_path):
    data, single, out = sharded
    torch.manual_seed(0)
    adapter = tmp_path / "adapter"
    add_lora(load_base(str(TINY)), lora_config(LoraSettings())).save_pretrained(adapter)
    found = []
    for folder in (single, out):
        run = tmp_path / folder.name
        shutil.copytree(folder / "processed", run / "processed")
        shutil.copytree(adapter, run / "adapter")
        details = predict(PredictSettings(data, run, str(TINY), 4))
        page = write_report(run, data).read_text()
        found.append(
            (details["prediction"].tolist(), details["reason"].tolist(), page.count("data:image/jpeg"))
        )
    assert found[0] == found[1]
    assert any(found[0][0])


def test_what_is_whole_is_kept_and_what_has_changed_is_made_anew(tmp_path):
    data, out = make_folder(tmp_path / "data", 6, 5), tmp_path / "out"
    settings = PreprocessSettings(data, out, workers=1, shards=True, per_shard=4)
    preprocess(settings)
    whole = hashes(out / "shards")
    times = {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    preprocess(settings)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    (out / "shards" / "00000.manifest.csv").unlink()  # as a kill in between leaves it
    preprocess(settings)
    assert hashes(out / "shards") == whole
    changed = [path for path, at in times.items() if path.stat().st_mtime_ns != at]
    assert {path.name[:5] for path in changed} == {"00000"}
    (data / "images" / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    with (data / "test.csv").open("a") as table:
        table.write("900,https://example.com/images/gone.jpg,1,height\n")
    faulty = preprocess(settings)
    assert dict(zip(faulty["image"], faulty["status"], strict=True)) == {
        "broken.jpg": "failed",
        "gone.jpg": "missing",
    }
    assert set(read_manifest(out, ["status"])["status"]) == {"ok", "failed", "missing"}
    with pytest.raises(InputError, match="holds images in shards"):
        preprocess(PreprocessSettings(data, out))


def test_an_image_that_kills_its_process_costs_only_itself(tmp_path):
    tar = tmp_path / "00000.tar"
    jobs = [job(f"{i}.jpg", tar) for i in range(3)] + [job("deadly.jpg", tar, source=Deadlier())]
    rows, _ = make(Shard(tar, tuple(jobs)))
    assert rows.pop("deadly.jpg").error == WORKER_DIED
    assert [row.status for row in rows.values()] == ["ok"] * 3


class Deadlier(Deadly):
    """Also has a file's size and time, as sources have."""

    def stat(self):
        return TINY.stat()


def test_other_tools_read_the_shards(sharded):
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed (make test-ray)")
    datasets = pytest.importorskip("datasets", reason="datasets is not installed (make test-ray)")
    _, single, out = sharded
    tars = sorted(map(str, (out / "processed" / "shards").glob("*.tar")))
    want = {path.name: path.read_bytes() for path in (single / "processed").glob("*.jpg")}
    found = {}
    for row in webdataset.WebDataset(tars, shardshuffle=False):
        found[json.loads(row["json"])["file"]] = row["jpg"]
    assert found == want
    rows = list(datasets.load_dataset("webdataset", data_files=tars, split="train", streaming=True))
    assert {row["json"]["file"] for row in rows} == set(want)
    decoded = np.asarray(rows[0]["jpg"].convert("RGB"))
    assert (decoded == np.asarray(Image.open(io.BytesIO(want[rows[0]["json"]["file"]])))).all()
    assert any(row["json"]["text"] for row in rows)


def test_shards_in_a_store_are_read_like_those_in_a_folder(sharded, tmp_path):
    data, single, out = sharded
    store = UPath("memory://catalogue/processed/shards")
    store.mkdir(parents=True)
    for path in (out / "processed" / "shards").iterdir():
        write_whole(store / path.name, path.read_bytes())
    (tmp_path / "processed.url").write_text("memory://catalogue/processed\n")
    far, one = tmp_path / "processed", single / "processed"
    assert sorted_rows(far) == sorted_rows(one)
    assert FAMILY.padded_sizes(far) == FAMILY.padded_sizes(one)
    stored, wanted = (make_test_questions(read_test(data), folder, {}) for folder in (far, one))
    assert {question.reason for question in stored} == {""}
    assert [read_bytes(q.model_image) for q in stored] == [q.model_image.read_bytes() for q in wanted]
    images = [question.image for question in wanted]
    journals = tmp_path / "far.jsonl", tmp_path / "one.jsonl"
    texts, plain = (parse_images(images, TextStore(f), j) for f, j in zip((far, one), journals, strict=True))
    assert [texts[image] for image in images] == [plain[image] for image in images]


def test_a_shard_is_made_in_a_store_from_images_in_another(tmp_path):
    data, out = make_folder(tmp_path / "data", 3, 2), tmp_path / "out"
    preprocess(PreprocessSettings(Path(f"file://{data}"), Path(f"file://{out}"), workers=1, shards=True))
    jobs = [job(path.name, out) for path in sorted((data / "images").iterdir())]
    store = UPath("memory://made")
    make(Shard(store / "00000.tar", tuple(jobs)))
    assert sorted(path.name.partition(".")[2] for path in store.iterdir()) == [
        "index.json",
        "manifest.csv",
        "tar",
    ]
    assert len(read_bytes(store / "00000.tar" / jobs[0].image)) > 1000
    assert len(read_manifest(out, ["image"])) == len(jobs)
    with pytest.raises(InputError, match="add --shards"):
        preprocess(PreprocessSettings(data, Path("memory://single")))
    with pytest.raises(InputError, match="cannot be reached"):
        preprocess(PreprocessSettings(data, Path("nosuch://bucket/x"), shards=True))


def test_a_folder_without_a_finished_shard_is_one_sentence(tmp_path):
    (tmp_path / "shards").mkdir()
    with pytest.raises(InputError, match="has no finished shard"):
        FAMILY.padded_sizes(tmp_path)
