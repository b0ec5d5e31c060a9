"""The page to look at answers: what is on it, and that it works in a real browser without any network."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from src import metrics
from src.data.details import details_table, to_entry
from src.data.questions import Question
from src.reading.options import rules_answer
from src.report import page
from src.report.page import write_report
from tests.conftest import parsed_questions, run_python

NASTY = "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>"
NASTY += "\"&amp;'{{ 7 * 7 }} ü × ½"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def answered(question, probability):
    """A question as the ensemble leaves it: the rules' answer, which the model finds likely, too."""
    text, _ = rules_answer(question.options)
    options = tuple(
        replace(o, log_probability=math.log(0.6 if o.text == text else 0.3), probability=0.7)
        for o in question.options
    )
    scores = {"model_answer": text, "confidence": 0.5, "probability": probability, "source": "rules"}
    return replace(question, options=options, prediction=text, **scores)


def run_folder(data: Path, out: Path) -> Path:
    """What a run leaves, with the rules' answers; the first is made wrong, one is not asked, texts are
    nasty."""
    parsed = parsed_questions(data, out / "processed", out / "rules_out.journal.jsonl")
    probabilities = [0.3, *([0.6, 0.97] * 9)]
    questions = [answered(q, p) for q, p in zip(parsed["test"], probabilities, strict=False)]
    questions[0] = replace(questions[0], prediction="77 kilogram")
    blank = Question(9001, "", Path(), NASTY, link=NASTY, reason="blank link")
    details_table([*questions, blank]).to_csv(out / "test_out.details.csv", index=False)
    lines = [json.loads(line) for line in (out / "processed" / "text.jsonl").read_text().splitlines()]
    for entry in lines:
        entry["lines"].append([NASTY, 0.9, [[5, 5], [90, 5], [90, 20], [5, 20]]])
    (out / "processed" / "text.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    (out / "adapter").mkdir()
    held_out = next(question for question in parsed["train"] if question.row == 3)
    held_out = replace(answered(held_out, 0.4), label="2 inch", model_answer="99 ton", confidence=0.4)
    record = {"settings": {"model": "tiny"}, "trained_on": 13, "answers": [to_entry(held_out)]}
    (out / "adapter" / "training.json").write_text(json.dumps(record))
    times = {"preprocess": 12.4, "training": 30}
    (out / "run.json").write_text(json.dumps({"data": str(data), "times": times}))
    return out


@pytest.fixture(scope="module")
def report(processed, tmp_path_factory):
    """(the page, the table of its test rows with their truth)"""
    folder = tmp_path_factory.mktemp("report")
    data, out = shutil.copytree(processed[0], folder / "data"), shutil.copytree(processed[1], folder / "out")
    run_folder(data, out)
    result = run_python("-m", "src.report", "--out", out, "--train")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(out / "report.html")
    details = pd.read_csv(out / "test_out.details.csv", keep_default_na=False)
    truth = metrics.read_truth(data / "test_truth.csv").set_index("index")["truth"]
    return out / "report.html", details.assign(truth=details["index"].map(truth))


@pytest.fixture(scope="module")
def browser():
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no chromium on this system")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """A function that opens a page; at the end nothing may have been asked of the outside, and no error
    told."""
    contexts, asked, errors = [], [], []

    def open_page(path: Path, hash: str = "", width: int = 1280, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        tab = context.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: errors.append(message.text))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(f"{path.as_uri()}{hash}")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in asked) == len(contexts)
    assert errors == []


def shown(tab) -> list[str]:
    return tab.eval_on_selector_all("#list li", "items => items.map(item => item.id.replace('row-', ''))")


def selected(tab) -> str:
    return tab.locator("#list li[aria-selected=true]").get_attribute("id").removeprefix("row-")


def test_the_page_is_one_file_that_may_load_nothing(report, opened):
    path, _ = report
    text = path.read_text()
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'" in text
    tab = opened(path)
    assert tab.locator("figure img").evaluate("image => image.complete && image.naturalWidth") > 100
    names = tab.evaluate("performance.getEntriesByType('resource').map(entry => entry.name.slice(0, 5))")
    assert set(names) <= {"data:"}


def test_filters_narrow_and_count_as_the_metrics_do(report, opened):
    path, table = report
    tab = opened(path)
    tab.select_option("#table", "test")
    assert shown(tab) == [str(index) for index in table["index"]]
    known = table[table["truth"].notna()]
    score = metrics.score(known["truth"].tolist(), known["prediction"].tolist())
    assert tab.inner_text("#f1") == f"{score.f1:.3f}"
    assert tab.inner_text("#count") == str(len(table))
    assert (
        f"{score.tp} right, {score.fp} wrong, {score.fn} missed, {score.tn} rightly empty"
        in tab.inner_text("#counts")
    )
    tab.select_option("#outcome", "bad")
    assert len(shown(tab)) == score.fp + score.fn > 0
    assert str(table["index"][0]) in shown(tab)
    tab.select_option("#outcome", "")
    for entity, rows in known.groupby("entity_name"):
        tab.select_option("#entity", entity)
        assert shown(tab) == [str(index) for index in rows["index"]]
        assert (
            tab.inner_text("#f1")
            == f"{metrics.score(rows['truth'].tolist(), rows['prediction'].tolist()).f1:.3f}"
        )
    tab.keyboard.press("Escape")
    tab.select_option("#table", "test")
    tab.select_option("#probability", "0-0.5")
    assert shown(tab) == [str(table["index"][0])]
    tab.select_option("#probability", "")
    tab.select_option("#reason", "blank link")
    assert shown(tab) == ["9001"]
    tab.select_option("#reason", "")
    tab.fill("#search", "77 KILO")
    assert shown(tab) == [str(table["index"][0])]
    tab.fill("#search", "9001")
    assert shown(tab) == ["9001"]
    tab.fill("#search", "nobody wrote this")
    assert tab.inner_text("#list") == "no such row"
    tab.click("button[type=reset]")
    tab.select_option("#table", "test")
    tab.select_option("#sort", "probability")
    assert shown(tab)[0] == str(table["index"][0])


def test_keys_walk_through_the_rows_and_links_lead_to_them(report, opened):
    path, table = report
    first, second, third = (str(index) for index in table["index"][:3])
    tab = opened(path)
    assert selected(tab) == first
    for key, want in (("j", second), ("ArrowDown", third), ("k", second), ("ArrowUp", first), ("k", first)):
        tab.keyboard.press(key)
        assert selected(tab) == want
    tab.keyboard.press("j")
    assert tab.url.endswith(f"#row-{second}")
    tab.keyboard.press("/")
    tab.keyboard.type("jk")
    assert tab.input_value("#search") == "jk"
    tab.keyboard.press("Escape")
    assert len(shown(tab)) > 3
    assert tab.locator("figure svg").is_visible()
    tab.keyboard.press("b")
    assert not tab.locator("figure svg").is_visible()
    linked = opened(path, f"#row-{third}")
    assert selected(linked) == third
    linked.select_option("#table", "train")
    linked.evaluate(
        "id => { location.hash = `#row-${id}` }", second
    )  # hidden by the filter, which is reset then
    linked.wait_for_selector(f"#row-{second}[aria-selected=true]")
    assert set(shown(tab)) == {
        str(index) for index in table["index"]
    }  # train rows are shown when they are asked for
    tab.select_option("#table", "")
    tab.keyboard.press("w")
    wrong = tab.locator("#list li[aria-selected=true] .answer").get_attribute("class")
    assert (
        tab.locator("#list li .fp, #list li .fn").count() == 2
    )  # one of the test rows, one held-out train row
    assert "fp" in wrong


def test_a_row_shows_what_was_read_weighed_and_decided(report, opened):
    path, table = report
    tab = opened(path, f"#row-{table['index'][0]}")
    text = tab.inner_text("#detail")
    for words in ("77 kilogram", "wrong", "truth", "rules, probability 30 %", "(empty)"):
        assert words in text
    answered = next(
        row for row in table.to_dict("records")[1:] if row["prediction"] and row["prediction"] == row["truth"]
    )
    tab = opened(path, f"#row-{answered['index']}")
    chosen = tab.locator("tr.chosen")
    assert answered["prediction"] in chosen.inner_text()
    assert "answer, truth" in chosen.inner_text()
    assert "60 %" in chosen.inner_text()  # the model's probability of it
    assert tab.locator("rect.option.chosen").count() >= 1
    assert tab.locator("rect.text").count() >= 2
    dimension = table[
        table["entity_name"].isin(["height", "width", "depth"]) & table["prediction"].ne("")
    ].iloc[-1]
    tab = opened(path, f"#row-{dimension['index']}")
    assert tab.locator("line.segment").count() >= 1
    box, image = (tab.locator(name).first.bounding_box() for name in ("figure svg", "figure img"))
    assert box == pytest.approx(image, abs=1)  # the boxes lie on the picture


def test_train_rows_show_label_and_verdict(report, opened):
    tab = opened(report[0], "#row-train-3")
    text = tab.inner_text("#detail")
    for words in ("label", "audit", "supported"):
        assert words in text
    tab.select_option("#table", "train")
    assert len(shown(tab)) == 16
    assert tab.locator("#verdict option").count() >= 2


def test_texts_from_pictures_and_tables_are_only_texts(report, opened):
    path, table = report
    for index in (9001, table["index"][0]):
        tab = opened(path, f"#row-{index}")
        assert tab.evaluate("window.pwned") is None
        assert NASTY in tab.locator("#detail").text_content()
    assert tab.locator("svg title").last.text_content()
    assert "{{ 7 * 7 }}" in tab.locator("#detail").text_content()


def test_it_fits_a_phone_and_the_dark(report, opened):
    tab = opened(report[0], width=360, scheme="dark")
    assert tab.evaluate("document.documentElement.scrollWidth") == 360
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(int(level) for level in background.strip("rgb()").split(",")) < 150
    assert not tab.locator("#detail").is_visible()
    tab.locator("#list li").nth(1).click()
    assert tab.locator("#detail").is_visible()
    assert tab.evaluate("document.getElementById('detail').scrollWidth") <= 360
    tab.locator("button.close").click()
    assert not tab.locator("#detail").is_visible()


def test_the_summary_tells_scores_times_and_what_was_skipped(report, opened):
    path, table = report
    tab = opened(path)
    known = table[table["truth"].notna()]
    scores = metrics.table(
        known["entity_name"].tolist(), known["truth"].tolist(), known["prediction"].tolist()
    )
    for row in scores.itertuples():
        assert (
            f"{row.entity.replace('_', ' ').removesuffix(' recommendation')}\t{row.rows}\t{row.f1:.3f}"
            in tab.inner_text("#scores")
        )
    assert "12 s" in tab.inner_text("#times")
    assert "blank link" in tab.inner_text("#skipped")
    assert tab.locator("#reliability circle").count() >= 2
    assert tab.locator("#units td.miss").count() >= 1
    tab.click("#scores button[data-entity=height]")
    assert tab.input_value("#entity") == "height"


def test_a_page_of_many_rows_stays_small_and_loads_pictures_when_they_are_seen(
    processed, tmp_path, opened, monkeypatch
):
    out = shutil.copytree(processed[1], tmp_path / "out")
    picture = next((out / "processed").glob("*.jpg"))
    names = [f"{i}.jpg" for i in range(300)]
    for name in names:
        (out / "processed" / name).hardlink_to(picture)
    questions = [
        Question(
            i,
            names[i % 300],
            Path(names[i % 300]),
            "voltage",
            link=names[i % 300],
            prediction="5 volt",
            probability=0.5,
        )
        for i in range(2000)
    ]
    details_table(questions).to_csv(out / "test_out.details.csv", index=False)
    monkeypatch.setattr(page, "MOST_BYTES", 1_700_000)
    path = write_report(out, rows=2000)
    assert 1_000_000 < path.stat().st_size <= 1_700_000
    tab = opened(path)
    assert len(shown(tab)) == 2000
    tab.wait_for_selector("#list img[src]")
    assert 0 < tab.locator("#list img[src]").count() < 100
    tab.evaluate("document.querySelector('#list').scrollTo(0, 60000)")
    tab.wait_for_selector("#list li:nth-child(910) img[src]")
    assert tab.locator("#list img[src]").count() < 100
    tab.fill("#search", "1999")
    assert shown(tab) == ["1999"]


def test_without_truth_text_or_adapter_there_is_still_a_page(processed, tmp_path, opened):
    (tmp_path / "processed").mkdir()
    question = Question(4, "a.jpg", Path("a.jpg"), "height", link="a.jpg", prediction="2 inch")
    details_table([question]).to_csv(tmp_path / "test_out.details.csv", index=False)
    tab = opened(write_report(tmp_path))
    assert "2 inch" in tab.inner_text("#detail")
    assert tab.locator("#scores").count() == 0


def test_a_picture_or_row_that_cannot_be_shown_costs_itself(report, tmp_path, opened):
    out = shutil.copytree(report[0].parent, tmp_path / "out")
    lines = (out / "processed" / "text.jsonl").read_text().splitlines()
    first, *others = (json.loads(line) for line in lines)
    first["lines"] = [["damaged", "x", "y"]]
    (out / "processed" / "text.jsonl").write_text(
        "".join(json.dumps(entry) + "\n" for entry in (first, *others))
    )
    tab = opened(write_report(out, train=True))
    tab.select_option("#table", "")
    notes = []
    for _ in shown(tab):
        notes += tab.locator("dt:text-is('note') + dd").all_inner_texts()
        tab.keyboard.press("j")
    assert 1 <= len(notes) < len(lines)
    assert all("not shown" in note for note in notes)
