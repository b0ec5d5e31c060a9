"""Before a night's run: what each stage will take on this machine, and what to change to fit a limit of
hours.

    python -m src.plan --data my/folder --model HuggingFaceM4/idefics2-8b --gpu T4 --gpus 2 --hours 9

Some of the folder's own pictures and rows are really preprocessed, trained on and answered, in a temporary
folder, and scaled. What cannot run here (a model that needs a GPU, a card that is not here) is estimated from
the data sheet.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from transformers import Idefics2Config

from src.data.errors import InputError, run_main
from src.data.folders import DataFolder
from src.data.names import picture_names, read_files
from src.data.sampling import SampledTables, read_sampled
from src.model import memory
from src.model.modeling import card_memory, load_config
from src.model.precision import compute_dtype
from src.plan import catalogue
from src.plan.measure import ModelRates, PictureRates, model_rates, picture_rates
from src.plan.sizes import CARDS, SHARE, Card, config_8b
from src.plan.stages import Machine, Stage, Work, estimated_rates, gpu_memory, rows_that_fit, stages
from src.settings import ROWS, cpu_count

HUB_8B = "HuggingFaceM4/idefics2-8b"
WORKER_BYTES = 0.9e9
"""Of a process that reads text (measured: 0.5 to 0.9 GB, by the sizes of its pictures)."""


def work_of(data: Path, drawn: SampledTables) -> Work:
    """Counts of what a run has to do."""
    files, images = read_files(data), DataFolder(data).images
    trained, tested = (
        [] if table is None else picture_names(table["image_link"], files)
        for table in (drawn.train, drawn.test)
    )
    used = {name for name in (*trained, *tested) if name}
    there = {path.name for path in images.iterdir()} if images.is_dir() else set()
    for_training, for_test = used - set(tested), set(tested) - {""}
    return Work(len(used - there), len(used), len(for_training), len(trained), len(tested), len(for_test))


def plan(args: argparse.Namespace) -> str:
    """Measure, estimate, and put it into words. Raises `InputError`."""
    drawn = read_sampled(args.data, args.rows, 0)
    work, config = work_of(args.data, drawn), _config(args.model)
    here = torch.cuda.is_available()
    machine = Machine(args.cores or cpu_count(), 0, "", None)
    if args.gpu or here or not memory.is_small(config):
        name = args.gpu or (torch.cuda.get_device_name() if here else "T4")
        card = CARDS[args.gpu] if args.gpu or not here else Card(card_memory(), 0, True)
        machine = replace(machine, gpus=args.gpus or max(1, torch.cuda.device_count()), gpu=name, card=card)
    dtype = compute_dtype() if here and not args.gpu else torch.bfloat16
    if machine.card and not machine.card.bfloat16:
        dtype = torch.float16
    with tempfile.TemporaryDirectory() as folder:
        measured = Path(folder) / "measured"
        measured.mkdir()
        pictures = picture_rates(args.data, drawn, cpu_count(), measured)
        rates, source = _model_rates(args, config, machine, dtype, work, measured / "more")
    found = stages(work, machine, pictures, rates, source)
    lines = _lines(args, work, machine, pictures, config, dtype, found)
    if args.catalogues:
        gpu = args.gpu or "H100"
        answer = estimated_rates(
            config_8b(), CARDS[gpu], catalogue.ROWS_PER_PICTURE, checkpointing=False
        ).answer
        lines += [
            "",
            "idefics2-8b on catalogues, by the rates of above:",
            *catalogue.table(pictures, answer, gpu),
        ]
    return "\n".join(lines)


def _config(model: str) -> Idefics2Config:
    """The model's configuration; the published one where idefics2-8b has not been fetched yet."""
    if model == HUB_8B:
        return config_8b()
    return load_config(model)


def _model_rates(
    args: argparse.Namespace,
    config: Idefics2Config,
    machine: Machine,
    dtype: torch.dtype,
    work: Work,
    folder: Path,
) -> tuple[ModelRates, str]:
    """What training and answering take, and where that is from."""
    if not args.gpu and (memory.is_small(config) or torch.cuda.is_available()):
        return model_rates(args.model, folder), "measured"
    if machine.card is None or not machine.card.tflops:
        raise InputError(f"--gpu: name the card to estimate for, one of {', '.join(CARDS)}")
    checkpointing = memory.preset(config, machine.card.memory, dtype).gradient_checkpointing
    per_picture = work.test_rows / max(1, work.test_pictures)
    share = f"{SHARE['training']:.0%} and {SHARE['inference']:.0%} of {machine.card.tflops:.0f} TFLOP/s"
    return estimated_rates(config, machine.card, per_picture, checkpointing), f"estimated, {share}"


def _lines(
    args: argparse.Namespace, work: Work, machine: Machine, pictures: PictureRates, config: Idefics2Config,
    dtype: torch.dtype, found: list[Stage],
) -> list[str]:  # fmt: skip
    total = sum(stage.seconds for stage in found) / 3600
    on = f"{machine.gpus} x {machine.gpu}" if machine.gpus else "no GPU"
    lines = [f"{args.data} with {args.model} on {machine.cores} cores, {on}", ""]
    width = max(len(stage.work) for stage in found)
    lines += [f"{s.name:<11} {s.work:<{width}} {_time(s.seconds):>9}  {s.source}" for s in found]
    lines += [f"{'all':<11} {'':<{width}} {_time(total * 3600):>9}", ""]
    disk = (
        work.pictures * (pictures.processed_bytes + pictures.text_bytes)
        + work.to_fetch * pictures.source_bytes
    )
    weights = 33.6e9 if args.model == HUB_8B else 0.0
    lines.append(
        f"disk: {disk / 1e9:.1f} GB of pictures and texts, {weights / 1e9:.1f} GB of weights from the hub"
    )
    lines.append(
        f"memory: about {machine.cores * WORKER_BYTES / 1e9:.0f} GB while text is read (0.9 GB a process)"
    )
    if machine.card:
        preset = memory.preset(config, machine.card.memory, dtype)
        lines += [f"GPU memory, estimated, {line}" for line in gpu_memory(config, machine, preset, dtype)]
    if args.hours and total > args.hours:
        lines += ["", *_advice(work, found, args.hours, total)]
    elif args.hours:
        lines += ["", f"fits {args.hours:g} h"]
    return lines


def _advice(work: Work, found: list[Stage], hours: float, total: float) -> list[str]:
    longest = max(found, key=lambda stage: stage.seconds)
    what = {
        "fetch": "fetch the pictures before", "preprocess": "more cores, or preprocess on another machine before",
        "rules": "more cores", "training": "fewer rows, or a faster GPU", "inference": "more or faster GPUs",
    }  # fmt: skip
    rows = rows_that_fit(work, found, hours)
    lines = [
        f"does not fit {hours:g} h ({total:.1f} h); the longest stage is {longest.name}: {what[longest.name]}"
    ]
    if rows >= 100:
        lines.append(f"with --rows {rows // 100 * 100} it fits, a tenth in reserve")
    else:
        lines.append(
            "with fewer train rows alone it does not fit; finished work is kept: go on another night"
        )
    return lines


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(description="What each stage of a run will take, before it is started.")
    parser.add_argument(
        "--data", type=Path, default=Path("data/sample"), help="data folder (default: %(default)s)"
    )
    parser.add_argument(
        "--model", default="data/idefics2-tiny", help="folder or hub id (default: %(default)s)"
    )
    parser.add_argument(
        "--rows", type=int, default=ROWS, help="of train.csv, as for the run (default: %(default)s)"
    )
    parser.add_argument("--gpu", choices=list(CARDS), help="estimate for this card; default: what is here")
    parser.add_argument("--gpus", type=int, help="how many of them; default: as many as are here, else one")
    parser.add_argument("--cores", type=int, help="of that machine; default: of this one")
    parser.add_argument(
        "--catalogues", action="store_true", help="also what 350 thousand to a billion pictures take"
    )
    parser.add_argument("--hours", type=float, help="a limit: does it fit, and if not, what would")
    return parser


def main() -> int:
    """Command line."""
    print(plan(parser().parse_args()))
    return 0


if __name__ == "__main__":
    run_main(main)
