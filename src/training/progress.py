"""What is seen of a training while it runs: a log of its figures, a bar."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import psutil
import torch
from tqdm import tqdm
from transformers import TrainerCallback

from src.data.errors import InputError
from src.data.files import write_whole
from src.data.folders import RunFolder
from src.data.questions import Question
from src.settings import TrainSettings

Losses = list[tuple[list[int], torch.Tensor]]
"""Row numbers and loss of batches."""


class MetricsLog(TrainerCallback):
    """Writes every logged figure to ``metrics.jsonl``, and ends a run whose loss is no number any more.

    ``losses``: row numbers and loss of each batch since the last figure, see `F1Trainer`.
    """

    def __init__(self, settings: TrainSettings, samples: Sequence[Question]) -> None:
        self.settings = settings
        self.pictures = {sample.row: sample.image for sample in samples}
        self.losses: Losses = []

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float] = {}, **kwargs: Any
    ) -> None:
        """One line per entry of the log; written anew, because a resumed run takes back what came after its
        start."""
        if not math.isfinite(logs.get("loss", 0.0)):
            raise InputError(self._why(logs["loss"], state.global_step, args.fp16))
        if "loss" in logs:
            self.losses.clear()
        if state.is_world_process_zero:
            lines = (json.dumps(entry) + "\n" for entry in state.log_history)
            write_whole(RunFolder(self.settings.out).metrics, lines)

    def _why(self, loss: float, step: int, float16: bool) -> str:
        """Of a loss that is no number: the batch, the likely cause, what to do."""
        rows = next((rows for rows, value in self.losses if not value.isfinite().all()), [])
        listed = ", ".join(f"{row + 2} ({self.pictures.get(row, '')})" for row in rows)
        where = f", first in the batch of train.csv's lines {listed}" if rows else ""
        rate = f"set learning_rate lower than {self.settings.learning_rate:g}"
        remedy = (
            f"this GPU has no bfloat16, and float16 overflows: take one that has, or {rate}"
            if float16
            else rate
        )
        return (
            f"the loss is {loss} at step {step}{where}: {remedy} and run again (the checkpoints before this step are "
            f"kept)"
        )


class Bar(TrainerCallback):
    """A plain tqdm bar: rows per second, time left, loss, F1, memory. Trainer's own leaves a dead widget."""

    def __init__(self) -> None:
        self.bar: Any = None  # a tqdm from the start of training on
        self.shown: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar, at the step a resumed run starts from."""
        self.rows = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        total, done = state.max_steps * self.rows, state.global_step * self.rows
        hidden = not state.is_world_process_zero
        self.bar = tqdm(total=total, initial=done, desc="train", unit="row", disable=hidden, smoothing=0.1)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float] = {}, **kwargs: Any
    ) -> None:
        """Show the loss or the F1, and the memory in use."""
        self.shown |= {
            name: f"{logs[key]:.3f}" for name, key in (("loss", "loss"), ("f1", "eval_f1")) if key in logs
        }
        memory = (
            torch.cuda.max_memory_allocated()
            if torch.cuda.is_available()
            else psutil.Process().memory_info().rss
        )
        self.bar.set_postfix(self.shown | {"memory": f"{memory / 2**30:.1f} GiB"}, refresh=False)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One optimizer step on."""
        self.bar.update(state.global_step * self.rows - self.bar.n)

    def close(self) -> None:
        """End the bar's line, also after an error."""
        if self.bar is not None:
            self.bar.close()
