"""QLoRA fine-tuning of a vision-language model: ``training.ipynb`` as a command, for several GPUs

    accelerate launch -m src.train --data my/folder --out my/results --model HUB_ID

The adapter folder appears whole. A run that was cut off goes on from its last whole checkpoint; a finished
one with the same settings and data is not repeated.
"""

import os
from collections.abc import Mapping
from typing import Any

import torch

from src import launch, metrics
from src.data.errors import InputError, run_main
from src.data.flags import settings_from_command_line
from src.data.folders import RunFolder
from src.model import memory
from src.model.modeling import add_lora, card_memory, load_base, load_config
from src.model.precision import compute_dtype
from src.settings import TrainSettings
from src.training import adapter
from src.training.adapter import TrainResult
from src.training.configuration import (
    TrainingArguments,
    adapter_key,
    recipe_of,
    recipe_values,
    resolve,
)
from src.training.rows import TrainData, load_data
from src.training.trainer import F1Trainer, last_checkpoint


def train(settings: TrainSettings, data: TrainData | None = None) -> TrainResult:
    """Train and save the best adapter to ``out/adapter``, or return the result that is there already.

    ``data`` is `load_data` of the same settings where that is at hand: the audit of all rows takes minutes.
    Raises `InputError` for data or a model that cannot be used, for a loss that is no number, and when memory
    or disk do not suffice.
    """
    settings = resolve(settings)
    folder = RunFolder(settings.out).adapter
    quantization, lora, arguments, collator = recipe_of(settings)
    recipe = recipe_values(settings, quantization, lora, arguments, collator)
    finished = adapter.load_result(folder, adapter_key(settings, recipe), recipe, settings.overwrite)
    if finished:
        print(f"{folder} is already trained with these settings and data")
        return finished
    data = data or load_data(settings)
    if arguments.process_index == 0:
        if folder.is_dir():
            print(f"{folder} is of other data or another recipe: it is replaced once this training is done")
        print_estimate(settings, arguments)
    base = load_base(settings.model, quantization)
    torch.manual_seed(settings.seed)  # for LoRA's starting weights
    model = add_lora(base, lora, bool(settings.gradient_checkpointing))
    trainer = F1Trainer(model, collator, data, settings, arguments)
    trainer.train(resume_from_checkpoint=last_checkpoint(arguments.output_dir))
    return adapter.save(trainer)


def on_every_gpu(settings: TrainSettings, processes: int, recipe: Mapping[str, Any]) -> TrainResult:
    """Train in several processes, as this command does, and return the result.

    ``recipe``: that of a notebook's objects. Raises `InputError` when it is not that of ``settings``, because
    a process knows these only.
    """
    settings = resolve(settings)
    if recipe != recipe_values(settings, *recipe_of(settings)):
        raise InputError(
            "a change that is no setting (quantization, modules of LoRA, schedule, a prompt of one's own) is "
            "not known to other processes: set PROCESSES = 1, or change it in src/"
        )
    launch.on_every_gpu("src.train", settings, processes)
    result = adapter.load_result(RunFolder(settings.out).adapter, adapter_key(settings, recipe), recipe)
    if result is None:
        raise InputError(f"{settings.out}: its adapter is of other data now; run again")
    return result


def print_estimate(settings: TrainSettings, arguments: TrainingArguments) -> None:
    """Print what the GPU's memory will hold, before it is filled, or what a large model costs on a CPU."""
    config = load_config(settings.model)
    if card := card_memory():
        size, checkpointing = arguments.per_device_train_batch_size, bool(settings.gradient_checkpointing)
        estimate = memory.training(config, size, checkpointing, settings.lora_r, compute_dtype())
        batches = f"batches of {size} x {arguments.gradient_accumulation_steps}"
        print(f"memory, estimated: {estimate} of {card / 1e9:.1f} for {batches}")
    elif not memory.is_small(config):
        print(f"no GPU: {memory.ON_A_CPU}")


def main() -> int:
    """Run the command line."""
    result = train(
        settings_from_command_line(TrainSettings, "Fine-tune the vision-language model with QLoRA.")
    )
    if os.environ.get("RANK", "0") == "0":
        print(f"{result.adapter}\n{metrics.show(result.scores)}")
    return 0


if __name__ == "__main__":
    run_main(main)
