"""The files of a data folder, of a folder of model images and of a run's folder, by name and purpose."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.data.files import located


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder of a fixed name, and what it is for; as an attribute of the folder, its path."""

    name: str
    purpose: str

    def __get__(self, folder: Any, _: type) -> Path:
        return folder.root / self.name


class DataFolder:
    """The folder that a user brings: two tables and the source images that they name."""

    train = Entry("train.csv", "labelled rows to train on")
    test = Entry("test.csv", "rows to predict")
    truth = Entry("test_truth.csv", "true values of the test rows, where they are known")
    images = Entry("images", "source images, named by the last part of their links")
    downloads = Entry("downloads.csv", "the file of each link that was fetched, or why it failed")

    def __init__(self, root: Path) -> None:
        self.root = located(root)


class ProcessedFolder:
    """The folder that ``preprocess.py`` writes: a model image per source image, and these files."""

    manifest = Entry("manifest.csv", "a row per image: its sizes, or why there is none")
    text = Entry("text.jsonl", "a line per image: its text lines")
    shards = Entry("shards", "with ``--shards``: images in tar files, each with index, manifest and text")
    journal = Entry("journal.jsonl", "finished images of a run that is not finished")
    errors = Entry("errors.log", "traceback of the first unexpected error on an image, if there was one")

    def __init__(self, root: Path) -> None:
        self.root = located(root)

    @property
    def is_local(self) -> bool:
        """True for a folder, false for a store behind a URL."""
        return isinstance(self.root, Path)

    @property
    def is_sharded(self) -> bool:
        """True if the images are in shards."""
        return self.shards.is_dir()

    @property
    def manifests(self) -> list[Path]:
        """The manifest, or that of each shard."""
        return sorted(self.shards.glob("*.manifest.csv")) if self.is_sharded else [self.manifest]

    @property
    def is_made(self) -> bool:
        """True if there is a manifest."""
        manifests = self.manifests
        return bool(manifests) and all(path.is_file() for path in manifests)

    @property
    def texts(self) -> list[Path]:
        """The files with the text lines; none without OCR."""
        if self.is_sharded:
            return sorted(self.shards.glob("*.text.jsonl"))
        return [self.text] if self.text.is_file() else []

    def tar_of(self, manifest: Path) -> Path:
        """Return the tar file of a shard with this manifest."""
        return self.shards / f"{manifest.name.partition('.')[0]}.tar"


class RunFolder:
    """The folder that ``make run`` fills, ``OUT``; README lists these entries."""

    processed = Entry(
        "processed", "model images, `manifest.csv`, `text.jsonl` (text lines of the source images)"
    )
    by_rules = Entry("rules_out.csv", "predictions by rules alone")
    rules_journal = Entry("rules_out.journal.jsonl", "parsed text of the images")
    adapter = Entry("adapter", "LoRA weights, settings, log, held-out answers, a model card")
    metrics = Entry("metrics.jsonl", "loss and F1")
    checkpoints = Entry("checkpoints", "state of an unfinished training")
    predictions = Entry("test_out.csv", "**the predictions**, valid: `index,prediction`")
    details = Entry("test_out.details.csv", "per row: source, probability, all options, why it was not asked")
    all_answers = Entry("test_out.journal-*.jsonl", "the model's answers, a file per process")
    errors = Entry("errors.log", "traceback of the first unexpected error")
    gallery = Entry("gallery.png", "images with their predictions")
    report = Entry("report.html", "a page to look at every answer")
    record = Entry("run.json", "the data folder, seconds of each stage, what the notebooks depended on")
    training_notebook = Entry("training.ipynb", "the notebook as executed")
    inference_notebook = Entry("inference.ipynb", "the notebook as executed")

    def __init__(self, root: Path) -> None:
        self.root = root

    def answers(self, process: int | str) -> Path:
        """Return the file of a process's answers; ``*`` gives the pattern of all."""
        return self.root / self.all_answers.name.replace("*", str(process))
