import pytest
import torch
from transformers import LogitsProcessorList

from src.entities import ENTITIES
from src.model.collator import encode, open_image
from src.model.decoding import AnswerGrammar, Guide, generate_in_grammar
from src.model.modeling import load_base, load_processor
from src.reading.quantity import parse_answer
from src.sanity import prediction_fault
from tests.conftest import TINY
from tests.family import FAMILY, completion, prompt


@pytest.fixture(scope="module")
def processor():
    return load_processor(str(TINY))


@pytest.fixture(scope="module")
def grammar(processor):
    return AnswerGrammar(processor)


def numbers():
    """Numbers at the limits of the grammar and within."""
    return ["0", "7", "42", "123456", "0.5", "1.05", "12345.6789", "123456.789", "0.1234", "10", "100.0"]


def tokens_of(grammar):
    """The tokens of the grammar, by column."""
    return [int((grammar.column == column).nonzero()[0, 0]) for column in range(int(grammar.column.max()))]


def ids_of(processor, entity, answer):
    start = processor.tokenizer(prompt(entity)).input_ids
    return processor.tokenizer(prompt(entity) + completion(answer)).input_ids[len(start) :]


@pytest.mark.parametrize("entity", ENTITIES)
def test_every_answer_of_the_entity_is_a_way_and_no_other(processor, grammar, entity):
    for answer in ["", *(f"{number} {unit}" for unit in ENTITIES[entity].units for number in numbers())]:
        state = grammar.start[entity]
        tokens = ids_of(processor, entity, answer)
        assert len(tokens) <= 16
        for token in tokens:
            assert grammar.mask[state, token], (answer, token)
            state = int(grammar.step[state, grammar.column[token]])
        assert grammar.determined[state]
        assert grammar.tail(state) == []
    others = {unit for entity in ENTITIES.values() for unit in entity.units} - set(ENTITIES[entity].units)
    wrong = [f"7 {unit}" for unit in others]
    wrong += [
        f"{number} {ENTITIES[entity].units[0]}" for number in ("1234567", "1.23456", "1..5", "05", "1.")
    ]
    for answer in wrong:
        state, followed = grammar.start[entity], True
        for token in ids_of(processor, entity, answer):
            followed = followed and bool(grammar.mask[state, token])
            state = int(grammar.step[state, grammar.column[token]])
        assert not followed, answer


def test_every_state_leads_to_the_end_and_nothing_else_is_allowed(grammar):
    tokens = tokens_of(grammar)
    columns = len(tokens)
    assert (grammar.column < columns).sum() == columns  # one token each, the last column is of all others
    reaches_end = torch.zeros(len(grammar.mask), dtype=torch.bool)
    reaches_end[int(grammar.step[grammar.start["height"], grammar.column[grammar.end]])] = True
    allowed = grammar.mask[:, tokens]
    for _ in range(16):
        reaches_end |= (reaches_end[grammar.step[:, :columns]] & allowed).any(dim=1)
    assert reaches_end.all()  # no dead end, and every answer fits 16 tokens
    assert grammar.mask.sum() == allowed.sum()  # nothing outside the grammar is allowed
    assert len(grammar.mask) < 600


def test_random_walks_pass_the_sanity_rules(processor, grammar):
    generator = torch.Generator().manual_seed(0)
    entities = [entity for entity in ENTITIES for _ in range(1250)]
    states = torch.tensor([grammar.start[entity] for entity in entities])
    steps, known = [], torch.tensor(tokens_of(grammar))
    mask = grammar.mask[:, known].float()
    for _ in range(16):
        tokens = known[torch.multinomial(mask[states], 1, generator=generator).squeeze(1)]
        steps.append(tokens)
        states = grammar.step[states, grammar.column[tokens]]
    assert grammar.determined[states].all()
    texts = processor.tokenizer.batch_decode(torch.stack(steps, dim=1), skip_special_tokens=True)
    assert len(set(texts)) > 3000
    assert "" in {text.strip() for text in texts}
    for text, entity in zip(texts, entities, strict=True):
        assert prediction_fault(text, entity) == ""


def test_generate_stays_in_the_grammar_and_agrees_where_it_was_valid(questions, processor, grammar):
    samples = questions["test"]
    entities = [sample.entity for sample in samples]
    model = load_base(str(TINY)).eval()
    pictures = [open_image(sample, FAMILY) for sample in samples]
    prompts = [prompt(sample.entity, sample.context) for sample in samples]
    inputs = encode(processor, pictures, prompts, "left").to(model.device, model.dtype)
    length = inputs["input_ids"].shape[1]
    settings = {"max_new_tokens": 16, "do_sample": False, "eos_token_id": [2, grammar.end], "pad_token_id": 0}
    with torch.inference_mode():
        free = model.generate(**inputs, **settings)[:, length:]
        decoded = generate_in_grammar(model, grammar, entities, **inputs)
        alone = LogitsProcessorList([Guide(grammar, entities, length)])
        whole = model.generate(**inputs, **settings, logits_processor=alone)
    written = processor.tokenizer.batch_decode(whole[:, length:], skip_special_tokens=True)
    guide = Guide(grammar, entities, length)
    ended = [
        bool(guide.is_determined(whole[:, : length + step]).all()) for step in range(whole.shape[1] - length)
    ]
    assert any(ended)  # before the last token: the rest is forced
    assert [answer.answer for answer in decoded] == [
        text.strip() for text in written
    ]  # the forced tail is the same
    for entity, answer, ids in zip(entities, decoded, free, strict=True):
        assert prediction_fault(answer.answer, entity) == ""
        assert 0 < answer.confidence <= 1
        assert 0 <= answer.abstain <= 1
        text = processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
        if parse_answer(text, entity):
            assert answer.answer == text
            assert not answer.overridden
