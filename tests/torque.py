"""Adds an entity to the two tables in memory, and asks all that derives from them about it.

Run by `tests/test_entities.py` in a process of its own, because a table is read when a module is imported.
"""

import sys
from pathlib import Path

from src.entities import ENTITIES, Entity, Numbers
from src.units import UNITS, D, Unit

UNITS[:0] = [
    Unit("newton metre", "torque", D("1"), r"n[·.\- ]?m|newton[- ]?met(?:er|re)s?", printed=" Nm|Nm|N·m"),
    Unit(
        "pound-foot",
        "torque",
        D("1.355818"),
        r"ft[.\-· ]{0,2}lbf?s?\.?|lbf?[.\-· ]{0,2}ft\.?",
        printed=" ft-lb| ft-lbs",
        beside="newton metre",
    ),
]
ENTITIES["torque"] = Entity(
    units=("newton metre", "pound-foot"),
    question="What is the torque?",
    kind="torque",
    keywords=r"torque|drehmoment",
    weights={"bias": 2.0, "first": 0.3, "word_torque": 1.0, "high": 0.5, "low": -0.5},
    names="Torque|Max. torque|Drehmoment",
    numbers={"newton metre": Numbers(0.7, (1, 50, 600), 0.2), "pound-foot": Numbers(0.3, (1, 40, 400), 0.1)},
)

import numpy as np  # noqa: E402  (the tables come first)

from src.bundled.scenes import make_scene, question  # noqa: E402
from src.data.labels import normalise_label  # noqa: E402
from src.model.decoding import AnswerGrammar  # noqa: E402
from src.model.modeling import load_processor  # noqa: E402
from src.ocr.retry_passes import is_missing  # noqa: E402
from src.reading.context import prompt_context  # noqa: E402
from src.reading.cross_line import parse_lines  # noqa: E402
from src.reading.lines import TextLine  # noqa: E402
from src.reading.options import find_options, rules_answer  # noqa: E402
from src.sanity import check, prediction_fault  # noqa: E402
from tests.family import completion, prompt  # noqa: E402


def text_lines(*texts: str) -> list[TextLine]:
    """Return text lines that stand below each other on an image of 1000 x 1000 px."""
    tops = range(50, 1000, 90)
    return [
        TextLine(text, 0.95, [[100, y], [700, y], [700, y + 40], [100, y + 40]])
        for text, y in zip(texts, tops, strict=False)
    ]


def answer(entity: str, *texts: str) -> str:
    """Return the rules' answer for an image with these text lines."""
    return rules_answer(find_options(parse_lines(text_lines(*texts), 1000, 1000), entity, None))[0]


# rules
assert answer("torque", "Cordless drill", "50 Nm", "18 V") == "50 newton metre"
assert answer("torque", "37 ft-lb") == "37 pound-foot"
assert answer("torque", "2.5 kg", "Max. torque: 60 Nm / 44 ft-lb", "10 Nm") == "60 newton metre"
assert answer("torque", "2.5 kg") == ""
assert answer("height", "37 ft-lb") == answer("item_weight", "37 ft-lb") == ""
assert is_missing([], parse_lines(text_lines("18 V"), 1000, 1000), ["torque"])

# labels, prompt, format check
assert normalise_label("50 Nm", "torque") == ("50 newton metre", "spelling")
assert normalise_label("50 newton metre", "voltage")[1] == "unit of another entity"
text = prompt("torque", prompt_context(parse_lines(text_lines("Torque 50 Nm"), 1000, 1000), None))
assert "Read: 50 newton metre" in text and "What is the torque?" in text
assert prediction_fault("37 pound-foot", "torque") == prediction_fault("50 newton metre") == ""
assert "does not fit" in prediction_fault("50 gram", "torque")

# answer grammar: it leads through every answer to its end
processor = load_processor("data/idefics2-tiny")
tokenizer = processor.tokenizer
grammar = AnswerGrammar(processor)
start = tokenizer(prompt("torque"), add_special_tokens=False).input_ids
for unit in ENTITIES["torque"].units:
    ids = tokenizer(prompt("torque") + completion(f"12.5 {unit}"), add_special_tokens=False).input_ids
    state = grammar.start["torque"]
    for token in ids[len(start) :]:
        assert grammar.mask[state, token], (unit, tokenizer.decode(token))
        state = int(grammar.step[state, grammar.column[token]])
    assert state == 0

# synthetic images: some show a torque, and the rules read most of them
rng = np.random.default_rng(0)
scenes = [scene for scene in (make_scene(rng, missed=0.0) for _ in range(600)) if "torque" in scene.values]
assert len(scenes) >= 10
lines = [
    [TextLine(text, confidence, corners) for text, confidence, corners in scene.lines] for scene in scenes
]
right = sum(bool(find_options(parse_lines(shown, 1000, 1000), "torque", None)[:-1]) for shown in lines)
assert right >= 0.9 * len(scenes), (right, len(scenes))
assert any(question(scene, rng)[0] == "torque" for scene in scenes)

# a prediction file
folder = Path(sys.argv[1])
(folder / "test.csv").write_text(
    "index,image_link,group_id,entity_name\n0,https://example.com/a.jpg,1,torque\n", encoding="utf-8"
)
(folder / "out.csv").write_text("index,prediction\n0,37 pound-foot\n", encoding="utf-8")
assert check(folder / "out.csv", folder / "test.csv") == []
