"""A file that is not in UTF-8 is named once as what it is, whatever becomes of bad rows."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path

import pytest

from rlvr_plugins.tasks import sources
from rlvr_plugins.tasks.sources import TEXT, TEXT_OR_NUMBER, Ledger

COLUMNS = {"question": ("q", TEXT), "answer": ("a", TEXT_OR_NUMBER)}
ENGLISH = ["Sam’s shop sells pens at £3 each; he sells 14.", "A café sells ½ a cake – how much?", "plain"]
LATIN = ["Un café à 3 euros, combien coûtent 4 ?", "Übung: größer als 3?", "plain"]
JAPANESE = ["太郎はりんごを3個もっています。いくつですか。", "みかんが5個あります。", "plain"]
CHINESE = ["小明有3个苹果，小红有5个苹果，一共有多少个？", "一本书有100页，每天看10页。", "plain"]  # noqa: RUF001
RUSSIAN = ["У Маши 3 яблока, а у Пети 5 яблок. Сколько всего?", "Поезд едет 2 часа.", "plain"]  # noqa: RUF001
CZECH = ["Kolik stojí žluťoučký kůň, když má šest košů?", "Příliš mnoho? Řekni kolik.", "plain"]
KOREAN = ["사과가 세 개 있고 배가 다섯 개 있습니다. 모두 몇 개입니까?", "책이 열 권 있습니다.", "plain"]
ENDINGS = ("jsonl", "json", "csv")


def text(ending: str, questions: list[str]) -> str:
    rows = [{"q": question, "a": str(number)} for number, question in enumerate(questions)]
    if ending == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, ["q", "a"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    return "".join(f"{line}\n" for line in lines) if ending == "jsonl" else f"[{','.join(lines)}]"


def read(path: Path, on_bad_row: str = "stop") -> list[str]:
    return [row["question"] for row, _ in sources.read(str(path), COLUMNS, Ledger(on_bad_row))]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("on_bad_row", ["stop", "skip"])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("questions", "encoding", "name"),
    [
        (ENGLISH, "utf-16", "UTF-16"),
        (ENGLISH, "utf-16-le", "UTF-16"),
        (CHINESE, "utf-16-be", "UTF-16"),
        (RUSSIAN, "utf-16-le", "UTF-16"),
        (["plain"], "utf-16-le", "UTF-16"),
        (ENGLISH, "utf-32", "UTF-32"),
        (ENGLISH, "utf-32-le", "UTF-32"),
        (CHINESE, "utf-32-be", "UTF-32"),
        (ENGLISH, "cp1252", "Windows-1252 (cp1252)"),
        (["plain", "plain", "costs £3"], "cp1252", "Latin-1 or Windows-1252"),
        (LATIN, "latin-1", "Latin-1 or Windows-1252"),
        (JAPANESE, "shift_jis", "Shift-JIS"),
        (JAPANESE, "euc_jp", "EUC-JP"),
        (CHINESE, "gb18030", "GB18030"),
        (CHINESE, "gbk", "GB18030"),
        (KOREAN, "euc_kr", "EUC-KR"),
        (RUSSIAN, "cp1251", "a code page such as Windows-1251"),
        (RUSSIAN, "cp866", "a code page such as Windows-1251"),
        (RUSSIAN, "koi8-r", "a code page such as Windows-1251"),
        (CZECH, "cp1250", "a code page of single bytes"),
        (LATIN * 3, "mac_roman", "a code page of single bytes"),
        (JAPANESE, "iso2022_jp", "ISO-2022-JP"),
    ],
)
def test_another_encoding_is_named_once(tmp_path, questions, encoding, name, ending, on_bad_row):
    path = written(tmp_path / f"rows.{ending}", text(ending, questions).encode(encoding))
    with pytest.raises(ValueError) as raised:
        read(path, on_bad_row)
    said = str(raised.value)
    assert said.startswith(str(path)) and f"looks like {name}" in said and said.endswith("; save it as that")
    assert said.count("looks like") == 1 and "UTF-8" in said and "\n" not in said and len(said) < 300
    assert "on_bad_row" not in said


@pytest.mark.parametrize("ending", ENDINGS)
def test_utf_8_is_read_with_a_mark_and_without(tmp_path, ending):
    for questions in (ENGLISH, LATIN, JAPANESE, CHINESE, RUSSIAN, KOREAN, ["😀 emoji", "x"]):
        for encoding in ("utf-8", "utf-8-sig"):
            assert read(written(tmp_path / f"rows.{ending}", text(ending, questions).encode(encoding))) == questions
    two = text("jsonl", ENGLISH).encode("utf-8-sig") * 2
    assert read(written(tmp_path / "joined.jsonl", two)) == ENGLISH * 2


def test_a_damaged_line_of_a_file_in_utf_8_is_a_bad_row(tmp_path):
    for damage in (b"\xff", b"\xc3(", "’".encode()[:2]):
        line = b'{"q": "' + damage + b'", "a": 1}\n'
        content = text("jsonl", [*ENGLISH, *LATIN]).encode() + line + text("jsonl", JAPANESE).encode()
        path = written(tmp_path / "rows.jsonl", content)
        assert read(path, "skip") == [*ENGLISH, *LATIN, *JAPANESE]
        with pytest.raises(ValueError, match="line 7: not UTF-8; on_bad_row: skip"):
            read(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_no_text_at_all_is_named(tmp_path, ending):
    kinds = {b"PK\x03\x04rest": "a ZIP archive or a spreadsheet", b"PAR1rest": "a Parquet file"}
    kinds[gzip.compress(text(ending, ENGLISH).encode())] = "a file compressed by gzip"
    kinds |= {
        bz2.compress(b"x"): "a file compressed by bzip2",
        lzma.compress(b"x"): "a file compressed by xz",
        bytes(5000): "a file of zeros",
        b"\n<!DOCTYPE html>\n<html><body>404</body></html>": "a page in HTML",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n": "a pointer of Git LFS, whose file was",
    }
    for content, name in kinds.items():
        with pytest.raises(ValueError, match=f"looks like {name}.*; allowed: UTF-8"):
            read(written(tmp_path / f"rows.{ending}", content), "skip")
