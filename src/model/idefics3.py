"""Idefics3, the class of SmolVLM (Marafioti et al. 2025, arXiv:2504.05299). Not measured with real weights.

Prompt: ``<|im_start|>User:<image> CONTEXT QUESTION<end_of_utterance>\\nAssistant: ANSWER<end_of_utterance>``,
the published chat format. An image is a square of one size, so it is padded to a square before.
"""

from collections.abc import Sequence
from typing import Any

from src.data.errors import InputError
from src.model.family import Family

AROUND = "<fake_token_around_image>"
"""Token on both sides of an image's tokens."""
SPECIAL_TOKENS = (
    "<|im_start|>",
    AROUND,
    "<global-img>",
    "<image>",
    "<end_of_utterance>",
)


class Idefics3(Family):
    """Idefics3 and SmolVLM without image splitting: one square image of 64 tokens."""

    name = "idefics3"
    example = "HuggingFaceTB/SmolVLM-500M-Instruct"
    user = "<|im_start|>User:<image>"
    assistant = "\nAssistant: "
    patches = 32 * 32

    def load_processor(self, model: str, image_splitting: bool) -> Any:
        """Load tokenizer and image processor. Raises `InputError`, also where splitting is asked for."""
        if image_splitting:
            raise InputError(f"{model}: image splitting is not supported for {self.name}; leave it out")
        return super().load_processor(model, image_splitting)

    def tokenizer_fault(self, tokenizer: Any) -> str:
        """Say which special tokens a tokenizer lacks; empty if it has all."""
        vocabulary = tokenizer.get_vocab()
        missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
        return f"without {', '.join(missing)}" if missing else ""

    def tokenized(self, processor: Any, texts: Sequence[str], **options: Any) -> Any:
        """Return the token ids of prompts; the placeholder becomes its tokens here."""
        image = f"{AROUND}<global-img>{'<image>' * processor.image_seq_len}{AROUND}"
        return processor.tokenizer([text.replace("<image>", image, 1) for text in texts], **options)

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the sides of the square that an image is padded to."""
        return max(height, width), max(height, width)

    def connector_numbers(self, config: Any) -> tuple[float, float]:
        """Return numbers per patch: the input of the one projection, and the same as its widest point."""
        return config.vision_config.hidden_size, config.vision_config.hidden_size


FAMILY = Idefics3()
