"""Options are weighed in one pass: the same probabilities as of a plain pass for each."""

import math

import pytest
import torch

from src.data.readings import ReadingStore
from src.data.samples import letterboxed_sizes, train_samples
from src.data.tables import read_train
from src.model.batches import Preparation
from src.model.collator import encode, open_picture, prompt_of
from src.model.decoding import AnswerGrammar
from src.model.generation import Answered, answer, generate
from src.model.modeling import load_base, load_processor
from src.model.prompts import completion, prompt
from src.model.weighing import NEVER, Tree
from src.reading.constants import ENTITY_UNITS
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
    return samples, ReadingStore(out / "processed"), letterboxed_sizes(out / "processed"), options


def plain(model, processor, grammar, sample, readings, text):
    """The log probability of an answer by a pass of its own over picture, prompt and answer."""
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
        texts = [text for text, _ in weighed.chances]
        assert texts == [*options[sample], ""]
        for text, value in weighed.chances:
            assert value == pytest.approx(plain(model, processor, grammar, sample, readings, text), abs=1e-4)
        assert weighed.answer == max(weighed.chances, key=lambda pair: pair[1])[0]
        chances = {text: math.exp(value) for text, value in weighed.chances}
        assert weighed.silence == pytest.approx(chances[""] / sum(chances.values()))
        assert weighed.confidence == pytest.approx(max(chances.values()) / sum(chances.values()))


def test_its_own_writing_is_weighed_too_where_options_leave_room(model, processor, grammar, asked):
    samples, readings, sizes, options = asked
    some = {sample: options[sample] for sample in samples[1:]}

    def weigh(own_below):
        results = generate(model, processor, samples, readings, sizes, 4, 0, options=some, own_below=own_below)
        return {result.sample: dict(result.weighed.chances) for result in results if isinstance(result, Answered)}

    never, always = weigh(0.0), weigh(1.0)
    freely = {r.sample: r for r in generate(model, processor, samples, readings, sizes, 4, 0)}
    assert never[samples[0]] == pytest.approx(always[samples[0]], abs=1e-4)  # nothing was given: it writes
    for sample in samples:
        written = freely[sample].weighed
        for text, value in always[sample].items():
            known = never[sample].get(text, dict(written.chances).get(text))
            assert value == pytest.approx(known, abs=1e-3)
        if sample in some:
            assert list(never[sample]) == [*some[sample], ""]
            assert set(always[sample]) - set(never[sample]) <= {written.answer}
            assert written.answer in always[sample]
    half = weigh(0.5)
    for sample in some:
        total = sum(map(math.exp, never[sample].values()))
        if not 0.49 < total < 0.51:
            assert set(half[sample]) == set(always[sample] if total < 0.5 else never[sample])


def test_what_the_grammar_does_not_have_is_never_chosen(model, processor, grammar, asked):
    samples, readings, _, _ = asked
    unit = ENTITY_UNITS[samples[0].entity][0]
    odd = (f"1234567 {unit}", f"0.12345 {unit}", f"5 {unit}", "5 parsec")
    batch, _ = Preparation(processor, readings, {samples[0]: odd})(samples[:1])
    (weighed,) = answer(model, grammar, batch)
    assert [value == NEVER for _, value in weighed.chances] == [True, True, False, True, False]


@pytest.mark.parametrize("entity", list(ENTITY_UNITS))
def test_the_path_of_an_answer_is_its_tokens(processor, grammar, entity):
    for unit in ENTITY_UNITS[entity]:
        for number in ("7", "0.25", "120", "104729.5"):
            text = f"{number} {unit}"
            ids = processor.tokenizer(prompt(entity) + completion(text)).input_ids
            ids = ids[len(processor.tokenizer(prompt(entity)).input_ids) :]
            assert [token for token, _ in grammar.path(entity, text)] == ids[:-1]


def test_options_see_the_question_and_themselves_only(grammar):
    tree = Tree.of(grammar, ["height", "height"], [("12 inch", "3.5 inch"), ("7 inch",)])
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
