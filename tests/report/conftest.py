"""Pages of a small run, with and without truth, and a browser in which nothing may be asked from outside."""

import itertools
import json
import math
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.pictures import chromium
from src import metrics
from src.data.details import details_table, to_entry
from src.data.questions import Question
from src.reading.options import rules_answer
from src.reading.quantity import parse_answer
from src.report.page import write_report
from src.report.rows import held_out_rows
from src.training import adapter
from tests.conftest import parsed_questions, run_python
from tests.family import prompt

NASTY = "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>"
NASTY += "\"&amp;'{{ 7 * 7 }} ü × ½"
DESK, PHONE = 1400, 360
ALL_KINDS = pytest.mark.parametrize(("told", "width"), list(itertools.product([True, False], [DESK, PHONE])))
"""With and without truth, on a desk and on a phone."""
BOTH_KINDS = pytest.mark.parametrize(("told", "width"), [(True, DESK), (False, PHONE)])
KINDS_CROSSED = pytest.mark.parametrize(("told", "width"), [(True, PHONE), (False, DESK)])
LOOKS = Path(__file__).with_name("looks.js").read_text()
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def answered(question, probability):
    """A question as the ensemble leaves it: the rules' answer, which the model finds likely, too."""
    text, _ = rules_answer(question.options)
    options = tuple(
        replace(
            o,
            log_probability=math.log(0.6 if o.text == text else 0.3),
            log_prior=0.3 if o.texts else 0.0,
            probability=0.7,
        )
        for o in question.options
    )
    scores = {"model_answer": text, "confidence": 0.5, "probability": probability, "source": "rules"}
    return replace(question, options=options, prediction=text, **scores)


def run_folder(data: Path, out: Path) -> Path:
    """What a run leaves, with the rules' answers; the first is made wrong, one has its truth in another unit,
    one is not asked, texts are nasty. Another run's answers differ in three rows: one is right there, one is
    right here."""
    parsed = parsed_questions(data, out / "processed", out / "rules_out.journal.jsonl")
    probabilities = [0.3, *([0.6, 0.97] * 9)]
    questions = [answered(q, p) for q, p in zip(parsed["test"], probabilities, strict=False)]
    questions[0] = replace(questions[0], prediction="77 kilogram")
    position = next(i for i, q in enumerate(questions) if q.prediction.endswith(" millimetre"))
    printed = questions[position].prediction
    other_unit = str(
        replace(parse_answer(printed), number=parse_answer(printed).number / 10, unit="centimetre")
    )
    options = [
        replace(o, texts=(printed, other_unit)) if o.text == printed else o
        for o in questions[position].options
    ]
    questions[position] = replace(questions[position], options=tuple(options))
    truths = pd.read_csv(data / "test_truth.csv", dtype=str, keep_default_na=False)
    truths.loc[truths["index"].eq(str(questions[position].row)), "entity_value"] = other_unit
    truths.to_csv(data / "test_truth.csv", index=False)
    known = truths.set_index("index")["entity_value"]
    others = {q.row: re.sub(r"^([0-9]+) ", r"\1.0 ", q.prediction) for q in questions[:-1]}
    others[questions[0].row] = known[str(questions[0].row)]
    others[questions[position].row] = "3 yard"
    right = next(q for q in questions[1:-1] if q.prediction and known.get(str(q.row)) == q.prediction)
    others[right.row] = ""
    pd.Series(others, name="prediction").rename_axis("index").to_csv(out / "rules_out.csv")
    blank = Question(9001, "", Path(), NASTY, link=NASTY, reason="blank link")
    details_table([*questions, blank]).to_csv(out / "test_out.details.csv", index=False)
    lines = [json.loads(line) for line in (out / "processed" / "text.jsonl").read_text().splitlines()]
    for entry in lines:
        entry["lines"].append([NASTY, 0.9, [[5, 5], [90, 5], [90, 20], [5, 20]]])
    (out / "processed" / "text.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    (out / "adapter").mkdir()
    held_out = [answered(question, 0.4) for question in parsed["train"] if 3 <= question.row < 9]
    held_out[0] = replace(held_out[0], label="2 inch")
    record = {"settings": {"model": "tiny"}, "trained_on": 10, "answers": list(map(to_entry, held_out))}
    record["prompt"] = asdict(prompt)
    (out / "adapter" / "training.json").write_text(json.dumps(record))
    times = {"preprocess": 12.4, "training": 30}
    (out / "run.json").write_text(json.dumps({"data": str(data), "times": times}))
    return out


@pytest.fixture(scope="session")
def report(processed, tmp_path_factory):
    """(the page, the table of its test rows with their truth)"""
    folder = tmp_path_factory.mktemp("report")
    data, out = shutil.copytree(processed[0], folder / "data"), shutil.copytree(processed[1], folder / "out")
    run_folder(data, out)
    result = run_python("-m", "src.report", "--out", out, "--train", "--compare", out / "rules_out.csv")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(out / "report.html")
    details = pd.read_csv(out / "test_out.details.csv", keep_default_na=False)
    truth = metrics.read_truth(data / "test_truth.csv").set_index("index")["truth"]
    return out / "report.html", details.assign(truth=details["index"].map(truth))


@pytest.fixture(scope="session")
def report_without_truth(report, tmp_path_factory):
    """(the page of the same run where no truth is known, its held-out rows)"""
    folder = tmp_path_factory.mktemp("untold")
    out = shutil.copytree(report[0].parent, folder / "out")
    data = shutil.copytree(report[0].parent.parent / "data", folder / "data")
    (data / "test_truth.csv").unlink()
    path = write_report(out, data, compare=out / "rules_out.csv")
    return path, held_out_rows(adapter.held_out(adapter.load_record(out / "adapter")))


@pytest.fixture
def any_page(told, report, report_without_truth):
    """The page of the run with truth, or of the one without."""
    return report[0] if told else report_without_truth[0]


@pytest.fixture(scope="session")
def browser():
    executable = chromium()
    if executable is None:
        pytest.skip("no chromium on this system")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """A function that opens a page; at the end nothing may have been asked of the outside, and no error
    told."""
    contexts, pages, asked, errors = [], set(), [], []

    def open_page(path: Path, hash: str = "", width: int = 1280, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        tab = context.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: errors.append(message.text))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        pages.add(path.as_uri())
        tab.goto(f"{path.as_uri()}{hash}")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert {url.partition("#")[0] for url in asked if url.startswith("file:")} == pages
    assert errors == []


def shown(tab) -> list[str]:
    return tab.eval_on_selector_all("#list li", "items => items.map(item => item.id.replace('item-', ''))")


def data_of(tab) -> dict:
    return json.loads(tab.text_content("#data"))


def looks(tab, name) -> list[str]:
    """What a function of ``looks.js`` finds."""
    return tab.evaluate(f"() => {{ {LOOKS}; return {name}(); }}")


def open_summary(tab):
    tab.evaluate("document.getElementById('summary').open = true")


def selected(tab) -> str:
    return tab.locator("#list li[aria-selected=true]").get_attribute("id").removeprefix("item-")
