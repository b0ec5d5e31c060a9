"""The training loop: Hugging Face's `Trainer` with the loss over options, F1 of answers, and checkpoints.

Every process of ``accelerate launch`` runs this; they share out batches, gradients and held-out rows.
"""

import contextlib
import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from transformers import Trainer, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import TrainOutput

from src import metrics
from src.data.details import to_entry
from src.data.errors import InputError, shared_memory_named
from src.data.questions import Question
from src.model.collator import TrainingCollator, model_inputs
from src.model.generation import generate
from src.model.memory import free_memory
from src.model.modeling import preset_for
from src.model.option_loss import option_loss
from src.settings import TrainSettings
from src.training import adapter
from src.training.configuration import adapter_key, recipe_values, settings_in_use
from src.training.progress import Progress
from src.training.rows import TrainData


class F1Trainer(Trainer):
    """`Trainer` whose evaluation answers the held-out rows, and keeps the adapter that does it best.

    Where ``args`` and the model's LoRA differ from ``settings``, they count. Checkpoints go into a folder of
    their own in ``args.output_dir``, so that a run goes on only from those of the same settings and data.
    """

    control: Any  # `Trainer`'s

    def __init__(
        self,
        model: PeftModel,
        collator: TrainingCollator,
        data: TrainData,
        settings: TrainSettings,
        args: TrainingArguments,
    ) -> None:
        lora = model.peft_config[model.active_adapter]
        self.settings = settings_in_use(settings, lora, args, collator)
        quantization = model.get_base_model().config.quantization_config
        self.recipe = recipe_values(settings, quantization, lora, args, collator)
        self.key = adapter_key(settings, self.recipe)
        # The rows of a step are the same with more processes, their order and random states are not.
        args.output_dir = str(Path(str(args.output_dir)) / f"{self.key[:12]}-{args.world_size}")
        self.collator, self.data = collator, data
        grammar = collator.grammar
        self.grammar = grammar and copy.copy(grammar).to(args.device)  # the collator's stays on the CPU
        self.parts = {"tokens": 0.0, "options": 0.0}  # of the loss, summed since the last log
        self.progress = Progress(self.settings, data.questions)
        self.is_base_scored = False  # before the first step
        super().__init__(
            model=model,
            args=args,
            train_dataset=data.questions,
            eval_dataset=data.held_out,
            data_collator=collator,
            callbacks=[self.progress],
        )
        self.remove_callback(PrinterCallback)

    def train(self, resume_from_checkpoint: str | None = None) -> TrainOutput:
        """Train; out of GPU memory, go on with smaller batches and as many rows per optimizer step.

        Raises `InputError` when the loss is no number, when not even one row fits, and when the disk is full.
        """
        weights = get_peft_model_state_dict(self.model)
        untrained = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
        while True:
            is_fresh = resume_from_checkpoint is None and not self.is_base_scored
            self.args.eval_on_start = is_fresh and self.args.eval_strategy != "no"
            try:
                with shared_memory_named():
                    return super().train(resume_from_checkpoint)
            except torch.OutOfMemoryError:
                pass  # see below: only after this block nothing holds the tensors of the step that failed
            except InputError as error:  # from a process that decodes images it comes with its traceback
                raise InputError(str(error).strip().rpartition("InputError: ")[2]) from None
            except (OSError, RuntimeError, SafetensorError) as error:
                if not _disk_is_full(error):
                    raise
                reason = "no space left on this disk; free some and run again to go on"
                raise InputError(f"{self.args.output_dir}: {reason}") from None
            finally:
                self.progress.close()
            resume_from_checkpoint = last_checkpoint(self.args.output_dir)
            self._use_smaller_batches(resume_from_checkpoint)
            set_peft_model_state_dict(self.model, untrained)

    def _use_smaller_batches(self, checkpoint: str | None) -> None:
        """Prepare to go on from ``checkpoint`` with the same rows per step; `InputError` after one row."""
        size, accumulation = self.args.per_device_train_batch_size, self.args.gradient_accumulation_steps
        smaller = next((part for part in range(size // 2, 0, -1) if size % part == 0), 0)
        problem = f"out of GPU memory with batches of {size} x {accumulation}"
        if not smaller or self.args.world_size > 1:  # the other processes would wait for this one
            raise InputError(
                f"{problem}; give a smaller --batch-size and as much more --accumulation, or set "
                f"gradient_checkpointing, and run again"
            )
        self.args.per_device_train_batch_size = self._train_batch_size = smaller
        self.args.gradient_accumulation_steps = accumulation * size // smaller
        start = Path(checkpoint).name if checkpoint else "the start"
        sizes = f"{smaller} x {self.args.gradient_accumulation_steps}"
        print(f"{problem}: on from {start} with {sizes}", flush=True)
        self.optimizer = None
        self.create_accelerator_and_postprocess()  # with a new gradient scaler
        self.model.zero_grad()
        set_seed(self.args.seed)
        free_memory()

    def floating_point_ops(self, inputs: Any) -> int:
        """Return 0: `Trainer` would go through all parameters at each step for a figure that nobody reads."""
        return 0

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Return the loss of a batch of `TrainingCollator`, whose images become floats here, on the device.

        It is over the tokens of the answers, and with OCR over the options as well.
        """
        dtype = self.accelerator.unwrap_model(model).dtype
        on_device = model_inputs(inputs, self.args.device, dtype)
        loss, outputs = super().compute_loss(model, on_device, True, num_items_in_batch)
        self.parts["tokens"] += loss.detach()
        if self.grammar is not None:
            # `Trainer` divides the first by the tokens of all batches of a step; this is a mean over rows.
            over_options = option_loss(self.grammar, outputs["logits"][:, self.grammar.tokens], inputs)
            over_options = over_options / self.current_gradient_accumulation_steps
            self.parts["options"] += over_options.detach()
            loss = loss + over_options
        self.progress.losses.append((inputs["rows"], loss.detach()))
        return loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log figures, and beside the loss the parts that it is the sum of."""
        if "loss" in logs:
            sums = torch.stack(
                [torch.as_tensor(part, device=self.args.device) for part in self.parts.values()]
            )
            shares = self.accelerator.gather(sums).reshape(-1, len(self.parts)).sum(dim=0)
            shares = (shares / shares.sum()).tolist()
            parts = zip(self.parts, shares, strict=True)
            logs |= {f"loss_{name}": logs["loss"] * share for name, share in parts}
            self.parts = dict.fromkeys(self.parts, 0.0)
        super().log(logs, *args, **kwargs)

    @torch.no_grad()
    def loss_parts(self, batch: Any) -> dict[str, float]:
        """Return the loss of a batch of the collator as the model is now: over tokens, and over options."""
        inputs = model_inputs(batch, self.args.device, self.accelerator.unwrap_model(self.model).dtype)
        outputs = self.model.eval()(**inputs)  # without dropout, whose random numbers training needs
        parts = {"tokens": float(outputs.loss)}
        if self.grammar is not None:
            parts["options"] = float(option_loss(self.grammar, outputs.logits[:, self.grammar.tokens], batch))
        return parts

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Return the F1 over the held-out rows, which the processes share out, and keep the best adapter.

        Before the first step it is that of the base model, which is no adapter to keep.
        """
        questions = self.data.held_out[self.args.process_index :: self.args.world_size]
        is_trained = self.state.global_step > 0
        self.is_base_scored = True
        devices = [self.args.device] if self.args.device.type == "cuda" else []
        with torch.random.fork_rng(devices, enabled=not is_trained):  # the training's numbers stay the same
            own = answers_of(self.model, self.collator, questions, self.data, self.settings)
        answers = gather_object(own)
        score = metrics.score([row["label"] for row in answers], [row["model_answer"] for row in answers])
        if self.is_world_process_zero() and is_trained:
            folder = Path(self.args.output_dir)
            adapter.keep_if_best(self.model, folder, self.state.global_step, score.f1, answers)
        self.accelerator.wait_for_everyone()
        figures = {f"{metric_key_prefix}_f1": score.f1, f"{metric_key_prefix}_precision": score.precision}
        self.log(figures)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures


def answers_of(
    model: PeftModel,
    collator: TrainingCollator,
    questions: Sequence[Question],
    data: TrainData,
    settings: TrainSettings,
) -> list[dict[str, Any]]:
    """Answer held-out questions; return `to_entry` of each, in their order, as `ensemble.fit` needs it.

    Questions that cannot be asked (a broken image) are left out.
    """
    batch_size = preset_for(model.config, settings.cpu).predict_batch_size
    results = generate(
        model,
        collator.processor,
        questions,
        data.sizes,
        batch_size,
        workers=settings.workers,
        bar_name="",
        prompt=collator.prompt,
    )
    answered = {(result.row, result.entity): result for result in results if not result.reason}
    in_order = [
        answered[key] for question in questions if (key := (question.row, question.entity)) in answered
    ]
    return [to_entry(data.label_prior.added_to(question)) for question in in_order]


def last_checkpoint(folder: str | Path) -> str | None:
    """Return the newest whole checkpoint in ``folder``, None without one.

    ``trainer_state.json`` is written last, so a checkpoint is whole where that can be read.
    """
    checkpoints = Path(folder).glob("checkpoint-*")
    for checkpoint in sorted(checkpoints, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        with contextlib.suppress(OSError, ValueError):
            json.loads((checkpoint / "trainer_state.json").read_text())
            return str(checkpoint)
    return None


def _disk_is_full(error: Exception) -> bool:
    """Tell whether ``error`` is about a full disk; torch and safetensors have their own words for it."""
    words = ("No space left", "File too large", "Disk quota", "PytorchStreamWriter failed writing")
    return any(word in str(error) for word in words)
