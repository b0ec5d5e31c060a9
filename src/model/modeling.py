"""Load an IDEFICS2: processor, NF4 base, LoRA. The only place that knows how the weights come into memory."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from huggingface_hub.errors import LocalEntryNotFoundError
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    Idefics2Config,
    Idefics2ForConditionalGeneration,
    Idefics2Processor,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil
from transformers.utils import logging as transformers_logging

from src.data.errors import InputError
from src.model import memory
from src.model.checks import check_weights, gpu_fault, weights_fault
from src.model.memory import Preset
from src.model.precision import compute_dtype, connector_in_float32
from src.settings import LoraSettings

# peft 0.21 asks transformers 5.23 by the old name; nothing a user could do about it.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)

VISION_AT_ONCE = 8
"""Pictures that a GPU puts through the vision tower at once in training: 15,000 patches fill it."""
LORA_TARGETS = r".*(text_model|modality_projection|perceiver_resampler).*(down|gate|up|k|q|v|o)_proj$"
# An explicit list replaces the default one (so lm_head must be named) and matches from the start of the name.
NOT_QUANTISED = ["model.vision_model", "model.connector", "lm_head"]
SPECIAL_TOKENS = {
    "<unk>": 0,
    "<fake_token_around_image>": 32000,
    "<image>": 32001,
    "<end_of_utterance>": 32002,
}


def load_config(model: str) -> Idefics2Config:
    """Read the configuration of ``model``, a folder or a hub id.

    `InputError` when it is not an IDEFICS2, or when weights in the folder are not whole.
    """
    if Path(model).is_dir() and not (Path(model) / "config.json").is_file():
        raise InputError(
            f"{model}: no config.json in this folder, so it holds no model; give an IDEFICS2 folder"
        )
    try:
        config = AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        if Path(model).is_dir() or not isinstance(error, OSError):
            raise InputError(
                f"{model}: has a configuration that cannot be read; fetch the model again"
            ) from None
        if isinstance(error.__cause__, LocalEntryNotFoundError):
            raise InputError(
                f"{model}: the hub cannot be reached, and the model is not in its cache here; without a network, "
                f"download the model's files elsewhere and give their folder"
            ) from None
        raise InputError(
            f"{model}: is neither a folder here nor a model of the hub; give data/idefics2-tiny or "
            f"HuggingFaceM4/idefics2-8b"
        ) from None
    if config.model_type != "idefics2":
        raise InputError(
            f"{model}: is a {config.model_type} model, not an IDEFICS2; only IDEFICS2 is supported"
        )
    tokens = config.get_text_config().vocab_size
    if tokens <= SPECIAL_TOKENS["<end_of_utterance>"]:
        raise InputError(
            f"{model}: has {tokens} tokens, and lacks <end_of_utterance>, which ends each prompt: it is a base model; "
            f"give HuggingFaceM4/idefics2-8b"
        )
    check_weights(Path(model))
    return config


def model_stamp(model: str) -> str:
    """Tells whether ``model`` is still the same one: its id, and for a folder its files with sizes and
    times."""
    files = sorted(path for path in Path(model).glob("*") if path.suffix in (".json", ".safetensors"))
    return "\n".join([model, *(f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files)])


def preset_for(config: Idefics2Config) -> Preset:
    """Return the settings for a model of this size and the GPU here.

    Raises `InputError` when it needs one and there is none.
    """
    if not memory.is_small(config) and not torch.cuda.is_available():
        raise InputError(
            f"this model needs a CUDA GPU: {gpu_fault()}; on a CPU, use MODEL=data/idefics2-tiny"
        )
    return memory.preset(config, card_memory())


def card_memory() -> int:
    """Return bytes of this process's GPU, 0 without one."""
    if not torch.cuda.is_available():
        return 0
    return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory


def load_processor(model: str, image_splitting: bool = False) -> Idefics2Processor:
    """Load tokenizer and image processor of ``model``: 64 image tokens per picture, 320 with
    ``image_splitting``.

    Splitting is set here and not per call, where it would change the pictures but not the tokens. The Pillow
    image processor is asked for and checked, because pixels must not depend on torchvision being installed;
    token ids are checked, because a wrongly converted tokenizer loads without a word. Raises `InputError`.
    """
    load_config(model)
    try:
        processor = AutoProcessor.from_pretrained(
            model, backend="pil", do_image_splitting=image_splitting, add_bos_token=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{model}: its processor or tokenizer cannot be loaded ({reason})") from None
    if not isinstance(processor.image_processor, Idefics2ImageProcessorPil):
        raise InputError(
            f"{model}: loaded {type(processor.image_processor).__name__}, not the Pillow image processor"
        )
    tokenizer = processor.tokenizer
    found = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    ids = tokenizer("a").input_ids
    if found != SPECIAL_TOKENS or len(tokenizer) != 32003 or tokenizer.pad_token_id != 0 or ids.count(1) != 1:
        raise InputError(f"{model}: its tokenizer is not IDEFICS2's (ids {found}, {len(tokenizer)} tokens)")
    return processor


def load_base(model: str) -> Idefics2ForConditionalGeneration:
    """Load ``model`` with its text layers in NF4 (double quantisation), all weights frozen; on the GPU if
    there is one.

    Vision tower, connector and lm_head stay in `compute_dtype`. Raises `InputError`.
    """
    preset_for(load_config(model))
    quantisation = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype(),
        llm_int8_skip_modules=NOT_QUANTISED,
    )
    with _quiet_loading():
        try:
            base = AutoModelForImageTextToText.from_pretrained(
                model,
                dtype=compute_dtype(),
                quantization_config=quantisation,
                device_map={"": torch.cuda.current_device() if torch.cuda.is_available() else "cpu"},
                use_safetensors=True,
            )
        except (OSError, ValueError) as error:
            raise InputError(
                f"{model}: its weights cannot be loaded ({str(error).splitlines()[0]})"
            ) from None
    for layer in base.modules():
        if isinstance(layer, Linear4bit):
            # On CPUs with AVX512-BF16 bitsandbytes repacks the weights at the first eval forward, after which
            # gradients, dequantising and saving are silently wrong.
            layer.support_avx512bf16_for_cpu = False
    if compute_dtype() is torch.float16:
        connector_in_float32(base)
    return base.requires_grad_(False).eval()


def add_lora(
    base: Idefics2ForConditionalGeneration, settings: LoraSettings, gradient_checkpointing: bool = False
) -> PeftModel:
    """Put fresh, trainable LoRA layers (float32) on a base from `load_base`.

    ``prepare_model_for_kbit_training`` is not called: it would turn vision tower, connector, embeddings and
    lm_head to float32 (about 2.9 GB more for the 8b model); the gradients are the same without it.
    """
    _frozen_vision(base)
    if gradient_checkpointing:
        base.activation_checkpointing_enable({"use_reentrant": False})
        _checkpoint_connector(base)
    config = LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=LORA_TARGETS,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(base, config)


def _frozen_vision(base: Idefics2ForConditionalGeneration) -> None:
    """Run the vision tower without gradients (checkpointing would make it run backward), few pictures at a
    time.

    Nothing of it is kept, so a batch takes no more memory than its part; a CPU is as fast on one as on many.
    """
    vision = base.model.vision_model
    forward = vision.forward
    at_once = VISION_AT_ONCE if base.device.type == "cuda" else 1

    @torch.no_grad()
    def in_parts(
        pixel_values: torch.Tensor, patch_attention_mask: torch.Tensor, **rest: Any
    ) -> BaseModelOutput:
        parts = zip(pixel_values.split(at_once), patch_attention_mask.split(at_once), strict=True)
        states = [
            forward(pixels, patch_attention_mask=mask, **rest).last_hidden_state for pixels, mask in parts
        ]
        return BaseModelOutput(last_hidden_state=torch.cat(states))

    vision.forward = in_parts


def _checkpoint_connector(base: Idefics2ForConditionalGeneration) -> None:
    """Recompute the connector in the backward pass, too: transformers leaves it out (0.78 GB per row at 588 x
    588).

    Few pictures at a time, as in `_frozen_vision`.
    """
    connector = base.model.connector
    forward = connector.forward
    at_once = VISION_AT_ONCE if base.device.type == "cuda" else 1

    def recomputed(image_hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return forward(image_hidden_states, attention_mask=attention_mask)
        parts = zip(image_hidden_states.split(at_once), attention_mask.split(at_once), strict=True)
        return torch.cat(
            [
                torch.utils.checkpoint.checkpoint(forward, states, attention_mask=mask, use_reentrant=False)
                for states, mask in parts
            ]
        )

    connector.forward = recomputed


def merge(base: Idefics2ForConditionalGeneration, folder: Path) -> Idefics2ForConditionalGeneration:
    """The adapter in ``folder`` merged into the dequantised weights of a base from `load_base`, in
    `compute_dtype`.

    Equal to base and adapter but for rounding. Merging into the 4-bit weights, or into the ones before
    quantisation, would give other answers. ``save_pretrained`` of the result writes an ordinary IDEFICS2
    checkpoint.
    """
    return load_adapter(dequantised(base), folder).merge_and_unload()


def dequantised(base: Idefics2ForConditionalGeneration) -> Idefics2ForConditionalGeneration:
    """A base from `load_base` with the values of its NF4 weights in `compute_dtype`, in place."""
    with _quiet_loading():
        return base.dequantize(dtype=compute_dtype())


def load_adapter(base: Idefics2ForConditionalGeneration, folder: Path) -> PeftModel:
    """Put a trained adapter on a base from `load_base`, for inference. Raises `InputError` unless all of it
    fits."""
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise InputError(f"{folder}: no trained adapter here; run training.ipynb first")
    if fault := weights_fault(weights):
        raise InputError(f"{weights}: {fault}, or remove {folder} and train again")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found missing adapter keys")  # an error, below
            model = PeftModel.from_pretrained(base, str(folder)).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{folder}: does not fit this model ({str(error).splitlines()[0]})") from None
    with safe_open(weights, framework="pt") as file:
        unfit = set(file.keys()) ^ set(get_peft_model_state_dict(model))
    if unfit:
        raise InputError(
            f"{folder}: does not fit this model ({len(unfit)} weights are on one side only, the first: {min(unfit)}); "
            f"give the MODEL that it was trained on, or remove it and train again"
        )
    return model


@contextlib.contextmanager
def _quiet_loading() -> Iterator[None]:
    """No bar while shards are read (in a notebook it would leave a dead widget behind), no notes on
    dtypes."""
    before = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.enable_progress_bar()
        transformers_logging.set_verbosity(before)
