"""The progress of a training: a bar, and the figures in ``metrics.jsonl``."""

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


class Progress(TrainerCallback):
    """Shows loss, F1, speed and memory on a plain bar, and writes every logged figure to ``metrics.jsonl``.

    `Trainer`'s own bar leaves a dead widget in a notebook. A loss that is no number ends the run.
    """

    def __init__(self, settings: TrainSettings, samples: Sequence[Question]) -> None:
        self.settings = settings
        self.images = {sample.row: sample.image for sample in samples}
        self.losses: list[tuple[list[int], torch.Tensor]] = []
        """Row numbers and loss of each batch since the last logged loss; `F1Trainer` adds them."""
        self.bar: Any = None  # a tqdm from the start of training on
        self.shown: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar, at the step a resumed run starts from."""
        self.rows_per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        self.bar = tqdm(
            total=state.max_steps * self.rows_per_step,
            initial=state.global_step * self.rows_per_step,
            desc="train",
            unit="row",
            disable=not state.is_world_process_zero,
            smoothing=0.1,
        )

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the time of an evaluation out of the bar's rate."""
        self.bar.unpause()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar by one optimizer step."""
        self.bar.update(state.global_step * self.rows_per_step - self.bar.n)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float] = {}, **kwargs: Any
    ) -> None:
        """Show the figures and write them all anew: a resumed run takes back those after its start.

        Raises `InputError` for a loss that is no number.
        """
        if not math.isfinite(logs.get("loss", 0.0)):
            raise InputError(self._why(logs["loss"], state.global_step, args.fp16))
        for name, figure in (("loss", "loss"), ("f1", "eval_f1")):
            if figure in logs:
                self.shown[name] = f"{logs[figure]:.3f}"
        if "loss" in logs:
            self.losses.clear()
        cuda = torch.cuda.is_available()
        memory = torch.cuda.max_memory_allocated() if cuda else psutil.Process().memory_info().rss
        self.bar.set_postfix(self.shown | {"memory": f"{memory / 2**30:.1f} GiB"}, refresh=False)
        if state.is_world_process_zero:
            lines = (json.dumps(entry) + "\n" for entry in state.log_history)
            write_whole(RunFolder(self.settings.out).metrics, lines)

    def close(self) -> None:
        """End the bar's line, also after an error."""
        if self.bar is not None:
            self.bar.close()

    def _why(self, loss: float, step: int, float16: bool) -> str:
        """Return a sentence about a loss that is no number: the batch, the likely cause, what to do."""
        rows = next((rows for rows, value in self.losses if not value.isfinite().all()), [])
        listed = ", ".join(f"{row + 2} ({self.images.get(row, '')})" for row in rows)
        where = f", first in the batch of train.csv's lines {listed}" if rows else ""
        remedy = f"set learning_rate lower than {self.settings.learning_rate:g}"
        if float16:
            remedy = f"this GPU has no bfloat16, and float16 overflows: take one that has, or {remedy}"
        return (
            f"the loss is {loss} at step {step}{where}: {remedy} and run again "
            f"(the checkpoints before this step are kept)"
        )
