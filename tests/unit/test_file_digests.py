"""The digest of a file is that of its content, and is worked out again only when the file may have changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from rlvr import file_digests


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file_digests._digest.cache_clear()
    return tmp_path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fresh(path: Path) -> str:
    """As another process would see it."""
    file_digests._digest.cache_clear()
    return file_digests.file(str(path))


def test_an_edit_that_keeps_size_and_time_is_noticed(folder):
    path = folder / "rows.jsonl"
    path.write_text("one")
    state = path.stat()
    assert fresh(path) == sha256(path)
    path.write_text("two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert fresh(path) == sha256(path) != hashlib.sha256(b"one").hexdigest()


def test_a_file_is_read_once(folder, monkeypatch):
    path = folder / "rows.jsonl"
    path.write_text("one")
    first = fresh(path)

    def no_reading(*arguments):
        raise AssertionError("the file was read again")

    monkeypatch.setattr(hashlib, "file_digest", no_reading)
    assert fresh(path) == first


@pytest.mark.parametrize("content", ["", "{", "[]", '{"%s": 3}', '{"%s": {"identity": [], "sha256": "x"}}', "[" * 9999])
def test_a_damaged_memory_is_none(folder, content):
    path = folder / "rows.jsonl"
    path.write_text("one")
    fresh(path)
    file_digests.CACHE.write_text(content.replace("%s", str(path)))
    assert fresh(path) == sha256(path)


def test_a_memory_that_can_not_be_written_is_none(folder):
    path = folder / "rows.jsonl"
    path.write_text("one")
    (folder / ".snakemake").write_text("a file stands where the folder belongs")
    assert fresh(path) == sha256(path)


def test_a_file_that_is_not_there_is_absent(folder):
    assert file_digests.file("nowhere.jsonl") == "absent"
    assert file_digests.file(str(folder)) == "absent"
