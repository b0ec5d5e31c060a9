"""Settings have one name everywhere: as flags, in notebooks, in the cache key of an adapter."""

import json
import os
import sys
from dataclasses import MISSING, field, fields, make_dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.data.errors import InputError
from src.data.flags import overridden, parser_for, settings_from_command_line, settings_of
from src.notebooks.execution import execute_notebook
from src.settings import (
    AskSettings,
    DownloadSettings,
    MetricsSettings,
    PlanSettings,
    PredictSettings,
    PreprocessSettings,
    ReportSettings,
    RulesSettings,
    RunSettings,
    SanitySettings,
    TrainSettings,
)
from tests.conftest import ROOT, TINY
from tests.training.test_configuration import key_of

STAGES = (PreprocessSettings, TrainSettings, PredictSettings)
COMMANDS = (
    RunSettings,
    RulesSettings,
    PlanSettings,
    SanitySettings,
    MetricsSettings,
    ReportSettings,
    AskSettings,
)


@pytest.mark.parametrize("stage", [*STAGES, DownloadSettings, *COMMANDS])
def test_every_setting_is_a_flag_with_a_text(stage):
    shown = " ".join(parser_for(stage, description="").format_help().split())
    for setting in fields(stage):
        flag = "" if setting.metadata.get("positional") else "--"
        assert f"{flag}{setting.name.replace('_', '-')}" in shown
        assert setting.metadata["help"]
        if setting.default not in (None, MISSING):
            assert f"(default: {setting.default})" in shown


@pytest.mark.parametrize(
    ("stage", "name", "spellings"),
    [
        (SanitySettings, "predictions", ["--predictions", "--file"]),
        (MetricsSettings, "predictions", ["--predictions", "--pred"]),
        (RulesSettings, "predictions", ["--predictions", "--out"]),
        (PreprocessSettings, "out", ["--processed", "--out"]),
        (TrainSettings, "out", ["--out"]),
        (TrainSettings, "model", ["--model"]),
    ],
)
def test_old_spellings_of_a_flag_keep_working(stage, name, spellings):
    parser = parser_for(stage, PredictSettings if stage is TrainSettings else stage, description="")
    for spelling in spellings:
        assert str(vars(parser.parse_args([spelling, "a.csv"]))[name]) == "a.csv"


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["--ocr"], {"ocr": True}),
        (["--ocr=False", "--audit", "no"], {"ocr": False, "audit": False}),
        (["--no-audit", "--no_ocr"], {"ocr": False, "audit": False}),
        (["--gradient_checkpointing", "--merged", "true"], {"gradient_checkpointing": True, "merged": True}),
        (["--no-merged", "--learning_rate", "1e-3"], {"merged": False, "learning_rate": 0.001}),
    ],
)
def test_a_switch_is_a_word_or_a_value_and_underscores_are_hyphens(words, settings):
    assert vars(parser_for(*STAGES, description="").parse_args(words)) == settings
    with pytest.raises(SystemExit):
        parser_for(*STAGES, description="").parse_args(["--ocr", "perhaps"])


def test_what_has_no_default_is_required_of_one_stage_and_lists_take_several(capsys):
    with pytest.raises(SystemExit):
        parser_for(SanitySettings, description="").parse_args([])
    assert "required: --predictions/--file" in capsys.readouterr().err
    counts = make_dataclass(
        "Counts", [("count", list[int], field(metadata={"help": "counts", "choices": [1, 2]}))]
    )
    assert vars(parser_for(counts, description="").parse_args(["--count", "1", "2"])) == {"count": [1, 2]}
    with pytest.raises(SystemExit):
        parser_for(counts, description="").parse_args(["--count", "1", "3"])


def test_a_positional_setting_is_a_list_of_arguments(capsys):
    parser = parser_for(AskSettings, description="")
    assert vars(parser.parse_args(["a.jpg", "b.jpg", "--json"])) == {
        "photos": ["a.jpg", "b.jpg"],
        "json": True,
    }
    with pytest.raises(SystemExit):
        parser.parse_args(["--json"])
    assert "required: photos" in capsys.readouterr().err


def test_the_command_line_makes_the_settings_of_a_stage(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["report", "--out", "a", "--rows", "3"])
    assert settings_from_command_line(ReportSettings, "") == ReportSettings(Path("a"), None, 3, False)


def test_only_what_the_command_line_names_is_set():
    parser = parser_for(*STAGES, description="")
    assert vars(parser.parse_args([])) == {}
    named = parser.parse_args(["--learning-rate", "0.01", "--rows", "5", "--no-audit", "--max-size", "300"])
    assert vars(named) == {"learning_rate": 0.01, "rows": 5, "audit": False, "max_size": 300}
    assert settings_of(PreprocessSettings, vars(named)).max_size == 300
    with pytest.raises(SystemExit):
        parser.parse_args(["--row", "5", "--nonsense", "1"])


def test_a_notebook_is_told_of_a_name_that_is_no_setting():
    assert overridden(TrainSettings, {"rows": 7}, data=Path("a"), out=Path("b")).rows == 7
    with pytest.raises(InputError, match="there is no setting 'row' here"):
        overridden(TrainSettings, {"row": 7}, data=Path("a"), out=Path("b"))


@given(
    st.sampled_from(["batch_size", "rows", "evaluations", "workers", "held_out"]), st.integers(max_value=-1)
)
def test_values_that_make_no_sense_are_one_sentence(name, value):
    with pytest.raises(InputError, match=f"{name} is {value}: it must be at least"):
        settings_of(TrainSettings, {"data": Path("a"), "out": Path("b"), name: value})


def test_the_cache_key_of_an_adapter_holds_only_settings_that_change_it(processed):
    data, out = processed

    def key(**changes):
        return key_of(TrainSettings(data, out, str(TINY)), **changes)

    same = {
        key(),
        key(workers=1),
        key(checkpoint_steps=3),
        key(evaluations=9),
        key(overwrite=True),
        key(batch_size=4, accumulation=2),
    }
    assert len(same) == 1  # the preset is 8 x 1
    others = {
        key(batch_size=4),
        key(rows=5),
        key(seed=1),
        key(lora_r=4),
        key(audit=False),
        key(learning_rate=0.5),
    }
    assert len(others | same) == 7


def test_a_notebook_runs_in_this_python_with_this_source(tmp_path, monkeypatch):
    """Neither a foreign kernel named python3 nor a foreign src gets in the way."""
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": ["no-such-python", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    (tmp_path / "other" / "src").mkdir(parents=True)
    (tmp_path / "other" / "src" / "__init__.py").write_text("raise RuntimeError('the wrong src')")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    source = {
        "cells": [
            {
                "cell_type": "code",
                "source": "OUT = ''",
                "metadata": {"tags": ["parameters"]},
                "outputs": [],
                "execution_count": None,
                "id": "a",
            },
            {
                "cell_type": "code",
                "source": "import src, sys; print(OUT, sys.executable, src.__file__)",
                "metadata": {},
                "outputs": [],
                "execution_count": None,
                "id": "b",
            },
        ],
        "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (tmp_path / "small.ipynb").write_text(json.dumps(source))
    assert execute_notebook(tmp_path / "small.ipynb", tmp_path / "done.ipynb", {"OUT": "given"}) == 0
    text = json.loads((tmp_path / "done.ipynb").read_text())["cells"][-1]["outputs"][0]["text"]
    assert f"given {sys.executable} {ROOT / 'src' / '__init__.py'}" in "".join(text)
    assert os.environ["JUPYTER_PATH"] == str(tmp_path / "jupyter")
