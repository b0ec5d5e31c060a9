"""Reviews: kept in the browser, found again, and exported as rows that the training reads."""

import json

from src.data.labels import USABLE_REASONS, normalise_label
from src.data.tables import read_train
from tests.report.conftest import BOTH_KINDS, KINDS_CROSSED, NASTY, data_of, looks, selected, shown

STORE = "JSON.parse(localStorage.getItem(`reviews of ${location.pathname}`))"


def show(tab, row) -> None:
    tab.evaluate("id => { location.hash = `#row-${id}&table=` }", row["id"])
    tab.wait_for_selector(f"#self:text-is('#{row['id']}')")


def key_of(row) -> str:
    """What a row's review is kept by."""
    return json.dumps([row["link"], row["entity"]], separators=(",", ":"), ensure_ascii=False)


def reviewable(tab) -> list[dict]:
    """The rows whose entity is known."""
    data = data_of(tab)
    return [row for row in data["rows"] if row["entity"] in data["units"]]


@BOTH_KINDS
def test_a_review_is_kept_marked_and_filtered_and_a_label_that_is_not_valid_is_not(any_page, opened, width):
    tab = opened(any_page, width=width)
    first, second = reviewable(tab)[:2]
    assert not tab.locator("#review").is_visible() and not tab.locator("#export").is_visible()
    show(tab, second)
    tab.evaluate("window.field = document.getElementById('tag')")
    tab.click("#tag")
    tab.keyboard.type("jk/ -Glare")
    assert selected(tab) == second["id"]
    assert tab.text_content(f"#item-{second['id']} .reviewed") == "tagged"
    tab.keyboard.press("Tab")
    tab.keyboard.type("5 kilos")
    assert tab.inner_text("#refused").startswith("Not kept: write a number and one of ")
    assert tab.get_attribute("#label", "aria-invalid") == "true"
    assert looks(tab, "lowContrasts") == []
    assert tab.evaluate("document.getElementById('detail').scrollWidth <= innerWidth")
    assert tab.evaluate(STORE) == [[key_of(second), {"tag": "jk/ -Glare", "label": None}]]
    unit = data_of(tab)["units"][second["entity"]][0]
    tab.fill("#label", f" 5.50  {unit.upper()}")
    assert not tab.locator("#refused").is_visible()
    assert tab.evaluate(f"{STORE}[0][1].label") == f"5.50 {unit}"
    assert tab.evaluate("window.field === document.getElementById('tag')")
    tab.keyboard.press("Escape")
    assert tab.evaluate("document.activeElement === document.body")
    assert tab.locator("#detail").is_visible() and selected(tab) == second["id"]
    assert tab.input_value("#table") == ""  # the filters are not reset
    show(tab, first)
    tab.fill("#tag", "Lamp")
    tab.reload()
    assert tab.input_value("#tag") == "Lamp"
    offered = tab.eval_on_selector_all("#tag-choices option", "items => items.map(it => it.value)")
    assert "jk/ -Glare" in offered and len(offered) > 3
    for filters, rows in (
        ("review=corrected", [second]),
        ("review=tagged", [first]),
        ("search=glare", [second]),
    ):
        tab.evaluate("filters => { location.hash = filters }", filters)
        tab.wait_for_function("filters => location.hash.endsWith(filters)", arg=filters)
        tab.wait_for_timeout(20)
        assert shown(tab) == [row["id"] for row in rows]
    show(tab, second)
    assert tab.input_value("#label") == f"5.50 {unit}"
    tab.fill("#label", "")
    tab.fill("#tag", "")
    assert tab.text_content(f"#item-{second['id']} .reviewed") == ""
    assert len(tab.evaluate(STORE)) == 1


@KINDS_CROSSED
def test_the_export_is_a_table_to_train_on(any_page, opened, width, tmp_path):
    tab = opened(any_page, "#table=", width=width)
    tests = [row for row in reviewable(tab) if row["table"] == "test"]
    held_out = next(row for row in reviewable(tab) if row["table"] == "held out")
    assert held_out["link"].startswith("https://")
    nasty = next(row for row in data_of(tab)["rows"] if row["link"] == NASTY)
    unit = data_of(tab)["units"][tests[1]["entity"]][-1]
    reviews = [
        [key_of(tests[0]), {"tag": f'{NASTY}\r\nand "more"', "label": ""}],
        [key_of(tests[1]), {"tag": "=1+1", "label": f"12.5 {unit}"}],
        [key_of(tests[2]), {"tag": "known, or not", "label": None}],
        [key_of(held_out), {"tag": "-", "label": None}],
        [key_of(nasty), {"tag": "no such entity", "label": ""}],
        ["not on this page", {"tag": "", "label": "2 inch"}],
    ]
    tab.evaluate(
        "reviews => localStorage.setItem(`reviews of ${location.pathname}`, JSON.stringify(reviews))", reviews
    )
    tab.reload()
    show(tab, tests[0])
    assert tab.evaluate("window.pwned") is None
    assert tab.input_value("#label") == "(empty)"
    wanted = [
        [tests[0]["link"], tests[0]["group"], tests[0]["entity"], "", f'{NASTY}\r\nand "more"'],
        [tests[1]["link"], tests[1]["group"], tests[1]["entity"], f"12.5 {unit}", "'=1+1"],
        [tests[2]["link"], tests[2]["group"], tests[2]["entity"], tests[2]["truth"], "known, or not"],
        [held_out["link"], held_out["group"], held_out["entity"], held_out["truth"], "'-"],
    ]
    wanted = [row for row in wanted if row[3] is not None]
    button = tab.locator("#export")
    assert button.inner_text() == f"export {len(wanted)} reviews"
    assert "without a known label stays out" in button.get_attribute("title")
    with tab.expect_download() as download:
        tab.evaluate("document.getElementById('export').click()")
    assert download.value.suggested_filename == "reviews.csv"
    download.value.save_as(tmp_path / "train.csv")
    table = read_train(tmp_path)
    assert table.columns.tolist() == ["image_link", "group_id", "entity_name", "entity_value", "tag"]
    assert table.to_numpy().tolist() == wanted
    for entity, value in zip(table["entity_name"], table["entity_value"], strict=True):
        assert normalise_label(value, entity)[1] in USABLE_REASONS


def test_a_browser_that_keeps_nothing_says_so(report, opened):
    tab = opened(report[0])
    assert not tab.locator("#lost").is_visible()
    tab.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full') } }")
    tab.fill("#tag", "glare")
    assert "does not keep reviews" in tab.inner_text("#lost")
    id = selected(tab)
    tab.keyboard.press("Escape")
    tab.keyboard.press("j")
    tab.keyboard.press("k")
    assert selected(tab) == id
    assert tab.input_value("#tag") == "glare"
    assert tab.locator("#lost").is_visible()
    assert looks(tab, "lowContrasts") == []
