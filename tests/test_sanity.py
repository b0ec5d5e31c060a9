import pytest

from src import sanity
from tests.conftest import ROOT, assert_one_sentence, run_python

TEST = "index,image_link,group_id,entity_name\n3,a/x.jpg,1,height\n5,a/y.jpg,1,voltage\n9,,2,item_weight\n"
GOOD = "index,prediction\n3,12.5 centimetre\n5,\n9,2 pound\n"


@pytest.fixture
def check(tmp_path):
    (tmp_path / "test.csv").write_text(TEST)

    def run(text, with_test=True):
        (tmp_path / "out.csv").write_text(text)
        return sanity.check(tmp_path / "out.csv", tmp_path / "test.csv" if with_test else None)

    return run


def test_a_valid_file_has_no_faults(check):
    assert check(GOOD) == []
    assert check("\ufeff" + GOOD.replace("\n", "\r\n")) == []
    assert check(GOOD, with_test=False) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("2 pound", "2 lbs", ["row 4 (index 9)", "'lbs' is not allowed"]),
        ("2 pound", "2 feet", ["row 4 (index 9)", "'feet' is not allowed"]),
        ("2 pound", "2 centimeter", ["row 4 (index 9)", "'centimeter' is not allowed"]),
        ("2 pound", "2 volt", ["row 4 (index 9)", "'volt' does not fit 'item_weight'"]),
        ("2 pound", "-2 pound", ["negative"]),
        ("2 pound", "2.2e2 pound", ["e-notation"]),
        ("2 pound", "two pounds", ["is not 'number unit'"]),
        ("2 pound", "60 ounce/1.7 kilogram", ["is not 'number unit'"]),
        ("2 pound", "2pound", ["is not 'number unit'"]),
        ("2 pound", "2 Pound", ["'Pound' is not allowed"]),
        ("2 pound", "٢ pound", ["is not 'number unit'"]),
        ("2 pound", "nan", ["is not 'number unit'"]),
        ("9,2 pound\n", "", ["index 9", "missing"]),
        ("9,2 pound", "9,2 pound\n10,", ["index 10", "extra"]),
        ("5,", "3,", ["row 3 (index 3)", "duplicate"]),
        ("9,2 pound", "9,2 pound,0.9", ["3 columns"]),
        ("9,2 pound", "9", ["1 columns"]),
        ("9,2 pound", "nine,2 pound", ["'nine' is not a whole number"]),
        ("index,prediction", "index,prediction,score", ["header"]),
        ("index,prediction", "prediction,index", ["header"]),
        (GOOD, "", ["empty"]),
    ],
)
def test_each_fault_is_named(check, old, new, words):
    faults = check(GOOD.replace(old, new))
    assert any(all(word in fault for word in words) for fault in faults), faults


def test_an_unknown_entity_takes_only_the_empty_prediction(tmp_path):
    (tmp_path / "test.csv").write_text(TEST.replace("height", "colour"))
    (tmp_path / "out.csv").write_text(GOOD)
    assert len(sanity.check(tmp_path / "out.csv", tmp_path / "test.csv")) == 1


def test_many_faults_are_listed_then_counted(tmp_path):
    rows = "".join(f"{i},1 lbs\n" for i in range(33))
    (tmp_path / "out.csv").write_text("index,prediction\n" + rows)
    result = run_python("src/sanity.py", "--file", tmp_path / "out.csv")
    assert result.returncode == 1
    assert result.stdout.count("'lbs'") == 20
    assert "... and 13 more" in result.stdout
    assert "33 faults" in result.stdout


@pytest.mark.parametrize("how", [["src/sanity.py"], ["-m", "src.sanity"]])
def test_exit_codes_both_ways_to_call(tmp_path, how):
    out = tmp_path / "out.csv"
    out.write_text(GOOD)
    assert run_python(*how, "--predictions", out).returncode == 0
    out.write_text(GOOD.replace("pound", "lbs"))
    assert run_python(*how, "--file", out).returncode == 1
    out.write_bytes(b"index,prediction\n1,\xff\xfe gram\n")
    assert_one_sentence(run_python(*how, "--file", out), "out.csv", "UTF-8")
    missing = run_python(*how, "--file", tmp_path / "none.csv")
    assert_one_sentence(missing, "not found")
    assert missing.returncode == 2


def test_the_script_works_from_any_folder(tmp_path):
    (tmp_path / "out.csv").write_text(GOOD)
    assert run_python(ROOT / "src" / "sanity.py", "--file", "out.csv", cwd=tmp_path).returncode == 0


def test_the_organisers_samples(real):
    challenge = real / "challenge"
    test = ["--test", challenge / "sample_test.csv"]
    assert run_python("src/sanity.py", "--file", challenge / "sample_test_out.csv", *test).returncode == 0
    refused = run_python("src/sanity.py", "--file", challenge / "sample_test_out_fail.csv")
    assert refused.returncode == 1
    assert "index 14" in refused.stdout
    assert "lbs" in refused.stdout
