"""The words around a sample: one prompt for training and inference alike.

Rendered text: ``User:<image> READINGS QUESTION<end_of_utterance> \\nAssistant: ANSWER<end_of_utterance>``:
IDEFICS2's published chat format with explicit spaces, so that the token ids do not depend on a tokenizer's
``legacy`` setting. What comes before the question is the same for all questions about a picture. Every answer
starts with the bare space piece, the empty one too, so that piece ends the prompt.
"""

from collections.abc import Sequence

import numpy as np

from src.reading.candidates import part_of
from src.reading.layout import Layout, directions, position
from src.reading.lines import WHOLE, ParsedLine
from src.reading.mentions import Mention
from src.reading.options import options

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
_EDGE = 0.5
"""Where the middle ends, see `layout.position`."""
LINES = ("vertical", "horizontal", "slanting")
"""What runs along a length, in the order of `layout.directions`."""
_CLEAR = 0.4
"""How strongly it must."""
_UNKNOWN = Layout(WHOLE, np.zeros((0, 4), np.float32), 1.0)
_RANKS = ("longest", "second", "third")
"""The longest lengths on a picture, where there are several."""
_PASSED_ON = ("height", "width", "length", "depth", "diameter", "load", "net", "gross", "serving", "equal", "weight",
              "volume", "input", "output")  # fmt: skip
"""Kinds of words (`words.KINDS`) of a quantity that the prompt passes on."""
_ALIKE = {"limit": "load", "breaking": "load", "replaces": "equal"}
"""Kinds that the prompt does not tell apart."""

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


def describe(found: Sequence[ParsedLine], drawn: Layout | None) -> str:
    """The quantities on a picture in reading order, each with its coarse place and the words near it.

    ``Read: 23 centimetre left upright vertical; 500 gram bottom net.``; ``Read: nothing.`` where there is
    none. Places are relative to the product where ``drawn`` tells it; ``upright`` is text that runs up or
    down, ``vertical`` (or ``horizontal``, ``slanting``) the line drawn along a length, ``longest``
    (``second``, ``third``) its rank among several. The smallest and least certain are left out when there are
    too many.
    """
    items: dict[str, tuple[float, str]] = {}
    ranks = _ranks(found)
    for reading in found:
        for mention in reading.mentions:
            text = str(mention.quantity)
            if text not in items and mention.quantity.number > 0:
                item = " ".join([text, *told_of(reading, mention, drawn), ranks.get(text, "")]).rstrip()
                items[text] = (reading.confidence * reading.size, item)
    kept, left = set(), _BUDGET
    for text, (_, item) in sorted(items.items(), key=lambda entry: -entry[1][0]):
        left -= _cost(text, item)
        if left < 0:
            break
        kept.add(text)
    shown = [item for text, (_, item) in items.items() if text in kept]
    return f"Read: {'; '.join(shown) or 'nothing'}."


def told_of(reading: ParsedLine, mention: Mention, drawn: Layout | None) -> list[str]:
    """What is told of a quantity: its place (``top left`` ... ``bottom right``, ``middle``), ``upright`` for
    such text, the line along a length, kinds of words near it.
    """
    box, drawn = part_of(reading, mention), drawn or _UNKNOWN
    column, row = (int(value > -_EDGE) + int(value > _EDGE) for value in position(drawn, box))
    told = [f"{_ROWS[row]} {_COLUMNS[column]}".strip() or "middle"]
    if reading.vertical:
        told.append("upright")
    pulls = directions(drawn, box) if mention.is_length else (0.0,)
    strongest = max(pulls)
    if strongest > _CLEAR:
        told.append(LINES[pulls.index(strongest)])
    labels = {_ALIKE.get(label, label) for label in mention.labels}
    return told + [kind for kind in _PASSED_ON if kind in labels][:2]


def _ranks(found: Sequence[ParsedLine]) -> dict[str, str]:
    """The word for its rank, of each of the longest lengths; what the rules take for one length has one."""
    groups = sorted(options(found, "height"), key=lambda group: -group[0].quantity.amount)  # of whatever axis
    if len(groups) < 2:
        return {}
    ranked = zip(groups, _RANKS, strict=False)
    return {str(candidate.mention.quantity): word for group, word in ranked for candidate in group}


def _cost(number_and_unit: str, item: str) -> int:
    """Tokens of an item: digits are single tokens, units take up to 4, other words one or two."""
    number, _, unit = number_and_unit.partition(" ")
    others = item.removeprefix(number_and_unit).split()
    return len(number) + 1 + min(4, 1 + len(unit) // 4) + sum(1 + (len(word) > 6) for word in others) + 1
