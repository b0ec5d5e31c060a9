import json
import re
import shutil

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from hypothesis import given
from hypothesis import strategies as st
from transformers import Idefics2Config, Idefics2ForConditionalGeneration, LlamaConfig

from benchmarks.models import config
from src.data.errors import InputError
from src.data.questions import train_questions
from src.data.tables import read_train
from src.model import modeling
from src.model.collator import TrainingCollator, model_inputs
from src.model.modeling import (
    add_lora,
    load_adapter,
    load_base,
    load_config,
    load_processor,
    lora_config,
    merge,
    preset_for,
)
from src.model.precision import ScaledLinear
from src.settings import LoraSettings
from tests.conftest import TINY


@pytest.fixture(scope="module")
def lora_model():
    torch.manual_seed(0)
    return add_lora(load_base(str(TINY)), lora_config(LoraSettings(lora_dropout=0.0)))


@pytest.fixture(scope="module")
def batch(processed):
    data, out = processed
    samples = train_questions(read_train(data), out / "processed", {})[0][:2]
    return model_inputs(
        TrainingCollator(load_processor(str(TINY)))(samples), torch.device("cpu"), torch.float32
    )


def test_the_bundled_model_is_a_small_real_idefics2():
    assert sum(p.stat().st_size for p in TINY.iterdir()) < 20e6
    assert {p.suffix for p in TINY.iterdir()} <= {".json", ".safetensors", ".md", ".jinja"}
    config = load_config(str(TINY))
    assert isinstance(config, Idefics2Config)
    base = load_base(str(TINY))
    assert isinstance(base, Idefics2ForConditionalGeneration)
    assert base.get_input_embeddings().weight.shape[0] == 32003
    assert base.lm_head.weight.data_ptr() == base.get_input_embeddings().weight.data_ptr()
    facts = json.loads((TINY / "pretraining.json").read_text())
    curve = facts["loss_curve"]  # of the last go: it began with trained weights
    assert sum(curve[len(curve) // 2 :]) < sum(curve[: (len(curve) + 1) // 2])
    assert facts["exact_answers"]["all"] > 0.8


def test_only_the_text_layers_are_4bit(lora_model):
    base = lora_model.get_base_model()
    names = {name for name, module in base.named_modules() if isinstance(module, Linear4bit)}
    projections = [f"self_attn.{p}_proj" for p in "qkvo"] + [f"mlp.{p}_proj" for p in ("gate", "up", "down")]
    layers = base.config.text_config.num_hidden_layers
    want = {f"model.text_model.layers.{i}.{p}" for i in range(layers) for p in projections}
    assert {name.removesuffix(".base_layer") for name in names} == want
    assert type(base.lm_head) is torch.nn.Linear
    for module in base.modules():
        if isinstance(module, Linear4bit):
            assert module.weight.quant_type == "nf4"
            assert module.weight.quant_state.nested  # double quantisation
            assert module.support_avx512bf16_for_cpu is False


def test_lora_sits_in_text_model_and_connector_only(lora_model):
    trained = [name for name, p in lora_model.named_parameters() if p.requires_grad]
    assert trained
    places = {re.search(r"model\.(text_model|connector|vision_model)|lm_head", name)[0] for name in trained}
    assert places == {"model.text_model", "model.connector"}
    assert all("lora_" in name for name in trained)
    wrapped = {name.split(".lora_")[0] for name in trained}
    base = lora_model.get_base_model()
    text, perceiver = base.config.text_config.num_hidden_layers, base.config.perceiver_config.resampler_depth
    assert len(wrapped) == 7 * text + 7 * perceiver + 3


def test_loss_and_gradients_equal_the_plain_forward(lora_model, batch):
    plain = {key: value for key, value in batch.items() if key not in ("logits_to_keep", "shift_labels")}
    results = []
    for inputs in (plain, batch):
        lora_model.zero_grad()
        loss = lora_model.train()(**inputs).loss
        loss.backward()
        gradients = [p.grad.clone() for p in lora_model.parameters() if p.grad is not None]
        results.append((loss.item(), gradients))
    (want, want_gradients), (got, got_gradients) = results
    assert got == pytest.approx(want, abs=1e-6)
    assert len(want_gradients) == len(got_gradients) > 0
    for a, b in zip(want_gradients, got_gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_checkpointing_gives_the_same_gradients(batch):
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = add_lora(
            load_base(str(TINY)),
            lora_config(LoraSettings(lora_dropout=0.0)),
            gradient_checkpointing=checkpointing,
        ).train()
        assert model.get_base_model().is_activation_checkpointing is checkpointing
        model(**batch).loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.allclose(*gradients, atol=1e-6)


def test_gradients_are_the_same_after_an_evaluation(lora_model, batch):
    """bitsandbytes repacks weights at the first eval forward on CPUs with AVX512-BF16, unless told not to."""

    def gradients():
        lora_model.zero_grad()
        lora_model.train()(**batch).loss.backward()
        return torch.cat([p.grad.flatten() for p in lora_model.parameters() if p.grad is not None])

    before = gradients()
    with torch.inference_mode():
        lora_model.eval()(**batch)
    assert torch.equal(gradients(), before)
    assert before.abs().max() > 0


def test_in_float16_the_connector_does_not_overflow(batch, monkeypatch):
    def logits_of(protected):
        if not protected:
            monkeypatch.setattr(modeling, "scale_connector", lambda base: None)
        base = load_base(str(TINY))
        with torch.no_grad():  # products beyond what float16 holds; a norm follows
            base.model.connector.modality_projection.up_proj.weight.mul_(2**10)
            return base, base(**batch).logits

    want = logits_of(protected=True)[1]  # all of it in float32
    monkeypatch.setattr(modeling, "compute_dtype", lambda: torch.float16)
    base, got = logits_of(protected=True)
    assert {weight.dtype for weight in base.model.connector.modality_projection.parameters()} == {
        torch.float16
    }
    assert base.dtype is torch.float16
    assert (got.float().softmax(-1) - want.softmax(-1)).abs().max() < 0.05
    model = add_lora(base, lora_config(LoraSettings(lora_dropout=0.0)), gradient_checkpointing=True).train()
    with torch.autocast("cpu", torch.float16):
        loss = model(**batch).loss
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert not logits_of(protected=False)[1].isfinite().all()  # else nothing was tested


@given(st.lists(st.integers(-100, 100), min_size=1, max_size=5), st.integers(-4, 6), st.integers(0, 9))
def test_a_scaled_float16_layer_equals_float32_but_for_rounding(magnitudes, weight_magnitude, seed):
    generator = torch.Generator().manual_seed(seed)
    factors = 2.0 ** torch.tensor(magnitudes).unsqueeze(1)  # each token's own, up to 1e30
    states = torch.randn(len(magnitudes), 48, generator=generator) * factors
    weight = (torch.randn(96, 48, generator=generator) * 2.0**weight_magnitude).half()
    layer = torch.nn.Linear(48, 96, bias=False).requires_grad_(False)
    layer.weight.data = weight
    layer.__class__ = ScaledLinear
    results = []
    for product in (layer, lambda states: states @ weight.float().T):
        inputs = states.clone().requires_grad_()
        outputs = product(inputs)
        gradient = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(seed)) * factors
        outputs.backward(gradient)
        results.append((outputs.detach(), inputs.grad))
    for got, want in zip(*results, strict=True):
        assert got.dtype is torch.float32
        assert ((got - want).norm(dim=1) <= 2**-10 * want.norm(dim=1)).all()
    zeros = torch.zeros(1, 48)
    assert torch.equal(layer(zeros), torch.zeros(1, 96))


def test_no_gradient_runs_through_the_vision_tower(lora_model, batch):
    vision = lora_model.get_base_model().model.vision_model
    lora_model.train()
    pixels = batch["pixel_values"][:, 0]
    height, width = (side // 14 for side in pixels.shape[-2:])
    mask = torch.ones(len(pixels), height, width, dtype=torch.bool)
    hidden = vision(pixels, patch_attention_mask=mask).last_hidden_state
    assert not hidden.requires_grad
    plain = vision.tower(pixels, patch_attention_mask=mask).last_hidden_state  # all at once
    assert torch.allclose(hidden, plain, atol=1e-5)
    assert not any(p.requires_grad for p in vision.parameters())


def test_the_merged_model_answers_like_base_and_adapter(lora_model, batch, tmp_path):
    with torch.no_grad():
        for name, parameter in lora_model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
        want = lora_model.eval()(**batch).logits
    lora_model.save_pretrained(tmp_path / "adapter")
    merged = merge(load_base(str(TINY)), tmp_path / "adapter")
    assert not any(isinstance(module, Linear4bit) for module in merged.modules())
    with torch.no_grad():
        assert torch.allclose(merged(**batch).logits, want, atol=1e-4)
    merged.save_pretrained(tmp_path / "merged")
    again = Idefics2ForConditionalGeneration.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    with torch.no_grad():
        assert torch.allclose(again(**batch).logits, want, atol=1e-4)


def test_the_full_size_has_the_published_counts():
    """idefics2-8b without its weights: sizes as published, LoRA parameters as computed by hand."""
    with torch.device("meta"):
        base = Idefics2ForConditionalGeneration(config("8b"))
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in base.model.named_children()}
    assert sum(p.numel() for p in base.parameters()) == 8_402_768_112
    assert count["vision_model"] == 417_792_240
    assert count["connector"] == 743_219_200
    assert base.lm_head.weight.numel() == 131_084_288
    model = add_lora(base.requires_grad_(False), lora_config(LoraSettings()))
    trained = {"text_model": 0, "perceiver_resampler": 0, "modality_projection": 0}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            trained[next(part for part in trained if part in name)] += parameter.numel()
    r, hidden, inner, kv = 16, 4096, 14336, 1024
    layer = r * (2 * (hidden + hidden) + 2 * (hidden + kv) + 3 * (hidden + inner))
    assert trained["text_model"] == 32 * layer == 41_943_040
    assert trained == {
        "text_model": 41_943_040,
        "perceiver_resampler": 3_919_872,
        "modality_projection": 790_528,
    }


def test_splitting_makes_five_images_of_one(processed):
    data, out = processed
    samples = train_questions(read_train(data), out / "processed", {})[0][:1]
    batch = TrainingCollator(load_processor(str(TINY), image_splitting=True))(samples)
    inputs = model_inputs(batch, torch.device("cpu"), torch.float32)
    assert inputs["pixel_values"].shape[1] == 5
    assert inputs["input_ids"].eq(32001).sum() == 5 * 64
    with torch.no_grad():
        assert load_base(str(TINY))(**inputs).loss.isfinite()


def test_a_saved_adapter_gives_the_same_logits(lora_model, batch, tmp_path):
    with torch.no_grad():
        for name, parameter in lora_model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
        want = lora_model.eval()(**batch).logits
        lora_model.save_pretrained(tmp_path)
        got = load_adapter(load_base(str(TINY)), tmp_path)(**batch).logits
    assert torch.allclose(got, want, atol=1e-5)


def test_an_odd_model_gets_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="the hub cannot be reached"):
        load_config("somebody/no-such-model")
    with pytest.raises(InputError, match=r"no config\.json"):
        load_config(str(tmp_path))
    LlamaConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="a llama model; only idefics2"):
        load_config(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        load_config(str(tmp_path))


@pytest.mark.parametrize("tokens", [32002, 32000])  # idefics2-8b-base, and Mistral's own
def test_a_base_model_is_told_before_anything_is_loaded(tmp_path, tokens):
    config = json.loads((TINY / "config.json").read_text())
    config["text_config"]["vocab_size"] = tokens
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        InputError, match=rf"{tokens} tokens, and lacks <end_of_utterance>.* it is a base model"
    ):
        load_config(str(tmp_path))


def test_a_model_without_weights_or_tokenizer_gets_one_sentence(tmp_path):
    shutil.copy(TINY / "config.json", tmp_path)
    with pytest.raises(InputError, match="weights cannot be loaded"):
        load_base(str(tmp_path))
    with pytest.raises(InputError, match="processor or tokenizer"):
        load_processor(str(tmp_path))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_the_full_size_needs_a_gpu():
    with pytest.raises(InputError, match=r"needs a CUDA GPU: .* or --cpu, where an 8B model takes about"):
        preset_for(Idefics2Config())
    assert preset_for(Idefics2Config(), cpu=True).train_batch_size == 1


def test_a_folder_without_an_adapter_gets_one_sentence(tmp_path):
    with pytest.raises(InputError, match="no trained adapter"):
        load_adapter(load_base(str(TINY)), tmp_path)
