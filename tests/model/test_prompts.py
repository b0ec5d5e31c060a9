import numpy as np
import pytest
import torch
from PIL import Image

from src.data.errors import InputError
from src.entities import ENTITIES
from src.model import collator
from src.model.collator import IGNORED, TrainingCollator, encode, image_bytes, open_image
from src.model.modeling import load_processor
from tests.conftest import TINY
from tests.family import FAMILY, completion, prompt


@pytest.fixture(scope="module")
def processor():
    return load_processor(str(TINY))


@pytest.fixture(scope="module")
def samples(questions):
    return questions["train"][:6]


def test_the_exact_text_and_its_ids(processor):
    text = prompt("height")
    assert text == "User:<image> What is the height of the product?<end_of_utterance> \nAssistant: "
    ids = processor.tokenizer(text + completion("12.5 centimetre")).input_ids
    assert ids == [
        1, 1247, 28747, 32001, 1824, 349, 272, 5110, 302, 272, 2093, 28804, 32002,
        28705, 13, 7226, 11143, 28747, 28705, 28740, 28750, 28723, 28782, 1595, 21526, 267, 32002,
    ]  # fmt: skip


def test_the_template_renders_the_published_text_and_prompts_differ_by_explicit_spaces_only(processor):
    content = [{"type": "image"}, {"type": "text", "text": " What is the height of the product?"}]
    published = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    assert published == "User:<image> What is the height of the product?<end_of_utterance>\nAssistant:"
    assert prompt("height").replace("> \n", ">\n").rstrip() == published


READ = "Read: 12.5 centimetre top left upright height; 500 gram bottom net."


def test_what_was_read_stands_between_image_and_question(processor):
    text = prompt("height", READ)
    assert text == f"User:<image> {READ} What is the height of the product?<end_of_utterance> \nAssistant: "
    ids = processor.tokenizer(text).input_ids
    shared = processor.tokenizer(f"User:<image> {READ}").input_ids
    assert (
        ids[: len(shared)] == shared == processor.tokenizer(prompt("voltage", READ)).input_ids[: len(shared)]
    )
    assert ids[:4] == [1, 1247, 28747, 32001]
    assert ids.count(1) == 1
    assert ids[len(shared) :] == processor.tokenizer(prompt("height")).input_ids[4:]


def test_training_and_inference_ask_alike(processor, samples):
    batch = TrainingCollator(processor)(samples)
    for sample, ids, labels in zip(samples, batch["input_ids"], batch["labels"], strict=True):
        asked = prompt(sample.entity, sample.context)
        assert "Read: " in asked
        (whole,) = encode(processor, [open_image(sample, FAMILY)], [asked], "left")["input_ids"].tolist()
        assert ids[: len(whole)].tolist() == whole
        assert (labels[: len(whole)] == IGNORED).all()


def test_an_image_is_64_tokens_between_two_fakes(processor, samples):
    inputs = encode(processor, [open_image(samples[0], FAMILY)], [prompt(samples[0].entity)], "left")
    ids = inputs["input_ids"][0].tolist()
    assert ids.count(32001) == 64
    assert ids.count(32000) == 2
    assert ids.count(1) == 1


@pytest.mark.parametrize("entity", ENTITIES)
@pytest.mark.parametrize("read", ["", READ])
def test_the_prompt_is_a_prefix_of_the_row(processor, entity, read):
    start = processor.tokenizer(prompt(entity, read)).input_ids
    for answer in ("", *(f"12.5 {unit}" for unit in ENTITIES[entity].units)):
        whole = processor.tokenizer(prompt(entity, read) + completion(answer)).input_ids
        assert whole[: len(start)] == start
        rest = whole[len(start) :]
        assert processor.tokenizer.decode(rest) == completion(answer)
        assert len(rest) <= 16


def test_the_unmasked_labels_are_the_answers_and_end_tokens(processor, samples):
    assert "" in {s.label for s in samples}  # the empty answer, too
    batch = TrainingCollator(processor)(samples)
    decoded = [processor.tokenizer.decode(row[row != IGNORED]) for row in batch["labels"]]
    assert decoded == [s.label + "<end_of_utterance>" for s in samples]
    kept = batch["labels"] != IGNORED
    assert torch.equal(batch["labels"][kept], batch["input_ids"][kept])
    assert (batch["attention_mask"][kept] == 1).all()
    # where the logits are computed: one place before each label
    assert torch.equal(batch["logits_to_keep"][:, :-1], kept[:, 1:])
    assert torch.equal(batch["shift_labels"], batch["labels"][kept])


def test_padding_side_is_set_per_call(processor, samples):
    pictures = [open_image(s, FAMILY) for s in samples[:2]]
    texts = [prompt("height"), prompt("maximum_weight_recommendation") + "12 kilogram"]
    left, right = (
        encode(processor, pictures, texts, side)["attention_mask"][0] for side in ("left", "right")
    )
    assert (left[0], left[-1], right[0], right[-1]) == (0, 1, 1, 0)


@pytest.mark.parametrize("splitting", [False, True])
def test_images_as_bytes_become_the_processors_numbers_bit_for_bit(splitting):
    processor, rng = load_processor(str(TINY), image_splitting=splitting), np.random.default_rng(0)
    sizes = [(378, 400), (420, 378)]
    pictures = [Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)) for size in sizes]
    want = encode(processor, pictures, [prompt("height")] * 2, "left")
    got = image_bytes(processor, pictures)
    assert got.values.dtype == np.uint8
    tensors = got.as_input(torch.device("cpu"), torch.float32)
    assert torch.equal(tensors["pixel_values"], want["pixel_values"])
    assert torch.equal(tensors["pixel_attention_mask"].long(), want["pixel_attention_mask"])
    half = got.as_input(torch.device("cpu"), torch.bfloat16)["pixel_values"]
    assert torch.equal(half, want["pixel_values"].bfloat16())


def test_pixels_are_the_processed_images_unscaled(processor, samples):
    picture = open_image(samples[0], FAMILY)
    pixels = encode(processor, [picture], [prompt("height")], "left")["pixel_values"][0, 0]
    assert pixels.shape[1:] == (picture.height, picture.width)
    want = (
        torch.tensor(list(picture.get_flattened_data())).reshape(picture.height, picture.width, 3) / 127.5 - 1
    )
    assert torch.allclose(pixels, want.permute(2, 0, 1), atol=1e-5)


def test_a_row_with_an_unexpected_error_is_left_out_of_its_batch(processor, samples, monkeypatch, capsys):
    def poisoned(question, family):
        if question.image == samples[0].image:
            raise ZeroDivisionError("an image nobody thought of")
        return open_image(question, family)

    monkeypatch.setattr(collator, "open_image", poisoned)
    rows = TrainingCollator(processor)(samples[:3])["rows"]
    assert rows == [sample.row for sample in samples[:3] if sample.image != samples[0].image]
    assert f"train row {samples[0].row}" in capsys.readouterr().err
    with pytest.raises(InputError, match=f"train row {samples[0].row}"):
        TrainingCollator(processor)(samples[:1])
