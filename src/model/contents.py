"""The contents of a model's files as a hash, which knows a model by whatever path or id it is given."""

from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from src.data.files import content_hash

_FILES = (".json", ".model", ".safetensors")
"""Suffixes of configuration, tokenizer and weights."""
_BLOCK, _BLOCKS = 2**16, 256
"""Bytes of a block, and blocks that are read of a file with more than these (16 MiB)."""


def model_contents(model: str) -> str:
    """Return a hash of the names and contents of a model's files; for a hub id that of its commit.

    Weights of more than 16 MiB are read in part, in blocks at even distances: 33 GB take less than a second,
    and other weights in any tensor of more than 1/256 of its file are noticed. A hub id must have been read
    by `load_config` before.
    """
    folder = Path(model)
    if not folder.is_dir():
        config = try_to_load_from_cache(model, "config.json")
        return content_hash(Path(config).parent.name.encode() if isinstance(config, str) else model.encode())
    files = sorted(path for path in folder.iterdir() if path.suffix in _FILES and path.is_file())
    return content_hash(*(piece for path in files for piece in (path.name.encode(), *sampled_blocks(path))))


def sampled_blocks(path: Path) -> Iterator[bytes]:
    """Yield a file's size and all of its blocks, or `_BLOCKS` of them at even distances, from the first on.

    The first has a safetensors file's header: the names, types and places of its tensors.
    """
    size = path.stat().st_size
    yield size.to_bytes(8, "little")
    with path.open("rb") as stream:
        for start in range(0, size, max(_BLOCK, -(-size // _BLOCKS))):
            stream.seek(start)
            yield stream.read(_BLOCK)
