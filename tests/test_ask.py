"""Questions about single photos: the same answers as those of a run, whatever the photo comes as."""

import io
import json
import sys

import pytest
import torch
from PIL import Image
from pillow_heif import register_heif_opener

from src.ask import ask, main
from src.data.details import to_entry
from src.data.errors import InputError
from src.data.tables import read_table
from src.entities import ENTITIES
from src.images.decode import read_image
from src.model.modeling import add_lora, load_base, lora_config
from src.predict import predict
from src.prepare.preprocessing import preprocess
from src.rules import write_predictions
from src.settings import LoraSettings, PredictSettings, PreprocessSettings
from tests.conftest import SAMPLE, TINY, make_folder, parsed_questions
from tests.prepare.test_fetch import Web
from tests.report.conftest import answered

PHOTO = SAMPLE / "images" / "test-0003.jpg"
"""A drawing of a box with a height (61.2 inch), a width and a depth."""


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    """(data folder of 6 test rows, run folder with their model images and text), settings as a user's."""
    folder = tmp_path_factory.mktemp("ask")
    data, out = make_folder(folder / "data", 2, 6), folder / "out"
    preprocess(PreprocessSettings(data, out / "processed", ocr=True, workers=1))
    return data, out


def rows_of(data):
    table = read_table(data / "test.csv", ["index", "image_link", "entity_name"], numbers=["index"])
    for index, link, entity in zip(table["index"], table["image_link"], table["entity_name"], strict=True):
        yield index, data / "images" / link.rsplit("/", 1)[-1], entity


def test_without_an_adapter_the_answers_are_those_of_the_rules(sample_run):
    data, out = sample_run
    write_predictions(data, out / "processed", out / "rules_out.csv")
    wanted = read_table(out / "rules_out.csv", ["prediction"], numbers=["index"])["prediction"].tolist()
    answers = [answer for _, photo, entity in rows_of(data) for answer in ask(photo, entity)]
    assert [answer.text for answer in answers] == wanted
    assert sum(map(bool, wanted)) >= 2
    for answer in answers:
        probabilities = {option.text: option.probability for option in answer.options}
        assert answer.probability == pytest.approx(max(probabilities.values()), abs=1e-4)
        assert sum(probabilities.values()) == pytest.approx(1)
        assert bool(answer.lines) == bool(answer.text)


def test_with_an_adapter_the_answers_are_those_of_its_run(sample_run):
    data, out = sample_run
    torch.manual_seed(0)
    add_lora(load_base(str(TINY)), lora_config(LoraSettings())).save_pretrained(out / "adapter")
    parsed = parsed_questions(data, out / "processed", out / "rules_out.journal.jsonl")["train"]
    held_out = [to_entry(answered(question, 0.5)) for question in parsed]
    settings = {"model": str(TINY), "ocr": True, "image_splitting": False}
    (out / "adapter" / "training.json").write_text(json.dumps({"settings": settings, "answers": held_out}))
    (out / "run.json").write_text(json.dumps({"data": str(data)}))
    details = predict(PredictSettings(data, out, str(TINY), workers=0))
    assert details["prediction"].ne("").any()
    for row, (_, photo, entity) in zip(details.to_dict("records"), rows_of(data), strict=True):
        [answer] = ask(photo, entity, out)
        assert answer.text == row["prediction"]
        assert answer.probability == pytest.approx(row["probability"], abs=1e-3)


def heic() -> bytes:
    register_heif_opener()
    file = io.BytesIO()
    Image.open(PHOTO).save(file, format="HEIF", quality=95)
    return file.getvalue()


def test_a_phone_s_photo_and_a_link_are_answered_alike(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    (tmp_path / "photo.heic").write_bytes(heic())
    web = Web()
    web.pages["/a.jpg"] = 200, {}, PHOTO.read_bytes()
    web.pages["/page.jpg"] = 200, {}, b"<!doctype html><html>"
    for photo in (PHOTO, tmp_path / "photo.heic", f"http://{web.host}/a.jpg"):
        [answer] = ask(photo, "height")
        assert (answer.text, answer.lines) == ("61.2 inch", ("61.2 inches",))
    for name, reason in (("gone.jpg", "HTTP 404"), ("page.jpg", "web page")):
        with pytest.raises(InputError, match=rf"{name}: cannot be fetched \(.*{reason}"):
            ask(f"http://{web.host}/{name}")
    web.close()


def command(monkeypatch, capsys, *arguments):
    """Exit code, output and errors of ``python -m src.ask``."""
    monkeypatch.setattr(sys, "argv", ["ask", *map(str, arguments)])
    code = main()
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_what_is_no_photo_costs_one_sentence_and_the_others_are_answered(tmp_path, monkeypatch, capsys):
    (tmp_path / "text.jpg").write_text("a shopping list")
    (tmp_path / "cut.jpg").write_bytes(PHOTO.read_bytes()[:3000])
    Image.new("RGB", (90, 90), "white").save(tmp_path / "white.png")
    bad = [tmp_path / name for name in ("text.jpg", "cut.jpg", "white.png", "missing.jpg")]
    bad.append(tmp_path)
    code, out, err = command(monkeypatch, capsys, bad[0], PHOTO, *bad[1:], "--entity", "height")
    assert code == 2
    assert [line for line in out.splitlines() if line] == [str(PHOTO), *out.splitlines()[1:2]]
    assert out.splitlines()[1].split() == ["height", "61.2", "inch", "93%", "61.2", "inches"]
    errors = err.splitlines()
    assert [line.split(": ")[1] for line in errors] == list(map(str, bad))
    words = ("not an image", "cut off", "one colour", "missing file", "directory")
    assert all(word in line for word, line in zip(words, errors, strict=True))


def test_programs_get_a_line_of_json_per_photo(tmp_path, monkeypatch, capsys):
    code, out, _ = command(monkeypatch, capsys, PHOTO, tmp_path / "no.jpg", "--json")
    assert code == 2
    whole, failed = map(json.loads, out.splitlines())
    assert "missing file" in failed["error"]
    assert whole["photo"] == str(PHOTO)
    answers = {answer["entity"]: answer for answer in whole["answers"]}
    assert list(answers) == list(ENTITIES)
    assert answers["height"]["text"] == "61.2 inch"
    assert answers["voltage"]["text"] == ""
    for answer in answers.values():
        assert sum(option["probability"] for option in answer["options"]) == pytest.approx(1, abs=1e-3)
        sides = [side for option in answer["options"] for box in option["boxes"] for side in box]
        assert all(0 <= side <= 1 for side in sides)


def test_annotated_photos_are_saved_one_file_each(tmp_path, monkeypatch, capsys):
    code, _, _ = command(monkeypatch, capsys, PHOTO, PHOTO, "--save", tmp_path / "shown.png")
    assert code == 0
    first, second = (read_image(tmp_path / f"shown-{number}.png") for number in (1, 2))
    assert (first == second).all()
    green = (first[:, :, 1] > first[:, :, 2] + 60) & (first[:, :, 1] > first[:, :, 0] + 60)
    assert green.sum() > 500  # the frames of three answers


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--entity", "colour"], "it must be one of width"), (["--adapter", "{}"], "no trained adapter here")],
)
def test_settings_that_cannot_be_used_end_it_before_the_first_photo(
    tmp_path, monkeypatch, capsys, flags, words
):
    with pytest.raises(InputError, match=words):
        command(monkeypatch, capsys, PHOTO, *(flag.format(tmp_path) for flag in flags))
    assert capsys.readouterr().out == ""
