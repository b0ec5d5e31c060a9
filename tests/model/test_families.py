"""The door to model families: another one is one file, and trains and answers by the same code."""

import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from src import sanity
from src.data.errors import InputError
from src.model.family import NAMES, family_of
from src.model.idefics3 import SPECIAL_TOKENS
from src.model.modeling import load_config, load_processor
from src.predict import predict
from src.settings import PredictSettings, TrainSettings
from src.train import train
from tests.conftest import ROOT, TINY

SIDE, PATCH, SCALE = 112, 14, 2
IMAGE_TOKENS = (SIDE // PATCH) ** 2 // SCALE**2


@pytest.fixture(scope="module")
def smolvlm(tmp_path_factory):
    """A folder with a small Idefics3 of random weights, and a real tokenizer with the tokens it needs."""
    folder = tmp_path_factory.mktemp("idefics3")
    tokenizer = load_processor(str(TINY)).tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    size = {"longest_edge": SIDE}
    image_processor = Idefics3ImageProcessorPil(size=size, max_image_size=size, do_image_splitting=False)
    Idefics3Processor(image_processor, tokenizer, image_seq_len=IMAGE_TOKENS).save_pretrained(folder)
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 64, "intermediate_size": 128}
    ids = {
        "bos_token_id": 1,
        "eos_token_id": tokenizer.convert_tokens_to_ids("<end_of_utterance>"),
        "pad_token_id": 0,
    }
    config = Idefics3Config(
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "num_key_value_heads": 2,
            **layers,
            **ids,
        },
        vision_config={"image_size": SIDE, "patch_size": PATCH, **layers},
        scale_factor=SCALE,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        **ids,
    )
    torch.manual_seed(0)
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def test_another_family_trains_two_steps_and_answers_by_the_same_code(smolvlm, processed, tmp_path):
    (tmp_path / "processed").symlink_to(processed[1] / "processed")
    settings = TrainSettings(
        processed[0], tmp_path, str(smolvlm), batch_size=4, scored_rows=4, epochs=0.5, evaluations=1
    )
    result = train(settings)
    assert len(result.losses) >= 2
    assert result.losses["loss"].between(0.1, 100).all()
    details = predict(PredictSettings(processed[0], tmp_path, str(smolvlm)))
    assert sanity.check(tmp_path / "test_out.csv", processed[0] / "test.csv") == []
    assert pd.to_numeric(details["confidence"][details["reason"].eq("")]).between(0, 1).all()


def test_an_image_is_its_tokens_between_two_marks(smolvlm):
    processor = load_processor(str(smolvlm))
    ids = family_of(processor).tokenized(processor, ["<|im_start|>User:<image> Hi"])["input_ids"][0]
    assert ids.count(processor.tokenizer.convert_tokens_to_ids("<image>")) == IMAGE_TOKENS
    assert ids.count(processor.tokenizer.convert_tokens_to_ids("<fake_token_around_image>")) == 2


def test_image_splitting_and_missing_tokens_are_refused_in_one_sentence(smolvlm):
    with pytest.raises(InputError, match="splitting is not supported"):
        load_processor(str(smolvlm), image_splitting=True)
    other = load_processor(str(TINY)).tokenizer
    fault = family_of(load_config(str(smolvlm))).tokenizer_fault(other)
    assert fault == "without <|im_start|>, <global-img>"


@given(st.integers(1, 2000), st.integers(1, 2000), st.sampled_from([str(TINY), "idefics3"]))
def test_padding_only_adds_white_at_the_right_and_bottom(height, width, name):
    family = family_of(load_config(str(TINY))) if name != "idefics3" else family_of(Idefics3Config())
    high, wide = family.padded_size(height, width)
    assert high >= height
    assert wide >= width
    assert (high, wide) == family.padded_size(high, wide)
    if max(height, width) <= 300:
        padded = family.padded(np.zeros((height, width, 3), np.uint8))
        assert padded.shape == (high, wide, 3)
        assert (padded[:height, :width] == 0).all()
        assert (padded[height:] == 255).all()
        assert (padded[:, width:] == 255).all()


def test_only_the_door_names_a_family():
    command = ["git", "grep", "-il", NAMES[0], "--", "src"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert len(found) <= 4, found
