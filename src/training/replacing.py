"""The check whether a training may replace an adapter that is finished."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.data.errors import InputError
from src.data.files import read_json

RECORD = "training.json"
"""File of an adapter folder that says what made it."""
_LONG_VALUES = {"model": "another model", "prompts": "other prompts"}
"""Names whose values are too long for a message, and what it says instead."""


def recorded_recipe(adapter: Path) -> dict[str, Any]:
    """Return the recipe of a finished adapter; empty without one, and for one of an earlier version."""
    recipe = read_json(adapter / RECORD).get("recipe", {})
    return recipe if isinstance(recipe, dict) else {}


def check_recipe(adapter: Path, recipe: Mapping[str, Any], overwrite: bool) -> None:
    """Raise `InputError` if ``adapter`` is finished, and not by ``recipe``, unless ``overwrite``.

    ``recipe``: see `configuration.recipe_values`, or a part of it.
    """
    if overwrite or not (adapter / "adapter_model.safetensors").is_file():
        return
    before = recorded_recipe(adapter)
    names = [name for name, value in recipe.items() if before.get(name) != value]
    if names:
        changes = _changes(before, recipe, names) if before else "it is of an earlier version of this code"
        raise InputError(
            f"{adapter}: is finished, by another recipe ({changes}); to train by this one, give another "
            f"--out, or --overwrite to replace it (notebooks: SETTINGS = {{'overwrite': True}}); to answer "
            f"with it as it is, use src.predict"
        )


def _changes(before: Mapping[str, Any], recipe: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return what differs between two recipes, in words."""
    changes = [
        _LONG_VALUES.get(name) or f"{name} {before.get(name)!r}, now {recipe[name]!r}"
        for name in names
        if not (name == "prompts" and "prompt" in names)  # they follow from that setting
    ]
    return "; ".join(changes)
