"""Command-line flags and overrides, made of the dataclasses in `settings`: one name for a setting everywhere."""

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from src.data.errors import InputError

Stage = TypeVar("Stage")


def parser_for(*stages: type, description: str) -> argparse.ArgumentParser:
    """A parser with a flag for every setting of ``stages``; a name that several have is one flag.

    ``parse_args`` gives the settings that are named on the command line, and only those: for `settings_of`.
    """
    from transformers import HfArgumentParser  # not at the top: processes that work on pictures import this room

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
        if action.dest != "help":
            if action.default not in (None, argparse.SUPPRESS) and action.dest not in str(action.help):
                action.help = f"{action.help} (default: {action.default})"
            action.default = argparse.SUPPRESS
    return parser


def settings_of(stage: type[Stage], given: Mapping[str, Any]) -> Stage:
    """The settings of a stage, with those of ``given`` that are its own; the rest may be other stages'.

    Raises `InputError` for a value that makes no sense.
    """
    own = {field.name: field for field in dataclasses.fields(stage)}  # type: ignore[arg-type]  # a dataclass
    values = {name: value for name, value in given.items() if name in own}
    for name, value in values.items():
        least = own[name].metadata.get("least")
        if least is not None and value is not None and value < least:
            raise InputError(f"{name} is {value}: it must be at least {least}")
    return stage(**values)


def check_names(given: Mapping[str, Any], *stages: type) -> None:
    """Raise `InputError` when one of ``given`` is a setting of none of the stages."""
    known = [field.name for stage in stages for field in dataclasses.fields(stage)]
    for name in given:
        if name not in known:
            raise InputError(f"there is no setting {name!r}; those there are: {', '.join(dict.fromkeys(known))}")
