import math
import random
from multiprocessing.reduction import ForkingPickler
from types import MappingProxyType

import pytest
import torch

from src.data.samples import by_picture
from src.data.samples import test_samples as make_test_samples
from src.data.samples import train_samples as make_train_samples
from src.data.tables import read_test, read_train
from src.data.text_store import TextStore
from src.entities import ENTITY_UNITS
from src.model import generation
from src.model.batches import Preparation, Unanswered, described_lengths, in_batches
from src.model.collator import encode, open_picture, prompt_of
from src.model.decoding import AnswerGrammar, generate_in_grammar
from src.model.generation import NO_NUMBER, generate
from src.model.letterbox import letterboxed_sizes
from src.model.modeling import add_lora, load_base, load_processor, lora_config
from src.model.precision import in_float32, vision_in_bfloat16
from src.reading.quantity import canonical
from src.settings import LoraSettings
from tests.conftest import TINY


@pytest.fixture(scope="module")
def asked(processed):
    """(samples of the small folder with several questions about some pictures, their texts, their sizes)."""
    data, out = processed
    folder = out / "processed"
    samples = make_test_samples(read_test(data), folder, {})[0]
    samples += make_train_samples(read_train(data), folder, {})[0]
    assert len(by_picture(samples)) < len(samples)
    return samples, TextStore(folder), letterboxed_sizes(folder)


@pytest.fixture(scope="module")
def model():
    """The tiny model with an adapter that changes its answers."""
    torch.manual_seed(0)
    tuned = add_lora(load_base(str(TINY)), lora_config(LoraSettings()))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    return tuned.eval()


@pytest.fixture(scope="module")
def processor():
    return load_processor(str(TINY))


def answers(model, processor, asked, samples=None, batch_size=16, texts=True, options=MappingProxyType({})):
    every, read, sizes = asked
    found = generate(
        model, processor, every if samples is None else samples, read if texts else None, sizes, batch_size, workers=0,
        options=options,
    )  # fmt: skip
    return {answered.sample: answered for answered in found}


def _some(sample):
    units = ENTITY_UNITS[sample.entity]
    return tuple(f"{number} {unit}" for number, unit in zip(("2.5", "30"), units, strict=False))


@pytest.mark.parametrize("texts", [True, False])
def test_sharing_a_picture_gives_what_plain_generate_gives(model, processor, asked, texts):
    got = answers(model, processor, asked, texts=texts)
    grammar = AnswerGrammar(processor.tokenizer)
    read = asked[1] if texts else None
    for sample in asked[0]:
        inputs = encode(processor, [open_picture(sample)], [prompt_of(sample, read)], "left")
        with torch.inference_mode():
            (want,) = generate_in_grammar(model, grammar, [sample.entity], **inputs)
        found = got[sample].weighed
        assert found.answer == canonical(want.answer, sample.entity)
        assert found.confidence == pytest.approx(want.confidence, abs=1e-4)
        assert found.abstain == pytest.approx(want.abstain, abs=1e-4)


def test_answers_do_not_depend_on_batch_size_order_or_neighbours(model, processor, asked):
    options = {sample: _some(sample) for sample in asked[0][::2]}  # the others write themselves
    want = answers(model, processor, asked, batch_size=1, options=options)
    shuffled = random.Random(0).sample(asked[0], len(asked[0]))
    for batch_size in (16, 5):
        got = answers(model, processor, asked, shuffled, batch_size, options=options)
        assert got.keys() == want.keys()
        for sample, first in want.items():
            other = got[sample].weighed
            assert other.answer == first.weighed.answer
            assert other.confidence == pytest.approx(first.weighed.confidence, abs=1e-4)


def test_batches_are_of_one_size_with_all_questions_of_a_picture(asked):
    samples, _, sizes = asked
    lengths = described_lengths(samples, asked[1])
    batches = in_batches(samples, sizes, lengths, 6)
    assert sorted((s for b in batches for s in b), key=id) == sorted(samples, key=id)
    for batch in batches:
        assert len({sizes[sample.picture.name] for sample in batch}) == 1
    batch_number = {sample.picture: i for i, batch in enumerate(batches) for sample in batch}
    assert all(batch_number[sample.picture] == i for i, batch in enumerate(batches) for sample in batch)


def test_out_of_memory_halves_the_batch_and_loses_nothing(model, processor, asked, monkeypatch):
    want = answers(model, processor, asked)
    rows = []

    def small_memory(model, grammar, batch, *rest):
        rows.append(len(batch.questions))
        if len(batch.questions) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generation_answer(model, grammar, batch, *rest)

    generation_answer = generation.answer
    monkeypatch.setattr(generation, "answer", small_memory)
    got = answers(model, processor, asked)
    assert rows[0] > rows[1] > rows[2] > 2
    assert max(rows[4:]) <= 2  # the halves are kept for the batches after
    assert {sample: a.weighed.answer for sample, a in got.items()} == {
        sample: a.weighed.answer for sample, a in want.items()
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes in half precision anyway")
def test_the_vision_tower_in_bfloat16_gives_the_same_answers(processor, asked, monkeypatch):
    """Here, and not only on a CPU that gains by it."""
    exact = load_base(str(TINY))
    rounded = load_base(str(TINY))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False})
    vision_in_bfloat16(rounded)
    layers = rounded.model.vision_model.encoder
    assert {parameter.dtype for parameter in layers.parameters()} == {torch.float32}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    vision_in_bfloat16(rounded)
    assert {parameter.dtype for parameter in layers.parameters()} == {torch.bfloat16}
    picture = encode(processor, [open_picture(asked[0][0])], ["<image>"], "left")
    picture = {key: picture[key] for key in ("pixel_values", "pixel_attention_mask")}
    with torch.inference_mode():
        features = [one.model.get_image_features(**picture).pooler_output[0] for one in (exact, rounded)]
        with in_float32(rounded):
            again = rounded.model.get_image_features(**picture).pooler_output[0]
    assert features[1].dtype is rounded.dtype is torch.float32
    assert 0 < (features[0] - features[1]).abs().max() < 0.02 * features[0].abs().max()
    assert torch.allclose(again, features[0], atol=1e-5)  # the bundled weights are in bfloat16 on disk
    want, got = (answers(one, processor, asked) for one in (exact, rounded))
    assert {sample: answered.weighed.answer for sample, answered in got.items()} == {
        sample: answered.weighed.answer for sample, answered in want.items()
    }


@pytest.fixture
def overflowing():
    """The bundled model in float16, with products in its connector that are too large for it."""
    base = load_base(str(TINY)).dequantize(dtype=torch.float32)
    projection = base.model.connector.modality_projection
    with torch.no_grad():
        projection.up_proj.weight.mul_(2**14)
        projection.down_proj.weight.div_(2**14)
    return base.half()


def test_a_batch_that_overflows_is_answered_in_float32(overflowing, processor, asked):
    samples, readings, sizes = asked
    samples = samples[:6]
    batch, _ = Preparation(processor, readings, {samples[0]: _some(samples[0])})(samples)
    grammar = AnswerGrammar(processor.tokenizer)
    assert not any(math.isfinite(row.confidence) for row in generation.answer(overflowing, grammar, batch))
    given = {"options": {samples[0]: _some(samples[0])}}
    got = {
        r.sample: r.weighed for r in generate(overflowing, processor, samples, readings, sizes, 4, 0, **given)
    }
    assert {parameter.dtype for parameter in overflowing.parameters()} == {torch.float16}  # as it was
    overflowing.float()
    want = {
        r.sample: r.weighed for r in generate(overflowing, processor, samples, readings, sizes, 4, 0, **given)
    }
    assert got == want
    assert all(0 <= row.confidence <= 1 for row in got.values())


def test_rows_without_finite_probabilities_have_a_reason_and_no_answer(overflowing, processor, asked):
    samples, readings, sizes = asked
    overflowing.model.connector.modality_projection.down_proj.weight.data[0, 0] = torch.nan
    results = list(generate(overflowing, processor, samples[:3], readings, sizes, 4, workers=0))
    assert [type(result) for result in results] == [Unanswered] * 3
    assert {result.reason for result in results} == {NO_NUMBER}


def test_pictures_come_from_other_processes_as_bytes_and_not_by_shared_memory(processor, asked):
    samples, readings, _ = asked
    batch, _ = Preparation(processor, readings, {})(samples[:4])
    height, width = batch.pixels.sizes[:, 0].max(axis=0)
    assert batch.pixels.values.nbytes == len(batch.pixels.values) * 3 * height * width
    assert len(ForkingPickler.dumps(batch)) > batch.pixels.values.nbytes  # all of it is in the message
    assert batch.part(0, 99) is batch


def test_a_picture_that_brings_up_an_unexpected_error_costs_only_its_own_rows(model, processor, asked):
    samples, read, sizes = asked

    class Poisoned:
        def with_layout(self, image):
            if image == samples[0].image:
                raise ZeroDivisionError("a text nobody thought of")
            return read.with_layout(image)

    results = list(generate(model, processor, samples, Poisoned(), sizes, 4, workers=0))
    failed = [result for result in results if isinstance(result, Unanswered)]
    assert {result.sample for result in failed} == {s for s in samples if s.image == samples[0].image}
    assert {result.reason for result in failed} == {"error: ZeroDivisionError: a text nobody thought of"}
    assert "Traceback" in failed[0].trace
    assert {result.sample for result in results} == set(samples)
