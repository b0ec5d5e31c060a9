"""Command-line flags and notebook overrides, made of the dataclasses in `src.settings`.

A setting has one name everywhere: the field ``learning_rate`` is the flag ``--learning-rate`` and the key
``learning_rate`` of a notebook's ``SETTINGS``.
"""

import argparse
import dataclasses
from collections.abc import Mapping
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

from src.data.errors import InputError

Stage = TypeVar("Stage")


def settings_from_command_line(stage: type[Stage], description: str) -> Stage:
    """Return the settings of a stage that the command line gives. Raises `InputError` as `settings_of`."""
    return settings_of(stage, vars(parser_for(stage, description=description).parse_args()))


def parser_for(*stages: type, description: str) -> argparse.ArgumentParser:
    """Return a parser with a flag for every setting of ``stages``; a name that several have is one flag.

    ``parse_args`` returns only the settings that the command line names, as `settings_of` takes them. A
    setting without a default is required if there is one stage; with several, the caller supplies it.
    """
    parser = argparse.ArgumentParser(description=description)
    fields = {name: field for stage in stages for name, field in _fields(stage).items()}
    for field in fields.values():
        _add_flag(parser, field, required=len(stages) == 1 and field.default is dataclasses.MISSING)
    return parser


def _add_flag(parser: argparse.ArgumentParser, field: dataclasses.Field[Any], required: bool) -> None:
    """Add a field's flag in all its spellings, and ``--no-...`` for a bool that may be true by default.

    A positional field is a list of arguments without a flag.
    """
    flags = [name.replace("_", "-") for name in field.metadata.get("spellings", (field.name,))]
    text = field.metadata["help"]
    if field.default not in (None, dataclasses.MISSING):
        text += f" (default: {field.default})"
    shared: dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS}
    parts = [part for part in get_args(field.type) if part not in (NoneType, ...)]
    kind = parts[0] if parts else field.type
    options: dict[str, Any] = shared | {"type": kind, "choices": field.metadata.get("choices")}
    if field.metadata.get("positional"):
        parser.add_argument(field.name, nargs="+", help=text, type=kind)
        return
    if kind is bool:
        options |= {"type": _truth, "nargs": "?", "const": True}
    elif get_origin(field.type) in (list, tuple):
        options["nargs"] = "+"
    parser.add_argument(*(f"--{flag}" for flag in flags), help=text, required=required, **options)
    if "_" in field.name:
        parser.add_argument(f"--{field.name}", help=argparse.SUPPRESS, **options)
    if kind is bool and field.default is not False:
        for flag, text in (
            (f"--no-{flags[0]}", f"the opposite of --{flags[0]}"),
            (f"--no_{field.name}", argparse.SUPPRESS),
        ):
            parser.add_argument(flag, action="store_false", help=text, **shared)


def _truth(text: str) -> bool:
    """Return the truth value of a word such as ``true`` or ``no``."""
    if text.lower() in ("yes", "true", "t", "y", "1"):
        return True
    if text.lower() in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def settings_of(stage: type[Stage], settings: Mapping[str, Any]) -> Stage:
    """Return a stage with those of ``settings`` that it has; the others may belong to other stages.

    Raises `InputError` for a value below the least one that makes sense.
    """
    values = overrides_for(stage, settings)
    for name, value in values.items():
        least = _fields(stage)[name].metadata.get("least")
        if least is not None and value is not None and value < least:
            raise InputError(f"{name} is {value}: it must be at least {least}")
    return stage(**values)


def overridden(stage: type[Stage], overrides: Mapping[str, Any], **settings: Any) -> Stage:
    """Return a stage with ``settings`` and, before them, a notebook's ``overrides`` by name.

    Raises `InputError` for a name that the stage does not have, and as `settings_of`.
    """
    for name in overrides:
        if name not in _fields(stage):
            raise InputError(f"there is no setting {name!r} here; there are {', '.join(_fields(stage))}")
    return settings_of(stage, settings | dict(overrides))


def overrides_for(stage: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of ``settings`` that a stage has."""
    return {name: value for name, value in settings.items() if name in _fields(stage)}


def _fields(stage: type) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(stage)}
