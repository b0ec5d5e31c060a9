"""The page to look at answers: what is on it, and that it works in a real browser without any network."""

import json
import shutil
from pathlib import Path

import pytest

from src import metrics
from src.data.details import details_table
from src.data.questions import Question
from src.report import page
from src.report.page import write_report
from tests.report.conftest import NASTY, selected, shown


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
    tab.select_option("#probability", "0.0-0.5")
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
    linked.wait_for_selector(f"#item-{second}[aria-selected=true]")
    assert set(shown(tab)) == {
        str(index) for index in table["index"]
    }  # train rows are shown when they are asked for
    tab.select_option("#table", "")
    tab.keyboard.press("w")
    wrong = tab.locator("#list li[aria-selected=true] .answer").get_attribute("class")
    assert tab.locator("#list li .fp, #list li .fn").count() >= 2  # of the test and of the held-out rows
    assert {"fp", "fn"} & set(wrong.split())


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
    options = json.loads(answered["options"])
    share = 0.6 / sum(option["model"] for option in options)
    assert chosen.inner_text().split("\t")[3].strip() == f"{share:.0%}".replace("%", " %")
    assert tab.locator("rect.option.chosen").count() >= 1
    assert tab.locator("rect.text").count() >= 2
    dimension = table[
        table["entity_name"].isin(["height", "width", "depth"]) & table["prediction"].ne("")
    ].iloc[-1]
    tab = opened(path, f"#row-{dimension['index']}")
    assert tab.locator("line.segment").count() >= 1
    box, image = (tab.locator(name).first.bounding_box() for name in ("figure svg", "figure img"))
    assert box == pytest.approx(image, abs=1)  # the boxes lie on the image


def test_train_rows_show_label_and_verdict(report, opened):
    tab = opened(report[0], "#row-train-3")
    text = tab.inner_text("#detail")
    for words in ("label", "audit", "supported"):
        assert words in text
    tab.select_option("#table", "held out")
    assert shown(tab) == [f"train-{row}" for row in range(3, 9)]
    tab.select_option("#table", "train")
    assert len(shown(tab)) == 10
    assert tab.locator("#verdict option").count() >= 2


def test_texts_from_images_and_tables_are_only_texts(report, opened):
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
    tab.locator("#close").click()
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
    tab.click("#scores th a >> text=height")
    assert tab.input_value("#entity") == "height"


def test_a_page_of_many_rows_stays_small_and_loads_images_when_they_are_seen(
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


def test_an_image_or_row_that_cannot_be_shown_costs_itself(report, tmp_path, opened):
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
