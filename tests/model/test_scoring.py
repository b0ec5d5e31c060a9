"""Options are weighed in one pass: the same probabilities as of a plain pass for each."""

import math
from dataclasses import replace

import pytest
import torch

from src.entities import ENTITIES
from src.model.batches import Preparation
from src.model.collator import (
    MOST_OPTIONS,
    TrainingCollator,
    encode,
    model_inputs,
    open_image,
    training_options,
)
from src.model.decoding import AnswerGrammar
from src.model.generation import answer, generate
from src.model.modeling import load_base, load_processor
from src.model.option_loss import option_loss, with_options
from src.model.scoring import NEVER
from src.reading.image_text import parse_image_text
from src.reading.options import ABSTAIN, Option
from tests.conftest import TINY
from tests.family import FAMILY, completion, prompt


@pytest.fixture(scope="module")
def model():
    return load_base(str(TINY)).dequantize(dtype=torch.float32)


@pytest.fixture(scope="module")
def processor():
    return load_processor(str(TINY))


@pytest.fixture(scope="module")
def grammar(processor):
    return AnswerGrammar(processor)


def with_texts(question, texts):
    """A question with these options, and to abstain."""
    return replace(question, options=(*(Option((text,)) for text in texts), ABSTAIN))


@pytest.fixture(scope="module")
def asked(questions):
    """Six train questions with one to four made-up options each."""
    every = []
    for number, question in enumerate(questions["train"][:6]):
        unit, other = ENTITIES[question.entity].units[0], ENTITIES[question.entity].units[-1]
        texts = (f"1.25 {unit}", f"3 {other}", f"0.5 {unit}", f"120 {unit}")[: 1 + number % 4]
        every.append(with_texts(question, texts))
    return every


def plain(model, processor, grammar, sample, text):
    """Return the log-probability of an answer by a pass of its own over image, prompt and answer."""
    start = prompt(sample.entity, sample.context)
    inputs = encode(processor, [open_image(sample, FAMILY)], [start + completion(text)], "right")
    ids = inputs["input_ids"][0]
    answer_ids = ids[len(encode(processor, [open_image(sample, FAMILY)], [start], "right")["input_ids"][0]) :]
    with torch.inference_mode():
        logits = model(**inputs).logits[0, -len(answer_ids) - 1 : -1].float()
    total, state = 0.0, grammar.start[sample.entity]
    for row, token in zip(logits, answer_ids.tolist(), strict=True):
        chances = torch.log_softmax(row.masked_fill(~grammar.mask[state], -torch.inf), dim=0)
        total += chances[token].item()
        state = int(grammar.step[state, grammar.column[token]])
    return total


def test_probabilities_equal_those_of_a_plain_pass_per_option(model, processor, grammar, asked):
    batch, _ = Preparation(processor)(asked)
    for sample, weighed in zip(batch.questions, answer(model, grammar, batch), strict=True):
        texts = [text for text, _ in weighed.log_probabilities]
        assert texts == [*sample.option_texts, ""]
        for text, value in weighed.log_probabilities:
            assert value == pytest.approx(plain(model, processor, grammar, sample, text), abs=1e-4)
        assert weighed.answer == max(weighed.log_probabilities, key=lambda pair: pair[1])[0]
        chances = {text: math.exp(value) for text, value in weighed.log_probabilities}
        assert weighed.abstain == pytest.approx(chances[""] / sum(chances.values()))
        assert weighed.confidence == pytest.approx(max(chances.values()) / sum(chances.values()))


def test_the_loss_over_options_is_that_of_plain_passes_and_leaves_the_usual_one(
    model, processor, grammar, asked
):
    samples = asked
    texts = [list(sample.option_texts) for sample in samples]
    right = [number % (len(own) + 1) for number, own in enumerate(texts)]
    right[-1] = -1  # its answer is none of them
    answers = [
        [*own, ""][number] if number >= 0 else "7 unread" for own, number in zip(texts, right, strict=True)
    ]
    pictures, prompts = (
        [open_image(s, FAMILY) for s in samples],
        [prompt(s.entity, s.context) for s in samples],
    )
    batch = TrainingCollator(processor).batch(pictures, prompts, answers)
    entities = [sample.entity for sample in samples]
    more = with_options(batch, grammar, entities, texts, right)
    with torch.inference_mode():
        alone = model(**model_inputs(batch, model.device, torch.float32)).loss
        output = model(**model_inputs(more, model.device, torch.float32))
    assert output.loss.item() == pytest.approx(alone.item(), abs=1e-5)
    wanted = []
    for sample, own, number in zip(samples[:-1], texts[:-1], right[:-1], strict=True):
        chances = [plain(model, processor, grammar, sample, text) for text in [*own, ""]]
        wanted.append(-torch.log_softmax(torch.tensor(chances), dim=0)[number].item())
    assert option_loss(grammar, output.logits[:, grammar.tokens], more).item() == pytest.approx(
        sum(wanted) / len(samples), abs=1e-4
    )
    none = with_options(batch, grammar, entities, [[] for _ in samples], [-1] * len(samples))
    with torch.inference_mode():
        logits = model(**model_inputs(none, model.device, torch.float32)).logits
    assert option_loss(grammar, logits[:, grammar.tokens], none).item() == 0


def test_training_weighs_the_options_that_were_read(processor, grammar, questions):
    samples = questions["train"][:6]
    batch = TrainingCollator(processor, grammar)(samples)
    for row, sample in enumerate(samples):
        texts, right = training_options(sample)
        own = batch["tree"].option[row]
        assert set(own[own >= 0].tolist()) == set(range(len(texts)))
        if sample.label and right >= 0:
            option = next(option for option in sample.options if option.text == texts[right])
            assert sample.label in option.texts
    empty = replace(samples[0], label="")
    texts, right = training_options(empty)
    assert right == len(texts)


def test_a_table_of_sizes_does_not_fill_the_memory(asked):
    many = [
        [f"{number} cm", 0.9, [[0, top], [50, top], [50, top + 8], [0, top + 8]]]
        for number, top in enumerate(range(9, 900, 9), start=1)
    ]
    options = parse_image_text(many, 1000, 1000, None).options_for("height")
    question = replace(asked[0], entity="height", options=options)
    texts, right = training_options(replace(question, label="77 centimetre"))
    assert len(texts) == MOST_OPTIONS
    assert texts[right] == "77 centimetre"
    assert training_options(replace(question, label="777 centimetre"))[1] == -1


def test_it_writes_where_there_are_no_options(model, processor, processed, asked):
    sizes = FAMILY.padded_sizes(processed[1] / "processed")
    without = [replace(question, options=(ABSTAIN,)) for question in asked]
    mixed = [without[0], *asked[1:]]
    found = {q.row: q for q in generate(model, processor, mixed, sizes, 4, workers=0)}
    freely = {q.row: q for q in generate(model, processor, without, sizes, 4, workers=0)}
    first, free = found[asked[0].row], freely[asked[0].row]
    assert first.model_answer == free.model_answer
    assert [option.text for option in first.options] == [option.text for option in free.options]
    for one, other in zip(first.options, free.options, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)
    for question in asked[1:]:
        assert [option.text for option in found[question.row].options] == [*question.option_texts, ""]


def test_what_the_grammar_does_not_have_is_never_chosen(model, processor, grammar, asked):
    unit = ENTITIES[asked[0].entity].units[0]
    odd = (f"1234567 {unit}", f"0.12345 {unit}", f"5 {unit}", "5 parsec")
    batch, _ = Preparation(processor)([with_texts(asked[0], odd)])
    (weighed,) = answer(model, grammar, batch)
    assert [value == NEVER for _, value in weighed.log_probabilities] == [True, True, False, True, False]
