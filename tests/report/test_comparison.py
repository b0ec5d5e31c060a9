"""This run's answers beside another's: what counts as which change, and where the page shows it."""

import shutil
from pathlib import Path

import pytest

from src.data.details import details_table
from src.data.errors import InputError
from src.data.questions import Question
from src.metrics import comparable, score
from src.report.comparison import figures, with_other_answers
from src.report.page import write_report
from src.report.rows import CHANGES, TEST, Row, outcome_of
from tests.report.conftest import ALL_KINDS, data_of, open_summary, selected, shown


@pytest.mark.parametrize(
    ("answer", "other", "truth", "want"),
    [
        ("2 inch", "2.0 inch", "3 inch", ""),
        ("2 inch", None, "3 inch", ""),
        ("", "", "3 inch", ""),
        ("2 inch", "3 inch", "2.00 inch", "gained"),
        ("", "3 inch", "", "gained"),
        ("2 inch", "", "2 inch", "gained"),
        ("2 inch", "3 inch", "3 inch", "lost"),
        ("", "3 inch", "3 inch", "lost"),
        ("2 inch", "3 inch", "4 inch", "changed"),
        ("2 inch", "", "4 inch", "changed"),
        ("2 inch", "3 inch", None, "changed"),
    ],
)
def test_a_change_is_from_wrong_to_right_or_back(answer, other, truth, want):
    question = Question(1, "a.jpg", Path("a.jpg"), "height", prediction=answer)
    assert Row(question, TEST, truth, other=other).change == want


def test_rows_are_joined_by_index_and_both_scored_on_what_both_have(tmp_path):
    truths = ["2 inch", "2 inch", "", None, "2 inch"]
    rows = [
        Row(Question(i, "", Path(), "height", prediction="2 inch"), TEST, t) for i, t in enumerate(truths)
    ]
    (tmp_path / "test_out.csv").write_text("index,prediction\n3,9 yard\n2,\n7,1 inch\n0, 2.0 inch\n1,\n")
    joined = with_other_answers(rows, tmp_path)
    assert [row.other for row in joined] == ["2.0 inch", "", "", "9 yard", None]
    assert joined == with_other_answers(rows, tmp_path / "test_out.csv")
    shown = figures(joined, tmp_path)
    assert shown["name"] == tmp_path.name
    assert figures(joined, tmp_path / "test_out.csv")["name"] == f"{tmp_path.name}/test_out.csv"
    assert (shown["rows"], shown["scored"]) == (4, 3)
    assert shown["here"] == score(["2 inch", "2 inch", ""], ["2 inch"] * 3).f1
    assert shown["there"] == score(["2 inch", "2 inch", ""], ["2.0 inch", "", ""]).f1
    assert {name: count for name, _, count in shown["changes"]} == {"gained": 1, "lost": 1, "changed": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "not found; compare with a run folder that has test_out.csv"),
        ("", "is empty"),
        ("index,answer\n4,2 inch\n", "no column prediction"),
        ("index,prediction\n5,2 inch\n", "no index of this run; compare with a run on the same test.csv"),
    ],
)
@pytest.mark.parametrize("is_folder", [True, False])
def test_a_run_that_cannot_be_compared_gets_one_sentence_and_the_page_stays(tmp_path, text, words, is_folder):
    question = Question(4, "a.jpg", Path("a.jpg"), "height", link="a.jpg", prediction="2 inch")
    details_table([question]).to_csv(tmp_path / "test_out.details.csv", index=False)
    (tmp_path / "report.html").write_text("old")
    other = tmp_path / "other"
    other.mkdir()
    if text is not None:
        (other / "test_out.csv").write_text(text)
    with pytest.raises(InputError, match=words) as raised:
        write_report(tmp_path, compare=other if is_folder else other / "test_out.csv")
    assert str(raised.value).startswith(f"{other / 'test_out.csv'}: ")
    assert "\n" not in str(raised.value)
    assert (tmp_path / "report.html").read_text() == "old"


@ALL_KINDS
def test_changes_are_counted_filtered_and_told(any_page, opened, told, width):
    tab = opened(any_page, width=width)
    open_summary(tab)
    rows = {row["id"]: row for row in data_of(tab)["rows"]}
    changed = [row for row in rows.values() if row["change"]]
    assert {row["change"] for row in changed} == (set(CHANGES) if told else {"changed"})
    for row in rows.values():
        is_equal = row["other"] is None or comparable(row["other"]) == comparable(row["answer"])
        assert is_equal == (not row["change"])
        if row["change"] in ("gained", "lost"):
            right = row["answer"] if row["change"] == "gained" else row["other"]
            assert outcome_of(right, row["truth"]) in ("tp", "tn")
    card = tab.locator("section:has(#comparison)")
    assert card.locator("h2").inner_text() == "Compared with out/rules_out.csv"
    assert ("F1\t" in card.inner_text()) == told
    for kind in CHANGES:
        tab.click(f"#comparison a >> text={kind}")
        tab.wait_for_function("kind => document.getElementById('change').value === kind", arg=kind)
        count = card.locator(f"tr:has-text('{kind}') td").inner_text()
        wanted = [row["id"] for row in changed if row["change"] == kind]
        assert [id for id in shown(tab) if id] == wanted
        assert len(wanted) == int(count)
        assert tab.locator("#f1").count() == 0
        for id in wanted:
            other = rows[id]["other"] or "(empty)"
            assert tab.inner_text(f"#item-{id} .from").startswith(f"{kind}, other run: {other}")
    [first, *_] = changed
    tab.evaluate("hash => { location.hash = hash }", f"#row-{first['id']}&change={first['change']}")
    tab.wait_for_selector(f"#self:text-is('#{first['id']}')")
    assert selected(tab) == first["id"]
    sentence = f"other run\n{first['other'] or '(empty)'} ({first['change']}: {CHANGES[first['change']]})"
    assert sentence in tab.inner_text(".facts-list")


def test_of_many_rows_those_that_changed_are_shown(report_without_truth, tmp_path, opened):
    path, _ = report_without_truth
    out = shutil.copytree(path.parent, tmp_path / "out")
    tab = opened(write_report(out, path.parent.parent / "data", rows=4, compare=out / "rules_out.csv"))
    assert "on this page 4 of 8 rows: 3 answered otherwise by the other run" in tab.inner_text("header")
    tab.select_option("#change", "changed")
    assert len(shown(tab)) == 3
