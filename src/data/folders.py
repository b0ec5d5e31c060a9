"""What the folders hold, and where: a data folder, a folder of processed pictures, a run's folder."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from src.data.files import located


@dataclass(frozen=True, slots=True)
class DataFolder:
    """What a user brings: two tables and the pictures they name; ``root`` as in `files.located`."""

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", located(self.root))

    @property
    def train(self) -> Path:
        """labelled rows to train on"""
        return self.root / "train.csv"

    @property
    def test(self) -> Path:
        """rows to predict"""
        return self.root / "test.csv"

    @property
    def truth(self) -> Path:
        """true values of the test rows, where they are known"""
        return self.root / "test_truth.csv"

    @property
    def images(self) -> Path:
        """the pictures, named by the last part of their links"""
        return self.root / "images"

    @property
    def downloads(self) -> Path:
        """which file belongs to which link, and why a link failed"""
        return self.root / "downloads.csv"


@dataclass(frozen=True, slots=True)
class ProcessedFolder:
    """What ``preprocess.py`` leaves: a picture for the model per source picture, and these; ``root`` as `located`."""

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", located(self.root))

    @property
    def is_local(self) -> bool:
        """Whether it is a folder, not in a store."""
        return isinstance(self.root, Path)

    @property
    def manifest(self) -> Path:
        """a row per picture: its sizes, or why there is none"""
        return self.root / "manifest.csv"

    @property
    def text(self) -> Path:
        """a line per picture: the text read on it"""
        return self.root / "text.jsonl"

    @property
    def shards(self) -> Path:
        """with ``--shards``: the pictures in tar files, each with its index, manifest and text"""
        return self.root / "shards"

    @property
    def is_sharded(self) -> bool:
        """Whether the pictures are in shards."""
        return self.shards.is_dir()

    @property
    def manifests(self) -> list[Path]:
        """The manifest, or that of each shard."""
        return sorted(self.shards.glob("*.manifest.csv")) if self.is_sharded else [self.manifest]

    @property
    def is_made(self) -> bool:
        """Whether there is a manifest."""
        manifests = self.manifests
        return bool(manifests) and all(path.is_file() for path in manifests)

    @property
    def texts(self) -> list[Path]:
        """The files with what was read; none without OCR."""
        if self.is_sharded:
            return sorted(self.shards.glob("*.text.jsonl"))
        return [self.text] if self.text.is_file() else []

    def tar_of(self, manifest: Path) -> Path:
        """The pictures of a shard, by its manifest."""
        return self.shards / f"{manifest.name.partition('.')[0]}.tar"

    @property
    def journal(self) -> Path:
        """finished pictures of a run that goes on, or was cut off"""
        return self.root / "journal.jsonl"

    @property
    def errors(self) -> Path:
        """only after an unexpected error on a picture: the traceback of the first"""
        return self.root / "errors.log"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """What ``make run`` leaves in ``OUT``; the README's list is made of these lines."""

    root: Path

    @property
    def processed(self) -> Path:
        """pictures for the model, `manifest.csv`, `text.jsonl` (what was read on them)"""
        return self.root / "processed"

    @property
    def by_rules(self) -> Path:
        """predictions by rules alone"""
        return self.root / "rules_out.csv"

    @property
    def rules_journal(self) -> Path:
        """the rules' answers as they come"""
        return self.by_rules.with_suffix(".journal.jsonl")

    @property
    def adapter(self) -> Path:
        """LoRA weights, settings, log, held-out answers, a model card"""
        return self.root / "adapter"

    @property
    def metrics(self) -> Path:
        """loss and F1 as they come"""
        return self.root / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """of a training that goes on, or was cut off"""
        return self.root / "checkpoints"

    @property
    def predictions(self) -> Path:
        """**the predictions**, valid: `index,prediction`"""
        return self.root / "test_out.csv"

    @property
    def details(self) -> Path:
        """per row: who answered what, how sure, what was weighed, why not asked"""
        return self.root / "test_out.details.csv"

    def answers(self, process: int | str) -> Path:
        """the model's answers as they come, a file per process"""
        return self.root / f"test_out.journal-{process}.jsonl"

    @property
    def errors(self) -> Path:
        """only after an unexpected error on a picture or row: its traceback"""
        return self.root / "errors.log"

    @property
    def gallery(self) -> Path:
        """pictures with their predictions"""
        return self.root / "gallery.png"

    @property
    def report(self) -> Path:
        """a page to look at every answer"""
        return self.root / "report.html"

    @property
    def record(self) -> Path:
        """the data folder and the seconds that each stage took"""
        return self.root / "run.json"

    @property
    def training_notebook(self) -> Path:
        """as executed"""
        return self.root / "training.ipynb"

    @property
    def inference_notebook(self) -> Path:
        """as executed"""
        return self.root / "inference.ipynb"


def listing() -> Iterator[tuple[str, str]]:
    """Name and purpose of everything in a `RunFolder`, in its order."""
    folder = RunFolder(Path())
    for name, member in vars(RunFolder).items():
        if isinstance(member, property):
            yield str(getattr(folder, name)), inspect.getdoc(member) or ""
        elif inspect.isfunction(member) and not name.startswith("_"):
            yield str(member(folder, "*")), inspect.getdoc(member) or ""
