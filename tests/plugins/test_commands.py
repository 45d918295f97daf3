"""`rlvr plugins new`, `rlvr check` and `rlvr verify` as a user types them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from rlvr import cli
from rlvr_plugins.isolation import Failure

GOOD = "<think>x</think><answer>{}</answer>"


def write(path: Path, rows: list) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def verify(capsys, *arguments: object) -> tuple[int, list[dict], str]:
    code = cli.main(["verify", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, [json.loads(line) for line in printed.out.splitlines()], printed.err


def test_verify_answers_each_row_in_order(tmp_path, capsys):
    file = write(
        tmp_path / "rows.jsonl",
        [
            {"completion": GOOD.format("$108"), "answer": 108},
            {"completion": "so #### 7.5", "answer": "3 * 2.5 = 7.5\n#### 7.5"},
            {"completion": GOOD.format("7"), "answer": 7.5},
            {"completion": GOOD.format("72 or 73"), "answer": "72"},
            {"completion": GOOD.format("8"), "answer": 9, "question": "?"},
            {"completion": "no idea \ud800", "answer": "1,000"},
        ],
    )
    code, lines, said = verify(capsys, "gsm8k", file)
    assert code == 0
    assert [(line["strict"], line["flexible"], line["status"]) for line in lines] == [
        (1, 1, "right"),
        (0, 1, "wrong_format"),
        (0, 0, "wrong"),
        (0, 0, "unreadable"),
        (0, 0, "wrong"),
        (0, 0, "missing"),
    ]
    assert [line["answer"] for line in lines] == ["$108", "7.5", "7", "72 or 73", "8", ""]
    assert lines[2]["reason"] == "7 is not 15/2"
    assert said.splitlines() == [
        "6 rows: strict 16.7%, flexible 33.3%, parse failures 2 (missing 1, unreadable 1), verifier errors 0",
        "     2  N is not N",
        "     1  no <answer>; elsewhere N is right",
        "     1  no single number in <answer>",
        "     1  no <answer>; no single number elsewhere",
    ]


def test_verify_countdown_into_a_file(tmp_path, capsys):
    rows = [
        {"completion": GOOD.format("2 * 5 - 3"), "numbers": [2, 3, 5], "target": 7},
        {"completion": GOOD.format("2 * 5 - 3"), "numbers": [2, 3, 5], "target": 7, "operators": "+-"},
        {"completion": "2 * 5 - 3 = 7", "numbers": [2, 3, 5], "target": 7},
    ]
    out = tmp_path / "verdicts.jsonl"
    code, lines, _ = verify(capsys, "countdown", write(tmp_path / "rows.jsonl", rows), "--out", out)
    assert (code, lines) == (0, [])
    verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(verdict["strict"], verdict["flexible"]) for verdict in verdicts] == [(1, 1), (0, 0), (0, 1)]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("task", "rows", "expected"),
    [
        ("gsm8k", ["{"], "row 1: not JSON"),
        (
            "gsm8k",
            [{"completion": "x", "answer": 1}, "[1]"],
            "row 2: not an object; allowed: an object with completion",
        ),
        ("gsm8k", [{"answer": 1}], "row 1: completion: is missing; found: 'answer'"),
        ("gsm8k", [{"completion": ["x"], "answer": 1}], "row 1: completion: "),
        ("gsm8k", [{"completion": "x"}], "row 1: answer: is missing; allowed: a number, or a solution"),
        ("gsm8k", [{"completion": "x", "answer": "five"}], "row 1: answer: 'five' is not possible"),
        ("gsm8k", [{"completion": "x", "answer": True}], "row 1: answer: 'True' is not possible"),
        (
            "countdown",
            [{"completion": "x", "answer": 1}],
            "row 1: numbers: is missing; allowed: numbers (a list of",
        ),
        (
            "countdown",
            [{"completion": "x", "numbers": [1, True], "target": 1}],
            "row 1: numbers: [1, True] is not possible",
        ),
        ("countdown", [{"completion": "x", "numbers": [1], "target": "1"}], "row 1: target: '1' is not possible"),
        (
            "countdown",
            [{"completion": "x", "numbers": [1], "target": 1, "operators": "^"}],
            "operators: '^' is not possible",
        ),
        ("gsm8k", [""], "holds no rows; allowed: one JSON object a line"),
        ("gsm9k", [{"completion": "x"}], "unknown task 'gsm9k'; did you mean 'gsm8k'?"),
    ],
)
def test_verify_names_a_bad_row_before_it_judges_any(tmp_path, capsys, task, rows, expected):
    out = tmp_path / "out.jsonl"
    code, lines, said = verify(capsys, task, write(tmp_path / "rows.jsonl", rows), "--out", out)
    assert (code, lines, out.exists()) == (1, [], False)
    assert len(said.splitlines()) == 1 and expected in said


def test_verify_names_a_file_that_is_missing_or_not_text(tmp_path, capsys):
    (tmp_path / "latin.jsonl").write_bytes(b'{"completion": "\xe9"}')
    assert "absent.jsonl: No such file or directory" in verify(capsys, "gsm8k", tmp_path / "absent.jsonl")[2]
    assert "latin.jsonl, after row 0: not UTF-8" in verify(capsys, "gsm8k", tmp_path / "latin.jsonl")[2]
    rows = write(tmp_path / "rows.jsonl", [{"completion": "x", "answer": 1}])
    assert "No such file" in verify(capsys, "gsm8k", rows, "--out", tmp_path / "no" / "out.jsonl")[2]


def test_verify_lists_where_math_verify_disagrees(tmp_path, capsys):
    rows = [
        {"completion": GOOD.format("72"), "answer": "72"},
        {"completion": GOOD.format("3 1/2"), "answer": "3.5"},
        {"completion": GOOD.format("8"), "answer": "9"},
    ]
    code, lines, said = verify(capsys, "gsm8k", write(tmp_path / "rows.jsonl", rows), "--second", "math_verify")
    assert code == 0
    assert [(line["flexible"], line["math_verify"]) for line in lines] == [(1, 1), (1, 0), (0, 0)]
    assert said.splitlines()[-2:] == [
        "math_verify disagrees on 1 of 3, failed on 0",
        "row 2: ours 1, other 0: answer '3 1/2', gold '3.5'",
    ]


def test_a_second_scorer_needs_a_gold_answer(tmp_path, capsys):
    file = write(tmp_path / "rows.jsonl", [{"completion": "x", "numbers": [1], "target": 1}])
    said = verify(capsys, "countdown", file, "--second", "math_verify")[2]
    assert "row 1: task 'countdown' has no answer that math_verify could compare with" in said


def test_verify_reads_a_pipe_and_a_byte_order_mark(tmp_path):
    row = '\ufeff{"completion": "#### 5", "answer": 5.0}\n'
    command = [sys.executable, "-m", "rlvr", "verify", "gsm8k", "-"]
    result = subprocess.run(command, input=row, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout)["flexible"] == 1


def test_verify_names_a_folder_and_a_reader_that_raises(tmp_path, capsys, installed):
    assert "Is a directory; allowed: a JSONL file" in verify(capsys, "gsm8k", tmp_path)[2]
    file = write(tmp_path / "rows.jsonl", [{"completion": "x", "answer": [1]}])
    assert "rows.jsonl, row 1: answer: '[1]' is not possible" in verify(capsys, "gsm8k", file)[2]


def test_verify_writes_into_a_device_and_leaves_it(tmp_path, capsys):
    file = write(tmp_path / "rows.jsonl", [{"completion": "5", "answer": 5}])
    assert verify(capsys, "gsm8k", file, "--out", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()


def test_a_second_scorer_that_fails_is_not_a_wrong_answer(tmp_path, capsys, monkeypatch):
    file = write(tmp_path / "rows.jsonl", [{"completion": "5", "answer": 5}])
    monkeypatch.setattr("rlvr.verifying.Worker.run", lambda worker, items: [Failure("timeout", "")] * len(items))
    code, lines, said = verify(capsys, "gsm8k", file, "--second", "math_verify")
    assert (code, lines[0]["math_verify"]) == (0, None)
    assert said.splitlines()[-1] == "math_verify disagrees on 0 of 1, failed on 1"


@pytest.mark.parametrize(("options", "expected"), [("{bad", "is not JSON"), ("[1]", "allowed: a JSON object such as")])
def test_check_names_options_that_are_none(capsys, options, expected):
    assert cli.main(["check", "gsm8k", "--options", options]) == 1
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["reward", "task", "filter"])
def test_a_new_package_passes_its_own_tests_once_installed(tmp_path, capsys, kind):
    chosen = [] if kind == "reward" else [f"--{kind}"]
    assert cli.main(["plugins", "new", "my-thing", "--into", str(tmp_path), *chosen]) == 0
    assert f"next: pip install -e {tmp_path}/my-thing" in capsys.readouterr().out
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", site]
    subprocess.run([*pip, tmp_path / "my-thing"], check=True)
    env = {"PYTHONPATH": f"{site}:{ROOT / 'workflow'}:{ROOT}", "PATH": ""}
    tests = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", tmp_path / "my-thing" / "tests"]
    result = subprocess.run(tests, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    checked = subprocess.run(
        [sys.executable, "-m", "rlvr", "check", "my-thing"], env=env, capture_output=True, text=True
    )
    assert checked.returncode == 0 and "FAIL" not in checked.stdout, checked.stdout
    assert f"{kind} my-thing, my_thing (my-thing 0.1.0)" in checked.stdout


@pytest.mark.parametrize("name", ["My-reward", "my_reward", "-x", "a--b", "", "x/../y", "a" * 61])
def test_a_new_package_needs_a_name_that_works_everywhere(tmp_path, capsys, name):
    assert cli.main(["plugins", "new", "--into", str(tmp_path), "--", name]) == 1
    assert "is not possible; allowed: lower-case letters and digits" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_new_package_overwrites_nothing(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    assert cli.main(["plugins", "new", "mine", "--into", str(tmp_path)]) == 1
    assert "is there already; choose another name" in capsys.readouterr().err
    assert cli.main(["plugins", "new", "format", "--into", str(tmp_path)]) == 1
    assert "name: reward 'format' is there already, from rlvr_plugins.rewards.format" in capsys.readouterr().err
    for word in ("class", "check"):
        assert cli.main(["plugins", "new", word, "--into", str(tmp_path)]) == 1
        assert f"name: '{word}' is a word of Python or of the package's own" in capsys.readouterr().err
    for taken in ("torch", "json", "reasoning-gym"):
        assert cli.main(["plugins", "new", taken, "--into", str(tmp_path)]) == 1
        assert f"name: '{taken}' is that of an installed package or module" in capsys.readouterr().err


def test_check_prints_each_finding_and_fails_where_one_failed(capsys, installed):
    installed(
        """
from rlvr_plugins import Reward, hookimpl
def wide(sample):
    return 5.0
@hookimpl
def rlvr_rewards():
    yield Reward("wide", wide)
"""
    )
    assert cli.main(["check", "format"]) == 0
    assert cli.main(["check", "wide", "format"]) == 1
    printed = capsys.readouterr().out
    assert "reward wide, stranger_plugin (stranger 1.2)" in printed
    assert "  FAIL  values         out_of_range: 5.0; allowed: None or 0 to 1 on gold text" in printed
    assert cli.main(["check", "stranger"]) == 1
    assert "reward wide, stranger_plugin" in capsys.readouterr().out
    assert cli.main(["check", "formt"]) == 1
    assert (
        "no task, reward, filter or package 'formt'; did you mean 'format'? tasks: countdown, gsm8k"
        in capsys.readouterr().err
    )


def test_a_broken_package_is_named_once(capsys, installed):
    installed("import not_there")
    assert cli.main(["check", "stranger"]) == 1
    line = "rlvr check: stranger_plugin (stranger 1.2) is broken: ModuleNotFoundError: No module named 'not_there'"
    assert capsys.readouterr().err.startswith(line)


def test_show_lists_options_bounds_and_needs(capsys):
    assert cli.main(["plugins", "show", "countdown"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^terse +float +0\.0$", printed, re.MULTILINE)
    assert "counts: how many numbers an item may have." in printed
    assert cli.main(["plugins", "show", "boxed"]) == 0
    assert "bounds: -1 to 1" in capsys.readouterr().out
    assert cli.main(["plugins", "show", "tokens"]) == 0
    printed = capsys.readouterr().out
    assert "filters[].tokens:" in printed and "max_prompt: longest prompt" in printed
    assert "splits: train, sft\nneeds: tokenizer" in printed


def test_check_takes_the_options_of_a_filter(capsys):
    assert cli.main(["check", "characters", "--options", '{"allow": ["ascii"]}']) == 0
    assert "  ok    batches        same row, same reason" in capsys.readouterr().out
    assert cli.main(["check", "characters", "--options", '{"allow": ["klingon"]}']) == 1
    assert "  FAIL  options        allow: 'klingon' is no Unicode script" in capsys.readouterr().out
