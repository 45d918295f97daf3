"""Rows from files: four formats, and the line each bad input is answered with."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlvr_plugins.tasks import files, sources
from rlvr_plugins.tasks.files import check_file
from rlvr_plugins.tasks.sources import BOOLEAN, ID, INTEGER, INTEGERS, MAX_CHARACTERS, TEXT, TEXT_OR_NUMBER, Ledger

ROWS = [{"q": "one, two", "a": 3, "more": None}, {"q": 'a "quoted"\nline', "a": 0.5, "more": None}]
COLUMNS = {"question": ("q", TEXT), "answer": ("a", TEXT_OR_NUMBER)}
GOOD = b'{"q": "x", "a": 1}\n'


def read(path: str, columns=COLUMNS, on_bad_row: str = "stop", most: int | None = None) -> list[dict]:
    return [row for row, _ in sources.read(path, columns, Ledger(on_bad_row), most)]


def write(path: Path, rows: list[dict]) -> str:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    elif path.suffix == ".json":
        path.write_text("\ufeff" + json.dumps(rows, indent=1).replace("\n", "\r\n"), newline="")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        quoted = [",".join('"' + str(row[key]).replace('"', '""') + '"' for key in rows[0]) for row in rows]
        path.write_text("\r\n".join(["\ufeff" + ",".join(rows[0]), *quoted]), newline="")
    return str(path)


ENDINGS = ["jsonl", "json", "csv", "parquet"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_each_format_gives_the_same_texts(tmp_path, ending):
    path = write(tmp_path / f"rows.{ending}", ROWS)
    check_file(path)
    first = "3.0" if ending == "parquet" else "3"
    assert read(path) == [{"question": "one, two", "answer": first}, {"question": 'a "quoted"\nline', "answer": "0.5"}]


def test_every_kind_of_column_is_read_from_each_format(tmp_path):
    row = {"t": "x", "n": [3, 4], "i": 7, "b": True, "k": 5}
    columns = {"t": ("t", TEXT), "n": ("n", INTEGERS), "i": ("i", INTEGER), "b": ("b", BOOLEAN), "id": ("k", ID)}
    for ending in ENDINGS:
        path = write(tmp_path / f"rows.{ending}", [row])
        assert read(path, columns) == [{"t": "x", "n": [3, 4], "i": 7, "b": True, "id": "5"}], ending


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_more_rows_are_read_than_asked_for(tmp_path, ending):
    path = write(tmp_path / f"rows.{ending}", [{"q": f"q{n}", "a": n if n < 2 else -n} for n in range(5)])
    assert [row["question"] for row in read(path, most=2)] == ["q0", "q1"]
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(GOOD * 2 + b"{")
    assert len(read(str(broken), most=2)) == 2


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("rows.txt", b"x", "'{path}' is not possible; allowed: a file that ends in .jsonl, .json, .csv, .parquet"),
        ("absent.jsonl", None, "no file '{path}'"),
        ("rows.jsonl", b"", "{path}: holds no rows"),
        ("rows.jsonl", b"\n\n", "{path}: holds no rows"),
        ("rows.jsonl", GOOD + b'{"q": "x", "a"', "{path}, line 2: not JSON (Expecting ':' delimiter"),
        ("rows.jsonl", GOOD + b'{"q": "x", "a"', "the file is cut off here: its last line has no end"),
        ("rows.jsonl", GOOD + b'{"q": "\xc3', "{path}, line 2: not UTF-8; the file is cut off here"),
        ("rows.json", b'[{"q": "x", "a": 1}, {"q": "x"', "{path}, row 2: not JSON"),
        ("rows.json", b'[{"q": "x", "a": 1}', "{path}, row 1: not JSON (it ends there); the file is cut off"),
        ("rows.json", b'[{"q": "x", "a": 1},', "{path}, row 2: not JSON"),
        ("rows.json", b'[{"q": "x", "a": 1}] []', "{path}, after row 1: not JSON (more follows the end of the array)"),
        ("rows.json", b'[{"q": "x", "a": 1} {"q": 2}]', "{path}, row 1: not JSON (no comma or ] after it)"),
        ("rows.json", b'[{"q": "\xff", "a": 1}]', "{path}, near byte 8: not UTF-8"),
        ("rows.json", b"[" * 100_000, "{path}, row 1: not JSON (too deeply nested)"),
        ("rows.json", b'{"q": "x"}', "{path}: not an array; allowed: an array of objects"),
        ("rows.json", b"[]", "{path}: holds no rows"),
        ("rows.json", b"", "{path}: holds no rows"),
        ("rows.csv", b"", "{path}: holds no rows"),
        (
            "rows.csv",
            b"q,a\n1,2\n3",
            "{path}, line 3: has 1 fields, not as many as the first line (2); the file is cut",
        ),
        ("rows.csv", b'q,a\n1,2\n"1,2\n', "{path}, line 3: not CSV (unexpected end of data); a quote that opens"),
        ("rows.csv", b"q,b\n1,2\n", "{path}, line 1: no column 'a'; found: q, b"),
        ("rows.csv", b"q,a,a\n1,2,3\n", "{path}, line 1: column 'a' stands twice"),
        ("rows.csv", b"\xff\n1\n", "{path}, line 1: not UTF-8"),
        ("rows.csv", b"q,a\n", "{path}: holds no rows"),
        ("rows.parquet", b"PAR1", "{path}, after row 0: not Parquet"),
    ],
)
@pytest.mark.parametrize("on_bad_row", ["stop", "skip"])
def test_a_file_that_is_no_good_stops_whatever_bad_rows_do(tmp_path, name, content, expected, on_bad_row):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError) as raised:
        read(str(path), on_bad_row=on_bad_row)
    assert expected.format(path=path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (b'{"q": "x", "a"', "not JSON"),
        (b'{"q": "\xff", "a": 1}', "not UTF-8"),
        (b"[1]", "not an object; allowed: an object with q, a"),
        (b"[" * 100_000, "not JSON"),
        (b'{"q": "x\0", "a": 1}', "not JSON (Invalid control character"),
        (b'{"q": "x", "a": 1, "a": 2}', "a key stands twice: 'a'; allowed: each key once"),
        (b'{"q": "x"}', "no column 'a'; found: q"),
        (
            b'{"q": "x", "a": null}',
            "column 'a' can't be used: it is null; allowed: a text that is not empty, or a number",
        ),
        (b'{"q": "x", "a": NaN}', "column 'a' can't be used: it is NaN; allowed: a text"),
        (b'{"q": "x", "a": -Infinity}', "column 'a' can't be used: it is -Infinity"),
        (b'{"q": "x", "a": 1e999}', "column 'a' can't be used: it is Infinity"),
        (b'{"q": "x", "a": ' + b"9" * 5000 + b"}", "column 'a' can't be used: it is Infinity"),
        (b'{"q": "x", "a": true}', "column 'a' can't be used: it is true"),
        (b'{"q": "x", "a": [1]}', "column 'a' can't be used: it is [1]"),
        (b'{"q": "x", "a": {"b": 1}}', "column 'a' can't be used: it is {\"b\": 1}"),
        (b'{"q": 5, "a": 1}', "column 'q' can't be used: it is 5; allowed: a text that is not empty"),
        (b'{"q": " ", "a": 1}', "column 'q' can't be used: it is \" \"; allowed: a text that is not empty"),
        (b'{"q": "x\\u0000", "a": 1}', "column 'q' can't be used: it has a NUL character"),
        (b'{"q": "x\\ud800", "a": 1}', "column 'q' can't be used: it has the lone surrogate '\\ud800'"),
        (
            b'{"q": "' + b"x" * 10_000_000 + b'", "a": 1}',
            f"column 'q' can't be used: it has 10,000,000 characters; allowed: up to {MAX_CHARACTERS:,}",
        ),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_a_bad_row_is_named_or_left_out_and_counted(tmp_path, row, expected, ending):
    path = tmp_path / f"rows.{ending}"
    if ending == "json" and expected.startswith(("not JSON", "not UTF-8")):
        return  # what follows a broken element of an array can't be read: the file is no good
    good = GOOD.strip()
    path.write_bytes(b"\n".join([good, row, good, b""]) if ending == "jsonl" else b"[%b,%b,%b]" % (good, row, good))
    where = f"{path}, {'line' if ending == 'jsonl' else 'row'} 2: "
    with pytest.raises(ValueError) as raised:
        read(str(path))
    assert str(raised.value).startswith(where + expected)
    assert len(str(raised.value)) < 500 and "\n" not in str(raised.value)
    said = str(raised.value).removesuffix("; on_bad_row: skip leaves such rows out")
    assert said != str(raised.value)

    ledger = Ledger("skip")
    assert len(list(sources.read(str(path), COLUMNS, ledger))) == 2
    (reason, count), *others = ledger.left_out.items()
    assert (count, others) == (1, [])
    assert expected.startswith(reason) and ledger.notes == [said]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("1", "another number of fields: has 1 fields, not as many as the first line (2)"),
        ("1,2,3", "another number of fields: has 3 fields, not as many as the first line (2)"),
        ("1,", "column 'a' can't be used: it is \"\""),
        ('1,"2" 3', "not CSV (',' expected after '\"')"),
        ("1\0,2", "column 'q' can't be used: it has a NUL character"),
        (f"{'x' * 10_000_000},2", "column 'q' can't be used: it has 10,000,000 characters"),
    ],
)
def test_a_bad_row_of_a_csv_file(tmp_path, row, expected):
    path = tmp_path / "rows.csv"
    path.write_text(f"q,a\r\nx,1\r\n{row}\r\nx,1\r\n", newline="")
    with pytest.raises(ValueError) as raised:
        read(str(path))
    assert f"{path}, line 3: {expected}" in str(raised.value)
    assert len(read(str(path), on_bad_row="skip")) == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array(["1", None, "3"]), "column 'a' can't be used: it is null"),
        (pa.array([1.0, float("nan"), 3.0]), "column 'a' can't be used: it is NaN"),
        (pa.array([[1], [2], [3]]), "column 'a' can't be used: it is [1]"),
        (pa.array([True, False, True]), "column 'a' can't be used: it is true"),
        (pa.array([b"1", b"\xff", b"3"]).cast(pa.binary()).view(pa.string()), "not UTF-8"),
    ],
    ids=["null", "NaN", "list", "boolean", "not UTF-8"],
)
def test_a_bad_row_of_a_parquet_file(tmp_path, values, expected):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"q": ["x", "y", "z"], "a": values}), path)
    with pytest.raises(ValueError, match=r"rows.parquet, row [12]: ") as raised:
        read(str(path))
    assert expected in str(raised.value)


def test_a_file_of_bad_rows_only_stops(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{\n" * 3)
    with pytest.raises(ValueError, match=r"no row can be used; .*line 1: not JSON"):
        read(str(path), on_bad_row="skip")


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_id_that_stands_twice_names_both_rows(tmp_path, ending):
    path = write(tmp_path / f"rows.{ending}", [{"q": f"q{n}", "a": n, "k": f"id{n % 2}"} for n in range(3)])
    columns = {**COLUMNS, "id": ("k", ID)}
    first, second = {"csv": ("line 2", "line 4"), "jsonl": ("line 1", "line 3")}.get(ending, ("row 1", "row 3"))
    with pytest.raises(ValueError, match=rf"{second}: an id stands twice: 'id0' is that of {first} too"):
        read(path, columns)
    assert len(read(path, columns, "skip")) == 2


def test_notes_name_the_first_rows_of_each_reason_only(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD + b"{\n" * 300 + b'{"q": 1, "a": 1}\n')
    ledger = Ledger("skip")
    list(sources.read(str(path), COLUMNS, ledger))
    assert ledger.left_out == {"not JSON": 300, "column 'q' can't be used": 1}
    assert len(ledger.notes) == sources.NOTES_EACH + 1
    assert "line 302: column 'q'" in ledger.notes[-1]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_long_text_is_read_from_each_format(tmp_path, ending):
    path = write(tmp_path / f"rows.{ending}", [{"q": "x" * 300_000, "a": 1}])
    assert [len(row["question"]) for row in read(path)] == [300_000]


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_an_array_is_read_alike_whatever_the_size_of_the_pieces(tmp_path, monkeypatch, chunk):
    rows = [{"q": f'é{n} [{{,\\"', "a": n, "more": {"deep": [n, {"x": "]"}]}} for n in range(12)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False), encoding="utf-8")
    expected = read(str(path))
    assert [row["question"] for row in expected] == [row["q"] for row in rows]
    monkeypatch.setattr(files, "CHUNK", chunk)
    assert read(str(path)) == expected


def test_a_row_beyond_the_limit_is_no_end_of_the_lines_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_ROW", 100)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD + b'{"q": "' + b"x" * 1000 + b'", "a": 1}\n' + GOOD)
    assert len(read(str(path), on_bad_row="skip")) == 2
    with pytest.raises(ValueError, match="line 2: too long; allowed: up to 100 bytes"):
        read(str(path))


def test_a_parquet_file_cut_off_is_named(tmp_path):
    path = Path(write(tmp_path / "rows.parquet", ROWS))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="after row 0: not Parquet"):
        read(str(path), on_bad_row="skip")
