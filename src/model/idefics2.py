"""IDEFICS2: its prompt format, image processor and module names (Laurencon et al. 2024, arXiv:2405.02246).

Prompt: ``User:<image> CONTEXT QUESTION<end_of_utterance> \\nAssistant: ANSWER<end_of_utterance>``, the
published chat format with explicit spaces, so that the token ids do not depend on a tokenizer's ``legacy``
setting. Every answer begins with the bare space piece, the empty one too, so that piece ends the prompt.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from transformers import Idefics2Config

from src.model.family import Family

PATCH = 14
"""Side of a vision patch in pixels; what fills no patch at the right and bottom is not seen."""
SHORTEST = 378
"""Side in pixels up to which the image processor would stretch a short side."""
SPECIAL_TOKENS = {
    "<unk>": 0,
    "<fake_token_around_image>": 32000,
    "<image>": 32001,
    "<end_of_utterance>": 32002,
}
"""Ids of the tokens that IDEFICS2 adds to its text model's, and of the padding."""


class Idefics2(Family):
    """IDEFICS2: 64 tokens per image, or 320 with image splitting, for an image of any aspect ratio."""

    name = "idefics2"
    example = "HuggingFaceM4/idefics2-8b"
    user = "User:<image>"
    assistant = " \nAssistant: "
    patches = 43 * 43
    tokenizer_options: ClassVar[dict[str, Any]] = {"add_bos_token": True}

    def config_fault(self, config: Any) -> str:
        """Say that a model is a base model, whose embedding lacks the end token; empty if it is none."""
        tokens = config.get_text_config().vocab_size
        if tokens > SPECIAL_TOKENS[self.end]:
            return ""
        return (
            f"has {tokens} tokens, and lacks {self.end}, which ends each prompt: it is a base model; "
            f"give {self.example}"
        )

    def tokenizer_fault(self, tokenizer: Any) -> str:
        """Say what is wrong with a tokenizer; empty if nothing is."""
        ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
        begins = tokenizer("a").input_ids.count(1)
        is_right = ids == SPECIAL_TOKENS and len(tokenizer) == 32003 and tokenizer.pad_token_id == 0
        return "" if is_right and begins == 1 else f"ids {ids}, {len(tokenizer)} tokens"

    def tokenized(self, processor: Any, texts: Sequence[str], **options: Any) -> Any:
        """Return the token ids of prompts; the processor expands the placeholder without images, too."""
        return processor(text=list(texts), **options)

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of a padded image: multiples of a patch, the short side not stretched."""
        floor = min(SHORTEST, max(height, width))
        return -(-max(height, floor) // PATCH) * PATCH, -(-max(width, floor) // PATCH) * PATCH

    def checkpointed_parts(self, base: Any) -> list[torch.nn.Module]:
        """Return projection and resampler layers: at 588 x 588 they keep 0.78 GB per row."""
        connector = base.model.connector
        return [connector.modality_projection, *connector.perceiver_resampler.layers]

    def connector_numbers(self, config: Any) -> tuple[float, float]:
        """Return numbers per patch: gate, up and their product in the projection, and the blocks' inputs."""
        text = config.get_text_config()
        blocks = 9 * config.perceiver_config.resampler_depth * text.hidden_size
        return 5 * text.intermediate_size + blocks, text.intermediate_size


def hub_config() -> Idefics2Config:
    """Return the configuration of the 8B model (`Idefics2.example`) as it is published."""
    vision = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27}
    vision |= {"num_attention_heads": 16, "image_size": 980, "patch_size": PATCH}
    text = {"model_type": "mistral", "vocab_size": 32003, "pad_token_id": 0, "rms_norm_eps": 1e-5}
    tokens = {"bos_token_id": 1, "eos_token_id": 32002, "pad_token_id": 0}
    return Idefics2Config(text_config=text, vision_config=vision, **tokens)


FAMILY = Idefics2()
