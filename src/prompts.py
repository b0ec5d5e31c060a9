"""The words around a sample: one prompt for training and inference alike.

Rendered text: ``User:<image> QUESTION<end_of_utterance> \\nAssistant: ANSWER<end_of_utterance>``, IDEFICS2's published
chat format with explicit spaces, so that the token ids do not depend on a tokenizer's ``legacy`` setting. Every answer
starts with the bare space piece, the empty one too, so that piece ends the prompt.
"""

END = "<end_of_utterance>"

_QUESTIONS = {
    "width": "What is the width of the product?",
    "depth": "What is the depth of the product?",
    "height": "What is the height of the product?",
    "item_weight": "What is the weight of the item?",
    "maximum_weight_recommendation": "What is the maximum weight it can carry?",
    "voltage": "What is the voltage?",
    "wattage": "What is the wattage?",
    "item_volume": "What is the volume of the item?",
}


def prompt(entity: str) -> str:
    """Text up to the answer, for one picture and a known ``entity`` (a key of `constants.ENTITY_UNITS`)."""
    return f"User:<image> {_QUESTIONS[entity]}{END} \nAssistant: "


def completion(answer: str) -> str:
    """Text the model has to write after `prompt`: the canonical answer (may be empty) and the end token."""
    return f"{answer}{END}"
