import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.data.errors import InputError
from src.data.names import image_name, processed_name
from src.data.questions import Question, split_by_image, train_questions
from src.data.questions import test_questions as make_test_questions
from src.data.tables import read_table, read_test, read_train, table_text
from tests.conftest import SAMPLE


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("https://m.media-amazon.com/images/I/41D+tdiyT4L.jpg", "41D+tdiyT4L.jpg"),
        ("https://example.com/a/b.png?width=3#top", "b.png"),
        ("photo.jpg", "photo.jpg"),
        ("", ""),
        ("   ", ""),
        ("//example.com/b.png", "b.png"),
        ("https://example.com/.b.png", "b.png"),
        ("http://[broken/link.jpg", "link.jpg"),
    ],
)
def test_an_image_is_named_by_the_last_path_part(link, name):
    assert image_name(link) == name


def test_processed_names_do_not_collide():
    names = ["a.jpg", "a.png", "a.JPG", "a.jpeg", "b"]
    assert len({processed_name(name) for name in names}) == len(names)
    assert all(processed_name(name).endswith(".jpg") for name in names)


HEADER = b"index,image_link,group_id,entity_name\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (HEADER, "no rows"),
        (HEADER + b",,,\n,,,\n", "no rows"),
        (b"index,image_link,entity_name\n1,a.jpg,height\n", "no column group_id"),
        (b"index;image_link;entity_name\n1;a.jpg;height\n", "no column group_id"),
        (b"index,Index,image_link,group_id,entity_name,index\n", "the column index twice"),
        (HEADER + b"one,a.jpg,1,height\n", "line 2: index 'one'"),
        (HEADER + b"1.5,a.jpg,1,height\n", r"line 2: index '1.5' is not a whole number; give each row"),
        (HEADER + b"1,a.jpg,1,height\n1,a.jpg,1,width\n", "line 3: index 1 occurs twice"),
        (HEADER + b"1,a.jpg,1,height\n1.0,a.jpg,1,width\n", "line 3: index 1 occurs twice"),
        (HEADER + b"1,a.jpg,1,height\n\n\n1,a.jpg,1,width\n", "line 5: index 1 occurs twice"),
        (HEADER + b'\n"1\n",a.jpg,1,height\n\nx,a.jpg,1,width\n', "line 6: index 'x' is not a whole number"),
        (HEADER + b'1,b.jpg,1,height\n1,"a.jpg,1,height\n', "line 3: is not a readable"),
        (HEADER + b"1,a,1,height,5,6\n", "line 2: has 6 cells where the header has 4; write one"),
        (HEADER + b'1,"a\nb",1,height\n2,a,1\n', "line 4: has 3 cells where the header has 4"),
        (HEADER + b"1,a.jpg,1,height\n2,\xe9.jpg,1,height\n", "line 3: .*save it as 'CSV UTF-8'"),
        (b"\xff\xfe\x00", "not a readable"),
    ],
)
def test_a_bad_table_gets_a_sentence(tmp_path, text, words):
    (tmp_path / "test.csv").write_bytes(text)
    with pytest.raises(InputError, match=words):
        read_test(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "index,image_link,group_id,entity_name\n0,x/a.jpg,1,height\n7,x/b.jpg,2,item_weight\n",
        "index;image_link;group_id;entity_name\r\n0;x/a.jpg;1;height\r\n7;x/b.jpg;2;item_weight\r\n",
        "index\timage_link\tgroup_id\tentity_name\n0\tx/a.jpg\t1\theight\n7\tx/b.jpg\t2\titem_weight\n",
        "index|image_link|group_id|entity_name\n0|x/a.jpg|1|height\n7|x/b.jpg|2|item_weight",
        "sep=;\nindex;image_link;group_id;entity_name\n0;x/a.jpg;1;height\n7;x/b.jpg;2;item_weight\n",
        "index,image_link,group_id,entity_name\n0,x/a.jpg,1,height,\n7,x/b.jpg,2,item_weight,,\n,,,\n",
        "index,image_link,group_id,entity_name,,\n0,x/a.jpg,1,height,,\n7,x/b.jpg,2,item_weight\n",
        'index, image_link, group_id, entity_name\n0, "x/a.jpg", 1, height\n7, x/b.jpg, 2, item_weight\n',
        "index,image_link,group_id,entity_name\n0, x/a.jpg , 1,Height\n7,x/b.jpg,2,  ITEM_WEIGHT \n",
        "Index,Image_Link,GROUP_ID, entity_name \n0.0,x/a.jpg,1,height\n7.0,x/b.jpg,2,item_weight\n",
        '"index";"image_link";"group_id";"entity_name"\n"0.";"x/a.jpg";"1";"height"\n"7";"x/b.jpg";"2";"item_weight"\n',
        "n,index,image_link,group_id,entity_name\n1,0,x/a.jpg,1,height\n2,7,x/b.jpg,2,item_weight\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_are_read_as_spreadsheets_write_them(tmp_path, text, encoding):
    (tmp_path / "test.csv").write_bytes(text.encode(encoding))
    table = read_test(tmp_path)[["index", "image_link", "group_id", "entity_name"]]
    assert table.to_numpy().tolist() == [[0, "x/a.jpg", "1", "height"], [7, "x/b.jpg", "2", "item_weight"]]


@pytest.mark.parametrize("label", ["", "NA", "n/a", "NaN", "null", "None", "#N/A", "<NA>"])
def test_a_label_that_is_not_available_is_empty_and_links_stay(tmp_path, label):
    (tmp_path / "train.csv").write_text(
        f"image_link,group_id,entity_name,entity_value\nNA,1,height,{label}\nnan.jpg,2,null,2 inch\n"
    )
    assert read_train(tmp_path).to_numpy().tolist() == [
        ["NA", "1", "height", ""],
        ["nan.jpg", "2", "null", "2 inch"],
    ]


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9), st.text(max_size=9)), max_size=5))
def test_a_table_of_any_texts_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    table = pd.DataFrame([(f"x{a}", b, c) for a, b, c in rows], columns=["image", "file", "error"], dtype=str)
    path.write_bytes(table_text(table).encode())
    assert read_table(path, ["image", "file", "error"]).to_numpy().tolist() == table.to_numpy().tolist()


@given(
    st.binary(max_size=200)
    | st.text(alphabet='index,;\t\n"a1 ', max_size=60).map(lambda t: f"index,{t}".encode())
)
def test_any_bytes_are_a_table_or_get_a_sentence(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bytes.csv"
    path.write_bytes(data)
    try:
        read_table(path, ["index"])
    except InputError as error:
        assert str(path) in str(error)


def test_odd_rows_are_counted_or_refused_with_a_reason(tmp_path):
    (tmp_path / "there.jpg").touch()
    rows = [("x/there.jpg", "height"), ("", "height"), ("x/gone.jpg", "height"), ("x/there.jpg", "colour")]
    test = pd.DataFrame(rows, columns=["image_link", "entity_name"]).assign(index=[4, 6, 7, 9], group_id="7")
    questions = make_test_questions(test, tmp_path, {})
    there = {"group": "7", "link": "x/there.jpg"}
    assert questions[0] == Question(4, "there.jpg", tmp_path / "there.jpg", "height", **there)
    reasons = {question.row: question.reason for question in questions[1:]}
    assert reasons == {6: "blank link", 7: "no image", 9: "unknown entity"}
    train = test.drop(columns=["index", "group_id"]).assign(
        entity_value=["[1.0, 2.5] inch", "1 inch", "1 inch", "1 inch"]
    )
    train.loc[4] = ("x/there.jpg", "height", "3 kilogram")
    train["group_id"] = "7"
    questions, reasons = train_questions(train, tmp_path, {})
    assert questions == [Question(0, "there.jpg", tmp_path / "there.jpg", "height", "2.5 inch", **there)]
    assert reasons == {
        "range": 1,
        "blank link": 1,
        "no image": 1,
        "unknown entity": 1,
        "unit of another entity": 1,
    }


def test_split_is_by_image_seeded_and_complete(tmp_path):
    samples = [Question(i, f"{i // 3}.jpg", tmp_path / f"{i // 3}.jpg", "height") for i in range(60)]
    left, right = split_by_image(samples, 0.25, seed=1)
    assert {s.model_image for s in left}.isdisjoint({s.model_image for s in right})
    assert len({s.model_image for s in right}) == 5
    assert sorted(s.row for s in left + right) == list(range(60))
    assert (left, right) == split_by_image(samples, 0.25, seed=1)
    assert right != split_by_image(samples, 0.25, seed=2)[1]
    few_left, few_right = split_by_image(samples[:6], 0.01, seed=0)
    assert few_left
    assert few_right


def test_the_sample_folder_keeps_its_contract():
    train, test = read_train(SAMPLE), read_test(SAMPLE)
    truth = pd.read_csv(SAMPLE / "test_truth.csv", keep_default_na=False)
    assert len(train) >= 120
    assert len(test) >= 60
    assert truth["index"].tolist() == test["index"].tolist()
    assert truth["index"].tolist() != list(range(len(truth)))  # gaps, as in the official file
    assert sum(p.stat().st_size for p in SAMPLE.rglob("*") if p.is_file()) < 6e6
    names = {image_name(link) for table in (train, test) for link in table["image_link"]}
    assert names == {p.name for p in (SAMPLE / "images").iterdir()}
    assert 0.1 < truth["entity_value"].eq("").mean() < 0.4
    assert train["entity_value"].str.startswith("[").any()  # ranges
