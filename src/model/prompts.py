"""The prompt: the words around a question, the same in training and inference."""

import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from src.data.errors import InputError
from src.entities import ENTITIES
from src.settings import PROMPT

PromptFunction: TypeAlias = Callable[[str, str], str]
"""Returns the text up to the answer, for an entity and a prompt context."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt of a question: a `PromptFunction`.

    ``before`` and ``after`` are the model family's words around the ``template``.
    """

    before: str
    after: str
    template: str

    def __call__(self, entity: str, context: str = "") -> str:
        """Return the text of a question about a known ``entity``; ``context`` is empty without OCR."""
        text = self.template.format(context=context, question=ENTITIES[entity].question).strip()
        return f"{self.before} {text}{self.after}"


def prompt_for(processor: Any, template: str = PROMPT) -> Prompt:
    """Return the prompt of a processor's family. Raises `InputError` for a template that cannot be filled."""
    from src.model.family import family_of  # it needs torch, which a prompt does not

    check_template(template)
    family = family_of(processor)
    return Prompt(family.user, family.end + family.assistant, template)


def check_template(template: str) -> None:
    """Raise `InputError` unless a template has the question, and nothing else to fill in but the context."""
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError:
        names = set()
    if "question" not in names or names - {"context", "question"}:
        fault = "must hold {question}, may hold {context}, and has no other braces"
        raise InputError(f"prompt {template!r}: {fault}")
