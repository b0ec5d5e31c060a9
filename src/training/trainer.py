"""The training loop: Hugging Face's `Trainer` on QLoRA, with F1 by generation, a bar and checkpoints.

Every process of ``accelerate launch`` runs this; batches, gradients and held-out rows are shared out among
them.
"""

import dataclasses
import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from transformers import Idefics2Processor, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from src import metrics
from src.data.details import to_entry
from src.data.errors import InputError
from src.data.files import replace_folder
from src.data.questions import Question
from src.model.collator import TrainingCollator, model_inputs
from src.model.decoding import AnswerGrammar
from src.model.generation import generate
from src.model.modeling import preset_for
from src.model.option_loss import option_loss
from src.model.precision import compute_dtype
from src.settings import TrainSettings, decoding_workers
from src.training.adapter import ANSWERS
from src.training.progress import Bar, Losses, MetricsLog
from src.training.rows import TrainData

BEST = "best"
"""Folder in the checkpoints: the adapter with the highest F1 so far, and its held-out answers in
`ANSWERS`."""


class OneGpuArguments(TrainingArguments):
    """`TrainingArguments` of a process that uses one GPU, however many it sees: an NF4 model cannot be
    split."""

    @property
    def n_gpu(self) -> int:
        """GPUs that this process uses."""
        return min(1, super().n_gpu)


def training_arguments(settings: TrainSettings, checkpoints: Path) -> TrainingArguments:
    """The arguments of `Trainer`; making them also finds this process's rank among others, and its GPU."""
    cuda = torch.cuda.is_available()
    tensorboard = importlib.util.find_spec("tensorboard") is not None
    if tensorboard:
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(settings.out / "tensorboard"))
    # Losses are looked at whenever they are logged, and a checkpoint of a broken run must not be written
    # before.
    logging_steps = 10 if cuda and settings.checkpoint_steps % 10 == 0 else 1
    return OneGpuArguments(
        output_dir=str(checkpoints),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size or 1,
        gradient_accumulation_steps=settings.accumulation or 1,
        learning_rate=settings.learning_rate or 0.0,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup,
        optim="adamw_8bit"
        if cuda
        else "adamw_torch",  # a paged one does not survive a resume on several GPUs
        bf16=cuda and compute_dtype() is torch.bfloat16,
        fp16=cuda and compute_dtype() is torch.float16,
        use_cpu=not cuda,
        ddp_backend="gloo" if not cuda and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None,
        ddp_find_unused_parameters=False,
        train_sampling_strategy="sequential",  # the order of `rows.bucketed`
        dataloader_num_workers=decoding_workers(settings.workers, cuda),
        dataloader_pin_memory=cuda,
        remove_unused_columns=False,
        logging_steps=logging_steps,
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=0.999 / settings.evaluations,  # a share of the steps; 1 would mean one step
        save_steps=settings.checkpoint_steps,
        save_total_limit=2,
        seed=settings.seed,
        report_to="tensorboard" if tensorboard else "none",
        disable_tqdm=True,
    )


def fit(
    model: PeftModel,
    processor: Idefics2Processor,
    data: TrainData,
    settings: TrainSettings,
    arguments: TrainingArguments,
) -> list[dict[str, float]]:
    """Train; return `Trainer`'s log: loss and F1 with their steps. The best adapter is left in
    ``checkpoints/best``.

    Goes on from the last whole checkpoint. Out of GPU memory, it does so with smaller batches, as many rows
    per step. Raises `InputError` when the loss is no number, when not even a single row fits, and when the
    disk is full.
    """
    checkpoints = Path(str(arguments.output_dir))
    checkpoints.mkdir(parents=True, exist_ok=True)
    untrained = {
        name: tensor.detach().cpu().clone() for name, tensor in get_peft_model_state_dict(model).items()
    }
    while True:
        try:
            return _train(model, processor, data, settings, arguments)
        except torch.OutOfMemoryError:
            smaller = with_smaller_batches(settings)
            sizes = f"{settings.batch_size} x {settings.accumulation}"
            if (
                smaller is None or arguments.world_size > 1
            ):  # of several processes, the others wait for this one
                raise InputError(
                    f"out of GPU memory with batches of {sizes}; give a smaller --batch-size and as much more "
                    f"--accumulation, or set gradient_checkpointing, and run again"
                ) from None
        # Not in the except: only after it nothing holds the tensors of the step that failed.
        start = last_checkpoint(checkpoints)
        whence = f"{Path(start).name}" if start else "the start"
        print(f"out of GPU memory with batches of {sizes}: on from {whence} with "
              f"{smaller.batch_size} x {smaller.accumulation}", flush=True)  # fmt: skip
        settings, arguments = smaller, training_arguments(smaller, checkpoints)
        set_peft_model_state_dict(model, untrained)
        model.zero_grad()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def with_smaller_batches(settings: TrainSettings) -> TrainSettings | None:
    """The next smaller batch size with the same rows per optimizer step; None after 1."""
    size, accumulation = settings.batch_size or 1, settings.accumulation or 1
    smaller = next((part for part in range(size // 2, 0, -1) if size % part == 0), None)
    if smaller is None:
        return None
    return dataclasses.replace(settings, batch_size=smaller, accumulation=accumulation * size // smaller)


def _train(
    model: PeftModel,
    processor: Idefics2Processor,
    data: TrainData,
    settings: TrainSettings,
    arguments: TrainingArguments,
) -> list[dict[str, float]]:
    """`fit` with batches of one size."""
    checkpoints, bar = Path(str(arguments.output_dir)), Bar()
    log = MetricsLog(settings, data.questions)
    # One for the processes that make batches, one for where the model is.
    grammars = [AnswerGrammar(processor.tokenizer) if data.ocr else None for _ in range(2)]
    trainer = F1Trainer(
        model=model,
        args=arguments,
        train_dataset=data.questions,
        eval_dataset=data.held_out,
        data_collator=TrainingCollator(processor, grammars[0]),
        grammar=grammars[1],
        callbacks=[log, bar],
        answer=lambda questions: answers_of(model, processor, questions, data, settings),
        losses=log.losses,
    )
    trainer.remove_callback(PrinterCallback)
    try:
        trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    except InputError as error:  # of a process that decodes pictures it comes with its traceback
        raise InputError(str(error).strip().rpartition("InputError: ")[2]) from None
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError) or not _disk_is_full(error):
            raise
        raise InputError(
            f"{checkpoints}: no space left on this disk; free some and run again to go on"
        ) from None
    finally:
        bar.close()
    return trainer.state.log_history


def answers_of(
    model: PeftModel,
    processor: Idefics2Processor,
    questions: Sequence[Question],
    data: TrainData,
    settings: TrainSettings,
) -> list[dict[str, Any]]:
    """Answer held-out questions, in order, for `ensemble.fit`: `to_entry` of each.

    Those that cannot be asked (a broken image) are left out.
    """
    batch_size = preset_for(model.config).predict_batch_size
    results = generate(
        model, processor, questions, data.sizes, batch_size, workers=settings.workers, bar_name=""
    )
    answered = {(q.row, q.entity): q for q in results if not q.reason}
    in_order = [answered[key] for q in questions if (key := (q.row, q.entity)) in answered]
    return [to_entry(data.label_prior.added_to(question)) for question in in_order]


class F1Trainer(Trainer):
    """`Trainer` whose evaluation answers the held-out rows, and keeps the adapter that does it best.

    ``answer`` gives the answers of samples, see `answers_of`; ``grammar``: batches have options; ``losses``
    gets the row numbers and the loss of every batch, not waited for; the rest goes to `Trainer`.
    """

    control: Any  # `Trainer`'s

    def __init__(
        self,
        *,
        answer: Callable[[Sequence[Question]], list[dict[str, Any]]],
        eval_dataset: list[Question],
        grammar: AnswerGrammar | None = None,
        losses: Losses | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(eval_dataset=eval_dataset, **rest)
        self.answer, self.held_out = answer, eval_dataset
        self.grammar = grammar and grammar.to(self.args.device)
        self.losses = [] if losses is None else losses

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The loss of a batch of `TrainingCollator`, whose pictures become numbers here, on the device.

        Of the answers' tokens, and with a grammar that over options as well.
        """
        dtype = self.accelerator.unwrap_model(model).dtype
        ready = model_inputs(inputs, self.args.device, dtype)
        loss, outputs = super().compute_loss(model, ready, True, num_items_in_batch)
        if self.grammar is not None:
            # `Trainer` scales the usual loss by the tokens of all batches of a step; this one by their rows.
            own = option_loss(self.grammar, outputs["logits"][:, self.grammar.tokens], inputs)
            loss = loss + own / self.current_gradient_accumulation_steps
        self.losses.append((inputs["rows"], loss.detach()))
        return loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """F1 over the held-out rows, shared out among the processes; of equal adapters the later one is
        kept."""
        rank, world = self.args.process_index, self.args.world_size
        answers = gather_object(self.answer(self.held_out[rank::world]))
        score = metrics.score([a["label"] for a in answers], [a["model_answer"] for a in answers])
        found = {f"{metric_key_prefix}_f1": score.f1, f"{metric_key_prefix}_precision": score.precision}
        if self.is_world_process_zero():
            self._keep_if_best(score.f1, answers)
        self.accelerator.wait_for_everyone()
        self.log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def _keep_if_best(self, f1: float, answers: list[dict[str, Any]]) -> None:
        best = Path(str(self.args.output_dir)) / BEST
        try:
            before = json.loads((best / ANSWERS).read_text())["f1"]
        except (OSError, ValueError):
            before = -1.0
        if f1 >= before:
            beside = best.with_name("best.part")
            shutil.rmtree(beside, ignore_errors=True)
            self.accelerator.unwrap_model(self.model).save_pretrained(beside)
            record = {"step": self.state.global_step, "f1": f1, "answers": answers}
            (beside / ANSWERS).write_text(json.dumps(record))
            replace_folder(beside, best)


def last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint: ``trainer_state.json`` is written last, so it is whole where that
    parses."""
    steps = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True)
    for checkpoint in steps:
        try:
            json.loads((checkpoint / "trainer_state.json").read_text())
        except (OSError, ValueError):
            continue
        return str(checkpoint)
    return None


def _disk_is_full(error: Exception) -> bool:
    """Torch and safetensors tell it in words of their own."""
    words = ("No space left", "File too large", "Disk quota", "PytorchStreamWriter failed writing")
    return any(word in str(error) for word in words)
