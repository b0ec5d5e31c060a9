"""How ``data/idefics2-tiny`` was made: an IDEFICS2 of few, small layers, with the real tokenizer, trained from scratch.

    pip install -r requirements-dev.txt && python -m src.bundled.pretrain --out data/idefics2-tiny --minutes 60

The tokenizer is Mistral-7B v0.1's SentencePiece model (shipped in the mistral-common package, Apache-2.0) with
IDEFICS2's three extra tokens. Training is full (no LoRA, float32), on endless generated `scenes`, with the prompts of
`prompts` and the labels of `collator`. It learns to choose among the readings in the prompt; the pictures are small for
most of the time, because reading pixels is not learnt in hours of CPU time, and of full size at the end, so that the
model has seen such.
"""

import argparse
import importlib.resources
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm
from transformers import (
    AutoTokenizer,
    Idefics2Config,
    Idefics2ForConditionalGeneration,
    Idefics2Processor,
    LlamaTokenizer,
)
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil

from src.bundled.scenes import SIDE, draw, make_scene, question
from src.data.errors import InputError, run_main
from src.data.files import replace_folder
from src.model.collator import TrainingCollator, encode, model_inputs
from src.model.decoding import AnswerGrammar, generate_in_grammar
from src.model.modeling import SPECIAL_TOKENS, load_processor
from src.model.prompts import describe, prompt
from src.reading.candidates import candidates
from src.reading.joining import readings
from src.reading.quantity import canonical, normalise_label

SMALL, FULL = 70, 588
"""Sides of the pretraining pictures in pixels, and of those at the end."""
LAST = 0.12
"""Share of the time with full-size pictures."""
EVALUATED = 400
"""Scenes that the finished model answers, with full-size pictures; a tenth after a training of minutes."""
PEAK, WARM_UP = 1.5e-3, 0.03
"""Highest learning rate, and the share of the time until it is reached."""

# The published chat template of IDEFICS2 (this repo's prompts render the same text with explicit spaces).
CHAT_TEMPLATE = (
    "{% for message in messages %}{{message['role'].capitalize()}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def write_processor(folder: Path) -> None:
    """Write IDEFICS2's tokenizer and image processor settings into ``folder``. Needs requirements-dev.txt."""
    try:
        import mistral_common  # noqa: F401
        from tokenizers import AddedToken
        from tokenizers.models import BPE
        from transformers.convert_slow_tokenizer import SentencePieceExtractor
    except ImportError:
        raise InputError("mistral-common is missing; pip install -r requirements-dev.txt") from None
    spm = importlib.resources.files("mistral_common") / "data" / "tokenizer.model.v1"
    extracted: Any = SentencePieceExtractor(str(spm)).extract(BPE)  # a dict, whatever its type says
    tokenizer = LlamaTokenizer(extracted["vocab"], extracted["merges"], pad_token="<unk>", add_bos_token=True)
    added = sorted(set(SPECIAL_TOKENS) - {"<unk>"}, key=SPECIAL_TOKENS.__getitem__)
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=True) for token in added], special_tokens=True)
    tokenizer.save_pretrained(folder)
    # TokenizersBackend takes tokenizer.json as it is; LlamaTokenizer would rebuild it from its own defaults.
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text()) | {"tokenizer_class": "TokenizersBackend"}
    config.write_text(json.dumps(settings, indent=2) + "\n")
    images = Idefics2ImageProcessorPil(do_image_splitting=False)
    processor = Idefics2Processor(
        images, AutoTokenizer.from_pretrained(folder), image_seq_len=64, chat_template=CHAT_TEMPLATE
    )
    processor.save_pretrained(folder)


def tiny_config() -> Idefics2Config:
    """Few, small layers of every part, embeddings tied: 4.1 M of its parameters are the vocabulary's."""
    config = Idefics2Config(
        tie_word_embeddings=True,
        image_token_id=SPECIAL_TOKENS["<image>"],
        text_config={
            "model_type": "mistral",
            "vocab_size": 32003,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": 32,
            "max_position_embeddings": 2048,
            "sliding_window": None,
            "rms_norm_eps": 1e-5,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
            "tie_word_embeddings": True,
        },
        vision_config={
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": 980,
            "patch_size": 14,
        },
        perceiver_config={
            "hidden_size": 128,
            "rms_norm_eps": 1e-5,
            "resampler_n_latents": 64,
            "resampler_depth": 2,
            "resampler_n_heads": 4,
            "resampler_head_dim": 32,
            "num_key_value_heads": 2,
        },
    )
    config.bos_token_id, config.eos_token_id, config.pad_token_id = 1, SPECIAL_TOKENS["<end_of_utterance>"], 0
    return config


class SceneBatches(IterableDataset):
    """Endless training batches of generated scenes with pictures of ``size`` pixels; workers draw different ones."""

    def __init__(self, processor: Idefics2Processor, batch_size: int, size: int, seed: int) -> None:
        self.batch_size, self.size, self.seed = batch_size, size, seed
        processor.image_processor.do_resize = False  # it would enlarge small pictures
        self.collator = TrainingCollator(processor)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, self.size, worker.id if worker else 0])
        while True:
            rows = [row for row in (example(rng, self.size) for _ in range(2 * self.batch_size)) if row]
            rows.sort(key=lambda row: len(row[1]))  # neighbours are of like length: less padding
            for start in rng.permutation(range(0, len(rows) - self.batch_size + 1, self.batch_size)):
                pictures, prompts, answers, _ = zip(*rows[start : start + self.batch_size], strict=True)
                yield self.collator.batch(pictures, prompts, answers)


def example(rng: np.random.Generator, size: int) -> tuple[Image.Image, str, str, str] | None:
    """A picture of ``size`` pixels, prompt, answer and entity; None when OCR lost the answer but not other values."""
    scene = make_scene(rng)
    entity, value = question(scene, rng)
    read = readings(scene.lines, SIDE, SIDE)
    described, answer = describe(read), normalise_label(value, entity)[0]
    if answer and f" {answer} " not in re.sub("[;.]( |$)", " ", described):
        if candidates(read, entity):
            return None
        answer = ""
    return Image.fromarray(draw(scene, rng, size)[:, :, ::-1]), prompt(entity, described), answer, entity


def pretrain(out: Path, minutes: float, batch_size: int, seed: int) -> None:
    """Make the model and write it to ``out``, whole or not at all: bf16 safetensors, processor, curve, README figures.

    Stops after ``minutes``; what a seed gives therefore depends on the machine's speed, too.
    """
    if out.exists() and not (out / "pretraining.json").is_file() and any(out.iterdir()):
        raise InputError(f"{out}: holds other files; give an empty --out, or one made by this command")
    beside = out.with_name(out.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    write_processor(beside)
    torch.manual_seed(seed)
    model = Idefics2ForConditionalGeneration(tiny_config())
    model.config.save_pretrained(beside)
    processor = load_processor(str(beside))
    curve = _train(model, processor, minutes, batch_size, seed)
    model.generation_config.update(
        bos_token_id=1, eos_token_id=[2, SPECIAL_TOKENS["<end_of_utterance>"]], pad_token_id=0
    )
    model.bfloat16().save_pretrained(beside)
    parameters = sum(p.numel() for p in model.parameters())
    facts: dict[str, Any] = {"parameters": parameters, "seed": seed, "minutes": minutes, "batch_size": batch_size}
    each = max(1, min(50, len(curve) // 10))
    means = [round(float(np.mean(curve[i : i + each])), 3) for i in range(0, len(curve), each)]
    facts |= {"steps": len(curve), "steps_per_point": each, "loss_curve": means}
    facts["exact_answers"] = evaluate(model.float(), processor, EVALUATED if minutes >= 10 else EVALUATED // 10)
    (beside / "pretraining.json").write_text(json.dumps(facts, indent=2) + "\n")
    if (out / "README.md").is_file():
        shutil.copy(out / "README.md", beside)
    replace_folder(beside, out)


def _train(
    model: Idefics2ForConditionalGeneration, processor: Idefics2Processor, minutes: float, batch_size: int, seed: int
) -> list[float]:
    """Train all parameters for ``minutes``; return the loss of each step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=0.01, betas=(0.9, 0.98))
    curve: list[float] = []
    start, seconds = time.monotonic(), minutes * 60
    for size, rows, until in ((SMALL, batch_size, 1 - LAST), (FULL, max(1, batch_size // 4), 1.0)):
        batches = DataLoader(SceneBatches(processor, rows, size, seed), batch_size=None, num_workers=1)
        bar = tqdm(batches, desc=f"pretrain at {size} px", unit="step", mininterval=5)
        for batch in bar:
            done = (time.monotonic() - start) / seconds
            if done >= until:
                break
            for group in optimizer.param_groups:
                group["lr"] = PEAK * min(1, done / WARM_UP) * (0.51 + 0.49 * np.cos(np.pi * done))
            loss = model(**model_inputs(batch, model.device, model.dtype)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            curve.append(loss.item())
            bar.set_postfix(loss=f"{np.mean(curve[-50:]):.3f}")
    return curve


@torch.inference_mode()
def evaluate(
    model: Idefics2ForConditionalGeneration, processor: Idefics2Processor, count: int, size: int = FULL
) -> dict[str, float]:
    """Share of ``count`` scenes (of a seed that is never trained on) answered exactly: all, with a value, without."""
    processor.image_processor.do_resize = False
    grammar, rng, model = AnswerGrammar(processor.tokenizer), np.random.default_rng(2**31), model.eval()
    rows = [row for row in (example(rng, size) for _ in range(count)) if row]
    right: dict[bool, list[bool]] = {True: [], False: []}
    for start in tqdm(range(0, len(rows), 8), desc="evaluate", unit="batch"):
        pictures, prompts, answers, entities = zip(*rows[start : start + 8], strict=True)
        inputs = encode(processor, pictures, prompts, padding_side="left")
        for decoded, answer, entity in zip(
            generate_in_grammar(model, grammar, entities, **inputs), answers, entities, strict=True
        ):
            right[bool(answer)].append(canonical(decoded.text, entity) == answer)
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
    args = parser.parse_args()
    pretrain(args.out, args.minutes, args.batch_size, args.seed)
    return 0


if __name__ == "__main__":
    run_main(main)
