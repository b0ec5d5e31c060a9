"""How ``data/idefics2-tiny`` was made: an IDEFICS2 of few, small layers, with the real tokenizer, from random
weights.

    pip install -r requirements-dev.txt && python -m src.bundled.pretrain --out my/tiny --minutes 60

and then once more with ``--start`` (its README has the commands).

The tokenizer is Mistral-7B v0.1's SentencePiece model (shipped in the mistral-common package, Apache-2.0)
with IDEFICS2's three extra tokens. Training is full (no LoRA, float32), on endless generated `scenes`, with
the prompts of `prompts` and the labels of `collator`, and the loss over options beside the usual one. It
learns to choose among the readings in the prompt; the pictures are small for most of the time, because
reading pixels is not learnt in hours of CPU time, and of full size at the end, so that the model has seen
such. Every few minutes it leaves a checkpoint, from which the same command goes on.
"""

import argparse
import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm
from transformers import DynamicCache, Idefics2ForConditionalGeneration, Idefics2Processor

from src.bundled.scene import SIDE, draw
from src.bundled.scenes import make_scene, question
from src.bundled.tiny import tiny_config, write_processor
from src.data.errors import InputError, run_main
from src.data.files import replace_folder
from src.data.labels import normalise_label
from src.model.collator import TrainingCollator, encode, model_inputs
from src.model.decoding import AnswerGrammar
from src.model.modeling import SPECIAL_TOKENS, load_processor, model_stamp
from src.model.option_loss import IGNORED, option_loss, with_options
from src.model.prompts import describe, prompt
from src.model.scoring import score_options
from src.reading.cross_line import parse_lines
from src.reading.options import options

SMALL, FULL = 70, 588
"""Sides of the pretraining pictures in pixels, and of those at the end."""
LAST = 0.12
"""Share of the time with full-size pictures."""
EVALUATED = 400
"""Scenes that the finished model answers, with full-size pictures; a tenth after a training of minutes."""
CHECKPOINT, EVERY = "checkpoint.pt", 300
"""In the folder beside the one to come; seconds between two of them."""
PEAK, AGAIN, WARM_UP = 1.5e-3, 8e-4, 0.03
"""Highest learning rate, that from weights that were trained, and the share of the time until it is
reached."""


class SceneBatches(IterableDataset):
    """Endless training batches of generated scenes with pictures of ``size`` pixels; workers draw different
    ones."""

    def __init__(self, processor: Idefics2Processor, batch_size: int, size: int, seed: int) -> None:
        self.batch_size, self.size, self.seed = batch_size, size, seed
        processor.image_processor.do_resize = False  # it would enlarge small pictures
        self.collator, self.grammar = TrainingCollator(processor), AnswerGrammar(processor.tokenizer)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, self.size, worker.id if worker else 0])
        while True:
            rows = [row for row in (example(rng, self.size) for _ in range(2 * self.batch_size)) if row]
            rows.sort(key=lambda row: len(row.prompt))  # neighbours are of like length: less padding
            for start in rng.permutation(range(0, len(rows) - self.batch_size + 1, self.batch_size)):
                some = rows[start : start + self.batch_size]
                answers = [row.answer for row in some]
                batch = self.collator.batch(
                    [row.picture for row in some], [row.prompt for row in some], answers
                )
                known = [row.options for row in some]
                right = [
                    own.index(text) if text else len(own) for own, text in zip(known, answers, strict=True)
                ]
                yield with_options(batch, self.grammar, [row.entity for row in some], known, right)


@dataclass(frozen=True, slots=True)
class Example:
    """A row to train on; the answer is one of the options, or empty."""

    picture: Image.Image
    prompt: str
    entity: str
    answer: str
    options: list[str]


def example(rng: np.random.Generator, size: int) -> Example | None:
    """A row with a picture of ``size`` pixels; None when OCR lost the answer but not other values."""
    scene = make_scene(rng)
    entity, value = question(scene, rng)
    read = parse_lines(scene.lines, SIDE, SIDE)
    has_lengths = any(mention.is_length for reading in read for mention in reading.mentions)
    described = describe(read, scene.layout if has_lengths else None)
    answer = normalise_label(value, entity)[0]
    groups = [[str(candidate.quantity) for candidate in group] for group in options(read, entity)]
    texts = [own[0] for own in groups]
    if answer:
        answer = next((own[0] for own in groups if answer in own), "")
        if groups and not answer:
            return None
    picture = Image.fromarray(draw(scene, rng, size)[:, :, ::-1])
    return Example(picture, prompt(entity, described), entity, answer, texts)


def pretrain(out: Path, minutes: float, batch_size: int, seed: int, start: Path | None = None) -> None:
    """Make the model and write it to ``out``, whole or not at all: bf16 safetensors, processor, curve, README
    figures.

    From random weights, or those of the folder ``start``.

    Stops after ``minutes`` of training, those before a cut included; what a seed gives therefore depends on
    the machine's speed, too.
    """
    if out.exists() and not (out / "pretraining.json").is_file() and any(out.iterdir()):
        raise InputError(f"{out}: holds other files; give an empty --out, or one made by this command")
    beside = out.with_name(out.name + ".part")
    beside.mkdir(parents=True, exist_ok=True)
    checkpoint = beside / CHECKPOINT
    write_processor(beside)
    torch.manual_seed(seed)
    model = Idefics2ForConditionalGeneration(tiny_config())
    if start:
        other = Idefics2ForConditionalGeneration.from_pretrained(
            start, dtype=torch.float32, use_safetensors=True
        )
        model.load_state_dict(other.state_dict())
    model.config.save_pretrained(beside)
    processor = load_processor(str(beside))
    key = [minutes, batch_size, seed, model_stamp(str(start)) if start else ""]
    curve = _train(model, processor, minutes, batch_size, seed, AGAIN if start else PEAK, checkpoint, key)
    model.generation_config.update(
        bos_token_id=1, eos_token_id=[2, SPECIAL_TOKENS["<end_of_utterance>"]], pad_token_id=0
    )
    model.bfloat16().save_pretrained(beside)
    parameters = sum(p.numel() for p in model.parameters())
    facts: dict[str, Any] = {
        "parameters": parameters,
        "start": str(start or "random weights"),
        "seed": seed,
        "minutes": minutes,
        "batch_size": batch_size,
    }
    each = max(1, min(50, len(curve) // 10))
    means = [round(float(np.mean(curve[i : i + each])), 3) for i in range(0, len(curve), each)]
    facts |= {"steps": len(curve), "steps_per_point": each, "loss_curve": means}
    facts["exact_answers"] = evaluate(
        model.float(), processor, EVALUATED if minutes >= 10 else EVALUATED // 10
    )
    (beside / "pretraining.json").write_text(json.dumps(facts, indent=2) + "\n")
    for left in (checkpoint, checkpoint.with_suffix(".part")):
        left.unlink(missing_ok=True)
    if (out / "README.md").is_file():
        shutil.copy(out / "README.md", beside)
    replace_folder(beside, out)


def _train(
    model: Idefics2ForConditionalGeneration, processor: Idefics2Processor, minutes: float, batch_size: int, seed: int,
    peak: float, checkpoint: Path, key: list[Any],
) -> list[float]:  # fmt: skip
    """Train all parameters for ``minutes``, from the checkpoint if its ``key`` is this; the `_loss` of each
    step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.01, betas=(0.9, 0.98))
    grammar = AnswerGrammar(processor.tokenizer)
    curve: list[float] = []
    before, seconds = 0.0, minutes * 60
    if checkpoint.is_file() and (saved := torch.load(checkpoint, weights_only=True))["key"] == key:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        curve, before = saved["curve"], saved["seconds"]
        print(f"on from step {len(curve)}, after {before / 60:.0f} minutes")
    start = last = time.monotonic()
    for size, rows, until in ((SMALL, batch_size, 1 - LAST), (FULL, max(1, batch_size // 4), 1.0)):
        if before / seconds >= until:
            continue
        scenes = SceneBatches(processor, rows, size, seed + len(curve))
        bar = tqdm(
            DataLoader(scenes, batch_size=None, num_workers=1), f"pretrain at {size} px", mininterval=5
        )
        for batch in bar:
            spent = before + time.monotonic() - start
            if spent / seconds >= until:
                break
            if time.monotonic() - last > EVERY:
                last = time.monotonic()
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                torch.save(
                    state | {"curve": curve, "seconds": spent, "key": key}, checkpoint.with_suffix(".part")
                )
                checkpoint.with_suffix(".part").replace(checkpoint)
            for group in optimizer.param_groups:
                done = spent / seconds
                group["lr"] = peak * min(1, done / WARM_UP) * (0.51 + 0.49 * math.cos(math.pi * done))
            loss = _loss(model, grammar, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            curve.append(loss.item())
            bar.set_postfix(loss=f"{np.mean(curve[-50:]):.3f}")
    return curve


def _loss(
    model: Idefics2ForConditionalGeneration, grammar: AnswerGrammar, batch: dict[str, Any]
) -> torch.Tensor:
    """That over options and half of the usual one, for which alone the whole vocabulary has to be
    computed."""
    inputs = model_inputs(batch, model.device, model.dtype)
    keep, labels = inputs.pop("logits_to_keep"), inputs.pop("shift_labels")
    del inputs["labels"]
    hidden, weight = model.model(**inputs).last_hidden_state[keep], model.lm_head.weight
    told = labels != IGNORED
    usual = torch.nn.functional.cross_entropy(torch.nn.functional.linear(hidden[told], weight), labels[told])
    own = option_loss(grammar, torch.nn.functional.linear(hidden, weight[grammar.tokens]), batch)
    return 0.5 * usual + own


@torch.inference_mode()
def evaluate(
    model: Idefics2ForConditionalGeneration, processor: Idefics2Processor, count: int, size: int = FULL
) -> dict[str, float]:
    """Share of ``count`` scenes (of a seed that is never trained on) answered exactly: all, with a value,
    without."""
    processor.image_processor.do_resize = False
    grammar, rng, model = AnswerGrammar(processor.tokenizer), np.random.default_rng(2**31), model.eval()
    rows = [row for row in (example(rng, size) for _ in range(count)) if row]
    right: dict[bool, list[bool]] = {True: [], False: []}
    for start in tqdm(range(0, len(rows), 8), desc="evaluate", unit="batch"):
        some = rows[start : start + 8]
        inputs = encode(
            processor, [row.picture for row in some], [row.prompt for row in some], padding_side="left"
        )
        empty = DynamicCache(config=model.config)
        ids, mask = inputs.pop("input_ids"), inputs.pop("attention_mask")
        answers = score_options(
            model, grammar, [row.entity for row in some], [row.options for row in some],
            cache=empty, before=mask[:, :0], questions=ids, question_mask=mask, **inputs,
        )  # fmt: skip
        for row, scored in zip(some, answers, strict=True):
            right[bool(row.answer)].append(scored.answer == row.answer)
    every = right[True] + right[False]
    shares = {"all": every, "with a value": right[True], "without": right[False]}
    return {name: round(float(np.mean(hits)), 3) for name, hits in shares.items()} | {"scenes": len(every)}


def main() -> int:
    """Command line: make the tiny model."""
    parser = argparse.ArgumentParser(description="Make the bundled tiny IDEFICS2.")
    parser.add_argument("--out", type=Path, default=Path("data/idefics2-tiny"))
    parser.add_argument("--minutes", type=float, default=60.0, help="training time (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--start", type=Path, help="folder with the weights to begin with (default: random ones)"
    )
    args = parser.parse_args()
    pretrain(args.out, args.minutes, args.batch_size, args.seed, args.start)
    return 0


if __name__ == "__main__":
    run_main(main)
