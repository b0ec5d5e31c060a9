"""The door to a family of vision-language models: all that differs between them, behind one small class.

`Family` holds what families share; `src/model/idefics2.py` and `src/model/idefics3.py` hold the rest. No
other module knows a family's prompt format, image tokens, pixels, or names of modules. Another family is one
more such file, and its name in `NAMES`.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import AutoProcessor, PreTrainedConfig, PreTrainedModel, ProcessorMixin

from src.data.errors import InputError
from src.data.processed import read_manifest
from src.images.decode import cv2

NAMES = ("idefics2", "idefics3")
"""Model types (``model_type`` in config.json) that can be used; each is a module beside this one."""

NOT_QUANTISED = ["model.vision_model", "model.connector", "lm_head"]
"""Modules left out of 4 bits, by the names that all families share; they match from their start."""
LORA_TARGETS = r".*(text_model|connector).*proj$"
"""Pattern of the modules that LoRA adapts: all linear layers of text model and connector."""


class Family(ABC):
    """A family of models: where its image goes into the prompt, and how its parts are named.

    - ``example``: hub id of one of its models.
    - ``user``, ``assistant`` and ``end``: the texts before a question (with the image), after it, and after
      an answer.
    - ``patches``: patches of the largest model image that the default settings make.
    """

    name: ClassVar[str]
    example: ClassVar[str]
    user: ClassVar[str]
    assistant: ClassVar[str]
    end: ClassVar[str] = "<end_of_utterance>"
    patches: ClassVar[int]
    tokenizer_options: ClassVar[dict[str, Any]] = {}

    def config_fault(self, config: Any) -> str:
        """Say why a model of this configuration cannot be used; empty if it can."""
        return ""

    def load_processor(self, model: str, image_splitting: bool) -> ProcessorMixin:
        """Load tokenizer and image processor of ``model`` and check both. Raises `InputError`.

        The Pillow image processor is asked for and checked, because pixels must not depend on torchvision
        being installed; the tokenizer, because a wrongly converted one loads without a word.
        """
        try:
            processor = AutoProcessor.from_pretrained(
                model, backend="pil", do_image_splitting=image_splitting, **self.tokenizer_options
            )
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{model}: its processor or tokenizer cannot be loaded ({reason})") from None
        image_processor = type(processor.image_processor).__name__
        if not image_processor.endswith("Pil"):
            raise InputError(f"{model}: loaded {image_processor}, not the Pillow image processor")
        if fault := self.tokenizer_fault(processor.tokenizer):
            raise InputError(f"{model}: its tokenizer is not {self.name}'s ({fault})")
        return processor

    @abstractmethod
    def tokenizer_fault(self, tokenizer: Any) -> str:
        """Say what is wrong with a tokenizer; empty if nothing is."""

    @abstractmethod
    def tokenized(self, processor: Any, texts: Sequence[str], **options: Any) -> Any:
        """Return the token ids of prompts, the image's placeholder as its tokens.

        ``options``: the tokenizer's (``padding``, ``padding_side``, ``return_tensors``).
        """

    @abstractmethod
    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of a model image after `padded`: as the processor does not distort it."""

    def padded(self, image: np.ndarray) -> np.ndarray:
        """Pad a BGR or RGB image with white at the right and bottom to its `padded_size`."""
        height, width = image.shape[:2]
        bottom, right = np.subtract(self.padded_size(height, width), (height, width)).tolist()
        return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(255, 255, 255))

    def padded_sizes(self, processed: Path | None) -> dict[str, tuple[int, int]]:
        """Return height and width of a folder's model images after `padded`, by file; none without one."""
        if processed is None:
            return {}
        table = read_manifest(processed, ["file", "status", "width", "height"])
        table = table[table["status"].eq("ok")]
        sides = zip(table["height"], table["width"], strict=True)
        pairs = zip(table["file"], sides, strict=True)
        return {file: self.padded_size(int(height), int(width)) for file, (height, width) in pairs}

    def checkpointed_parts(self, base: Any) -> list[torch.nn.Module]:
        """Return the parts of the connector that gradient checkpointing computes again one by one."""
        return [base.model.connector]

    @abstractmethod
    def connector_numbers(self, config: Any) -> tuple[float, float]:
        """Return numbers per patch: kept by the connector for its backward pass, and at its widest point."""


def family_of(source: PreTrainedConfig | PreTrainedModel | ProcessorMixin) -> Family:
    """Return the family of a configuration, a model or a processor.

    Raises `InputError` when it is none of `NAMES`.
    """
    config = getattr(source, "config", source)
    return _family(getattr(config, "model_type", type(source).__name__.removesuffix("Processor").lower()))


def hub_config() -> PreTrainedConfig:
    """Return the configuration of `settings.HUB_MODEL` as it is published, before it is fetched."""
    return importlib.import_module(f"src.model.{NAMES[0]}").hub_config()


def _family(name: str) -> Family:
    if name not in NAMES:
        raise InputError(f"is a {name} model; only {' and '.join(NAMES)} are supported")
    return importlib.import_module(f"src.model.{name}").FAMILY
