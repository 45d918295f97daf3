"""Text is UTF-8 whatever the locale: no file or pipe is left to it, and the workflow runs under LC_ALL=C."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from conftest import MICRO, ROOT, snakemake, write_config
from rlvr import tables

FOLDERS = ("workflow", "rlvr_plugins", "benchmarks", "examples", "tests/gpu", "tests/faults", "requirements")
OPENS = {"open": 1, "fdopen": 1, "NamedTemporaryFile": 0, "TemporaryFile": 0, "SpooledTemporaryFile": 1}
"""Functions that open files, and which argument is their mode; as methods of a Path the first."""
PIPES = {"run", "Popen", "check_output", "check_call", "call"}
SOURCES = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".smk", ".j2") and not any(part.startswith((".venv", "build")) for part in path.parts)
]


def calls_left(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that open text, or start a process that pipes text, and name no encoding."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        method = isinstance(node.func, ast.Attribute)
        name = node.func.attr if method else getattr(node.func, "id", "")
        if "encoding" in given or None in given:
            continue
        if name == "read_text":
            if not node.args:
                yield node
        elif name == "write_text":
            if len(node.args) < 2:
                yield node
        elif name in OPENS:
            owner = ast.unparse(node.func.value) if method else ""
            if (owner, name) == ("os", "open"):
                continue
            of_path = name == "open" and method and owner not in ("io", "codecs")
            place = 0 if of_path else OPENS[name]
            mode = given.get("mode", node.args[place] if len(node.args) > place else None)
            if mode is None:
                text = "Temporary" not in name and not (of_path and given.keys() - {"newline", "errors", "buffering"})
            else:
                text = (
                    isinstance(mode, ast.Constant) and isinstance(mode.value, str) and set(mode.value) <= set("rwaxt+")
                )
            if text:
                yield node
        elif name in PIPES:
            flags = [given.get(flag) for flag in ("text", "universal_newlines")]
            if any(isinstance(flag, ast.Constant) and flag.value for flag in flags):
                yield node


def calls(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a rule file or a template
        opening = re.compile(r"\b(open|read_text|write_text|fdopen)\((?!.*encoding=)|text=True")
        return [f"{path.relative_to(ROOT)}: {line}" for line in text.splitlines() if opening.search(line)]
    return [f"{path.relative_to(ROOT)}:{call.lineno}" for call in calls_left(tree)]


def test_every_text_file_and_pipe_names_its_encoding():
    assert len(SOURCES) > 250
    assert [call for path in SOURCES for call in calls(path)] == []


LEFT = """
p.open()
p.open("w", newline="")
p.open(newline="")
open(p)
open(p, "a")
io.open(p, "r")
os.fdopen(1, "w")
tempfile.NamedTemporaryFile(mode="w+", suffix=".x")
p.read_text(errors="replace")
p.write_text("x")
subprocess.run([], text=True)
subprocess.Popen([], universal_newlines=True)
"""
NAMED = """
p.open("rb")
open(p, "rb")
os.open(p, 1)
os.open("/proc/stat", 0)
Generator.open(engine, folder, longest=longest)
Generator.open("transformers", folder)
tempfile.NamedTemporaryFile()
p.read_text("utf-8")
p.write_text("x", encoding="ascii")
subprocess.run([])
"""


def test_the_search_finds_what_is_left_to_the_locale_and_nothing_else():
    found = [call.lineno for call in calls_left(ast.parse(LEFT))]
    assert sorted(found) == list(range(2, len(LEFT.splitlines()) + 1))
    assert not list(calls_left(ast.parse(NAMED)))


POSIX = {"LC_ALL": "C", "LANG": "", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def question(number: int) -> str:
    row = {
        "question": f"Zoé a {number} pommes à 2 € – combien ça coûte ?",
        "answer": f"Elle paie {number}×2 = {2 * number} €.\n#### {2 * number}",
    }
    return json.dumps(row, ensure_ascii=False) + "\n"


@pytest.mark.slow
def test_a_run_under_the_posix_locale_keeps_every_character(checkout):
    """In the names of files, in prompts and in the report."""
    for name, numbers in (("données.jsonl", range(10, 60)), ("prüfung.jsonl", range(60, 70))):
        (checkout / name).write_text("".join(map(question, numbers)), encoding="utf-8")
    options = {"source": "path", "train_path": "données.jsonl", "eval_path": "prüfung.jsonl"}
    grpo = {**MICRO["grpo"], "variants": {"dapo": {}}}
    trainer = {**MICRO["sft"]["trainer"], "max_steps": 1}
    tasks = {"gsm8k": {"train": 16, "sft": 16, "eval": 4, "options": options}}
    write_config(checkout, {**MICRO, "tasks": tasks, "sft": {"trainer": trainer}, "grpo": grpo})
    printed = snakemake(checkout, **POSIX).stdout
    results = checkout / "results/micro"
    asked = [row["prompt"][-1]["content"] for row in tables.read(results / "data/gsm8k/raw/eval.parquet")]
    assert all("pommes à 2 € – combien ça coûte" in prompt for prompt in asked)
    assert "pommes à 2 € – combien ça coûte" in (results / "report/index.html").read_text(encoding="utf-8") or any(
        "combien ça coûte" in page.read_text(encoding="utf-8") for page in (results / "report").rglob("*.html")
    )
    assert (results / "report/summary.txt").read_text(encoding="utf-8") in printed


def test_a_command_under_the_posix_locale_reads_and_prints_any_character(tmp_path):
    names = {"source": "path", "train_path": str(tmp_path / "données.jsonl"), "eval_path": str(tmp_path / "é.jsonl")}
    config = {**MICRO, "tasks": {"gsm8k": {"train": 4, "sft": 4, "eval": 2, "options": names}}}
    for name in ("train_path", "eval_path"):
        Path(names[name]).write_text(question(7), encoding="utf-8")
    (tmp_path / "é.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    (tmp_path / "unknown.yaml").write_text("expérience: x\n", encoding="utf-8")
    command = [sys.executable, "-m", "rlvr", "slice", "data/gsm8k", "--configfile"]
    env = {**os.environ, **POSIX}
    done = subprocess.run([*command, tmp_path / "é.yaml"], capture_output=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["options"]["train_path"] == names["train_path"]
    refused = subprocess.run([*command, tmp_path / "unknown.yaml"], capture_output=True, cwd=tmp_path, env=env)
    assert refused.returncode == 1 and "expérience" in refused.stderr.decode("utf-8")


def test_a_terminal_that_lacks_a_character_shows_its_escape(tmp_path):
    program = (
        "import sys; from pathlib import Path; from rlvr import console\n"
        "with console.quiet(Path(sys.argv[1])):\n"
        "    console.say('− é')\n"
    )
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "log"], env=env, capture_output=True)
    assert done.stderr == b"\\u2212 \\xe9\n"


def test_an_interpreter_that_is_to_keep_the_locale_is_not_started_again_and_again():
    command = [sys.executable, "-X", "utf8=0", "-m", "rlvr", "--help"]
    done = subprocess.run(command, env={**os.environ, **POSIX}, capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith(b"usage: rlvr")
