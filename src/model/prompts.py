"""The words around a sample: one prompt for training and inference alike.

Rendered text: ``User:<image> READINGS QUESTION<end_of_utterance> \\nAssistant: ANSWER<end_of_utterance>``: IDEFICS2's
published chat format with explicit spaces, so that the token ids do not depend on a tokenizer's ``legacy`` setting.
What comes before the question is the same for all questions about a picture. Every answer starts with the bare space
piece, the empty one too, so that piece ends the prompt.
"""

from collections.abc import Sequence

from src.reading.candidates import KEYWORDS
from src.reading.lines import Reading

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

_ROWS, _COLUMNS = ("top", "", "bottom"), ("left", "", "right")
_PASSED_ON = ("height", "width", "length", "depth", "diameter", "load", "net", "weight", "volume", "input", "output")
"""Kinds of words near a quantity that the prompt passes on, see `candidates.KEYWORDS`."""

_BUDGET = 150
"""Tokens for all readings, by `_cost`; with it no real picture takes more than 160."""


def prefix(readings: str = "") -> str:
    """What all prompts about a picture begin with; its token ids are a prefix of theirs.

    ``readings`` is the text of `describe`; empty for the pipeline without OCR.
    """
    return f"User:<image> {readings}" if readings else "User:<image>"


def prompt(entity: str, readings: str = "") -> str:
    """Text up to the answer, for one picture and a known ``entity`` (a key of `constants.ENTITY_UNITS`)."""
    return f"{prefix(readings)} {_QUESTIONS[entity]}{END} \nAssistant: "


def completion(answer: str) -> str:
    """Text the model has to write after `prompt`: the canonical answer (may be empty) and the end token."""
    return f"{answer}{END}"


def describe(found: Sequence[Reading]) -> str:
    """The quantities on a picture in reading order, each with its coarse position and the words near it.

    ``Read: 23 centimetre left upright; 500 gram bottom net.``; ``Read: nothing.`` where there is none. The smallest and
    least certain are left out when there are too many.
    """
    items: dict[str, tuple[float, str]] = {}
    for reading in found:
        for mention in reading.mentions:
            text = str(mention.quantity)
            if text not in items and mention.quantity.number > 0:
                item = " ".join(filter(None, (text, _position(reading), *_words(reading, mention.axis))))
                items[text] = (reading.score * reading.size, item)
    kept, left = set(), _BUDGET
    for text, (_, item) in sorted(items.items(), key=lambda entry: -entry[1][0]):
        left -= _cost(text, item)
        if left < 0:
            break
        kept.add(text)
    shown = [item for text, (_, item) in items.items() if text in kept]
    return f"Read: {'; '.join(shown) or 'nothing'}."


def _position(reading: Reading) -> str:
    """``top left`` ... ``bottom right``, ``middle``; and ``upright`` for text that runs up or down."""
    left, top, right, bottom = reading.box
    row, column = (min(2, int(1.5 * (a + b))) for a, b in ((top, bottom), (left, right)))
    position = f"{_ROWS[row]} {_COLUMNS[column]}".strip() or "middle"
    return f"{position} upright" if reading.vertical else position


def _words(reading: Reading, axis: str) -> list[str]:
    words = [kind for kind in _PASSED_ON if KEYWORDS[kind].search(reading.text)]
    return [axis, *words[:2]] if axis and not words else words[:2]


def _cost(number_and_unit: str, item: str) -> int:
    """Tokens of an item: digits are single tokens, units take up to 4, other words one or two."""
    number, _, unit = number_and_unit.partition(" ")
    others = item.removeprefix(number_and_unit).split()
    return len(number) + 1 + min(4, 1 + len(unit) // 4) + sum(1 + (len(word) > 6) for word in others) + 1
