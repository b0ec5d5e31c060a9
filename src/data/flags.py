"""Command-line flags and overrides, made of the dataclasses in `settings`: one name for a setting
everywhere."""

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from src.data.errors import InputError

Stage = TypeVar("Stage")


def parser_for(*stages: type, description: str) -> argparse.ArgumentParser:
    """A parser with a flag for every setting of ``stages``; a name that several have is one flag.

    ``parse_args`` gives the settings that are named on the command line, and only those: for `settings_of`.
    What a single stage requires is required; where there are several, the caller knows what to put in.
    """
    from transformers import (
        HfArgumentParser,
    )  # not at the top: processes that work on pictures import this room

    class Parser(HfArgumentParser):
        def add_argument(self, *names: str, least: float | None = None, **options: Any) -> argparse.Action:
            """Leaves out what of a field's metadata argparse does not know; `settings_of` checks it."""
            return super().add_argument(*names, **options)

    parser = Parser(
        list(stages),
        description=description,
        conflict_handler="resolve",
        formatter_class=argparse.HelpFormatter,
    )
    for action in parser._actions:
        if action.dest == "help":
            continue
        if isinstance(action, argparse._StoreFalseAction):
            action.help = f"the opposite of --{action.dest}"
        elif action.default is not None:
            action.help = f"{action.help} (default: {action.default})"
        action.default = argparse.SUPPRESS
        action.required = action.required and len(stages) == 1
    return parser


def settings_of(stage: type[Stage], given: Mapping[str, Any]) -> Stage:
    """The settings of a stage, with those of ``given`` that are its own; the rest may be other stages'.

    Raises `InputError` for a value that makes no sense.
    """
    own = _fields(stage)
    values = {name: value for name, value in given.items() if name in own}
    for name, value in values.items():
        least = own[name].metadata["least"]
        if least is not None and value is not None and value < least:
            raise InputError(f"{name} is {value}: it must be at least {least}")
    return stage(**values)


def overridden(stage: type[Stage], overrides: Mapping[str, Any], **settings: Any) -> Stage:
    """``settings`` of a stage, with ``overrides`` by name, as a notebook has them.

    Raises `InputError` for a name that the stage does not have, or a value that makes no sense.
    """
    for name in overrides:
        if name not in _fields(stage):
            raise InputError(f"there is no setting {name!r} here; there are {', '.join(_fields(stage))}")
    return settings_of(stage, settings | dict(overrides))


def overrides_for(stage: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``given`` that are settings of a stage."""
    return {name: value for name, value in given.items() if name in _fields(stage)}


def _fields(stage: type) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(stage)}
