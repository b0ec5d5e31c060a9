"""Answer the test rows: what ``inference.ipynb`` calls. Answers are kept as they come, so nothing is computed twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from peft import PeftModel
from tqdm import tqdm
from transformers import Idefics2Processor, LogitsProcessorList, StoppingCriteriaList

from src import sanity
from src.adapter import load_record
from src.collator import encode, open_picture, prompt_of
from src.dataset import Sample, picture_names, processed_name, read_files, read_test, test_samples
from src.decoding import AnswerGrammar, Decoded, Determined, Guide
from src.errors import InputError
from src.files import Journal, fingerprint, write_whole
from src.modeling import SPECIAL_TOKENS, load_adapter, load_base, load_processor, model_stamp, preset_for
from src.quantity import canonical
from src.settings import PredictSettings
from src.texts import Texts

MAX_NEW_TOKENS = 16
_EOS = [2, SPECIAL_TOKENS["<end_of_utterance>"]]


def predict(settings: PredictSettings) -> pd.DataFrame:
    """Answer every row of ``test.csv``, write ``test_out.csv`` and ``test_out.details.csv``, return the details.

    Details: ``index, image_link, entity_name, prediction, confidence, silence, overridden, reason, picture``, one row
    per test row in its order; ``confidence, silence, overridden`` as in `decoding.Decoded` (empty where nothing was
    asked), ``reason`` why there was no question (see `dataset.unusable`), ``picture`` the processed picture's name.
    The CSV gets its name only after it has passed the sanity check. Raises `InputError`.
    """
    table, files = read_test(settings.data), read_files(settings.data)
    samples, refused = test_samples(table, settings.out / "processed", files)
    journal = Journal(settings.out / "test_out.journal.jsonl")
    depends_on = {
        settings.out / "adapter" / "adapter_model.safetensors": "run training.ipynb first",
        settings.out / "processed" / "manifest.csv": "run preprocess.py first",
        settings.data / "test.csv": "a data folder needs this file",
    }
    made_with = load_record(settings.out / "adapter").get("settings", {})
    texts = _texts(settings.out, made_with)
    if texts is not None:
        depends_on[settings.out / "processed" / "text.jsonl"] = "run preprocess.py with --ocr"
    key = {"fingerprint": fingerprint(model_stamp(settings.model), depends_on), "decoding": "grammar"}
    entries = journal.read()
    if entries[:1] != [key]:  # another model, adapter, test file or picture folder
        journal.remove()
        entries = []
    written = {entry.pop("index"): entry for entry in entries[1:]}
    todo = [sample for sample in samples if sample.row not in written]
    if todo:
        base = load_base(settings.model)
        batch_size = settings.batch_size or preset_for(base.config).predict_batch_size
        model = load_adapter(base, settings.out / "adapter")
        processor = load_processor(settings.model, made_with.get("image_splitting", False))
        with journal:
            if not entries:
                journal.add(key)
            for sample, answer in generate(model, processor, todo, texts, batch_size):
                written[sample.row] = asdict(answer)
                journal.add({"index": sample.row, **written[sample.row]})
    details = table[["index", "image_link", "entity_name"]].copy()
    answers = [written.get(index, {}) for index in table["index"]]
    pairs = zip(answers, table["entity_name"], strict=True)
    details["prediction"] = [canonical(answer.get("text", ""), entity) for answer, entity in pairs]
    for column in ("confidence", "silence", "overridden"):
        details[column] = [answer.get(column, "") for answer in answers]
    details["reason"] = [refused.get(index, "") for index in table["index"]]
    details["picture"] = [processed_name(image) for image in picture_names(table["image_link"], files)]
    _write(details, settings)
    return details


def _texts(out: Path, made_with: Mapping[str, Any]) -> Texts | None:
    """What was read on the pictures, if the adapter was trained with it (one that does not tell: if it is there)."""
    ocr = made_with.get("ocr", (out / "processed" / "text.jsonl").is_file())
    return Texts(out / "processed") if ocr else None


@torch.inference_mode()
def generate(
    model: PeftModel, processor: Idefics2Processor, samples: Sequence[Sample], texts: Texts | None, batch_size: int
) -> Iterator[tuple[Sample, Decoded]]:
    """Yield each sample with the model's answer: greedy within the grammar, at most `MAX_NEW_TOKENS` tokens."""
    model.eval()
    grammar = AnswerGrammar(processor.tokenizer).to(model.device)
    bar = tqdm(total=len(samples), desc="predict", unit="row")
    for start in range(0, len(samples), batch_size):
        batch = samples[start : start + batch_size]
        pictures = [open_picture(sample) for sample in batch]
        prompts = [prompt_of(sample, texts) for sample in batch]
        inputs = encode(processor, pictures, prompts, padding_side="left").to(model.device, model.dtype)
        guide = Guide(grammar, [sample.entity for sample in batch], inputs["input_ids"].shape[1])
        made = model.generate(
            **inputs,
            max_new_tokens=MAX_NEW_TOKENS,
            do_sample=False,
            eos_token_id=_EOS,
            pad_token_id=0,
            logits_processor=LogitsProcessorList([guide]),
            stopping_criteria=StoppingCriteriaList([Determined(guide)]),
            return_dict_in_generate=True,
            output_scores=True,
        )
        bar.update(len(batch))
        yield from zip(batch, guide.decode(made.sequences, made.scores), strict=True)
    bar.close()


def _write(details: pd.DataFrame, settings: PredictSettings) -> None:
    """Write the details, and the prediction file once it has passed `sanity.check`."""
    write_whole(settings.out / "test_out.details.csv", details.to_csv(index=False))
    final, beside = settings.out / "test_out.csv", settings.out / "test_out.unchecked.csv"
    write_whole(beside, details[["index", "prediction"]].to_csv(index=False))
    faults = sanity.check(beside, settings.data / "test.csv")
    if faults:
        raise InputError(f"{beside}: fails the sanity check ({len(faults)} faults, the first: {faults[0]})")
    beside.replace(final)
