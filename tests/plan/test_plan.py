"""What a run will take, before it is started: measured on some rows here, or estimated for a card that is not
here."""

from dataclasses import replace

import pytest

from src.data.sampling import read_sampled
from src.model import memory
from src.plan import __main__ as plan_command
from src.plan import measure
from src.plan.catalogue import CATALOGUES, ROWS_PER_PICTURE, hours, terabytes
from src.plan.measure import ModelRates, PictureRates, picture_rates
from src.plan.sizes import CARDS, answering_flops, config_8b, training_flops
from src.plan.stages import Machine, Work, estimated_rates, rows_that_fit, stages
from tests.conftest import assert_one_sentence, run_python

CHALLENGE = Work(0, 241_000, 150_000, 150_000, 131_187, 91_000)
PICTURES = PictureRates(0.5, 0.008, 100_000, 40_000, 1_500)
H100 = Machine(16, 1, "H100", CARDS["H100"])
MODEL = ModelRates(60, 0.02, 0.01)


def seconds(work, machine=H100, model=MODEL):
    return {stage.name: stage.seconds for stage in stages(work, machine, PICTURES, model, "here")}


def test_stages_scale_with_what_there_is_to_do():
    found = seconds(CHALLENGE)
    assert found["preprocess"] == pytest.approx(241_000 * 0.5 / 16)
    assert found["training"] == pytest.approx(60 + 150_000 * 0.02 + 4 * 500 * 0.01)
    assert found["inference"] == pytest.approx(60 + 131_187 * 0.01)
    assert "fetch" not in found
    two = seconds(CHALLENGE, replace(H100, gpus=2))
    assert two["preprocess"] == found["preprocess"]
    assert two["inference"] - 60 == pytest.approx((found["inference"] - 60) / 2)
    assert "training" not in seconds(replace(CHALLENGE, train_rows=0))


def test_a_catalogue_takes_cores_gpus_and_storage_in_proportion():
    small, _, large = CATALOGUES
    reading, answering = hours(small, PICTURES, MODEL.answer)
    assert reading == pytest.approx(350_000 * 0.508 / 16 / 3600)
    assert answering == pytest.approx(350_000 * ROWS_PER_PICTURE * 0.01 / 3600)
    assert hours(replace(small, cores=32, gpus=2), PICTURES, MODEL.answer) == (reading / 2, answering / 2)
    assert terabytes(large, PICTURES) == (100, pytest.approx(41.5))


def test_the_rows_that_fit_do_fit():
    found = stages(CHALLENGE, H100, PICTURES, MODEL, "here")
    hours = 0.8 * sum(stage.seconds for stage in found) / 3600
    rows = rows_that_fit(CHALLENGE, found, hours)
    assert 0 < rows < 150_000
    fewer = replace(CHALLENGE, train_rows=rows, train_pictures=rows, pictures=91_000 + rows)
    assert 0.85 * hours < sum(seconds(fewer).values()) / 3600 <= hours
    assert rows_that_fit(CHALLENGE, found, 0.1) < 1


def test_work_of_the_published_model_is_what_is_known_of_it():
    config = config_8b()
    assert memory._sizes(config).parameters["all"] == pytest.approx(8.4e9, rel=0.01)
    assert training_flops(config, checkpointing=False) / 1e12 == pytest.approx(
        7.8, rel=0.02
    )  # as the README says
    assert answering_flops(config, 1.45) < answering_flops(config, 1)
    slow, fast = (estimated_rates(config, CARDS[name], 1.4, True) for name in ("T4", "H100"))
    assert slow.training / fast.training == pytest.approx(989 / 65)


@pytest.fixture(scope="module")
def measured(processed):
    """What `picture_rates` measures on few pictures, once; the folder is left."""
    data, out = processed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "PER_CORE", 2)
        return picture_rates(data, read_sampled(data, None, 0), 2, out / "measured")


@pytest.fixture
def planned(processed, measured, monkeypatch):
    """The plan for the folder of `processed`."""
    data, out = processed

    def known(_, __, ___, folder):
        folder.rmdir()
        folder.symlink_to(out / "measured")
        return measured

    monkeypatch.setattr(plan_command, "picture_rates", known)
    monkeypatch.setattr(measure, "STEPS", 2)
    return lambda *flags: plan_command.plan(plan_command.parser().parse_args(["--data", str(data), *flags]))


def test_a_plan_runs_some_of_the_rows_here(planned):
    told = planned("--hours", "9", "--catalogues")
    for words in (
        "no GPU",
        "preprocess",
        "19 pictures",
        "training",
        "16 rows",
        "inference",
        "7 rows",
        "fits 9 h",
    ):
        assert words in told
    assert told.count("measured: ") == 4
    assert [f"| {cluster.pictures:,} | " in told for cluster in CATALOGUES] == [True] * 3
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


def test_a_folder_without_pictures_gets_one_sentence(processed, tmp_path):
    data, _ = processed
    (tmp_path / "test.csv").write_bytes((data / "test.csv").read_bytes())
    assert_one_sentence(run_python("-m", "src.plan", "--data", tmp_path), "nothing can be measured")
