"""Loading of an IDEFICS2: processor, NF4 base, LoRA. No other module knows how weights come into memory."""

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from huggingface_hub.errors import LocalEntryNotFoundError
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open
from torch.distributed._composable import checkpoint
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
# The bar over weights would leave a dead widget in a notebook, and dequantised weights get a note on dtypes.
transformers_logging.disable_progress_bar()
logging.getLogger("transformers.integrations.bitsandbytes").setLevel(logging.ERROR)

VISION_AT_ONCE = 8
"""Images that a GPU puts through the vision tower at once in training: 15,000 patches fill it."""
LORA_TARGETS = r".*(text_model|modality_projection|perceiver_resampler).*(down|gate|up|k|q|v|o)_proj$"
"""Modules that LoRA adapts: all linear layers of text model and connector."""
NOT_QUANTISED = ["model.vision_model", "model.connector", "lm_head"]
"""Modules left out of 4 bits; names match from their start. The library's own list (lm_head) is replaced."""
SPECIAL_TOKENS = {
    "<unk>": 0,
    "<fake_token_around_image>": 32000,
    "<image>": 32001,
    "<end_of_utterance>": 32002,
}
"""Ids of the tokens that IDEFICS2 adds to its text model's, and of the padding."""


def load_config(model: str) -> Idefics2Config:
    """Read the configuration of ``model``, a folder or a hub id.

    Raises `InputError` when it is not an IDEFICS2, or when weights in the folder are not whole.
    """
    is_folder = Path(model).is_dir()
    if is_folder and not (Path(model) / "config.json").is_file():
        raise InputError(
            f"{model}: no config.json in this folder, so it holds no model; give an IDEFICS2 folder"
        )
    try:
        config = AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        if is_folder or not isinstance(error, OSError):
            fault = "has a configuration that cannot be read; fetch the model again"
        elif isinstance(error.__cause__, LocalEntryNotFoundError):
            fault = (
                "the hub cannot be reached, and the model is not in its cache here; without a network, "
                "download the model's files elsewhere and give their folder"
            )
        else:
            fault = (
                "is neither a folder here nor a model of the hub; give data/idefics2-tiny or "
                "HuggingFaceM4/idefics2-8b"
            )
        raise InputError(f"{model}: {fault}") from None
    if config.model_type != "idefics2":
        raise InputError(
            f"{model}: is a {config.model_type} model, not an IDEFICS2; only IDEFICS2 is supported"
        )
    tokens = config.get_text_config().vocab_size
    if tokens <= SPECIAL_TOKENS["<end_of_utterance>"]:
        raise InputError(
            f"{model}: has {tokens} tokens, and lacks <end_of_utterance>, which ends each prompt: it is "
            f"a base model; give HuggingFaceM4/idefics2-8b"
        )
    check_weights(Path(model))
    return config


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
    """Load tokenizer and image processor: 64 image tokens per image, 320 with ``image_splitting``.

    Splitting is set here and not per call, where it would change the images but not the tokens. The Pillow
    image processor is asked for and checked, because pixels must not depend on torchvision being installed.
    Token ids are checked, because a wrongly converted tokenizer loads without a word. Raises `InputError`.
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
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    begins = tokenizer("a").input_ids.count(1)
    if ids != SPECIAL_TOKENS or len(tokenizer) != 32003 or tokenizer.pad_token_id != 0 or begins != 1:
        raise InputError(f"{model}: its tokenizer is not IDEFICS2's (ids {ids}, {len(tokenizer)} tokens)")
    return processor


def quantization_config() -> BitsAndBytesConfig:
    """Return the configuration of NF4 with double quantisation for the text layers.

    Vision tower, connector and lm_head stay in `compute_dtype`.
    """
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype(),
        llm_int8_skip_modules=NOT_QUANTISED,
    )


def load_base(model: str, quantization: BitsAndBytesConfig | None = None) -> Idefics2ForConditionalGeneration:
    """Load ``model`` with all weights frozen, on the GPU if there is one, quantised by `quantization_config`.

    ``quantization``: another configuration. Raises `InputError`.
    """
    preset_for(load_config(model))
    try:
        base = AutoModelForImageTextToText.from_pretrained(
            model,
            dtype=compute_dtype(),
            quantization_config=quantization or quantization_config(),
            device_map={"": torch.cuda.current_device() if torch.cuda.is_available() else "cpu"},
            use_safetensors=True,
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{model}: its weights cannot be loaded ({reason})") from None
    for layer in base.modules():
        if isinstance(layer, Linear4bit):
            # On CPUs with AVX512-BF16 bitsandbytes repacks the weights at the first eval forward, after which
            # gradients, dequantising and saving are silently wrong.
            layer.support_avx512bf16_for_cpu = False
    if compute_dtype() is torch.float16:
        connector_in_float32(base)
    return base.requires_grad_(False).eval()


def lora_config(settings: LoraSettings) -> LoraConfig:
    """Return the configuration of LoRA on text model and connector."""
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=LORA_TARGETS,
        task_type="CAUSAL_LM",
    )


def add_lora(
    base: Idefics2ForConditionalGeneration, config: LoraConfig, gradient_checkpointing: bool = False
) -> PeftModel:
    """Put fresh, trainable LoRA layers (float32) on a base from `load_base`.

    ``prepare_model_for_kbit_training`` is not called: it would turn vision tower, connector, embeddings and
    lm_head to float32 (about 2.9 GB more for the 8b model). The gradients are the same without it.
    """
    base.model.vision_model = FrozenVision(base.model.vision_model)
    if gradient_checkpointing:
        base.activation_checkpointing_enable({"use_reentrant": False})
        # transformers leaves the connector out: 0.78 GB per row at 588 x 588.
        connector = base.model.connector
        for part in (connector.modality_projection, *connector.perceiver_resampler.layers):
            checkpoint(part)
    return get_peft_model(base, config)


class FrozenVision(torch.nn.Module):
    """The vision tower without gradients, on few images at a time.

    Without it, checkpointing would make the tower run backward. Nothing of a part is kept, so a batch takes
    no more memory than a part. A CPU is as fast on one image as on many.
    """

    def __init__(self, tower: torch.nn.Module) -> None:
        super().__init__()
        self.tower = tower

    @torch.no_grad()
    def forward(
        self, pixel_values: torch.Tensor, patch_attention_mask: torch.Tensor, **kwargs: Any
    ) -> BaseModelOutput:
        """Return ``last_hidden_state`` (images, patches, width), as the tower itself does."""
        size = VISION_AT_ONCE if pixel_values.device.type == "cuda" else 1
        parts = zip(pixel_values.split(size), patch_attention_mask.split(size), strict=True)
        outputs = [self.tower(pixels, patch_attention_mask=mask, **kwargs) for pixels, mask in parts]
        return BaseModelOutput(last_hidden_state=torch.cat([output.last_hidden_state for output in outputs]))


def merge(base: Idefics2ForConditionalGeneration, folder: Path) -> Idefics2ForConditionalGeneration:
    """Merge the adapter in ``folder`` into the dequantised weights of a base from `load_base`.

    The result computes in `compute_dtype` and equals base and adapter but for rounding. Merging into the
    4-bit weights, or into those before quantisation, would give other answers. ``save_pretrained`` of the
    result writes an ordinary IDEFICS2 checkpoint.
    """
    return load_adapter(dequantised(base), folder).merge_and_unload()


def dequantised(base: Idefics2ForConditionalGeneration) -> Idefics2ForConditionalGeneration:
    """Turn the NF4 weights of a base from `load_base` into `compute_dtype` with the same values, in place."""
    return base.dequantize(dtype=compute_dtype())


def load_adapter(base: Idefics2ForConditionalGeneration, folder: Path) -> PeftModel:
    """Put a trained adapter on a base from `load_base`, for inference.

    Raises `InputError` unless all of it fits.
    """
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
            f"{folder}: does not fit this model ({len(unfit)} weights are on one side only, the first: "
            f"{min(unfit)}); give the MODEL that it was trained on, or remove it and train again"
        )
    return model
