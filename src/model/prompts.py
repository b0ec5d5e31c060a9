"""The words around a question: one prompt for training and inference alike.

Rendered text: ``User:<image> CONTEXT QUESTION<end_of_utterance> \\nAssistant: ANSWER<end_of_utterance>``:
IDEFICS2's published chat format with explicit spaces, so that the token ids do not depend on a tokenizer's
``legacy`` setting. All text before the question is the same for all questions about an image. Every answer
starts with the bare space piece, the empty one too, so that piece ends the prompt.
"""

from src.entities import ENTITIES

END = "<end_of_utterance>"


def prefix(context: str = "") -> str:
    """Return the text that all prompts about an image begin with; its token ids are a prefix of theirs.

    ``context``: see `reading.context.prompt_context`; empty for the pipeline without OCR.
    """
    return f"User:<image> {context}" if context else "User:<image>"


def prompt(entity: str, context: str = "") -> str:
    """Return the text up to the answer, for one image and a known ``entity``."""
    return f"{prefix(context)} {ENTITIES[entity].question}{END} \nAssistant: "


def completion(answer: str) -> str:
    """Return the text that follows `prompt`: the canonical answer (may be empty) and the end token."""
    return f"{answer}{END}"
