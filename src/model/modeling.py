"""Loading of a model: processor, NF4 base, LoRA. No other module knows how weights come into memory."""

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
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging as transformers_logging

from src.data.errors import InputError
from src.model import memory
from src.model.checks import card_fault, check_weights, gpu_fault, weights_fault
from src.model.family import LORA_TARGETS, NOT_QUANTISED, family_of
from src.model.memory import Preset
from src.model.precision import compute_dtype, scale_connector
from src.settings import HUB_MODEL, MODEL, LoraSettings

# peft 0.21 asks transformers 5.23 by the old name; nothing a user could do about it.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
# The bar over weights would leave a dead widget in a notebook, and dequantised weights get a note on dtypes.
transformers_logging.disable_progress_bar()
logging.getLogger("transformers.integrations.bitsandbytes").setLevel(logging.ERROR)


def load_config(model: str) -> PreTrainedConfig:
    """Read the configuration of ``model``, a folder or a hub id.

    Raises `InputError` when it is of no supported family, or when weights in the folder are not whole.
    """
    is_folder = Path(model).is_dir()
    if is_folder and not (Path(model) / "config.json").is_file():
        raise InputError(
            f"{model}: no config.json in this folder, so it holds no model; give a model's folder"
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
            fault = f"is neither a folder here nor a model of the hub; give {MODEL} or {HUB_MODEL}"
        raise InputError(f"{model}: {fault}") from None
    try:
        fault = family_of(config).config_fault(config)
    except InputError as error:
        fault = str(error)
    if fault:
        raise InputError(f"{model}: {fault}")
    check_weights(Path(model))
    return config


def preset_for(config: PreTrainedConfig, cpu: bool = False) -> Preset:
    """Return the settings for a model of this size and the GPU here.

    Raises `InputError` when this torch cannot use the one here, and when the model needs one and there is
    none, unless ``cpu``.
    """
    if torch.cuda.is_available() and (fault := card_fault()):
        raise InputError(fault)
    if not (cpu or memory.is_small(config) or torch.cuda.is_available()):
        raise InputError(
            f"this model needs a CUDA GPU: {gpu_fault()}; on a CPU, use MODEL={MODEL}, or --cpu, "
            f"where {memory.ON_A_CPU}"
        )
    return memory.preset(config, card_memory())


def card_memory() -> int:
    """Return bytes of this process's GPU, 0 without one."""
    if not torch.cuda.is_available():
        return 0
    return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory


def load_processor(model: str, image_splitting: bool = False) -> ProcessorMixin:
    """Load tokenizer and image processor, see `Family.load_processor`. Raises `InputError`.

    Splitting (more image tokens) is set here and not per call, where it would change the images but not the
    tokens.
    """
    return family_of(load_config(model)).load_processor(model, image_splitting)


def quantization_config() -> BitsAndBytesConfig:
    """Return the configuration of NF4 with double quantisation (QLoRA, arXiv:2305.14314) for the text layers.

    Vision tower, connector and lm_head stay in `compute_dtype`. transformers' own list of modules to leave
    out (lm_head) is replaced.
    """
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype(),
        llm_int8_skip_modules=NOT_QUANTISED,
    )


def load_base(model: str, quantization: BitsAndBytesConfig | None = None) -> PreTrainedModel:
    """Load ``model`` with all weights frozen, on the GPU if there is one, quantised by `quantization_config`.

    ``quantization``: another configuration. Raises `InputError`.
    """
    load_config(model)
    try:
        base = AutoModelForImageTextToText.from_pretrained(
            model,
            dtype=compute_dtype(),
            quantization_config=quantization or quantization_config(),
            device_map=this_device(),
            use_safetensors=True,
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{model}: its weights cannot be loaded ({reason})") from None
    return frozen(base)


def this_device() -> dict[str, int | str]:
    """Return the ``device_map`` that puts all of a model on this process's GPU, or on the CPU."""
    return {"": torch.cuda.current_device() if torch.cuda.is_available() else "cpu"}


def frozen(base: PreTrainedModel) -> PreTrainedModel:
    """Freeze a base that was just loaded, in place, and make it compute right on this machine."""
    for layer in base.modules():
        if isinstance(layer, Linear4bit):
            # On CPUs with AVX512-BF16 bitsandbytes repacks the weights at the first eval forward, after which
            # gradients, dequantising and saving are silently wrong.
            layer.support_avx512bf16_for_cpu = False
    if compute_dtype() is torch.float16:
        scale_connector(base)
    base.quantized_by = base.config.quantization_config.to_dict()  # dequantising removes it there
    return base.requires_grad_(False).eval()


def lora_config(settings: LoraSettings) -> LoraConfig:
    """Return the configuration of LoRA on all linear layers of text model and connector."""
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=LORA_TARGETS,
        task_type="CAUSAL_LM",
    )


def add_lora(base: PreTrainedModel, config: LoraConfig, gradient_checkpointing: bool = False) -> PeftModel:
    """Put fresh, trainable LoRA layers (float32) on a base from `load_base`."""
    return get_peft_model(trainable(base, gradient_checkpointing), config)


def trainable(base: PreTrainedModel, gradient_checkpointing: bool = False) -> PreTrainedModel:
    """Prepare a base from `load_base` for a backward pass, in place.

    ``prepare_model_for_kbit_training`` is not called: it would turn vision tower, connector, embeddings and
    lm_head to float32 (about 2.9 GB more for the 8B model). The gradients are the same without it.
    """
    base.model.vision_model = FrozenVision(base.model.vision_model, memory.images_at_once(card_memory()))
    if gradient_checkpointing:
        base.activation_checkpointing_enable({"use_reentrant": False})
        for part in family_of(base).checkpointed_parts(base):  # transformers leaves the connector out
            checkpoint(part)
    return base


class FrozenVision(torch.nn.Module):
    """The vision tower without gradients, on few images at a time.

    Without it, checkpointing would make the tower run backward. Nothing of a part is kept, so a batch takes
    no more memory than a part.
    """

    def __init__(self, tower: torch.nn.Module, at_once: int) -> None:
        super().__init__()
        self.tower, self.at_once = tower, at_once

    @torch.no_grad()
    def forward(
        self, pixel_values: torch.Tensor, patch_attention_mask: torch.Tensor, **kwargs: Any
    ) -> BaseModelOutput:
        """Return ``last_hidden_state`` (images, patches, width), as the tower itself does."""
        parts = zip(pixel_values.split(self.at_once), patch_attention_mask.split(self.at_once), strict=True)
        outputs = [self.tower(pixels, patch_attention_mask=mask, **kwargs) for pixels, mask in parts]
        return BaseModelOutput(last_hidden_state=torch.cat([output.last_hidden_state for output in outputs]))


def merge(base: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Merge the adapter in ``folder`` into the dequantised weights of a base from `load_base`.

    The result computes in `compute_dtype` and equals base and adapter but for rounding. Merging into the
    4-bit weights, or into those before quantisation, would give other answers. ``save_pretrained`` of the
    result writes an ordinary checkpoint of the family.
    """
    return load_adapter(dequantised(base), folder).merge_and_unload()


def dequantised(base: PreTrainedModel) -> PreTrainedModel:
    """Turn the NF4 weights of a base from `load_base` into `compute_dtype` with the same values, in place."""
    base = base.dequantize(dtype=compute_dtype())
    memory.free_memory()
    return base


def load_adapter(base: PreTrainedModel, folder: Path) -> PeftModel:
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
