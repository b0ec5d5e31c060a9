"""Speed of preprocess.py beside the reference loop, on the same images, settings and number of workers.

    make bench-preprocess DATA=path/to/data/folder

- ours: ``python preprocess.py``, start to end (workers started, manifest written).
- reference: the reference solution's loop, one ``multiprocessing.Pool``, ``imap_unordered(chunksize=20)``;
  ``cv2.imread``, INTER_AREA, CLAHE on L of LAB, unsharp mask, ``cv2.imwrite``; OpenCV's threads as they come.
- pillow: ``draft`` and ``thumbnail``, no filters. - floor: JPEG decode and encode alone.
Each runs in a fresh process; the order is turned round by one each round; the median of the rounds is shown.
"""

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from src.data.errors import run_main
from src.images.decode import cv2, decode, shown_size
from src.images.enhance import clahe, resize, unsharp
from src.prepare.processes import JPEG_QUALITY
from src.settings import EnhanceSettings

ROOT = Path(__file__).resolve().parent.parent


def _read(path: str) -> np.ndarray:
    image = cv2.imread(path)
    assert image is not None, path
    return image


def reference(job: tuple[str, str]) -> None:
    """The reference solution's steps for one image (source path, target path)."""
    image = _read(job[0])
    height, width = image.shape[:2]
    scale = min(1.0, 600 / max(height, width))
    image = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    lightness, a, b = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2LAB))
    lightness = cv2.createCLAHE(clipLimit=1.0, tileGridSize=(8, 8)).apply(lightness)
    image = cv2.cvtColor(cv2.merge((lightness, a, b)), cv2.COLOR_LAB2BGR)
    blurred = cv2.GaussianBlur(image, (0, 0), 1.0)
    cv2.imwrite(job[1], cv2.addWeighted(image, 2.5, blurred, -1.5, 0))


def pillow(job: tuple[str, str]) -> None:
    """Scaled decode and thumbnail, no filters."""
    with Image.open(job[0]) as image:
        image.draft("RGB", (600, 600))
        image.thumbnail((600, 600))
        image.convert("RGB").save(job[1], quality=95)


def floor(job: tuple[str, str]) -> None:
    """JPEG decode and encode alone, one thread."""
    cv2.setNumThreads(1)
    cv2.imwrite(job[1], _read(job[0]))


def run_pool(name: str, source: Path, target: Path, workers: int) -> None:
    """Run one of the loops over all images of ``source``."""
    target.mkdir(parents=True)
    jobs = [(str(path), str(target / path.name)) for path in sorted(source.iterdir())]
    with multiprocessing.Pool(workers) as pool:
        for _ in pool.imap_unordered(
            {"reference": reference, "pillow": pillow, "floor": floor}[name], jobs, 20
        ):
            pass


def timed(name: str, data: Path, target: Path, workers: int) -> float:
    """Seconds of one run in a fresh process."""
    shutil.rmtree(target, ignore_errors=True)
    if name == "ours":
        command = ["preprocess.py", "--data", str(data), "--out", str(target), "--workers", str(workers)]
    else:
        command = [
            "-m",
            "benchmarks.preprocess",
            "--data",
            str(data),
            "--loop",
            name,
            "--out",
            str(target),
            "--workers",
            str(workers),
        ]
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def peak_memory(data: Path, folder: Path, copies: int, workers: int) -> float:
    """Largest resident size in MB of any process of a run over every image ``copies`` times."""
    images = folder / f"many-{copies}" / "images"
    images.mkdir(parents=True)
    for path in (data / "images").iterdir():
        for copy in range(copies):
            (images / f"{copy}-{path.name}").symlink_to(path.resolve())
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    command = [
        "preprocess.py",
        "--data",
        images.parent,
        "--out",
        images.parent / "out",
        "--workers",
        str(workers),
    ]
    run = [sys.executable, "-c", code, sys.executable, *map(str, command)]
    return float(subprocess.run(run, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def steps(source: Path) -> dict[str, float]:
    """Milliseconds per image of each step of ours, one thread."""
    cv2.setNumThreads(1)
    settings = EnhanceSettings()
    spent = dict.fromkeys(
        ("read", "decode", "resize", "to YCrCb", "CLAHE", "unsharp", "to BGR", "encode"), 0.0
    )
    paths = sorted(source.iterdir())
    for path in paths:
        marks = [time.perf_counter()]

        def mark(value: np.ndarray | bytes, marks: list[float] = marks) -> Any:
            marks.append(time.perf_counter())
            return value

        data = mark(path.read_bytes())
        reduced = mark(decode(data, enough=settings.max_size))
        small = mark(resize(reduced, settings.max_size, shown_size(data)))
        picture = mark(cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb))
        luma = mark(clahe(cv2.extractChannel(picture, 0), settings.clip_limit))
        cv2.insertChannel(mark(unsharp(luma, settings.sigma, settings.strength)), picture, 0)
        image = mark(cv2.cvtColor(picture, cv2.COLOR_YCrCb2BGR))
        mark(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1])
        for step, begin, end in zip(spent, marks, marks[1:], strict=False):
            spent[step] += end - begin
    return {step: 1000 * seconds / len(paths) for step, seconds in spent.items()}


def main() -> int:
    """Command line; prints a table."""
    parser = argparse.ArgumentParser(description="Speed of preprocess.py beside the reference loop.")
    parser.add_argument("--data", type=Path, required=True, help="data folder with JPEG images")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop", help="internal: run one loop into --out")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    source = args.data / "images"
    if args.loop:
        run_pool(args.loop, source, args.out, args.workers)
        return 0
    names = ["ours", "reference", "pillow", "floor"]
    with tempfile.TemporaryDirectory() as folder:
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(args.rounds):
            for name in names[turn % 4 :] + names[: turn % 4]:
                seconds[name].append(timed(name, args.data, Path(folder) / name, args.workers))
        memory = {copies: peak_memory(args.data, Path(folder), copies, args.workers) for copies in (1, 10)}
        paths = sorted(source.iterdir())
        print(f"{len(paths)} images, {args.workers} workers, {args.rounds} rounds, median (all)")
        for name in names:
            middle = statistics.median(seconds[name])
            every = " ".join(f"{s:.1f}" for s in seconds[name])
            print(f"  {name:10} {middle:6.1f} s  {len(paths) / middle:6.1f} img/s  ({every})")
        for copies, size in memory.items():
            print(f"ours, {copies * len(paths)} images: largest process {size:.0f} MB")
        difference = [
            np.abs(
                _read(str(Path(folder) / "ours" / p.name)).astype(int)
                - _read(str(Path(folder) / "reference" / p.name))
            ).mean()
            for p in paths
        ]
        print(f"mean absolute pixel difference to the reference loop: {np.mean(difference):.2f} of 255")
    print("ms per image, one thread:", ", ".join(f"{step} {ms:.1f}" for step, ms in steps(source).items()))
    return 0


if __name__ == "__main__":
    run_main(main)
