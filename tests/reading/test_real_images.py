"""Hand-read rows of real images, from their pixels to the rules' answers and the prompts; skipped without
them."""

import pytest

from src import rules
from src.data.questions import Question
from src.data.text_store import TextStore
from src.images.decode import read_image
from src.metrics import score
from src.model.modeling import load_processor
from src.ocr.engine import read
from src.ocr.retry_passes import read_with_retries
from src.reading.candidates import candidates
from src.reading.cross_line import parse_lines
from src.reading.options import rules_answer
from src.reading.quantity import canonical
from tests.conftest import REAL, TINY


@pytest.fixture(scope="module")
def gold_texts(gold_read, tmp_path_factory):
    """The parsed text of the images of the hand-read rows."""
    store = TextStore(gold_read[1])
    return rules.parse_images(store, store, tmp_path_factory.mktemp("gold_texts") / "texts.jsonl")


def test_hand_read_rows_of_real_images(gold_read, gold_texts):
    gold, processed = gold_read
    truths, answers, held = [], [], []
    asked = [Question(0, row.image, processed / row.image, row.entity_name) for row in gold.itertuples()]
    questions = rules.with_text(asked, gold_texts)
    assert {question.reason for question in questions} == {""}
    for row, question in zip(gold.itertuples(), questions, strict=True):
        answer, _ = rules_answer(question.options)
        accepted = [canonical(text) for text in (row.gold, *row.alternatives.split(";")) if text.strip()]
        truths.append(answer if answer in accepted else canonical(row.gold))
        answers.append(answer)
        if accepted:
            shown = {text for option in question.options for text in option.texts}
            held.append(bool(shown & set(accepted)))
    assert sum(held) / len(held) >= 0.9
    assert score(truths, answers).f1 >= 0.85


def test_contexts_of_real_images_stay_short(gold_texts):
    tokenizer = load_processor(str(TINY)).tokenizer
    lengths = [len(tokenizer(text.context).input_ids) for text in gold_texts.values()]
    assert max(lengths) <= 160
    assert sorted(lengths)[len(lengths) // 2] <= 70


@pytest.mark.parametrize(
    ("name", "entity", "value"),
    [
        ("31uMjQDYeCS.jpg", "item_weight", "8 pound"),  # seen at another size
        ("31LwkMqi+DL.jpg", "wattage", "350 watt"),
        ("41CKlBFJq8L.jpg", "height", "4 inch"),  # the only print, and not seen at first
        ("418Km6h5CQL.jpg", "height", "30 centimetre"),  # runs upwards
        ("31RgINXWvVL.jpg", "wattage", "20 watt"),  # read again
        ("31pqPZnqjeL.jpg", "maximum_weight_recommendation", "200 kilogram"),  # slants by another number
        ("41FOg9-ViyL.jpg", "maximum_weight_recommendation", "10 pound"),  # faint
    ],
)
def test_print_that_one_pass_does_not_see(name, entity, value):
    path = REAL.parent / "hard" / "images" / name
    if not path.is_file():
        pytest.skip("the hard product images are not at hand (hard is absent)")
    image = read_image(path)
    height, width = image.shape[:2]
    lines = read(image)
    first = parse_lines(lines, width, height)
    assert value not in {str(c.quantity) for c in candidates(first, entity)}
    _, parsed_lines = read_with_retries(image, lines, [entity])
    assert value in {str(c.quantity) for c in candidates(parsed_lines, entity)}
