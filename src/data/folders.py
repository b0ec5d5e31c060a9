"""What the folders hold, and where: a data folder, a folder of processed pictures, a run's folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.data.files import located


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder of a fixed name in a folder, and what it is for; as an attribute of the folder, its
    path."""

    name: str
    purpose: str

    def __get__(self, folder: Any, _: type) -> Path:
        return folder.root / self.name


@dataclass(frozen=True)
class DataFolder:
    """What a user brings: two tables and the pictures they name; ``root`` as in `files.located`."""

    root: Path

    train = Entry("train.csv", "labelled rows to train on")
    test = Entry("test.csv", "rows to predict")
    truth = Entry("test_truth.csv", "true values of the test rows, where they are known")
    images = Entry("images", "the pictures, named by the last part of their links")
    downloads = Entry("downloads.csv", "which file belongs to which link, and why a link failed")

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", located(self.root))


@dataclass(frozen=True)
class ProcessedFolder:
    """What ``preprocess.py`` leaves: a picture for the model per source picture, and these; ``root`` as
    `located`."""

    root: Path

    manifest = Entry("manifest.csv", "a row per picture: its sizes, or why there is none")
    text = Entry("text.jsonl", "a line per picture: the text read on it")
    shards = Entry(
        "shards", "with ``--shards``: the pictures in tar files, each with its index, manifest and text"
    )
    journal = Entry("journal.jsonl", "finished pictures of a run that goes on, or was cut off")
    errors = Entry("errors.log", "only after an unexpected error on a picture: the traceback of the first")

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", located(self.root))

    @property
    def is_local(self) -> bool:
        """Tell whether it is a folder, not in a store."""
        return isinstance(self.root, Path)

    @property
    def is_sharded(self) -> bool:
        """Tell whether the pictures are in shards."""
        return self.shards.is_dir()

    @property
    def manifests(self) -> list[Path]:
        """Return the manifest, or that of each shard."""
        return sorted(self.shards.glob("*.manifest.csv")) if self.is_sharded else [self.manifest]

    @property
    def is_made(self) -> bool:
        """Tell whether there is a manifest."""
        manifests = self.manifests
        return bool(manifests) and all(path.is_file() for path in manifests)

    @property
    def texts(self) -> list[Path]:
        """Return the files with what was read; none without OCR."""
        if self.is_sharded:
            return sorted(self.shards.glob("*.text.jsonl"))
        return [self.text] if self.text.is_file() else []

    def tar_of(self, manifest: Path) -> Path:
        """Return the pictures of a shard, by its manifest."""
        return self.shards / f"{manifest.name.partition('.')[0]}.tar"


@dataclass(frozen=True)
class RunFolder:
    """What ``make run`` leaves in ``OUT``; the README's list is made of these lines."""

    root: Path

    processed = Entry(
        "processed", "pictures for the model, `manifest.csv`, `text.jsonl` (what was read on them)"
    )
    by_rules = Entry("rules_out.csv", "predictions by rules alone")
    rules_journal = Entry("rules_out.journal.jsonl", "the rules' answers as they come")
    adapter = Entry("adapter", "LoRA weights, settings, log, held-out answers, a model card")
    metrics = Entry("metrics.jsonl", "loss and F1 as they come")
    checkpoints = Entry("checkpoints", "of a training that goes on, or was cut off")
    predictions = Entry("test_out.csv", "**the predictions**, valid: `index,prediction`")
    details = Entry(
        "test_out.details.csv", "per row: who answered what, how sure, what was weighed, why not asked"
    )
    all_answers = Entry("test_out.journal-*.jsonl", "the model's answers as they come, a file per process")
    errors = Entry("errors.log", "only after an unexpected error on a picture or row: its traceback")
    gallery = Entry("gallery.png", "pictures with their predictions")
    report = Entry("report.html", "a page to look at every answer")
    record = Entry("run.json", "the data folder and the seconds that each stage took")
    training_notebook = Entry("training.ipynb", "as executed")
    inference_notebook = Entry("inference.ipynb", "as executed")

    def answers(self, process: int | str) -> Path:
        """Return the file of a process's answers; ``*`` for the pattern of all."""
        return self.root / self.all_answers.name.replace("*", str(process))


def listing() -> Iterator[tuple[str, str]]:
    """Yield name and purpose of everything in a `RunFolder`, in its order."""
    for entry in vars(RunFolder).values():
        if isinstance(entry, Entry):
            yield entry.name, entry.purpose
