"""What a reader does with the page in a browser, on a desk and on a phone, with and without truth."""

import itertools
import shutil
from collections import Counter

import pytest

from src.data.details import read_details
from src.data.folders import RunFolder
from src.data.text_store import TextStore
from src.metrics import score
from src.report.page import write_report
from src.rules import with_parsed_text
from tests.family import prompt
from tests.report.conftest import (
    ALL_KINDS,
    BOTH_KINDS,
    DESK,
    KINDS_CROSSED,
    PHONE,
    data_of,
    looks,
    open_summary,
    selected,
    shown,
)


@ALL_KINDS
def test_scores_are_of_the_answers_that_their_links_lead_to(any_page, opened, told, width):
    tab = opened(any_page, width=width)
    open_summary(tab)
    rows = {row["id"]: row for row in data_of(tab)["rows"]}
    links = tab.eval_on_selector_all("#scores a", "links => links.map(link => [link.hash, link.innerText])")
    links += tab.eval_on_selector_all(
        "#failures a", "links => links.map(link => [link.hash, link.closest('tr').cells[0].innerText])"
    )
    assert len(links) > 10
    for hash, text in links:
        tab.evaluate("hash => { location.hash = hash }", hash)
        tab.wait_for_function("hash => location.hash.startsWith(hash.slice(0, 9))", arg=hash)
        tab.wait_for_timeout(20)
        listed = [rows[id] for id in shown(tab) if id in rows]
        if text.isdigit():
            assert len(listed) == int(text), hash
        elif tab.locator("#f1").count():
            listed_score = score([row["truth"] or "" for row in listed], [row["answer"] for row in listed])
            assert tab.inner_text("#f1") == f"{listed_score.f1:.3f}"
            cells = tab.locator(f"#scores tr:has(a[href='{hash}']) td").all_inner_texts()
            assert cells[1] == f"{listed_score.f1:.3f}"
        assert {row["table"] for row in listed} <= {"test" if told else "held out"}
    headline = tab.inner_text("#summary > summary")
    assert tab.locator("#scores tr.total td").nth(1).inner_text() in headline


def test_without_truth_the_headline_is_of_held_out_answers_as_shown(report_without_truth, opened):
    path, held_out = report_without_truth
    tab = opened(path)
    wanted = score([row.truth for row in held_out], [row.answer for row in held_out]).f1
    assert f"F1 {wanted:.3f} on {len(held_out)} held-out train rows" in tab.inner_text("#summary > summary")
    tab.click("#scores .total th a")
    tab.wait_for_function("document.getElementById('table').value === 'held out'")
    assert len(shown(tab)) == len(held_out)
    for row, id in zip(held_out, shown(tab), strict=True):
        assert tab.inner_text(f"#item-{id} .answer").startswith(row.answer or "(empty)")


@BOTH_KINDS
def test_choices_count_what_they_would_leave(any_page, opened, width):
    tab = opened(any_page, "#entity=height&table=", width=width)
    for name in ("entity", "outcome", "failure", "probability", "source", "table", "reason", "change"):
        options = tab.eval_on_selector_all(
            f"#{name} option",
            "items => items.filter(item => item.value).map(item => [item.value, item.label])",
        )
        for value, label in options:
            count = int(label.rpartition("(")[2].rstrip(")"))
            before = tab.input_value(f"#{name}")
            tab.eval_on_selector(f"#{name}", "(it, value) => { it.value = value }", value)
            tab.dispatch_event("#filters", "input")
            assert len([id for id in shown(tab) if id]) == count, (name, value)
            tab.eval_on_selector(f"#{name}", "(it, value) => { it.value = value }", before)
            tab.dispatch_event("#filters", "input")


@KINDS_CROSSED
def test_the_address_holds_row_and_filters(any_page, opened, width):
    tab = opened(any_page, width=width)
    tab.select_option("#entity", "height")
    tab.select_option("#sort", "probability")
    tab.fill("#search", "h")
    listed = shown(tab)
    tab.locator("#list li").last.click()
    assert tab.locator("#detail").is_visible()
    again = opened(any_page, tab.url[tab.url.index("#") :], width)
    assert shown(again) == listed
    assert selected(again) == listed[-1]
    assert again.input_value("#search") == "h"
    assert tab.url == again.url


def test_units_reliability_and_counts_lead_to_their_rows(report, opened):
    tab = opened(report[0])
    for selector, named in (("#units td.miss a", "unit"), ("#reliability a", "probability")):
        tab.locator(selector).first.click()
        tab.wait_for_function("name => document.getElementById(name).value", arg=named)
        value = tab.input_value(f"#{named}")
        rows = [row for row in data_of(tab)["rows"] if row["table"] == "test" and row["truth"] is not None]
        key = {"unit": "unit", "probability": "range"}[named]
        assert [row["id"] for row in rows if row[key] == value] == [i for i in shown(tab) if i != "9001"]
        tab.keyboard.press("Escape")
    assert tab.locator("#unit").is_hidden()


@KINDS_CROSSED
def test_the_detail_is_of_a_row_in_the_list(any_page, opened, width):
    tab = opened(any_page, width=width)
    first = selected(tab)
    other = next(row for row in data_of(tab)["rows"] if row["id"] in shown(tab) and row["id"] != first)
    tab.fill("#search", other["id"])
    assert selected(tab) == shown(tab)[0]
    assert tab.text_content("#self") == f"#{shown(tab)[0]}"
    tab.fill("#search", "nobody wrote this")
    assert tab.text_content("#question") == "no such row"
    assert tab.locator("#view figure").count() == 0


@BOTH_KINDS
def test_a_link_to_a_row_that_is_not_there_says_so(any_page, opened, width):
    tab = opened(any_page, "#row-4242", width=width)
    assert tab.inner_text("#question") == "row 4242 is not on this page"
    assert tab.locator("#list li[aria-selected=true]").count() == 0


def test_a_linked_row_is_not_under_the_bar(report, opened):
    rows = [row["id"] for row in data_of(opened(report[0]))["rows"] if row["table"] == "test"]
    for id in (rows[0], rows[-2]):
        tab = opened(report[0], f"#row-{id}", width=DESK)
        tab.wait_for_timeout(200)
        row, bar = (tab.locator(name).bounding_box() for name in (f"#item-{id}", "#filters"))
        title = tab.locator("#question").bounding_box()
        assert bar["y"] == pytest.approx(0, abs=1)
        assert min(row["y"], title["y"]) >= bar["y"] + bar["height"]
        assert row["y"] + row["height"] <= 800


@pytest.mark.parametrize("told", [True, False])
def test_back_on_a_phone_leaves_the_row_first(any_page, opened):
    tab = opened(any_page, width=PHONE)
    tab.select_option("#entity", "height")
    tab.locator("#list li").first.click()
    tab.click("#next")
    assert tab.locator("#detail").is_visible()
    tab.go_back()
    tab.wait_for_selector("#detail", state="hidden")
    assert tab.input_value("#entity") == "height"
    assert "#" in tab.url and "row-" not in tab.url
    linked = opened(any_page, f"#row-{shown(tab)[0]}", width=PHONE)
    assert linked.locator("#detail").is_visible()
    linked.go_back()
    linked.wait_for_selector("#detail", state="hidden")
    assert linked.url.startswith(any_page.as_uri())


@ALL_KINDS
def test_options_have_one_model_number_and_the_combined_one_that_decides(any_page, opened, width):
    tab = opened(any_page, "#table=", width=width)
    checked = 0
    for row in data_of(tab)["rows"]:
        if len(row["options"]) < 2 or not row["asked"]:
            continue
        checked += 1
        models = [option["model"] for option in row["options"]]
        assert sum(models) == pytest.approx(1, abs=1e-3)
        tab.evaluate("id => { location.hash = `#row-${id}` }", row["id"])
        tab.wait_for_function("id => document.getElementById('self').textContent === `#${id}`", arg=row["id"])
        heads = tab.locator(".options th").all_inner_texts()
        cells = [line.locator("td").all_inner_texts() for line in tab.locator(".options tr:has(td)").all()]
        for name in ("rules", "model", "combined"):
            column = heads.index(name)
            for option, line in zip(row["options"], cells, strict=False):
                assert line[column].strip() == f"{int(100 * option[name] + 0.5)} %"
        facts = tab.inner_text(".facts-list")
        assert f"model\n{row['model_answer'] or '(empty)'} {int(100 * max(models) + 0.5)} %" in facts
        assert row["why"] in facts
        assert ("something else" in tab.inner_text(".options")) == (row["something_else"] >= 0.005)
    assert checked > 3


def test_failures_are_counted_filtered_and_told(report, opened):
    tab = opened(report[0])
    data = data_of(tab)
    counts = Counter(row["failure"] for row in data["rows"] if row["table"] == "test" and row["failure"])
    lines = tab.locator("#failures tr").all_inner_texts()
    assert {line.split("\t")[1]: int(line.split("\t")[0]) for line in lines} == counts
    for name, count in counts.items():
        tab.select_option("#failure", name)
        assert len(shown(tab)) == count
        assert tab.locator("#f1").count() == 0  # of rows that were chosen for being wrong
        assert f"failure\n{name}: {data['failures'][name]}" in tab.inner_text(".facts-list")
        assert name in tab.inner_text(f"#item-{shown(tab)[0]}")


def test_the_same_amount_in_another_unit_is_not_shown_as_wrong_and_right(report, opened):
    tab = opened(report[0])
    row = next(row for row in data_of(tab)["rows"] if row["other_unit"])
    tab = opened(report[0], f"#row-{row['id']}")
    facts = tab.inner_text(".facts-list")
    assert "same amount, other unit" in facts
    assert "wrong" not in facts
    assert tab.inner_text("tr.chosen .mark") == "answer, truth in another unit"
    assert tab.locator("#view .fp").count() == 0


@BOTH_KINDS
def test_the_prompt_is_the_one_that_the_model_got(any_page, opened, width):
    tab = opened(any_page, width=width)
    run = RunFolder(any_page.parent)
    asked = read_details(run.details)[:3]
    parsed = with_parsed_text(asked, TextStore(run.processed), run.rules_journal)
    for question in parsed:
        tab.evaluate("id => { location.hash = `#row-${id}` }", str(question.row))
        tab.wait_for_selector(f"#self:text-is('#{question.row}')")
        wanted = prompt(question.entity, question.context)
        assert tab.text_content("#view pre") == wanted


@KINDS_CROSSED
def test_a_text_line_and_its_box_are_marked_together(any_page, opened, width):
    tab = opened(any_page, f"#row-{read_details(RunFolder(any_page.parent).details)[3].row}", width=width)
    tab.click("#view summary >> nth=0")
    tab.hover(".lines li >> nth=0")
    assert tab.locator("rect.text.hot").get_attribute("data-link") == "line-0"
    assert tab.locator(".lines .hot").count() == 1
    tab.hover("rect.text >> nth=1", force=True)
    assert "line-1" in tab.eval_on_selector_all(".lines .hot", "items => items.map(it => it.dataset.link)")
    tab.hover("#question")
    assert tab.locator(".hot").count() == 0


@BOTH_KINDS
def test_the_image_zooms_about_a_point_and_covers_its_frame(any_page, opened, width):
    tab = opened(any_page, f"#row-{read_details(RunFolder(any_page.parent).details)[3].row}", width=width)
    frame, stage = tab.locator(".frame"), tab.locator(".stage")
    whole = stage.bounding_box()
    tab.keyboard.press("+")
    tab.click("[aria-label='zoom in']")
    assert stage.bounding_box()["width"] == pytest.approx(whole["width"] * 1.6**2, abs=2)
    box = frame.bounding_box()
    tab.mouse.move(box["x"] + 50, box["y"] + 50)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 2000, box["y"] + 40)
    tab.mouse.up()
    moved = stage.bounding_box()
    assert moved["x"] == pytest.approx(box["x"], abs=1)  # no further than its edge
    assert moved["y"] < box["y"]
    tab.mouse.move(box["x"] + 50, box["y"] + 50)
    tab.mouse.wheel(0, 4000)
    assert stage.bounding_box() == pytest.approx(whole, abs=1)
    tab.mouse.dblclick(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    near = stage.bounding_box()
    assert near["width"] == pytest.approx(3 * whole["width"], abs=2)
    assert near["x"] - box["x"] == pytest.approx(-box["width"] / 2, abs=2)
    tab.keyboard.press("0")
    assert stage.bounding_box() == pytest.approx(whole, abs=1)


def test_numbers_of_options_stand_outside_their_boxes(report, opened):
    tab = opened(report[0])
    seen = 0
    for row in data_of(tab)["rows"]:
        if not any(option["boxes"] for option in row["options"]):
            continue
        tab.evaluate("id => { location.hash = `#row-${id}` }", row["id"])
        tab.wait_for_selector(f"#self:text-is('#{row['id']}')")
        badges = [badge.bounding_box() for badge in tab.locator(".badge").all()]
        boxes = [box.bounding_box() for box in tab.locator("rect.option").all()]
        for badge, box in itertools.product(badges, boxes):
            middle = badge["x"] + badge["width"] / 2, badge["y"] + badge["height"] / 2
            is_inside = all(
                box[side] < at < box[side] + box[size]
                for at, side, size in zip(middle, "xy", ("width", "height"), strict=True)
            )
            seen += 1
            assert not is_inside
    assert seen > 5


@pytest.mark.parametrize(
    ("told", "width", "scheme"),
    [(True, DESK, "light"), (False, PHONE, "light"), (True, PHONE, "dark"), (False, DESK, "dark")],
)
def test_all_text_stands_out_from_its_ground(any_page, opened, width, scheme):
    tab = opened(any_page, "#table=", width, scheme)
    open_summary(tab)
    assert looks(tab, "lowContrasts") == []
    ids = shown(tab)
    for id in ids[:: max(1, len(ids) // 4)]:
        tab.evaluate("id => { location.hash = `#row-${id}&table=` }", id)
        tab.wait_for_selector(f"#self:text-is('#{id}')", state="attached")
        tab.hover("#view .options tr >> nth=-1", force=True) if tab.locator(
            "#view .options"
        ).count() else None
        if tab.locator("#label").count():
            tab.fill("#tag", "glare")
            tab.fill("#label", "what is not kept")
        assert looks(tab, "lowContrasts") == []


@ALL_KINDS
def test_rings_of_what_has_the_focus_are_whole(any_page, opened, width):
    tab = opened(any_page, width=width)
    open_summary(tab)
    tab.keyboard.press("Tab")
    assert looks(tab, "cutRings") == []


@pytest.mark.parametrize("told", [True, False])
def test_only_the_question_is_read_aloud(any_page, opened):
    tab = opened(any_page)
    assert tab.eval_on_selector_all("[aria-live], output", "items => items.map(it => it.id)") == ["question"]
    before = tab.text_content("#question")
    tab.evaluate("window.kept = document.getElementById('question')")
    tab.keyboard.press("j")
    assert tab.evaluate("window.kept === document.getElementById('question')")
    assert before and tab.text_content("#question")


@ALL_KINDS
def test_nothing_is_wider_than_the_window(any_page, opened, width):
    tab = opened(any_page, width=width)
    open_summary(tab)
    for id in shown(tab):
        tab.evaluate("id => { location.hash = `#row-${id}` }", id)
        tab.wait_for_selector(f"#self:text-is('#{id}')")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate("document.getElementById('detail').scrollWidth <= innerWidth")
        assert tab.evaluate("document.getElementById('view').scrollWidth <= innerWidth")


def test_a_page_of_a_part_says_how_its_rows_were_chosen_and_has_no_f1(report, tmp_path, opened):
    out = shutil.copytree(report[0].parent, tmp_path / "out")
    tab = opened(write_report(out, rows=4), "#change=lost")
    assert tab.locator("#change").is_hidden()  # there is nothing to compare with
    assert tab.locator("#comparison").count() == 0
    assert len(shown(tab)) == 4
    assert tab.locator("#f1").count() == 0
    assert "on this page 4 of 8 rows: " in tab.inner_text("header")
