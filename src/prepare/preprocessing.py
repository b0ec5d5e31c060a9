"""Source images of a data folder to model images: what is to do, and the report.

A source image is current (processed as it would be now), missing, or to be processed. Where the results go
is the matter of `stores`. Every file of the output folder appears whole.
"""

import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from src.data.errors import InputError, shared_memory_named
from src.data.files import held, write_whole
from src.data.folders import DataFolder, ProcessedFolder
from src.data.names import asked_entities, image_names, processed_name, read_files
from src.data.sampling import read_sampled
from src.images.decode import UNREADABLE
from src.ocr.engine import check_device
from src.prepare.manifest import ManifestRow, TextOffset, is_current, with_same_source
from src.prepare.processes import Job
from src.prepare.ray_backend import runner
from src.prepare.stores import FolderStore, ShardStore, Store
from src.settings import MAX_PIXELS, PreprocessSettings, cpu_count


def preprocess(settings: PreprocessSettings) -> pd.DataFrame:
    """Process every image of ``settings.data`` that is not current; return the manifest (see `ManifestRow`).

    With shards, only the rows of images that are not just fine are returned: the manifest may be too large.
    Raises `InputError` when there is nothing to process, the tables cannot be read or ``settings.out`` cannot
    be written.
    """
    if settings.ocr_device == "cuda":
        _check_gpu(settings)
    images, present = DataFolder(settings.data).images, _present_images(settings.data)
    files = read_files(settings.data)
    sampled = read_sampled(settings.data, settings.sampled_rows, settings.seed)
    entities = asked_entities(sampled.tables, files)
    links: Iterable[str] = () if sampled.left_out is None else sampled.left_out["image_link"]
    unneeded = set(image_names(links, files)) - entities.keys()
    folder = ProcessedFolder(settings.out)
    store: Store = ShardStore(folder, settings.per_shard) if settings.shards else FolderStore(folder)
    # For the workers' OpenCV, which reads it at import; `images.decode` has its own check before.
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(max(MAX_PIXELS, settings.max_pixels))

    def current(row: ManifestRow, text: TextOffset | None) -> ManifestRow | None:
        if not is_current(row, text, settings, entities.get(row.image, ())):
            return None
        return with_same_source(row, images / row.image)

    def job_of(image: str) -> Job:
        source, target = images / image, folder.root / processed_name(image)
        ocr, asked = settings.ocr_precision if settings.ocr else "", entities.get(image, ())
        return Job(image, source, target, settings, settings.max_pixels, ocr, asked, settings.ocr_device)

    try:
        with held(folder.root):
            kept = store.kept(current)
            waiting = [image for image in present if image not in kept and image not in unneeded]
            with shared_memory_named("make it larger"):
                _process(settings, store, map(job_of, waiting), len(waiting))
            absent = entities.keys() - set(present)
            manifest = store.finish({image: _missing(image) for image in absent})
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{settings.out}: cannot be written ({reason}); finished images are kept") from None
    _report(manifest, store.fine, len(kept), len(unneeded.intersection(present) - kept))
    return manifest


def _check_gpu(settings: PreprocessSettings) -> None:
    """Raise `InputError` where the text cannot be read on a GPU."""
    if not settings.ocr:
        raise InputError("--ocr-device cuda: is for reading text; add --ocr, or leave the flag out")
    if settings.ray is not None:
        raise InputError("--ocr-device cuda: is for the GPU of this machine; leave out --ray, or the flag")
    # In a process that ends: the GPU's memory is for the workers.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            pool.submit(check_device, "cuda").result()
        except BrokenProcessPool:
            fault = "onnxruntime crashes with this machine's CUDA libraries; leave the flag out"
            raise InputError(f"--ocr-device cuda: {fault}") from None


def _missing(image: str) -> ManifestRow:
    return ManifestRow(image, status="missing", error="not in images/")


def _present_images(data: Path) -> list[str]:
    """Return the names of the files in ``images/``, sorted."""
    images = DataFolder(data).images
    if not DataFolder(data).root.is_dir():
        raise InputError(f"{data}: no such folder; a data folder holds train.csv, test.csv and images/")
    files = images.iterdir() if images.is_dir() else ()
    present = sorted(path.name for path in files if path.is_file() and path.name[0] != ".")
    if not present:
        raise InputError(f"{images}: no images there; put the image files of {data}'s tables into it")
    return present


def _process(settings: PreprocessSettings, store: Store, jobs: Iterable[Job], count: int) -> None:
    """Do ``count`` jobs into the store; the first unexpected error goes to ``errors.log``."""
    log, errors = store.folder.errors, 0
    log.unlink(missing_ok=True)
    run = runner(settings.ray, (DataFolder(settings.data).images, store.path), store.per_call)
    workers = settings.workers or cpu_count()
    with store.journal, tqdm(total=count, desc="preprocess", unit="img", smoothing=0.05) as bar:
        for unit, result in run(store.work, store.units(jobs), workers, store.died):
            done, traces = store.add(unit, result)
            bar.update(done)
            if traces and not errors:
                write_whole(log, traces[0])
            errors += len(traces)
    if errors:
        print(f"preprocess: unexpected errors on {errors} images, the first is in {log}")


def _report(manifest: pd.DataFrame, fine: int, reused: int, unneeded: int) -> None:
    """Print counts and the first bad images; ``fine`` ones are not in the table."""
    counts = Counter(manifest["status"])
    bad = manifest[manifest["status"] != "ok"]
    for row in bad.head(10).itertuples():
        print(f"  {row.status}: {row.image} ({row.error})")
    if len(bad) > 10:
        print(f"  ... and {len(bad) - 10} more, see manifest.csv")
    if unread := bad["error"].str.startswith(UNREADABLE).sum():
        print(f"preprocess: {unread} images could not be read off their drive; run again for these")
    others = f"; {unneeded} others, of rows that are not sampled (--all for them)" if unneeded else ""
    print(
        f"preprocess: {fine + len(manifest)} images, {fine + counts['ok']} ok ({reused} reused), "
        f"{counts['failed']} failed, {counts['blank']} blank, {counts['missing']} missing{others}"
    )
