"""preprocess.py over Ray beside its local processes, on the same images; and the memory of who starts the
work.

    make bench-ray DATA=path/to/data/folder

(a) seconds, start to end, with OCR, in turns; the cluster (one node of this machine's cores) stands before
and after. ``--copies`` repeats the images (hard links), until a run is long enough: at least five minutes.
(b) the largest resident size of the process that was started, not of its workers, with ``--shards`` and
without OCR, at 2,000 and 40,000 images (``--few``, ``--many``), for both.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from src.data.errors import run_main
from src.settings import cpu_count

ROOT = Path(__file__).resolve().parent.parent
WAYS = ("local", "ray")


def repeated(data: Path, folder: Path, count: int) -> Path:
    """A data folder of ``count`` images: those of ``data`` over and over, as links."""
    images = folder / "images"
    images.mkdir(parents=True)
    paths = sorted((data / "images").iterdir())
    for number in range(count):
        (images / f"{number // len(paths)}-{paths[number % len(paths)].name}").symlink_to(
            paths[number % len(paths)].resolve()
        )
    for table in data.glob("*.csv"):
        shutil.copy(table, folder / table.name)
    return folder


def command(way: str, data: Path, out: Path, address: str, *more: str) -> list[str]:
    """One run of preprocess.py."""
    how = ["--ray", address] if way == "ray" else ["--workers", str(cpu_count())]
    return ["preprocess.py", "--data", str(data), "--out", str(out), *how, *more]


def seconds(way: str, data: Path, out: Path, address: str) -> float:
    """Of a run with OCR from the start."""
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *command(way, data, out, address, "--ocr")],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - start


def driver_memory(way: str, data: Path, out: Path, address: str, per_shard: int) -> float:
    """Largest resident size in MB of the process that was started, in a run with shards from the start."""
    shutil.rmtree(out, ignore_errors=True)
    code = "import resource, runpy, sys; sys.path.insert(0, ''); runner = runpy.run_path(sys.argv[1]); "
    code += "sys.argv = sys.argv[1:]; runner['main'](); "
    code += "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    run = command(way, data, out, address, "--shards", "--per-shard", str(per_shard))
    done = subprocess.run(
        [sys.executable, "-c", code, *run], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return float(done.stdout.rpartition("peak ")[2])


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Ray beside the local processes.")
    parser.add_argument("--data", type=Path, required=True, help="data folder")
    parser.add_argument("--copies", type=int, default=1, help="of each image in (a)")
    parser.add_argument("--rounds", type=int, default=3, help="of (a); 0: only (b)")
    parser.add_argument("--few", type=int, default=2_000, help="images of (b)")
    parser.add_argument("--many", type=int, default=40_000, help="and their other number; 0: only (a)")
    parser.add_argument("--per-shard", type=int, default=1_000, help="images in a shard of (b)")
    args = parser.parse_args()
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        "local",
        num_cpus=cpu_count(),
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=500_000_000,
    )
    address = ray.get_runtime_context().gcs_address
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.rounds:
            count = args.copies * len(list((args.data / "images").iterdir()))
            data, found = (
                repeated(args.data, folder / "read", count),
                dict[str, list[float]](local=[], ray=[]),
            )
            for number in range(args.rounds):
                for way in WAYS[:: 1 if number % 2 == 0 else -1]:
                    found[way].append(seconds(way, data, folder / "out", address))
            local, spread = (statistics.median(found[way]) for way in WAYS)
            for way, median in (("local", local), ("ray", spread)):
                rounds = ", ".join(f"{value:.0f}" for value in found[way])
                print(f"{way}: {count} images with OCR in {median:.1f} s ({rounds})")
            print(f"overhead of Ray: {100 * (spread / local - 1):.1f} %")
        for count in (args.few, args.many) if args.many else ():
            data = repeated(args.data, folder / str(count), count)
            peaks = [driver_memory(way, data, folder / "out", address, args.per_shard) for way in WAYS]
            shown = ", ".join(f"{way} {peak:.0f} MB" for way, peak in zip(WAYS, peaks, strict=True))
            print(f"{count:,} images in shards, memory of the process that was started: {shown}")
    ray.shutdown()
    return 0


if __name__ == "__main__":
    run_main(main)
