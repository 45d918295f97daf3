"""A damaged Parquet file is named in one line, with column and row group where it can be told."""

from __future__ import annotations

import ast
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import ROOT
from rlvr import tables
from rlvr.errors import RlvrError
from rlvr_plugins import parquet
from rlvr_plugins.tasks import files
from rlvr_plugins.tasks.columns import TEXT, Column

ROWS = 300
TABLE = pa.table(
    {
        "question": [f"question {number} " * 5 for number in range(ROWS)],
        "answer": [str(number) for number in range(ROWS)],
        "prompt": [[{"role": "user", "content": str(number)}] for number in range(ROWS)],
    }
)


@pytest.fixture(params=[{}, {"write_page_checksum": True}, {"compression": "zstd"}], ids=["plain", "checked", "zstd"])
def file(tmp_path, request) -> Path:
    """Three row groups of 100 rows."""
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE, path, row_group_size=100, **request.param)
    return path


def as_users_data(path: Path) -> list:
    wanted = [Column((name,), TEXT) for name in ("question", "answer")]
    return list(files.rows(str(path), wanted))


READERS = {
    "a task's file": (as_users_data, ValueError),
    "read": (tables.read, RlvrError),
    "some columns": (lambda path: tables.read(path, ["question"]), RlvrError),
    "stream": (lambda path: list(tables.stream(path)), RlvrError),
    "table": (tables.table, RlvrError),
    "frame": (tables.frame, RlvrError),
    "count": (tables.count, RlvrError),
}


def damaged_page(path: Path, group: int, column: str) -> None:
    """Overwrites the middle of the data of one column in one row group, counted from 0."""
    number = TABLE.column_names.index(column)
    chunk = pq.read_metadata(path).row_group(group).column(number)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(content)


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"count"}))
def test_a_damaged_page_is_named_by_file_column_and_row_group(file, name):
    read, kind = READERS[name]
    damaged_page(file, 1, "question")
    with pytest.raises(kind, match=f"^{file}") as raised:
        read(file)
    assert "column 'question' can't be read in row group 2, rows " in str(raised.value)
    assert "\n" not in str(raised.value)


WHOLE = {
    "empty": (lambda content: b"", "not Parquet: it is empty"),
    "text": (lambda content: b"question,answer\n" * 40, "not Parquet: it does not begin with PAR1"),
    "header": (lambda content: b"XXXX" + content[4:], "not Parquet: it does not begin with PAR1"),
    "cut off": (lambda content: content[: len(content) // 2], "its footer, which lists the row groups, can't be read"),
    "one byte less": (lambda content: content[:-1], "its footer, which lists the row groups, can't be read"),
    "footer": (
        lambda content: content[:-400] + bytes(300) + content[-100:],
        "its footer, which lists the row groups, can't be read",
    ),
}


@pytest.mark.parametrize("damage", WHOLE)
@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_damaged_as_a_whole_is_named(tmp_path, name, damage):
    read, kind = READERS[name]
    file = tmp_path / "rows.parquet"
    pq.write_table(TABLE, file, row_group_size=100)
    change, said = WHOLE[damage]
    file.write_bytes(change(file.read_bytes()))
    try:
        read(file)
    except kind as error:
        assert str(error).startswith(str(file)) and said in str(error) and "\n" not in str(error)
    else:
        assert damage == "header", "its four bytes are no part of any row"


def test_damage_anywhere_is_one_line_with_the_file_or_does_no_harm(file):
    """From a logged seed; a flip that changes no value that is read is no damage."""
    seed = random.randrange(10**6)
    print("seed", seed)
    chance, whole = random.Random(seed), file.read_bytes()
    lines = 0
    for _ in range(60):
        content = bytearray(whole)
        kind, at = chance.choice(["flip", "cut", "zeros"]), chance.randrange(len(whole))
        if kind == "flip":
            content[at] ^= 1 << chance.randrange(8)
        elif kind == "cut":
            content = content[:at]
        else:
            content[at : at + 64] = bytes(len(content[at : at + 64]))
        file.write_bytes(content)
        for read, error in READERS.values():
            try:
                read(file)
            except error as problem:
                lines += 1
                assert str(problem).startswith(str(file)) and "\n" not in str(problem), (seed, kind, at)
    assert lines > 60


def test_text_that_is_no_utf_8_is_named(tmp_path):
    file = tmp_path / "rows.parquet"
    pq.write_table(TABLE, file, row_group_size=100, compression="none", use_dictionary=False)
    file.write_bytes(file.read_bytes().replace(b"question 150 ", b"question \xff50 "))
    for read in (tables.read, tables.frame, lambda path: list(tables.stream(path))):
        with pytest.raises(RlvrError, match=rf"^{file}: column 'question' can't be read in row group 2, rows "):
            read(file)


def test_an_error_of_what_reads_is_not_taken_for_damage(file):
    with pytest.raises(OSError, match="disk full"), tables.opened(file) as opened:
        next(opened.iter_batches())
        raise OSError("disk full")


def test_a_missing_file_or_column_is_named(file, tmp_path):
    with pytest.raises(RlvrError, match=rf"^{file}: no column 'x'; found: question, answer, prompt$"):
        tables.read(file, ["x"])
    with pytest.raises(RlvrError, match=rf"^{tmp_path}/none.parquet: no such file$"):
        tables.read(tmp_path / "none.parquet")


def test_all_parquet_files_are_read_in_one_place():
    """Another way to read one would name nothing."""
    others = []
    for folder in ("workflow/rlvr", "rlvr_plugins"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                name = node.attr if isinstance(node, ast.Attribute) else ""
                if name in ("read_table", "read_parquet", "read_metadata", "read_schema", "from_parquet"):
                    others.append(f"{path}: {name}")
                if (
                    name == "ParquetFile"
                    and Path(parquet.__file__) != path
                    and "Iterator[pq.ParquetFile]"
                    not in (path.read_text(encoding="utf-8").splitlines()[node.lineno - 1])
                ):
                    others.append(f"{path}: {name}")
    assert others == []
