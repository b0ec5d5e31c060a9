"""What a GPU of a size can hold, against what is counted on the meta device; nothing here needs a GPU."""

import gc
import weakref

import pytest
import torch
from bitsandbytes.nn import Linear4bit

from src.model import memory
from src.model.family import hub_config
from src.model.memory import answering, preset, saved_by_connector, saved_by_layer, training
from src.model.modeling import add_lora, dequantised, load_base, load_config, lora_config, preset_for
from src.settings import LoraSettings
from tests.conftest import TINY
from tests.family import FAMILY

FULL, GB = hub_config(), memory.GB
CARDS = {  # memory in bytes as CUDA tells it, compute type
    "T4": (15.6 * GB, torch.float16),
    "16": (16.9 * GB, torch.bfloat16),
    "24": (25.4 * GB, torch.bfloat16),
    "40": (42.4 * GB, torch.bfloat16),
    "80": (85.0 * GB, torch.bfloat16),
}


@pytest.fixture(scope="module")
def meta_model():
    """idefics2-8b with LoRA in bfloat16, without its weights."""
    model = add_lora(memory.meta_model(FULL).requires_grad_(False), lora_config(LoraSettings())).train()
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    return model.get_base_model()


def kept_for_backward(model, forward):
    """Bytes of the tensors that a forward pass keeps, each once, without the weights."""
    weights = {id(parameter) for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        whole = tensor._base if tensor._base is not None else tensor
        if id(tensor) not in weights and id(whole) not in weights:
            kept[id(whole)] = whole
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(tensor.numel() * tensor.element_size() for tensor in kept.values())


def test_the_estimate_of_the_text_layers_is_what_they_keep(meta_model):
    tokens, layers = 200, FULL.text_config.num_hidden_layers
    embedded = torch.empty(1, tokens, 4096, device="meta", dtype=torch.bfloat16, requires_grad=True)
    kept = kept_for_backward(meta_model, lambda: meta_model.model.text_model(inputs_embeds=embedded))
    # The meta device has no attention that does without its scores, as GPUs have: 32 heads in float32.
    scores = layers * 4 * (32 * tokens * tokens + 3 * tokens * 4096)
    assert saved_by_layer(FULL) * tokens * layers == pytest.approx(kept - scores, rel=0.1)


def test_the_estimate_of_the_connector_is_what_it_keeps(meta_model):
    connector = meta_model.model.connector
    patches = torch.empty(1, FAMILY.patches, 1152, device="meta", dtype=torch.bfloat16)

    def forward():
        context = connector.modality_projection(patches)
        latents = torch.empty(1, 64, 4096, device="meta", dtype=torch.bfloat16, requires_grad=True)
        for layer in connector.perceiver_resampler.layers:
            latents = layer(latents, context)

    kept = kept_for_backward(meta_model, forward)
    assert saved_by_connector(FULL, torch.bfloat16) * FAMILY.patches == pytest.approx(kept, rel=0.1)
    assert saved_by_connector(FULL, torch.float16) == 2 * saved_by_connector(FULL, torch.bfloat16)


@pytest.mark.parametrize("name", CARDS)
def test_each_card_gets_what_fits_it_and_the_same_rows_per_step(name):
    card, dtype = CARDS[name]
    got = preset(FULL, card)
    want = {"T4": (2, True), "16": (4, True), "24": (8, True), "40": (16, True), "80": (16, False)}[name]
    assert (got.train_batch_size, got.gradient_checkpointing) == want
    assert got.train_batch_size * got.accumulation == memory.ROWS_PER_STEP
    estimate = training(FULL, got.train_batch_size, got.gradient_checkpointing, 16, dtype)
    assert 0.3 * card < estimate.total < 0.85 * card
    assert answering(FULL, got.predict_batch_size, card >= memory.MERGED_FROM, dtype).total < 0.85 * card
    assert got.predict_batch_size == {"T4": 8, "16": 16, "24": 8, "40": 64, "80": 128}[name]
    assert "weights" in str(estimate)
    assert str(estimate).startswith(f"{estimate.total / GB:.1f} GB")


@pytest.mark.parametrize("line", memory.BY_MEMORY[:-1])
def test_each_preset_fits_the_smallest_card_that_gets_it(line):
    card = line[0] * GB
    got = preset(FULL, card)
    assert training(FULL, got.train_batch_size, got.gradient_checkpointing, 16, torch.bfloat16).total < card
    merged = memory.is_merged(FULL, card)
    assert answering(FULL, got.predict_batch_size, merged, torch.bfloat16).total < card


def test_weights_and_adapter_are_counted():
    estimate = training(FULL, 1, True, 16, torch.bfloat16)
    assert estimate.weights == pytest.approx(6.5 * GB, rel=0.03)
    assert estimate.adapter == 46_653_440 * memory.LORA_BYTES
    assert answering(FULL, 1, True, torch.bfloat16).weights == pytest.approx(2 * 8_402_768_112)
    half = training(FULL, 1, True, 16, torch.float16)
    assert half.weights == estimate.weights
    assert half.activations > 1.5 * estimate.activations  # its connector's are in float32


def test_a_small_card_gets_the_smallest_batches_and_a_small_model_its_own():
    assert preset(FULL, 6 * GB).train_batch_size == 1
    assert preset_for(load_config(str(TINY))) is memory.TINY


def test_few_images_at_once_go_through_the_vision_tower_of_a_small_card():
    got = [memory.images_at_once(card) for card in (0, *(card for card, _ in CARDS.values()))]
    assert got == [1, 1, 1, 2, 8, 8]


def test_nothing_of_a_dequantised_network_stays():
    base = load_base(str(TINY))
    quantised = [weakref.ref(layer) for layer in base.modules() if isinstance(layer, Linear4bit)]
    assert quantised
    gc.disable()  # what is found is found by the code
    try:
        dequantised(base)
        assert not any(layer() for layer in quantised)
    finally:
        gc.enable()
