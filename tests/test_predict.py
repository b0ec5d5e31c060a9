import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch

from src import sanity
from src.data.details import details_table, read_details
from src.data.errors import InputError
from src.data.folders import RunFolder
from src.data.tables import read_test, read_train
from src.entities import ENTITIES
from src.model.modeling import add_lora, load_base, lora_config
from src.predict import predict
from src.reading import image_text
from src.report.page import write_report
from src.rules import write_predictions
from src.settings import LoraSettings, PredictSettings
from tests.conftest import ROOT, TINY, run_python


@pytest.fixture
def ready(fresh):
    """(settings, data folder, output folder) with processed images and an adapter whose layers are not
    trained."""
    data, out = fresh
    torch.manual_seed(0)
    add_lora(load_base(str(TINY)), lora_config(LoraSettings())).save_pretrained(out / "adapter")
    return PredictSettings(data, out, str(TINY), 2), data, out


def test_every_row_is_answered_in_order_and_valid(ready):
    settings, data, out = ready
    details = predict(settings)
    written = pd.read_csv(out / "test_out.csv", keep_default_na=False)
    assert list(written.columns) == ["index", "prediction"]
    assert written["index"].tolist() == read_test(data)["index"].tolist()
    assert written["prediction"].tolist() == details["prediction"].tolist()
    assert sanity.check(out / "test_out.csv", data / "test.csv") == []
    assert details["prediction"].ne("").any()  # it wrote something
    assert set(details["source"]) <= {"model", "rules", "both", "neither"}
    for row in details.to_dict("records"):
        options = {option["text"]: option for option in json.loads(row["options"])}
        assert options[row["prediction"]]["combined"] == pytest.approx(row["probability"], abs=1e-4)
        assert sum(option["combined"] for option in options.values()) == pytest.approx(1, abs=1e-3)
        assert options[row["rules"]]["rules"] == max(option["rules"] or 0 for option in options.values())
        assert options[row["model_answer"]]["model"] == max(option["model"] for option in options.values())
    of_model = details["source"].isin(["model", "both"])
    assert details.loc[of_model, "prediction"].tolist() == details.loc[of_model, "model_answer"].tolist()
    kept = pd.read_csv(out / "test_out.details.csv", keep_default_na=False)
    assert kept["prediction"].tolist() == details["prediction"].tolist()
    assert kept["options"].tolist() == details["options"].tolist()
    assert kept["confidence"].between(0, 1).all()
    read_back = details_table(read_details(out / "test_out.details.csv"))
    assert read_back.drop(columns="options").equals(details.drop(columns="options"))
    for written_options, options in zip(details["options"], read_back["options"], strict=True):
        for before, after in zip(json.loads(written_options), json.loads(options), strict=True):
            assert before == after | {"combined": pytest.approx(before["combined"], abs=1e-4)}


def test_one_process_parses_each_image_once(ready, monkeypatch):
    settings, data, out = ready
    parsed_lines = []
    original = image_text.parse_lines

    def counted(lines, width, height):
        parsed_lines.append(lines)
        return original(lines, width, height)

    for name, module in list(sys.modules.items()):
        if name.startswith("src.") and getattr(module, "parse_lines", None) is original:
            monkeypatch.setattr(module, "parse_lines", counted)
    monkeypatch.setattr("src.rules.cpu_count", lambda: 1)
    RunFolder(out).rules_journal.unlink(missing_ok=True)  # other tests share the folder that was copied
    predict(dataclasses.replace(settings, workers=0))
    write_predictions(data, out / "processed", out / "rules_out.csv")
    write_report(out, data)
    asked_images = {link.rpartition("/")[2] for link in read_test(data)["image_link"]}
    assert len(parsed_lines) == len(asked_images)


def test_odd_rows_get_silence_and_a_reason(ready):
    settings, data, out = ready
    table = read_test(data)
    table.loc[0, "image_link"] = ""
    table.loc[1, "entity_name"] = "colour"
    table.loc[2, "image_link"] = "https://example.com/images/gone.jpg"
    table.to_csv(data / "test.csv", index=False)
    broken = out / "processed" / table["image_link"].iloc[-1].rsplit("/", 1)[-1]
    whole = broken.read_bytes()
    broken.write_bytes(whole[:500])
    details = predict(settings)
    odd = details["model_image"].eq(broken.name)
    assert details["reason"].tolist()[:3] == ["blank link", "unknown entity", "no image"]
    assert details.loc[odd, "reason"].eq("broken image").all()
    assert details["reason"][3:][~odd].eq("").all()
    assert details["prediction"][details["reason"].ne("")].eq("").all()
    assert len(pd.read_csv(out / "test_out.csv")) == len(table)
    broken.write_bytes(whole)
    assert (
        predict(settings).loc[odd, "reason"].eq("").all()
    )  # mended: asked now, the others are not asked again
    assert sanity.check(out / "test_out.csv", data / "test.csv") == []


def test_a_test_file_without_an_answerable_row_still_gives_a_valid_file(ready):
    settings, data, out = ready
    read_test(data).assign(image_link="").to_csv(data / "test.csv", index=False)
    assert predict(settings)["prediction"].eq("").all()
    assert sanity.check(out / "test_out.csv", data / "test.csv") == []


def test_killed_and_started_again_only_the_missing_rows_are_computed(ready):
    settings, data, out = ready
    whole = predict(settings)
    final = (out / "test_out.csv").read_bytes()
    for made in out.glob("test_out*"):
        made.unlink()
    code = (
        "from pathlib import Path; from src.predict import PredictSettings, predict;"
        f"predict(PredictSettings(Path({str(data)!r}), Path({str(out)!r}), {str(TINY)!r}, 1))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    journal = out / "test_out.journal-0.jsonl"
    while not journal.exists() or journal.read_text().count("\n") < 3:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "test_out.csv").exists()
    lines = journal.read_text().splitlines(keepends=True)
    marked = json.loads(lines[1])  # proof of reuse: a finished row's text is taken from the journal
    asked = read_test(data).set_index("index")["entity_name"][marked["row"]]
    proof = f"41.25 {ENTITIES[asked].units[0]}"
    marked["model_answer"] = proof
    journal.write_text(lines[0] + json.dumps(marked) + "\n" + "".join(lines[2:3]) + '{"row": 9')
    resumed = predict(settings)
    at = resumed["index"].eq(marked["row"])
    assert resumed.loc[at, "model_answer"].item() == proof
    assert resumed.loc[~at, "prediction"].tolist() == whole.loc[~at.to_numpy(), "prediction"].tolist()
    journal.unlink()
    predict(settings)
    assert (out / "test_out.csv").read_bytes() == final


def test_two_processes_answer_like_one_and_one_file_comes_out(ready):
    settings, data, out = ready
    call = ["-m", "src.predict", "--data", data, "--out", out, "--model", TINY, "--predict-batch-size", 4]
    launch = [
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        2,
        "--main_process_port",
        0,
    ]
    two = run_python(*launch, *call)
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("with an answer") == 1
    journals = sorted(out.glob("test_out.journal-*.jsonl"))
    assert [path.read_text().count("\n") > 1 for path in journals] == [True, True]
    shared = (out / "test_out.csv").read_bytes()
    before = [path.stat().st_mtime_ns for path in journals]
    predict(settings)  # one process takes what two have written
    assert [path.stat().st_mtime_ns for path in journals] == before
    assert (out / "test_out.csv").read_bytes() == shared
    for path in out.glob("test_out*"):
        path.unlink()
    predict(settings)
    assert (out / "test_out.csv").read_bytes() == shared


def test_another_adapter_is_noticed(ready):
    settings, _, out = ready
    predict(settings)
    torch.manual_seed(1)
    model = add_lora(load_base(str(TINY)), lora_config(LoraSettings()))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    model.save_pretrained(out / "adapter")
    first = (out / "test_out.journal-0.jsonl").read_text().splitlines()[0]
    predict(settings)
    assert (out / "test_out.journal-0.jsonl").read_text().splitlines()[0] != first


def test_labels_of_a_group_speak_for_amounts_like_theirs(ready):
    """Without the model's being asked anew; not those of the image that is asked about."""
    settings, data, out = ready
    before = predict(settings)
    options = [json.loads(text) if text else [] for text in before["options"]]
    row = next(
        number for number, own in enumerate(options) if sum(bool(option["text"]) for option in own) > 1
    )
    least = min((option for option in options[row] if option["text"]), key=lambda option: option["combined"])
    asked, text = read_test(data).loc[row], least["text"]
    train, answers = read_train(data), (out / "test_out.journal-0.jsonl").read_bytes()

    def with_labels(link):
        label = {
            "image_link": link,
            "group_id": f"{asked['group_id']}.0",
            "entity_name": asked["entity_name"],
        }
        likewise = pd.DataFrame([label | {"entity_value": text}] * 60)
        pd.concat([train, likewise]).to_csv(data / "train.csv", index=False)
        return json.loads(predict(settings)["options"][row])

    assert with_labels(asked["image_link"]) == options[row]
    probabilities = [
        {option["text"]: option["combined"] for option in own} for own in (options[row], with_labels("x.jpg"))
    ]
    assert probabilities[1][text] > probabilities[0][text]
    assert (out / "test_out.journal-0.jsonl").read_bytes() == answers
    (data / "train.csv").write_text("image_link,group_id,entity_name,entity_value\n")
    assert len(predict(settings)) == len(before)


def test_an_adapter_and_details_of_an_earlier_version_get_one_sentence(ready):
    settings, _, out = ready
    held_out = {"image": "a", "entity": "height", "truth": "", "weighed": [["", 0.0]]}
    (out / "adapter" / "training.json").write_text(json.dumps({"answers": [held_out]}))
    with pytest.raises(InputError, match="earlier version"):
        predict(settings)
    details = out / "test_out.details.csv"
    details.write_text("index,image_link,entity_name,prediction,weighed\n1,a.jpg,height,,\n")
    with pytest.raises(InputError, match="earlier version"):
        read_details(details)


def test_missing_steps_are_named(ready):
    settings, _, out = ready
    (out / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"run training\.ipynb first"):
        predict(settings)
    (out / "processed" / "manifest.csv").unlink()
    with pytest.raises(InputError):
        predict(settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_large_model_answers_without_a_gpu_where_that_is_asked_for(ready, monkeypatch, capsys):
    settings, *_ = ready
    for name in ("src.model.memory.is_small", "src.predict.is_small"):
        monkeypatch.setattr(name, lambda config: False)
    with pytest.raises(InputError, match=r"needs a CUDA GPU: .*, or --cpu, where an 8B model takes"):
        predict(settings)
    details = predict(dataclasses.replace(settings, cpu=True))
    assert details["prediction"].ne("").any()
    assert "no GPU: an 8B model takes about" in capsys.readouterr().out
