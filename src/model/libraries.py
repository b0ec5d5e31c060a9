"""A check of the installed libraries, which reads what their installations say and imports none of them."""

from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

_OLDEST_TORCHAO = Version("0.16.0")
"""Oldest torchao that peft 0.21 accepts."""


def libraries_fault() -> str:
    """Say which installed library is in the way of those that are needed, and what to do; empty when none is.

    Nothing here needs torchao or torchvision. Colab and Kaggle bring them: peft then refuses to add LoRA, and
    transformers to import the model. Only what their installation says is read: neither is imported.
    """
    torchao, torchvision = map(_installed, ("torchao", "torchvision"))
    if torchao and Version(torchao.version) < _OLDEST_TORCHAO:
        return _in_the_way(torchao, f"peft refuses any before {_OLDEST_TORCHAO}")
    if torchvision and (fits := _torch_for(torchvision)) and (torch := metadata.version("torch")) not in fits:
        return _in_the_way(torchvision, f"it is for torch{fits}, not {torch}")
    return ""


def _torch_for(library: metadata.Distribution) -> SpecifierSet:
    """Return the versions of torch that a library was built for; empty where it does not say."""
    needed = map(Requirement, library.requires or ())
    return next((one.specifier for one in needed if one.name == "torch"), SpecifierSet())


def _installed(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _in_the_way(library: metadata.Distribution, reason: str) -> str:
    return (
        f"{library.name} {library.version} is in the way ({reason}): install requirements.txt into a fresh "
        f"virtual environment, or pip uninstall -y {library.name}, which nothing here needs"
    )
