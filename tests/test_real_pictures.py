"""Hand-read rows of real pictures, from their pixels to the rules' answers and the prompts; skipped without them."""

from src import rules
from src.data.readings import ReadingStore
from src.data.samples import Sample
from src.metrics import score
from src.model.modeling import load_processor
from src.model.prompts import describe
from src.reading.candidates import candidates
from src.reading.quantity import canonical
from tests.conftest import TINY


def test_hand_read_rows_of_real_pictures(gold_read):
    gold, processed = gold_read
    texts = ReadingStore(processed)
    truths, answers, held = [], [], []
    samples = [Sample(0, row.image, processed / row.image, row.entity_name) for row in gold.itertuples()]
    by_rules = rules.answer_samples(samples, texts)
    assert {answer.reason for answer in by_rules} == {""}
    for row, answer in zip(gold.itertuples(), (a.answer.text for a in by_rules), strict=True):
        accepted = [canonical(text) for text in (row.gold, *row.alternatives.split(";")) if text.strip()]
        truths.append(answer if answer in accepted else canonical(row.gold))
        answers.append(answer)
        if accepted:
            shown = {str(c.quantity) for c in candidates(texts[row.image], row.entity_name)}
            held.append(bool(shown & set(accepted)))
    assert sum(held) / len(held) >= 0.9
    assert score(truths, answers).f1 >= 0.85


def test_readings_of_real_pictures_stay_short(gold_read):
    tokenizer, texts = load_processor(str(TINY)).tokenizer, ReadingStore(gold_read[1])
    lengths = [len(tokenizer(describe(texts[image])).input_ids) for image in texts]
    assert max(lengths) <= 160
    assert sorted(lengths)[len(lengths) // 2] <= 70
