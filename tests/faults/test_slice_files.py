"""A config slice that is empty, cut off, of another kind or of another stage ends a stage with one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr import cli, slice_files
from rlvr.errors import RlvrError


def run(slice_: Path, folder: Path, capsys, stage: str = "export") -> str:
    files = []
    for item in (*cli.STAGES[stage].inputs, *cli.STAGES[stage].outputs):
        if not item.endswith(("?", "*")):
            files += [f"--{item.rstrip('+').replace('_', '-')}", str(folder / item.rstrip("+"))]
    command = [stage, "--config", str(slice_), *files, "--manifest", str(folder / "manifest.json")]
    assert cli.main(command) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert len(line) < 300 and not list(folder.iterdir())
    return line


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (b'{"dtype": "bfl', "is no JSON (line 1: Unterminated string starting at); it may be cut off"),
        (b'{"dtype": "bfloat16"', "it may be cut off"),
        (b"[1, 2]", "holds a list, not an object"),
        (b"null", "holds null, not an object"),
        (b"3", "holds a number, not an object"),
        (b'"dtype"', "holds a text, not an object"),
        (b'{"dtype": NaN}', "is no JSON (NaN is no number)"),
        (b'{"dtype": ' + b"9" * 5000 + b"}", "is no JSON (Exceeds the limit"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"\x00\xff\xfe\x80", "is no text in UTF-8"),
        ('{"dtype": "bfloat16"}'.encode("utf-16"), "is no text in UTF-8"),
    ],
)
def test_a_broken_slice_is_one_line(tmp_path, capsys, content, expected):
    slice_, folder = tmp_path / "slice {0}.json", tmp_path / "out"
    slice_.write_bytes(content)
    folder.mkdir()
    line = run(slice_, folder, capsys)
    assert line.startswith(f"rlvr export: {slice_}: ") and expected in line and "`rlvr slice NAME`" in line


def test_a_folder_and_no_file_are_one_line(tmp_path, capsys):
    folder = tmp_path / "out"
    folder.mkdir()
    assert f"{tmp_path}: is a folder" in run(tmp_path, folder, capsys)
    assert f"{tmp_path / 'absent.json'}: is not there" in run(tmp_path / "absent.json", folder, capsys)


@pytest.mark.parametrize(("content", "key"), [({}, "task"), ({"task": "countdown", "train": 4, "eval": 2}, "sft")])
def test_a_missing_key_names_the_file_and_the_stage(tmp_path, capsys, content, key):
    slice_, folder = tmp_path / "slice {0}.json", tmp_path / "out"
    slice_.write_text(json.dumps(content), encoding="utf-8")
    folder.mkdir()
    line = run(slice_, folder, capsys, "data")
    assert f"{slice_}: no key {key!r}, so it is no slice for `rlvr data`" in line and "data/countdown" in line


@pytest.mark.parametrize("stage", cli.STAGES)
@pytest.mark.parametrize("content", ["", "[1]", '{"device": "cp'])
def test_every_stage_says_so_in_one_line(tmp_path, capsys, stage, content):
    slice_, folder = tmp_path / "slice.json", tmp_path / "out"
    slice_.write_text(content, encoding="utf-8")
    folder.mkdir()
    assert run(slice_, folder, capsys, stage).startswith(f"rlvr {stage}: {slice_}: ")


def test_a_missing_key_below_another_is_named_in_full(tmp_path):
    slice_ = tmp_path / "slice.json"
    slice_.write_text(json.dumps({"sampling": {"target": None}, "trainer": {"max_steps": 1}}), encoding="utf-8")
    found = slice_files.read(slice_, "rollouts")
    assert found == {"sampling": {"target": None}, "trainer": {"max_steps": 1}}
    with pytest.raises(RlvrError, match=r"no key 'sampling\.completions'"):
        found["sampling"]["completions"]
    with pytest.raises(KeyError):
        found["trainer"]["no option of ours"]


def test_every_stage_names_a_slice_of_its_own():
    assert set(slice_files._EXAMPLES) == set(cli.STAGES)
