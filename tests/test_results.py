"""The results in benchmarks/README.md are those of results.json, scored as the challenge scores."""

import json
import re

import pandas as pd
import pytest

from benchmarks.results import MARKS, among_candidates, as_markdown, put_into, read_gold
from src.data.errors import InputError
from tests.conftest import ROOT, run_python


def test_the_benchmarks_page_shows_what_was_measured():
    record = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    assert put_into(readme, as_markdown(record, per_entity=False)) == readme
    assert as_markdown(record, per_entity=True) in (ROOT / "benchmarks" / "results.md").read_text()
    assert record["machine"] in readme


def test_text_without_the_marks_is_refused():
    with pytest.raises(InputError, match="needs the lines"):
        put_into("no marks", "table")
    assert put_into(f"a\n{MARKS[0]}\nold\n{MARKS[1]}\nb", "new") == f"a\n{MARKS[0]}\n\nnew\n\n{MARKS[1]}\nb"


def test_strict_and_lenient_scores(tmp_path):
    (tmp_path / "gold.csv").write_text(
        "index,entity_name,gold,alternatives\n3,height,5.0 inch,12.7 centimetre; 13 centimetre\n"
        "7,width,2 inch,\n9,depth,,\n"
    )
    gold = read_gold(tmp_path / "gold.csv")
    assert gold.score(pd.Series({3: "5 inch", 7: "2.0 inch", 9: ""}))["strict"] == 1.0
    other = gold.score(pd.Series({3: "13 centimetre", 7: "2 inch", 9: "", 11: "1 metre"}))
    assert (other["strict"], other["lenient"]) == (pytest.approx(2 / 3), 1.0)
    assert other["per_entity"] == {"depth": 0.0, "height": 0.0, "width": 1.0}
    assert gold.score(pd.Series({7: "2 inch"}))["strict"] == pytest.approx(2 / 3)  # silent on the others


def test_published_answers_are_kept_where_they_are_candidates():
    candidates, by_rules = ["2 inch; 5.1 centimetre", "2 inch", "", ""], ["2 inch", "2 inch", "", ""]
    details = pd.DataFrame({"candidates": candidates, "rules": by_rules}, [3, 7, 9, 11])
    given = pd.Series({11: "4 volt", 7: "3 inch", 3: "5.10 centimetre", 20: "1 watt"})
    assert among_candidates(given, details).to_dict() == {3: "5.1 centimetre", 7: "2 inch", 9: "", 11: ""}


def test_published_answers_score_as_their_own_script_says(real, tmp_path):
    gold = read_gold(real / "gold_dev.csv")
    published = pd.read_csv(real / "published_answers.csv", dtype=str, keep_default_na=False)
    for system in published.columns.drop("index"):
        file = tmp_path / f"{system}.csv"
        published[["index", system]].rename(columns={system: "prediction"}).to_csv(file, index=False)
        theirs = run_python(real / "score.py", real / "gold_dev.csv", file).stdout
        strict, lenient = map(float, re.search(r"strict ([\d.]+) .*lenient ([\d.]+)", theirs).groups())
        ours = gold.score(published.set_index(published["index"].astype(int))[system])
        assert (round(ours["strict"], 3), round(ours["lenient"], 3)) == (strict, lenient)
