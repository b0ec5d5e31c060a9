"""The bundled model's family, and its prompt and answer texts."""

from src.model.idefics2 import FAMILY
from src.model.prompts import Prompt
from src.settings import PROMPT

prompt = Prompt(FAMILY.user, FAMILY.end + FAMILY.assistant, PROMPT)


def completion(answer: str) -> str:
    """Return the text after a prompt."""
    return answer + FAMILY.end
