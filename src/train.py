"""QLoRA fine-tuning of an IDEFICS2: what ``training.ipynb`` calls.

The adapter folder appears whole, with settings, loss curve and held-out scores in ``training.json``. A run that was cut
off goes on from its last whole checkpoint; a finished one with the same settings and data is not repeated.
"""

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from peft import PeftModel
from tqdm import tqdm
from transformers import Idefics2Processor, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from src import audit, metrics
from src.audit import Verdict
from src.collator import TrainingCollator
from src.dataset import Sample, read_files, read_train, split_by_picture, spread, train_samples
from src.errors import InputError
from src.files import fingerprint
from src.modeling import (
    LoraSettings,
    Preset,
    add_lora,
    compute_dtype,
    load_base,
    load_config,
    load_processor,
    model_stamp,
    preset_for,
)
from src.predict import generate
from src.quantity import canonical
from src.texts import Texts


@dataclasses.dataclass(frozen=True, slots=True)
class TrainSettings:
    """One run of ``training.ipynb``. None: the preset's value for the model's size (see `modeling.Preset`)."""

    data: Path
    out: Path  # holds processed/; adapter/ is written into it
    model: str
    epochs: float = 1.0
    batch_size: int | None = None
    accumulation: int | None = None  # batches per optimizer step
    learning_rate: float | None = None
    warmup: float = 0.03  # share of the steps
    ocr: bool = True  # what was read goes into the prompts, and the audit decides on the labels
    empty_share: float = 0.15  # of the training rows; made from questions that pictures do not answer
    held_out: float = 0.1  # share of the pictures
    scored_rows: int = 500  # at most so many held-out rows are answered for the F1
    checkpoint_steps: int = 200
    seed: int = 0
    lora: LoraSettings = dataclasses.field(default_factory=LoraSettings)


@dataclasses.dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run left: the folder, the loss per logged step, the answers on held-out rows and their scores."""

    adapter: Path
    losses: pd.DataFrame  # step, loss
    answers: pd.DataFrame  # row, picture, entity, truth, prediction
    scores: pd.DataFrame  # `metrics.table` of the answers


@dataclasses.dataclass(frozen=True, slots=True)
class TrainData:
    """What ``train.csv`` comes down to; held-out samples keep their labels as they are."""

    samples: list[Sample]  # to train on, after the audit
    held_out: list[Sample]
    reasons: Counter[str]  # rows per reason of `dataset.train_samples`
    audited: list[tuple[Sample, Verdict]]  # before what the audit does
    added: int  # made rows with the empty answer
    texts: Texts | None  # None without OCR


def load_data(settings: TrainSettings) -> TrainData:
    """Read, split by picture, audit the labels to train on and add empty answers, the last two with OCR only."""
    processed = settings.out / "processed"
    samples, reasons = train_samples(read_train(settings.data), processed, read_files(settings.data))
    if len({sample.picture for sample in samples}) < 2:
        found = ", ".join(f"{reason}: {count}" for reason, count in reasons.items())
        raise InputError(f"{settings.data / 'train.csv'}: fewer than two pictures with a usable row ({found})")
    train_part, held_part = split_by_picture(samples, settings.held_out, settings.seed)
    if not settings.ocr:
        return TrainData(train_part, held_part, reasons, [], 0, None)
    texts = Texts(processed)
    verdicts = audit.audit(train_part, texts)
    kept = audit.apply(train_part, verdicts)
    missing = int(settings.empty_share * len(kept) / (1 - settings.empty_share)) - sum(not s.answer for s in kept)
    more = audit.empty_samples(train_part, texts, max(0, missing), settings.seed)
    audited = list(zip(train_part, verdicts, strict=True))
    return TrainData(kept + more, held_part, reasons, audited, len(more), texts)


def train(settings: TrainSettings, data: TrainData | None = None) -> TrainResult:
    """Train, score on held-out rows, save the adapter to ``out/adapter``; or return the result that is there already.

    ``data`` is `load_data` of the same settings where that is at hand: the audit of all rows takes minutes.
    Raises `InputError` for data or a model that cannot be used, and when memory does not suffice.
    """
    preset = preset_for(load_config(settings.model))
    settings = dataclasses.replace(
        settings,
        batch_size=settings.batch_size or preset.train_batch_size,
        accumulation=settings.accumulation or preset.accumulation,
        learning_rate=settings.learning_rate or preset.learning_rate,
    )
    adapter, key = settings.out / "adapter", _fingerprint(settings)
    if finished := _load_result(adapter, key):
        print(f"{adapter} is already trained with these settings and data")
        return finished
    data = data or load_data(settings)
    processor = load_processor(settings.model)
    torch.manual_seed(settings.seed)  # LoRA's starting weights
    model = add_lora(load_base(settings.model), settings.lora, preset.gradient_checkpointing)
    checkpoints = settings.out / "checkpoints"
    try:
        losses = _fit(model, processor, data, settings, checkpoints / key[:12])
        answers = evaluate(model, processor, spread(data.held_out, settings.scored_rows), data.texts, preset)
    except torch.OutOfMemoryError:
        size = settings.batch_size
        raise InputError(f"out of GPU memory at batch_size={size}; halve it and double accumulation") from None
    _save(model, adapter, {"fingerprint": key, "settings": _plain(settings), "losses": losses, "answers": answers})
    shutil.rmtree(checkpoints, ignore_errors=True)
    result = _load_result(adapter, key)
    assert result is not None
    return result


def evaluate(
    model: PeftModel, processor: Idefics2Processor, samples: Sequence[Sample], texts: Texts | None, preset: Preset
) -> list[dict[str, Any]]:
    """Answer held-out samples: ``row, picture, entity, truth, prediction`` each."""
    return [
        {"row": s.row, "picture": s.picture.name, "entity": s.entity, "truth": s.answer,
         "prediction": canonical(answer.text, s.entity)}
        for s, answer in generate(model, processor, samples, texts, preset.predict_batch_size)
    ]  # fmt: skip


def _fit(
    model: PeftModel, processor: Idefics2Processor, data: TrainData, settings: TrainSettings, checkpoints: Path
) -> list[dict[str, float]]:
    """Run HF's `Trainer`; return ``{"step", "loss"}`` per logged step."""
    cuda = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup,
        optim="paged_adamw_8bit" if cuda else "adamw_torch",
        bf16=cuda and compute_dtype() is torch.bfloat16,
        fp16=cuda and compute_dtype() is torch.float16,
        use_cpu=not cuda,
        dataloader_num_workers=4 if cuda else 0,
        dataloader_pin_memory=cuda,
        remove_unused_columns=False,
        logging_steps=10 if cuda else 1,
        save_steps=settings.checkpoint_steps,
        save_total_limit=2,
        seed=settings.seed,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=data.samples,
        data_collator=TrainingCollator(processor, data.texts),
        callbacks=[_Bar()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_checkpoint(checkpoints))
    history = trainer.state.log_history
    return [{"step": entry["step"], "loss": round(entry["loss"], 5)} for entry in history if "loss" in entry]


class _Bar(TrainerCallback):
    """A plain tqdm bar with the loss; Trainer's own leaves a dead widget in a saved notebook."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar, at the step a resumed run starts from."""
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="train", unit="step")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        """Show the loss."""
        if "loss" in logs:
            self.bar.set_postfix(loss=f"{logs['loss']:.3f}", refresh=False)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One optimizer step on."""
        self.bar.update(state.global_step - self.bar.n)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar.close()


def _last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint: ``trainer_state.json`` is written last, so it is whole where that parses."""
    steps = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True)
    for checkpoint in steps:
        try:
            json.loads((checkpoint / "trainer_state.json").read_text())
        except (OSError, ValueError):
            continue
        return str(checkpoint)
    return None


def _plain(settings: TrainSettings) -> dict[str, Any]:
    """The settings as JSON values, without the paths: a moved folder changes nothing."""
    return {key: value for key, value in dataclasses.asdict(settings).items() if key not in ("data", "out")}


def _fingerprint(settings: TrainSettings) -> str:
    """What the adapter depends on: settings, base model, labels, processed pictures."""
    depends_on = {
        settings.out / "processed" / "manifest.csv": "run preprocess.py first",
        settings.data / "train.csv": "a data folder needs this file",
    }
    if settings.ocr:
        depends_on[settings.out / "processed" / "text.jsonl"] = "run preprocess.py with --ocr"
    return fingerprint(json.dumps([_plain(settings), model_stamp(settings.model)]), depends_on)


def _save(model: PeftModel, adapter: Path, record: dict[str, Any]) -> None:
    """Write the adapter folder (PEFT's format, safetensors, and ``training.json``) whole, in place of an older one."""
    beside, old = adapter.with_name("adapter.part"), adapter.with_name("adapter.old")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    model.save_pretrained(beside)
    (beside / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    (beside / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    if adapter.exists():
        adapter.replace(old)
    beside.replace(adapter)
    shutil.rmtree(old, ignore_errors=True)


def _load_result(adapter: Path, key: str) -> TrainResult | None:
    """The result in ``adapter`` if it is that of fingerprint ``key``."""
    try:
        record = json.loads((adapter / "training.json").read_text())
    except (OSError, ValueError):
        return None
    if record.get("fingerprint") != key:
        return None
    answers = pd.DataFrame(record["answers"], columns=["row", "picture", "entity", "truth", "prediction"])
    scores = metrics.table(answers["entity"].tolist(), answers["truth"].tolist(), answers["prediction"].tolist())
    return TrainResult(adapter, pd.DataFrame(record["losses"], columns=["step", "loss"]), answers, scores)
