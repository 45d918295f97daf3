"""Rows from files: four formats, and the line each bad input is answered with."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlvr_plugins.tasks.files import MAX_CHARACTERS, check_file, read

ROWS = [{"q": "one, two", "a": 3, "more": None}, {"q": 'a "quoted"\nline', "a": 0.5, "more": None}]
COLUMNS = {"question": "q", "answer": "a"}


def write(path: Path, rows: list[dict]) -> str:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    elif path.suffix == ".json":
        path.write_text("\ufeff" + json.dumps(rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        quoted = [",".join('"' + str(row[key]).replace('"', '""') + '"' for key in ("q", "a")) for row in rows]
        path.write_text("\r\n".join(["q,a", *quoted]))
    return str(path)


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_each_format_gives_the_same_texts(tmp_path, ending):
    path = write(tmp_path / f"rows.{ending}", ROWS)
    check_file(path)
    rows = [row for row, _ in read(path, COLUMNS)]
    first = "3.0" if ending == "parquet" else "3"
    assert rows == [{"question": "one, two", "answer": first}, {"question": 'a "quoted"\nline', "answer": "0.5"}]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("rows.txt", b"x", "'{path}' is not possible; allowed: a file that ends in .jsonl, .json, .csv, .parquet"),
        ("absent.jsonl", None, "no file '{path}'"),
        ("rows.jsonl", b"", "{path}: holds no rows"),
        ("rows.jsonl", b"\n\n", "{path}: holds no rows"),
        ("rows.jsonl", b'{"q": "x", "a": 1}\n{"q": "x", "a"', "{path}, line 2: not JSON"),
        ("rows.jsonl", b'{"q": "x", "a": 1}\n{"q": "\xff", "a": 1}', "{path}, line 2: not UTF-8"),
        ("rows.jsonl", b"[1]", "{path}, line 1: not an object; allowed: an object with q, a"),
        ("rows.jsonl", b"[" * 100_000, "{path}, line 1: not JSON"),
        ("rows.jsonl", b'{"q": "x"}', "{path}, line 1: no column 'a'; found: q"),
        ("rows.jsonl", b'{"q": "x", "a": null}', "{path}, line 1: column 'a' is null; allowed: a text"),
        ("rows.jsonl", b'{"q": "x", "a": NaN}', "{path}, line 1: column 'a' is NaN; allowed: a text"),
        ("rows.jsonl", b'{"q": "x", "a": true}', "{path}, line 1: column 'a' is true; allowed: a text"),
        ("rows.jsonl", b'{"q": "x", "a": [1]}', "{path}, line 1: column 'a' is [1]; allowed: a text"),
        ("rows.jsonl", b'{"q": " ", "a": 1}', "{path}, line 1: column 'q' is \" \"; allowed: a text that is not empty"),
        (
            "rows.jsonl",
            b'{"q": "' + b"x" * (MAX_CHARACTERS + 1) + b'", "a": 1}',
            "has 1,000,001 characters; allowed: up to",
        ),
        ("rows.json", b'{"q": "x"}', "{path}: not an array; allowed: an array of objects"),
        ("rows.json", b"[]", "{path}: holds no rows"),
        ("rows.json", b"[1]", "{path}, row 1: not an object"),
        ("rows.json", b'[{"q": "x"', "{path}: not JSON"),
        ("rows.csv", b"q,a\n1\n", "{path}, line 2: has not as many fields as the first line (2)"),
        ("rows.csv", b"q,a\n1,2,3\n", "{path}, line 2: has not as many fields as the first line (2)"),
        ("rows.csv", b'q,a\n"1,2\n', "{path}, after line 1: not CSV"),
        ("rows.csv", b"q,b\n1,2\n", "{path}, line 2: no column 'a'; found: q, b"),
        ("rows.csv", b"q,a\n", "{path}: holds no rows"),
        ("rows.parquet", b"PAR1", "{path}, after row 0: not Parquet"),
    ],
)
def test_a_bad_file_is_answered_with_one_line(tmp_path, name, content, expected):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError) as raised:
        list(read(str(path), COLUMNS))
    assert expected.format(path=path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_a_long_text_is_read_from_each_format(tmp_path, ending):
    path = write(tmp_path / f"rows.{ending}", [{"q": "x" * 300_000, "a": 1}])
    assert [len(row["question"]) for row, _ in read(path, COLUMNS)] == [300_000]


def test_a_parquet_file_cut_off_is_named(tmp_path):
    path = Path(write(tmp_path / "rows.parquet", ROWS))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="after row 0: not Parquet"):
        list(read(str(path), COLUMNS))
