import math
import random
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicSlidingWindowLayer

from src.data.questions import by_image
from src.entities import ENTITIES
from src.model import batches, generation, modeling
from src.model.batches import Preparation, in_batches
from src.model.collator import encode, open_image
from src.model.decoding import AnswerGrammar, generate_in_grammar
from src.model.generation import NO_NUMBER, generate
from src.model.modeling import add_lora, load_base, load_processor, lora_config
from src.model.precision import in_float32, vision_in_bfloat16
from src.reading.options import ABSTAIN, Option
from src.settings import LoraSettings
from tests.conftest import TINY
from tests.family import FAMILY, prompt


@pytest.fixture(scope="module")
def asked(processed, questions):
    """(questions of the small folder, several about some images, none with an option; sizes of the
    images)."""
    every = [replace(question, options=(ABSTAIN,)) for question in questions["test"] + questions["train"]]
    assert len(by_image(every)) < len(every)
    return every, FAMILY.padded_sizes(processed[1] / "processed")


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


def answers(model, processor, asked, questions=None, batch_size=16):
    every, sizes = asked
    chosen = every if questions is None else questions
    answered = generate(model, processor, chosen, sizes, batch_size, workers=0)
    return {key(question): question for question in answered}


def key(question):
    return question.image, question.entity, question.row


def abstaining(question):
    """The model's probability of abstaining."""
    return math.exp(next(option.log_probability for option in question.options if not option.texts))


def with_options(question):
    units = ENTITIES[question.entity].units
    texts = [f"{number} {unit}" for number, unit in zip(("2.5", "30"), units, strict=False)]
    return replace(question, options=(*(Option((text,)) for text in texts), ABSTAIN))


@pytest.mark.parametrize("texts", [True, False])
def test_sharing_an_image_gives_what_plain_generate_gives(model, processor, asked, texts):
    every = asked[0] if texts else [replace(question, context="", options=()) for question in asked[0]]
    got = answers(model, processor, asked, every)
    grammar = AnswerGrammar(processor)
    for question in every:
        text = prompt(question.entity, question.context)
        inputs = encode(processor, [open_image(question, FAMILY)], [text], "left")
        with torch.inference_mode():
            (want,) = generate_in_grammar(model, grammar, [question.entity], **inputs)
        answered = got[key(question)]
        assert answered.model_answer == want.answer
        assert answered.confidence == pytest.approx(want.confidence, abs=1e-4)
        assert abstaining(answered) == pytest.approx(want.abstain, abs=1e-4)


def test_answers_do_not_depend_on_batch_size_order_or_neighbours(model, processor, asked):
    # Every other question has options; the others are answered freely.
    every = [with_options(q) if number % 2 == 0 else q for number, q in enumerate(asked[0])]
    want = answers(model, processor, asked, every, batch_size=1)
    shuffled = random.Random(0).sample(every, len(every))
    for batch_size in (16, 5):
        got = answers(model, processor, asked, shuffled, batch_size)
        assert got.keys() == want.keys()
        for name, first in want.items():
            assert got[name].model_answer == first.model_answer
            assert got[name].confidence == pytest.approx(first.confidence, abs=1e-4)
            assert [o.text for o in got[name].options] == [o.text for o in first.options]


def test_batches_are_of_one_size_with_all_questions_of_an_image(asked):
    every, sizes = asked
    made = in_batches(every, sizes, 6)
    assert sorted((q for batch in made for q in batch), key=id) == sorted(every, key=id)
    for batch in made:
        assert len({sizes[question.model_image.name] for question in batch}) == 1
    batch_number = {question.model_image: i for i, batch in enumerate(made) for question in batch}
    assert all(batch_number[question.model_image] == i for i, batch in enumerate(made) for question in batch)


def test_questions_without_options_are_together(asked):
    every, sizes = asked
    every = [with_options(question) if number % 3 else question for number, question in enumerate(every)]
    groups = by_image(every)
    written = [any(not question.option_texts for question in group) for group in groups]
    assert len(set(written)) == 2
    made = in_batches(every, sizes, 1)  # a batch for each image
    order = [(sizes[b[0].model_image.name], any(not q.option_texts for q in b)) for b in made]
    assert order == sorted(order, reverse=True)
    for rows in (2, 5, 16):
        made = in_batches(every, sizes, rows)
        mixed = [len({any(not q.option_texts for q in group) for group in by_image(b)}) == 2 for b in made]
        assert sum(mixed) <= len({sizes[group[0].model_image.name] for group in groups})


def test_lora_beside_a_model_in_half_precision_computes_in_it(processor, asked, monkeypatch):
    monkeypatch.setattr(modeling, "compute_dtype", lambda: torch.bfloat16)
    tuned = add_lora(load_base(str(TINY)), lora_config(LoraSettings())).eval()
    seen = set()
    layers = [module for name, module in tuned.named_modules() if name.endswith("lora_A.default")]
    assert {parameter.dtype for layer in layers for parameter in layer.parameters()} == {torch.float32}
    for layer in layers:
        layer.register_forward_hook(lambda layer, inputs, output: seen.add(output.dtype))
    got = answers(tuned, processor, asked)
    assert seen == {torch.bfloat16}
    with in_float32(tuned):
        want = answers(tuned, processor, asked)
    assert seen == {torch.bfloat16, torch.float32}
    for name, answered in got.items():
        assert abstaining(answered) == pytest.approx(abstaining(want[name]), abs=0.1)


def test_the_published_sliding_window_changes_no_answer(processor, asked):
    """idefics2-8b's configuration has one of 4,096 tokens, the bundled model's none."""
    every = [with_options(question) if number % 2 else question for number, question in enumerate(asked[0])]
    base = load_base(str(TINY))
    want = answers(base, processor, asked, every)
    base.config.text_config.sliding_window = base.model.text_model.config.sliding_window = 4096
    caches = [type(layer) for layer in DynamicCache(config=base.config).layers]
    assert set(caches) == {DynamicSlidingWindowLayer}
    got = answers(base, processor, asked, every)
    for name, answered in want.items():
        assert got[name].model_answer == answered.model_answer
        assert got[name].confidence == pytest.approx(answered.confidence, abs=1e-5)


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
    assert {name: a.model_answer for name, a in got.items()} == {
        name: a.model_answer for name, a in want.items()
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
    picture = encode(processor, [open_image(asked[0][0], FAMILY)], ["<image>"], "left")
    picture = {key: picture[key] for key in ("pixel_values", "pixel_attention_mask")}
    with torch.inference_mode():
        features = [one.model.get_image_features(**picture).pooler_output[0] for one in (exact, rounded)]
        with in_float32(rounded):
            again = rounded.model.get_image_features(**picture).pooler_output[0]
    assert features[1].dtype is rounded.dtype is torch.float32
    assert 0 < (features[0] - features[1]).abs().max() < 0.02 * features[0].abs().max()
    assert torch.allclose(again, features[0], atol=1e-5)  # the bundled weights are in bfloat16 on disk
    want, got = (answers(one, processor, asked) for one in (exact, rounded))
    assert {name: a.model_answer for name, a in got.items()} == {
        name: a.model_answer for name, a in want.items()
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
    every, sizes = asked
    every = [with_options(every[0]), *every[1:6]]
    batch, _ = Preparation(processor)(every)
    grammar = AnswerGrammar(processor)
    assert not any(math.isfinite(row.confidence) for row in generation.answer(overflowing, grammar, batch))
    got = {key(q): q for q in generate(overflowing, processor, every, sizes, 4, workers=0)}
    assert {parameter.dtype for parameter in overflowing.parameters()} == {torch.float16}  # as it was
    overflowing.float()
    want = {key(q): q for q in generate(overflowing, processor, every, sizes, 4, workers=0)}
    assert got.keys() == want.keys()
    for name, question in got.items():
        assert (question.model_answer, question.confidence) == (
            want[name].model_answer,
            want[name].confidence,
        )
        assert [o.log_probability for o in question.options] == [
            o.log_probability for o in want[name].options
        ]
        assert 0 <= question.confidence <= 1


def test_rows_without_finite_probabilities_have_a_reason_and_no_answer(overflowing, processor, asked):
    every, sizes = asked
    overflowing.model.connector.modality_projection.down_proj.weight.data[0, 0] = torch.nan
    results = list(generate(overflowing, processor, every[:3], sizes, 4, workers=0))
    assert [(question.reason, question.model_answer) for question in results] == [(NO_NUMBER, "")] * 3


def test_images_come_from_other_processes_as_bytes_and_not_by_shared_memory(processor, asked):
    batch, _ = Preparation(processor)(asked[0][:4])
    height, width = batch.pixels.sizes[:, 0].max(axis=0)
    assert batch.pixels.values.nbytes == len(batch.pixels.values) * 3 * height * width
    assert len(ForkingPickler.dumps(batch)) > batch.pixels.values.nbytes  # all of it is in the message
    assert batch.part(0, 99) is batch


def test_an_image_that_brings_up_an_unexpected_error_costs_only_its_own_rows(
    model, processor, asked, monkeypatch
):
    every, sizes = asked

    def poisoned(question, family):
        if question.image == every[0].image:
            raise ZeroDivisionError("an image nobody thought of")
        return open_image(question, family)

    monkeypatch.setattr(batches, "open_image", poisoned)
    results = list(generate(model, processor, every, sizes, 4, workers=0))
    failed = [question for question in results if question.reason]
    assert {key(q) for q in failed} == {key(q) for q in every if q.image == every[0].image}
    assert {q.reason for q in failed} == {"error: ZeroDivisionError: an image nobody thought of"}
    assert "Traceback" in failed[0].traceback
    assert {key(q) for q in results} == {key(q) for q in every}


def test_an_image_that_its_drive_does_not_give_is_not_broken(processor, asked, tmp_path):
    unreadable, broken = tmp_path / "unreadable.jpg", tmp_path / "broken.jpg"
    unreadable.symlink_to("/proc/self/mem")  # its first byte is refused with Errno 5
    broken.write_bytes(b"no image")
    lost = [replace(asked[0][0], model_image=path) for path in (unreadable, broken)]
    batch, unanswered = Preparation(processor)(lost)
    assert batch is None
    reasons = [question.reason for question in unanswered]
    assert reasons == ["unreadable drive (Input/output error)", "broken image"]
