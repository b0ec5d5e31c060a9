"""Save the gradients of the first optimizer step, its rows and the adapter's cache key:
`python -m tests.one_step DATA OUT BATCH FILE`, or under torchrun."""

import dataclasses
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import TrainerCallback

from src.model.collator import training_collator
from src.model.modeling import add_lora, load_base, load_processor, lora_config
from src.settings import TrainSettings
from src.training.configuration import resolve, training_arguments
from src.training.rows import load_data
from src.training.trainer import F1Trainer


class SaveGradients(TrainerCallback):
    def __init__(self, file, trainer):
        self.file, self.trainer = file, trainer

    def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
        if state.is_world_process_zero:
            gradients = {
                name.removeprefix("module."): p.grad
                for name, p in model.named_parameters()
                if p.grad is not None
            }
            save_file(
                gradients,
                self.file,
                {"key": self.trainer.key, "rows": str(self.trainer.progress.rows_per_step)},
            )
        control.should_training_stop = True


def main(data, out, batch, file):
    model = str(Path(__file__).resolve().parent.parent / "data" / "idefics2-tiny")
    settings = resolve(
        TrainSettings(Path(data), Path(out), model, batch_size=int(batch), lora_dropout=0.0, workers=0)
    )
    arguments = training_arguments(settings, Path(out) / "steps")
    arguments.set_evaluate(strategy="no")
    data = load_data(settings)
    samples = sorted(data.questions, key=lambda sample: sample.row)
    torch.manual_seed(0)
    trainer = F1Trainer(
        add_lora(load_base(model), lora_config(settings)),
        training_collator(load_processor(model), settings),
        dataclasses.replace(data, questions=samples[:4]),
        settings,
        arguments,
    )
    trainer.add_callback(SaveGradients(file, trainer))
    trainer.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
