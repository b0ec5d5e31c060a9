"""The prompt context: what a prompt says about the text lines of an image.

``Read: 23 centimetre left upright vertical; 500 gram bottom net.``, or ``Read: nothing.``
"""

from collections.abc import Sequence

import numpy as np

from src.reading.candidates import part_of
from src.reading.layout import Layout, directions, position
from src.reading.lines import WHOLE, ParsedLine
from src.reading.mentions import Mention
from src.reading.options import group_by_amount

DIRECTIONS = ("vertical", "horizontal", "slanting")
"""Words for the line drawn along a length, in the order of `layout.directions`."""
MIN_DIRECTION_SCORE = 0.4
"""A line direction below this, of 0 to 1, is not mentioned."""
_ROWS, _COLUMNS = ("top", "", "bottom"), ("left", "", "right")
_MIDDLE = 0.5
"""Positions (see `layout.position`) up to this far from the product's centre are in the middle."""
_NO_LAYOUT = Layout(WHOLE, np.zeros((0, 4), np.float32), 1.0)
_RANKS = ("longest", "second", "third")
"""Words for the longest lengths on an image, where there are several."""
_WORDS = (
    "height",
    "width",
    "length",
    "depth",
    "diameter",
    "load",
    "net",
    "gross",
    "serving",
    "equal",
    "weight",
    "volume",
    "input",
    "output",
)
"""Kinds of words near a quantity (`words.KINDS`) that the context mentions, at most two of them."""
_SYNONYMS = {"limit": "load", "breaking": "load", "replaces": "equal"}
"""Kinds that the context does not tell apart."""
_BUDGET = 150
"""Tokens for all quantities, by `_cost`; with it no real image takes more than 160."""


def prompt_context(lines: Sequence[ParsedLine], layout: Layout | None) -> str:
    """Return the quantities on an image in reading order, each with its coarse place and the words near it.

    Places are relative to the product where ``layout`` tells it. ``upright`` is text that runs up or down;
    ``vertical`` (or ``horizontal``, ``slanting``) the line drawn along a length; ``longest`` (``second``,
    ``third``) its rank among several. The smallest and least certain quantities are left out when there are
    too many.
    """
    items: dict[str, tuple[float, str]] = {}
    ranks = _ranks(lines)
    for line in lines:
        for mention in line.mentions:
            text = str(mention.quantity)
            if text not in items and mention.quantity.number > 0:
                words = " ".join([text, *mention_context(line, mention, layout), ranks.get(text, "")])
                items[text] = (line.confidence * line.size, words.rstrip())
    kept, tokens_left = set(), _BUDGET
    for text, (_, words) in sorted(items.items(), key=lambda item: -item[1][0]):
        tokens_left -= _cost(text, words)
        if tokens_left < 0:
            break
        kept.add(text)
    shown = [words for text, (_, words) in items.items() if text in kept]
    return f"Read: {'; '.join(shown) or 'nothing'}."


def mention_context(line: ParsedLine, mention: Mention, layout: Layout | None) -> list[str]:
    """Return a quantity's place (``top left`` ... ``middle``), direction of text and line, and words near
    it."""
    box, layout = part_of(line, mention), layout or _NO_LAYOUT
    column, row = (int(value > -_MIDDLE) + int(value > _MIDDLE) for value in position(layout, box))
    words = [f"{_ROWS[row]} {_COLUMNS[column]}".strip() or "middle"]
    if line.vertical:
        words.append("upright")
    if mention.is_length:
        scores = directions(layout, box)
        if max(scores) > MIN_DIRECTION_SCORE:
            words.append(DIRECTIONS[scores.index(max(scores))])
    labels = {_SYNONYMS.get(label, label) for label in mention.labels}
    return words + [kind for kind in _WORDS if kind in labels][:2]


def _ranks(lines: Sequence[ParsedLine]) -> dict[str, str]:
    """Return the word for its rank of each of the longest lengths; none where there is only one length."""
    groups = sorted(group_by_amount(lines, "height"), key=lambda group: -group[0].quantity.amount)
    if len(groups) < 2:
        return {}
    ranked = zip(groups, _RANKS, strict=False)
    return {str(candidate.mention.quantity): word for group, word in ranked for candidate in group}


def _cost(number_and_unit: str, words: str) -> int:
    """Return about how many tokens an item takes: digits one each, units up to 4, other words 1 or 2."""
    number, _, unit = number_and_unit.partition(" ")
    other_words = words.removeprefix(number_and_unit).split()
    return len(number) + 2 + min(4, 1 + len(unit) // 4) + sum(1 + (len(word) > 6) for word in other_words)
