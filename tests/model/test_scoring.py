"""Options are weighed in one pass: the same probabilities as of a plain pass for each."""

import math
from dataclasses import replace

import pytest
import torch
from src.data.samples import train_samples

from src.data.tables import read_train
from src.data.text_store import TextStore
from src.entities import ENTITY_UNITS
from src.model.batches import Preparation
from src.model.collator import (
    MOST_OPTIONS,
    TrainingCollator,
    encode,
    model_inputs,
    open_picture,
    options_of,
    prompt_of,
)
from src.model.decoding import AnswerGrammar
from src.model.generation import Answered, answer, generate
from src.model.letterbox import letterboxed_sizes
from src.model.modeling import load_base, load_processor
from src.model.option_loss import option_loss, with_options
from src.model.prompts import completion, prompt
from src.model.scoring import NEVER, OptionTree
from src.reading import options as rule_options
from src.reading.cross_line import parse_lines
from tests.conftest import TINY


@pytest.fixture(scope="module")
def model():
    return load_base(str(TINY)).dequantize(dtype=torch.float32)


@pytest.fixture(scope="module")
def processor():
    return load_processor(str(TINY))


@pytest.fixture(scope="module")
def grammar(processor):
    return AnswerGrammar(processor.tokenizer)


@pytest.fixture(scope="module")
def asked(processed):
    data, out = processed
    samples = train_samples(read_train(data), out / "processed", {})[0][:6]
    options = {}
    for number, sample in enumerate(samples):
        unit, other = ENTITY_UNITS[sample.entity][0], ENTITY_UNITS[sample.entity][-1]
        options[sample] = (f"1.25 {unit}", f"3 {other}", f"0.5 {unit}", f"120 {unit}")[: 1 + number % 4]
    return samples, TextStore(out / "processed"), letterboxed_sizes(out / "processed"), options


def plain(model, processor, grammar, sample, *, readings, text):
    """Return the log-probability of an answer by a pass of its own over image, prompt and answer."""
    start = prompt_of(sample, readings)
    inputs = encode(processor, [open_picture(sample)], [start + completion(text)], "right")
    ids = inputs["input_ids"][0]
    answer_ids = ids[len(encode(processor, [open_picture(sample)], [start], "right")["input_ids"][0]) :]
    with torch.inference_mode():
        logits = model(**inputs).logits[0, -len(answer_ids) - 1 : -1].float()
    total, state = 0.0, grammar.start[sample.entity]
    for row, token in zip(logits, answer_ids.tolist(), strict=True):
        chances = torch.log_softmax(row.masked_fill(~grammar.mask[state], -torch.inf), dim=0)
        total += chances[token].item()
        state = int(grammar.step[state, grammar.column[token]])
    return total


def test_probabilities_equal_those_of_a_plain_pass_per_option(model, processor, grammar, asked):
    samples, readings, _, options = asked
    batch, _ = Preparation(processor, readings, options)(samples)
    for sample, weighed in zip(batch.questions, answer(model, grammar, batch), strict=True):
        texts = [text for text, _ in weighed.log_probabilities]
        assert texts == [*options[sample], ""]
        for text, value in weighed.log_probabilities:
            assert value == pytest.approx(
                plain(model, processor, grammar, sample, readings=readings, text=text), abs=1e-4
            )
        assert weighed.answer == max(weighed.log_probabilities, key=lambda pair: pair[1])[0]
        chances = {text: math.exp(value) for text, value in weighed.log_probabilities}
        assert weighed.abstain == pytest.approx(chances[""] / sum(chances.values()))
        assert weighed.confidence == pytest.approx(max(chances.values()) / sum(chances.values()))


def test_the_loss_over_options_is_that_of_plain_passes_and_leaves_the_usual_one(
    model, processor, grammar, asked
):
    samples, readings, _, options = asked
    texts = [list(options[sample]) for sample in samples]
    right = [number % (len(own) + 1) for number, own in enumerate(texts)]
    right[-1] = -1  # its answer is none of them
    answers = [
        [*own, ""][number] if number >= 0 else "7 unread" for own, number in zip(texts, right, strict=True)
    ]
    pictures, prompts = [open_picture(s) for s in samples], [prompt_of(s, readings) for s in samples]
    batch = TrainingCollator(processor).batch(pictures, prompts, answers)
    entities = [sample.entity for sample in samples]
    more = with_options(batch, grammar, entities, texts, right)
    with torch.inference_mode():
        alone = model(**model_inputs(batch, model.device, torch.float32)).loss
        output = model(**model_inputs(more, model.device, torch.float32))
    assert output.loss.item() == pytest.approx(alone.item(), abs=1e-5)
    wanted = []
    for sample, own, number in zip(samples[:-1], texts[:-1], right[:-1], strict=True):
        chances = [
            plain(model, processor, grammar, sample, readings=readings, text=text) for text in [*own, ""]
        ]
        wanted.append(-torch.log_softmax(torch.tensor(chances), dim=0)[number].item())
    assert option_loss(grammar, output.logits[:, grammar.tokens], more).item() == pytest.approx(
        sum(wanted) / len(samples), abs=1e-4
    )
    none = with_options(batch, grammar, entities, [[] for _ in samples], [-1] * len(samples))
    with torch.inference_mode():
        logits = model(**model_inputs(none, model.device, torch.float32)).logits
    assert option_loss(grammar, logits[:, grammar.tokens], none).item() == 0


def test_training_weighs_the_options_that_were_read(processor, grammar, asked):
    samples, readings, _, _ = asked
    batch = TrainingCollator(processor, readings, grammar)(samples)
    for row, sample in enumerate(samples):
        texts, right = options_of(sample, readings)
        own = batch["tree"].option[row]
        assert set(own[own >= 0].tolist()) == set(range(len(texts)))
        if sample.answer and right >= 0:
            group = rule_options.options(readings[sample.image], sample.entity)[right]
            assert sample.answer in [str(candidate.quantity) for candidate in group]
    empty = replace(samples[0], answer="")
    texts, right = options_of(empty, readings)
    assert right == len(texts)


def test_a_table_of_sizes_does_not_fill_the_memory(asked):
    samples, _, _, _ = asked
    many = [
        [f"{number} cm", 0.9, [[0, top], [50, top], [50, top + 8], [0, top + 8]]]
        for number, top in enumerate(range(9, 900, 9), start=1)
    ]
    found = {samples[0].image: parse_lines(many, 1000, 1000)}
    texts, right = options_of(replace(samples[0], entity="height", answer="77 centimetre"), found)
    assert len(texts) == MOST_OPTIONS
    assert texts[right] == "77 centimetre"
    assert options_of(replace(samples[0], entity="height", answer="777 centimetre"), found)[1] == -1


def test_it_writes_where_there_are_no_options(model, processor, grammar, asked):
    samples, readings, sizes, options = asked
    some = {sample: options[sample] for sample in samples[1:]}
    results = generate(model, processor, samples, readings, sizes, 4, 0, options=some)
    found = {result.sample: result.weighed for result in results if isinstance(result, Answered)}
    freely = {r.sample: r.weighed for r in generate(model, processor, samples, readings, sizes, 4, 0)}
    assert found[samples[0]].answer == freely[samples[0]].answer
    assert dict(found[samples[0]].log_probabilities) == pytest.approx(
        dict(freely[samples[0]].log_probabilities), abs=1e-4
    )
    for sample in some:
        assert [text for text, _ in found[sample].log_probabilities] == [*some[sample], ""]


def test_what_the_grammar_does_not_have_is_never_chosen(model, processor, grammar, asked):
    samples, readings, _, _ = asked
    unit = ENTITY_UNITS[samples[0].entity][0]
    odd = (f"1234567 {unit}", f"0.12345 {unit}", f"5 {unit}", "5 parsec")
    batch, _ = Preparation(processor, readings, {samples[0]: odd})(samples[:1])
    (weighed,) = answer(model, grammar, batch)
    assert [value == NEVER for _, value in weighed.log_probabilities] == [True, True, False, True, False]


@pytest.mark.parametrize("entity", list(ENTITY_UNITS))
def test_the_path_of_an_answer_is_its_tokens(processor, grammar, entity):
    for unit in ENTITY_UNITS[entity]:
        for number in ("7", "0.25", "120", "104729.5"):
            text = f"{number} {unit}"
            ids = processor.tokenizer(prompt(entity) + completion(text)).input_ids
            ids = ids[len(processor.tokenizer(prompt(entity)).input_ids) :]
            assert [token for token, _ in grammar.path(entity, text)] == ids[:-1]


def test_options_see_the_question_and_themselves_only(grammar):
    tree = OptionTree.of(grammar, ["height", "height"], [("12 inch", "3.5 inch"), ("7 inch",)])
    before = torch.tensor([[0, 1, 1], [1, 1, 1]])
    question = torch.tensor([[1, 1], [0, 1]])
    mask, positions = tree.mask(before, question)[:, 0], tree.positions(before, question)
    for row in range(2):
        for place in range(tree.tokens.shape[1]):
            if tree.option[row, place] < 0:
                continue
            seen = mask[row, 2 + place]
            assert seen[:5].tolist() == [bool(x) for x in (*before[row], *question[row])]
            own = [other for other in range(place + 1) if tree.option[row, other] == tree.option[row, place]]
            assert seen[5:].nonzero()[:, 0].tolist() == own
            expected = int(before[row].sum() + question[row].sum()) + int(tree.depth[row, place])
            assert positions[row, 2 + place] == expected
