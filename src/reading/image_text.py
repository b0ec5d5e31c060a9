"""Everything later stages need of an image's text lines, from one parse: prompt context and options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from src.entities import ENTITIES
from src.reading.context import prompt_context
from src.reading.cross_line import parse_lines
from src.reading.layout import Layout
from src.reading.lines import Box
from src.reading.options import ABSTAIN, Option, find_options
from src.reading.units import DIMENSION


@dataclass(frozen=True, slots=True)
class ImageText:
    """The parsed text of an image.

    ``context``: see `prompt_context`. ``options``: those of each entity, without `ABSTAIN`. ``dimensions``:
    what the quantities on the image measure, as in `units.DIMENSION`. ``text``: its lines. ``error`` and
    ``traceback``: of an unexpected error, which costs this image its text.
    """

    context: str = ""
    options: Mapping[str, tuple[Option, ...]] = field(default_factory=dict)
    dimensions: frozenset[str] = frozenset()
    text: str = ""
    error: str = ""
    traceback: str = ""

    def options_for(self, entity: str) -> tuple[Option, ...]:
        """Return the options of a question, `ABSTAIN` last."""
        return (*self.options.get(entity, ()), ABSTAIN)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, without the error."""
        options = {
            entity: [[option.rule_logit, option.texts, option.boxes] for option in entity_options]
            for entity, entity_options in self.options.items()
        }
        dimensions = sorted(self.dimensions)
        return {"context": self.context, "options": options, "dimensions": dimensions, "text": self.text}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "ImageText":
        """Return the result that `to_json` stored."""
        options = {
            entity: tuple(
                Option(tuple(texts), tuple(Box(*box) for box in boxes), logit)
                for logit, texts, boxes in entity_options
            )
            for entity, entity_options in entry["options"].items()
        }
        return cls(entry["context"], options, frozenset(entry["dimensions"]), entry["text"])


def parse_image_text(
    text_lines: Sequence[Sequence[Any]], width: int, height: int, layout: Layout | None
) -> ImageText:
    """Parse the text lines of an image of this size in pixels (see `parse_lines`)."""
    lines = parse_lines(text_lines, width, height)
    options = {entity: find_options(lines, entity, layout)[:-1] for entity in ENTITIES}
    return ImageText(
        prompt_context(lines, layout),
        {entity: entity_options for entity, entity_options in options.items() if entity_options},
        frozenset(DIMENSION[mention.quantity.unit] for line in lines for mention in line.mentions),
        "\n".join(line.text for line in lines),
    )
