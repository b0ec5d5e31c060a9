"""Save the gradients of the first optimizer step: `python -m tests.one_step DATA OUT BATCH FILE`, or under
torchrun."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import TrainerCallback

from src.model.collator import TrainingCollator
from src.model.decoding import AnswerGrammar
from src.model.modeling import add_lora, load_base, load_processor, lora_config
from src.settings import TrainSettings
from src.train import resolve
from src.training.rows import load_data
from src.training.trainer import F1Trainer, training_arguments


class SaveGradients(TrainerCallback):
    def __init__(self, file):
        self.file = file

    def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
        if state.is_world_process_zero:
            named = model.named_parameters()
            save_file(
                {name.removeprefix("module."): p.grad for name, p in named if p.grad is not None}, self.file
            )
        control.should_training_stop = True


def main(data, out, batch, file):
    model = str(Path(__file__).resolve().parent.parent / "data" / "idefics2-tiny")
    settings = resolve(
        TrainSettings(Path(data), Path(out), model, batch_size=int(batch), lora_dropout=0.0, workers=0)
    )
    arguments = training_arguments(settings, Path(out) / "steps")
    data = load_data(settings)
    samples = sorted(data.samples, key=lambda sample: sample.row)
    processor = load_processor(model)
    torch.manual_seed(0)
    trainer = F1Trainer(
        model=add_lora(load_base(model), lora_config(settings)),
        args=arguments,
        train_dataset=samples[:4],
        eval_dataset=[],
        data_collator=TrainingCollator(processor, data.readings, AnswerGrammar(processor.tokenizer)),
        grammar=AnswerGrammar(processor.tokenizer),
        callbacks=[SaveGradients(file)],
        answer=lambda samples: [],
    )
    trainer.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
