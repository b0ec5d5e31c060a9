"""What a run will take, before it is started: measured on some rows here, or estimated for a card that is not
here."""

import gc
from dataclasses import replace

import pytest
import torch
from transformers import Idefics2ForConditionalGeneration

from src.data.errors import InputError
from src.data.flags import parser_for, settings_of
from src.data.sampling import read_sampled
from src.model import generation
from src.model.family import hub_config
from src.model.memory import meta_model
from src.plan import __main__ as plan_command
from src.plan import measure
from src.plan.catalogue import CARDS, answering_flops, training_flops
from src.plan.measure import image_rates, with_model
from src.plan.stages import (
    CATALOGUES,
    ROWS_PER_IMAGE,
    Machine,
    Rates,
    Work,
    advice,
    catalogue_table,
    estimated,
    rows_that_fit,
    stages,
)
from src.settings import PlanSettings
from tests.conftest import TINY, assert_one_sentence, run_python

CHALLENGE = Work(0, 241_000, 150_000, 150_000, 131_187, 91_000)
RATES = Rates(0.5, 0.008, 100_000, 40_000, 1_500, load=60, training=0.02, answer=0.01)
H100 = Machine(16, 1, CARDS["H100"])


def seconds(work, machine=H100):
    return {stage.name: stage.seconds for stage in stages(work, machine, RATES)}


def test_stages_scale_with_what_there_is_to_do():
    planned = seconds(CHALLENGE)
    assert planned["preprocess"] == pytest.approx(241_000 * 0.5 / 16)
    assert planned["training"] == pytest.approx(180 + 60 + 150_000 * 0.02 + 5 * 500 * 0.01)
    assert planned["inference"] == pytest.approx(60 + 131_187 * 0.01)
    assert "fetch" not in planned
    two = seconds(CHALLENGE, replace(H100, gpus=2))
    assert two["preprocess"] == planned["preprocess"]
    assert two["inference"] - 60 == pytest.approx((planned["inference"] - 60) / 2)
    assert "training" not in seconds(replace(CHALLENGE, train_rows=0))


def test_a_catalogue_takes_cores_gpus_and_storage_in_proportion():
    lines = [line.split("|") for line in catalogue_table(RATES, RATES.answer, "H100")[2:]]
    for (images, cores, gpus), line in zip(CATALOGUES, lines, strict=True):
        cells = [float(cell.split()[0].replace(",", "")) for cell in line[1:-1]]
        reading, answering = images * 0.508 / cores / 3600, images * ROWS_PER_IMAGE * 0.01 / gpus / 3600
        storage = [images * 100_000 / 1e12, images * 41_500 / 1e12, 0.3 + images * 400 / 1e9]
        assert cells == pytest.approx([images, cores, reading, gpus, answering, *storage], abs=0.051)
    assert lines[2][6:8] == [" 100.00 TB ", " 41.50 TB "]


def test_the_rows_that_fit_do_fit():
    planned = stages(CHALLENGE, H100, RATES)
    hours = 0.8 * sum(stage.seconds for stage in planned) / 3600
    rows = rows_that_fit(CHALLENGE, planned, hours)
    assert 0 < rows < 150_000
    fewer = replace(CHALLENGE, train_rows=rows, train_images=rows, images=91_000 + rows)
    assert 0.85 * hours < sum(seconds(fewer).values()) / 3600 <= hours
    assert rows_that_fit(CHALLENGE, planned, 0.1) < 1
    assert (
        advice(CHALLENGE, planned, hours)[1] == f"with --rows {rows // 100 * 100} it fits, a tenth in reserve"
    )
    assert "another night" in advice(CHALLENGE, planned, 0.1)[1]


def test_the_published_model_is_counted_as_it_was_measured():
    config = hub_config()
    assert sum(weight.numel() for weight in meta_model(config).parameters()) == 8_402_768_112
    assert config.text_config.sliding_window == 4096
    # Means over official rows, measured: 6.1 TFLOP a training row, 2.74 an answer.
    assert training_flops(config, checkpointing=False) / 1e12 == pytest.approx(6.1, rel=0.1)
    assert answering_flops(config, ROWS_PER_IMAGE) / 1e12 == pytest.approx(2.74, rel=0.1)
    assert 1.2 < training_flops(config, checkpointing=True) / training_flops(config, False) < 1.5
    assert answering_flops(config, 1.45) < answering_flops(config, 1)
    slow, middle, fast = (estimated(RATES, config, CARDS[name], 1.4) for name in ("T4", "A100", "H100"))
    assert slow.answer / fast.answer == pytest.approx(989 / 65)
    assert slow.training / middle.training == pytest.approx(312 / 65)
    assert slow.training / fast.training > 989 / 65  # the H100 has room for all activations


@pytest.fixture(scope="module")
def measured(processed):
    """What `image_rates` measures on few images, once; the folder is left."""
    data, out = processed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "PER_CORE", 2)
        return image_rates(data, read_sampled(data, None, 0), 2, out / "measured")


@pytest.fixture
def planned(processed, measured, monkeypatch):
    """The plan for the folder of `processed`."""
    data, out = processed

    def known(_, __, ___, folder):
        (folder / "more").symlink_to(out / "measured" / "more")
        return measured

    monkeypatch.setattr(plan_command, "image_rates", known)
    monkeypatch.setattr(measure, "STEPS", 2)
    parser = parser_for(PlanSettings, description="")

    def told(*flags):
        given = vars(parser.parse_args(["--data", str(data), *flags]))
        return plan_command.plan(settings_of(PlanSettings, given))

    return told


def test_a_plan_runs_some_of_the_rows_here(planned):
    told = planned("--hours", "9", "--catalogues")
    for words in (
        "no GPU",
        "preprocess",
        "19 images",
        "training",
        "16 rows",
        "inference",
        "7 rows",
        "fits 9 h",
    ):
        assert words in told
    assert told.count("measured: ") == 4
    assert [f"| {images:,} | " in told for images, *_ in CATALOGUES] == [True] * 3
    assert "estimated" not in told


def test_a_plan_for_a_card_that_is_not_here_needs_neither_it_nor_the_weights(planned):
    flags = (
        "--model",
        "HuggingFaceM4/idefics2-8b",
        "--gpu",
        "T4",
        "--gpus",
        "2",
        "--hours",
        "0.001",
        "--cores",
        "4",
    )
    told = planned(*flags)
    assert told.count("estimated, 30% and 20% of 65 TFLOP/s") == 2
    for words in (
        "on 4 cores, 2 x T4",
        "33.6 GB of weights",
        "GPU memory, estimated, training",
        "not fit 0.001 h",
    ):
        assert words in told


def test_an_unknown_card_gets_one_sentence(planned):
    with pytest.raises(InputError, match=r"--gpu V3: not a known card; name one of T4, L4.*H200"):
        planned("--gpu", "V3")


def networks():
    """The networks that are in memory."""
    return {id(thing) for thing in gc.get_objects() if type(thing) is Idefics2ForConditionalGeneration}


def test_one_network_is_in_memory_at_a_time(measured, processed, monkeypatch):
    _, out = processed
    gc.collect()
    others, at_loading = networks(), []

    def load_base(model, load=measure.load_base):
        at_loading.append(networks() - others)
        return load(model)

    monkeypatch.setattr(measure, "STEPS", 2)
    for module in (measure, generation):
        monkeypatch.setattr(module, "load_base", load_base)
    rates = with_model(str(TINY), out / "measured" / "more", measured)
    assert at_loading == [set(), set()]
    assert rates.training > 0 < rates.answer
    assert rates.load > 0


def test_out_of_memory_the_estimate_stays(measured, processed, monkeypatch):
    _, out = processed

    def load_base(_):
        raise torch.OutOfMemoryError

    for module in (measure, generation):
        monkeypatch.setattr(module, "load_base", load_base)
    guess = estimated(measured, hub_config(), CARDS["H100"], 1)
    assert with_model(str(TINY), out / "measured" / "more", guess) == guess


def test_a_folder_without_images_gets_one_sentence(processed, tmp_path):
    data, _ = processed
    (tmp_path / "test.csv").write_bytes((data / "test.csv").read_bytes())
    assert_one_sentence(run_python("-m", "src.plan", "--data", tmp_path), "nothing can be measured")
