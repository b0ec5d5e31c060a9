"""The making of the bundled model: of the real class, with few, small layers, trained from random weights.

    pip install -r requirements-dev.txt && python -m src.bundled.pretrain --out my/tiny --minutes 60

and then once more with ``--start``. The committed weights are of commit d0d814e and an earlier generator; the
README in their folder has the commands.

The tokenizer is Mistral-7B v0.1's SentencePiece model (shipped in the mistral-common package, Apache-2.0)
with the family's extra tokens. All weights are trained (no LoRA, float32) on endless generated `scenes`, with
the prompts of the pipeline and, beside its usual loss, its loss over options. The model learns to choose
among the options in the prompt. Images are small for most of the time, because reading pixels is not learnt
in hours of CPU time, and of full size at the end, so that the model has seen such. Every few minutes there is
a checkpoint, from which the same command goes on.
"""

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
from torch.nn.functional import cross_entropy, linear
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm
from transformers import AutoModelForImageTextToText, DynamicCache, PreTrainedModel

from src.bundled.scene import SIDE
from src.bundled.scenes import make_scene, question
from src.bundled.synthetic import draw
from src.bundled.tiny import tiny_config, write_processor
from src.data.errors import InputError, run_main
from src.data.files import replace_folder
from src.data.flags import settings_from_command_line
from src.data.labels import normalise_label
from src.model.collator import TrainingCollator, encode, model_inputs
from src.model.contents import model_contents
from src.model.decoding import AnswerGrammar
from src.model.family import family_of
from src.model.modeling import load_processor
from src.model.option_loss import IGNORED, option_loss, with_options
from src.model.prompts import PromptFunction, prompt_for
from src.model.scoring import score_options
from src.reading.context import prompt_context
from src.reading.cross_line import parse_lines
from src.reading.options import find_options
from src.settings import MODEL, setting

SMALL, FULL = 70, 588
"""Sides of the images in pixels: for most of the time, and at the end."""
FULL_SHARE = 0.12
"""Share of the time with images of full size."""
EVALUATED = 400
"""Scenes that the finished model answers, with images of full size; a tenth after a training of minutes."""
CHECKPOINT, EVERY = "checkpoint.pt", 300
"""A file in the folder beside the one to come; seconds between two of them."""
PEAK, PEAK_AGAIN, WARM_UP = 1.5e-3, 8e-4, 0.03
"""Highest learning rate from random weights and from trained ones; share of the time until it is reached."""


@dataclass(frozen=True, slots=True)
class PretrainSettings:
    """The flags of this command."""

    out: Path = setting(Path(MODEL), "folder of the model")
    minutes: float = setting(60.0, "training time", least=0)
    batch_size: int = setting(32, "rows of a step", least=1)
    seed: int = setting(0, "random seed of weights and scenes", least=0)
    start: Path | None = setting(None, "folder with the weights to begin with; default: random ones")


@dataclass(frozen=True, slots=True)
class Example:
    """A row to train on; the answer is one of the options, or empty."""

    image: Image.Image
    prompt: str
    entity: str
    answer: str
    options: list[str]


def example(rng: np.random.Generator, size: int, prompt: PromptFunction) -> Example | None:
    """Make a row with an image of ``size`` pixels; None when OCR lost the answer but not other values."""
    scene = make_scene(rng)
    entity, value = question(scene, rng)
    lines = parse_lines(scene.lines, SIDE, SIDE)
    has_lengths = any(mention.is_length for line in lines for mention in line.mentions)
    context = prompt_context(lines, scene.layout if has_lengths else None)
    texts = [option.texts for option in find_options(lines, entity, None)[:-1]]
    label = normalise_label(value, entity)[0]
    answer = next((option[0] for option in texts if label in option), "")
    if label and texts and not answer:
        return None
    image = Image.fromarray(draw(scene, rng, size)[:, :, ::-1])
    return Example(image, prompt(entity, context), entity, answer, [option[0] for option in texts])


class SceneBatches(IterableDataset):
    """Endless training batches of scenes with images of ``size`` pixels; each worker makes different ones."""

    def __init__(self, processor: Any, batch_size: int, size: int, seed: int) -> None:
        self.batch_size, self.size, self.seed = batch_size, size, seed
        processor.image_processor.do_resize = False  # it would enlarge small images
        self.collator, self.grammar = TrainingCollator(processor), AnswerGrammar(processor)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, self.size, worker.id if worker else 0])
        while True:
            rows = [
                row
                for row in (example(rng, self.size, self.collator.prompt) for _ in range(2 * self.batch_size))
                if row
            ]
            rows.sort(key=lambda row: len(row.prompt))  # neighbours are of like length: less padding
            for start in rng.permutation(range(0, len(rows) - self.batch_size + 1, self.batch_size)):
                yield self._batch(rows[start : start + self.batch_size])

    def _batch(self, rows: list[Example]) -> dict[str, Any]:
        images, prompts, answers = zip(*((row.image, row.prompt, row.answer) for row in rows), strict=True)
        batch = self.collator.batch(images, prompts, answers)
        texts = [row.options for row in rows]
        right = [[*row.options, ""].index(row.answer) for row in rows]
        return with_options(batch, self.grammar, [row.entity for row in rows], texts, right)


def pretrain(settings: PretrainSettings) -> None:
    """Make the model and write it to ``settings.out``, whole or not at all, with facts about the training.

    It stops after so many minutes of training, those before a cut included; what a seed gives therefore
    depends on the machine's speed, too. Raises `InputError`.
    """
    out, start = settings.out, settings.start
    if out.exists() and not (out / "pretraining.json").is_file() and any(out.iterdir()):
        raise InputError(f"{out}: holds other files; give an empty --out, or one made by this command")
    beside = out.with_name(out.name + ".part")
    beside.mkdir(parents=True, exist_ok=True)
    write_processor(beside)
    torch.manual_seed(settings.seed)
    model = AutoModelForImageTextToText.from_config(tiny_config())
    if start:
        load = AutoModelForImageTextToText.from_pretrained
        model.load_state_dict(load(start, dtype=torch.float32, use_safetensors=True).state_dict())
    model.config.save_pretrained(beside)
    processor = load_processor(str(beside))
    curve = _train(model, processor, settings, beside / CHECKPOINT)
    end = processor.tokenizer.convert_tokens_to_ids(family_of(processor).end)
    model.generation_config.update(bos_token_id=1, eos_token_id=[2, end], pad_token_id=0)
    model.bfloat16().save_pretrained(beside)
    steps_per_point = max(1, min(50, len(curve) // 10))
    count = EVALUATED if settings.minutes >= 10 else EVALUATED // 10
    points = range(0, len(curve), steps_per_point)
    facts = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "start": str(start or "random weights"),
        "seed": settings.seed,
        "minutes": settings.minutes,
        "batch_size": settings.batch_size,
        "steps": len(curve),
        "steps_per_point": steps_per_point,
        "loss_curve": [round(float(np.mean(curve[at : at + steps_per_point])), 3) for at in points],
        "exact_answers": evaluate(model.float(), processor, count),
    }
    (beside / "pretraining.json").write_text(json.dumps(facts, indent=2) + "\n")
    for left in beside.glob(f"{CHECKPOINT}*"):
        left.unlink()
    if (out / "README.md").is_file():
        shutil.copy(out / "README.md", beside)
    replace_folder(beside, out)


def _train(
    model: PreTrainedModel,
    processor: Any,
    settings: PretrainSettings,
    checkpoint: Path,
) -> list[float]:
    """Train all weights, on from a checkpoint of the same settings; return the loss of each step."""
    peak, budget = PEAK_AGAIN if settings.start else PEAK, 60 * settings.minutes
    started_from = model_contents(str(settings.start)) if settings.start else ""
    key = [settings.minutes, settings.batch_size, settings.seed, started_from]
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.01, betas=(0.9, 0.98))
    grammar = AnswerGrammar(processor)
    curve: list[float] = []
    earlier_seconds = start = saved_at = 0.0
    if checkpoint.is_file() and (saved := torch.load(checkpoint, weights_only=True))["key"] == key:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        curve, earlier_seconds = saved["curve"], saved["seconds"]
        print(f"on from step {len(curve)}, after {earlier_seconds / 60:.0f} minutes")
    full_batch = max(1, settings.batch_size // 4)
    for size, rows, until in ((SMALL, settings.batch_size, 1 - FULL_SHARE), (FULL, full_batch, 1.0)):
        scenes = SceneBatches(processor, rows, size, settings.seed + len(curve))
        loader = DataLoader(scenes, batch_size=None, num_workers=1)
        for batch in (bar := tqdm(loader, f"pretrain at {size} px", mininterval=5)):
            now = time.monotonic()
            start = start or now - earlier_seconds  # the first batch starts the clock
            saved_at = saved_at or now
            share = (now - start) / budget
            if share >= until:
                break
            if now - saved_at > EVERY:
                saved_at = now
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "curve": curve}
                part = checkpoint.with_name(f"{CHECKPOINT}.part")
                torch.save(state | {"seconds": now - start, "key": key}, part)
                part.replace(checkpoint)
            rate = peak * min(1, share / WARM_UP) * (0.51 + 0.49 * math.cos(math.pi * share))
            optimizer.param_groups[0]["lr"] = rate
            loss = _loss(model, grammar, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            curve.append(loss.item())
            bar.set_postfix(loss=f"{np.mean(curve[-50:]):.3f}")
    return curve


def _loss(model: PreTrainedModel, grammar: AnswerGrammar, batch: dict[str, Any]) -> torch.Tensor:
    """Return the loss over options plus half of that over tokens, which alone needs the whole vocabulary."""
    inputs = model_inputs(batch, model.device, model.dtype)
    keep, labels = inputs.pop("logits_to_keep"), inputs.pop("shift_labels")
    del inputs["labels"]
    hidden, weight = model.model(**inputs).last_hidden_state[keep], model.lm_head.weight
    is_label = labels != IGNORED
    token_loss = cross_entropy(linear(hidden[is_label], weight), labels[is_label])
    return 0.5 * token_loss + option_loss(grammar, linear(hidden, weight[grammar.tokens]), batch)


@torch.inference_mode()
def evaluate(model: PreTrainedModel, processor: Any, count: int, size: int = FULL) -> dict[str, float]:
    """Return the share of ``count`` scenes answered exactly: all, with a value, without.

    The scenes are of a seed that is never trained on.
    """
    processor.image_processor.do_resize = False
    grammar, rng, model = AnswerGrammar(processor), np.random.default_rng(2**31), model.eval()
    rows = [row for row in (example(rng, size, prompt_for(processor)) for _ in range(count)) if row]
    right: list[bool] = []
    for start in tqdm(range(0, len(rows), 8), desc="evaluate", unit="batch"):
        batch = rows[start : start + 8]
        images, prompts = [row.image for row in batch], [row.prompt for row in batch]
        entities, texts = [row.entity for row in batch], [row.options for row in batch]
        inputs = encode(processor, images, prompts, padding_side="left")
        ids, mask = inputs.pop("input_ids"), inputs.pop("attention_mask")
        cache = DynamicCache(config=model.config)
        scores = score_options(
            model,
            grammar,
            entities,
            texts,
            cache=cache,
            before=mask[:, :0],
            questions=ids,
            question_mask=mask,
            **inputs,
        )
        right += [score.answer == row.answer for score, row in zip(scores, batch, strict=True)]
    hits, has_value = np.array(right), np.array([bool(row.answer) for row in rows])
    shares = {"all": hits.mean(), "with a value": hits[has_value].mean(), "without": hits[~has_value].mean()}
    return {name: round(float(share), 3) for name, share in shares.items()} | {"scenes": len(rows)}


def main() -> int:
    """Run the command: make the tiny model."""
    pretrain(settings_from_command_line(PretrainSettings, "Make the bundled tiny model."))
    return 0


if __name__ == "__main__":
    run_main(main)
