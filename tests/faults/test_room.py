"""Prompts and demonstrations that longer than the model are found before anything trains, with advice that works."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from conftest import MICRO
from rlvr import cli, config, slices, tables
from rlvr.errors import RlvrError
from rlvr.memory import rows_here
from rlvr.stages import base, data, generate, memory

LIMIT = 128
TRAIN = [
    {"question": f"Ann has {n} red pens and {n + 3} blue pens. How many pens?", "answer": 2 * n + 3} for n in range(40)
]
TEST = [{"question": f"Bob has {n} cats and {n + 1} dogs. How many pets?", "answer": 2 * n + 1} for n in range(4)]
STORY = " ".join(f"On day {n} zebra {n} ran." for n in range(60))
LONG = {"question": f"Read this list. {STORY}", "answer": 5}


def rows_file(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def experiment(folder: Path, train: list[dict], test: list[dict], limit: int = LIMIT, **sections) -> SimpleNamespace:
    folder.mkdir(exist_ok=True)
    paths = {
        "train_path": rows_file(folder / "train.jsonl", train),
        "eval_path": rows_file(folder / "test.jsonl", test),
    }
    known = copy.deepcopy(MICRO)
    known["base"]["tiny"] |= {"max_positions": limit}
    known["tasks"] = {"gsm8k": {"options": {"source": "path", **paths}, **sections.pop("task", {})}}
    known |= {"filters": [], **sections}
    file = folder / "experiment.yaml"
    file.write_text(json.dumps(known), encoding="utf-8")
    return SimpleNamespace(cut=slices.of(config.load([file])), folder=folder, file=file, known=known)


def made(given: SimpleNamespace) -> SimpleNamespace:
    """The rows and the base model of an experiment."""
    files = {name: given.folder / f"{name}.parquet" for name in ("train", "eval", "sft", "stats")}
    data.run(given.cut["data/gsm8k"], **files)
    base.run(given.cut["base"], data=[files["train"], files["sft"]], weights=given.folder / "base" / "weights")
    return SimpleNamespace(base=given.folder / "base" / "weights", **files)


def checked(given: SimpleNamespace, of: SimpleNamespace) -> None:
    sft = [of.sft] if given.known["sft"] else []
    memory.require_room(given.cut["preflight"]["prompts"], of.base, [of.train], sft, [of.eval])


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> SimpleNamespace:
    """An experiment with a long held-out row, and what was made of it."""
    given = experiment(tmp_path_factory.mktemp("long"), TRAIN, [*TEST, LONG])
    return SimpleNamespace(given=given, of=made(given))


def line_of(given: SimpleNamespace, of: SimpleNamespace) -> str:
    with pytest.raises(RlvrError) as raised:
        checked(given, of)
    line = str(raised.value)
    assert len(line) <= 300 and "\n" not in line
    return line


def test_a_long_held_out_prompt_is_found_and_the_advice_works(long, tmp_path):
    line = line_of(long.given, long.of)
    assert line.startswith("evaluation.max_completion_tokens: 8 tokens and the ")
    assert "tasks.gsm8k, held-out row 5, 'read this list" in line and f"more than the model takes ({LIMIT})" in line
    assert "max_prompt" not in line and "tasks.gsm8k.eval: 4" in line and "an eval file without it" in line

    fewer = experiment(tmp_path / "fewer", TRAIN, [*TEST, LONG], task={"eval": 4})
    checked(fewer, made(fewer))
    needed = int(line.partition("a base that takes ")[2].split()[0])
    for limit, fits in ((needed, True), (needed - 1, False)):
        # The longest sequence is no part of the tokenizer, so that the same base serves.
        edited = json.loads((long.of.base / "config.json").read_text(encoding="utf-8")) | {
            "max_position_embeddings": limit
        }
        folder = tmp_path / str(limit)
        folder.mkdir()
        for file in long.of.base.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "config.json").write_text(json.dumps(edited), encoding="utf-8")
        of = SimpleNamespace(**{**vars(long.of), "base": folder})
        if fits:
            checked(long.given, of)
        else:
            assert "of the longest prompt" in line_of(long.given, of)


def test_the_stage_that_answers_says_the_same(long, tmp_path):
    with pytest.raises(RlvrError, match=r"tokens: 8 tokens and .*held-out row 5, .*gsm8k.eval: 4"):
        generate.run(
            {**long.given.cut["generate"], "device": "cpu"},
            model=long.of.base,
            data=long.of.eval,
            completions=tmp_path / "completions.parquet",
        )


def test_the_preflight_refuses_it_whatever_is_said_of_memory(long, tmp_path):
    files = {name: tmp_path / name for name in ("estimate", "probe", "passed")}
    off = {**long.given.cut["preflight"], "mode": "off", "device": "cpu"}
    with pytest.raises(RlvrError, match="held-out row 5"):
        memory.run(off, base=long.of.base, train=[long.of.train], held_out=[long.of.eval], **files)
    assert not files["passed"].exists()


def test_a_completion_that_is_too_long_is_told_how_long_it_may_be(tmp_path):
    given = experiment(tmp_path / "x", TRAIN, TEST, evaluation={"max_completion_tokens": LIMIT})
    of = made(given)
    allowed = int(line_of(given, of).partition("allowed: up to ")[2].split(",")[0])
    for tokens, fits in ((allowed, True), (allowed + 1, False)):
        again = experiment(tmp_path / str(tokens), TRAIN, TEST, evaluation={"max_completion_tokens": tokens})
        checked(again, of) if fits else line_of(again, of)


def test_a_long_training_prompt_gets_the_filter_for_it(tmp_path):
    given = experiment(tmp_path, [*TRAIN, LONG], TEST, sft=None)
    line = line_of(given, made(given))
    assert line.startswith("grpo.trainer.max_completion_length: 8 tokens and the ")
    assert "tasks.gsm8k, training row " in line and f"filters: [{{tokens: {{max_prompt: {LIMIT - 8}}}}}]" in line


def test_what_grpo_evaluates_and_what_a_filter_samples_counts_too(tmp_path, long):
    found = experiment(
        tmp_path / "e", TRAIN, TEST, grpo={**MICRO["grpo"], "evaluate": {"items": 2, "every_steps": 1}}
    ).cut["preflight"]
    splits = [(each["split"], each["key"]) for each in found["prompts"]["demands"]]
    assert ("eval", "evaluation.max_completion_tokens") in splits and len(splits) == 2
    sampled = {"pass_rate": {"samples": 2, "max_completion_tokens": 50}}
    found = experiment(tmp_path / "s", TRAIN, TEST, filters=[sampled]).cut["preflight"]["prompts"]["demands"]
    assert ("train", "filters.pass_rate.max_completion_tokens", 50) in [
        (each["split"], each["key"], each["completion"]) for each in found
    ]
    variants = {"short": {}, "long": {"trainer": {"max_completion_length": 40}}}
    found = experiment(tmp_path / "v", TRAIN, TEST, grpo={**MICRO["grpo"], "variants": variants}).cut["preflight"]
    keys = {each["key"]: each["completion"] for each in found["prompts"]["demands"]}
    assert keys["grpo.variants.long.trainer.max_completion_length"] == 40


def test_a_long_prompt_of_an_arm_is_found(tmp_path):
    shots = " ".join(f"Example {n}: what is {n} + {n}? It is {2 * n}." for n in range(40))
    own = {"prompts": {"base": {"user_prompt": shots + " {question}"}}}
    given = experiment(tmp_path, TRAIN, TEST, task=own)
    line = line_of(given, made(given))
    assert line.startswith("evaluation.max_completion_tokens: 8 tokens and the ")
    assert "tasks.gsm8k.eval" not in line
    assert "a shorter tasks.gsm8k.prompts.base" in line


def test_demonstrations_longer_than_the_model_are_refused_and_longer_than_asked_for_counted(tmp_path, capsys):
    worked = [{"question": f"Cy has {n} caps. How many?", "answer": f"{STORY}\n#### {n}"} for n in range(3)]
    given = experiment(tmp_path, [*TRAIN, *worked], TEST)
    of = made(given)
    line = line_of(given, of)
    assert line.startswith("sft.trainer.max_length: 3 demonstrations with their prompts are longer than the model ")
    assert f"filters: [{{tokens: {{max: {LIMIT}}}, splits: [sft]}}]" in line
    capsys.readouterr()
    trainer = {**MICRO["sft"]["trainer"], "max_length": 100}
    shorter = experiment(tmp_path, TRAIN, TEST, sft={"trainer": trainer})
    checked(shorter, of)
    said = capsys.readouterr().err
    assert "preflight: 3 demonstrations are longer than sft.trainer.max_length (100; the longest has " in said


@pytest.mark.parametrize("size", [10, 10_000])
def test_the_line_is_short_whatever_stands_in_the_row(size):
    from rlvr.engines import room

    rows = [{"task": "a_task_with_quite_a_long_name", "key": "k\u202e\n'\"" * size, "prompt": []}] * 3
    for kind in (room.TRAIN, room.HELD_OUT):
        key = "grpo.variants.a_variant_of_a_long_name.trainer.max_completion_length"
        line = room.problem(32768, rows, [1, 50_000, 2], 16_384, key, kind)
        assert len(line) <= 300 and line.isascii() and "\n" not in line
        assert "row 2" in line and "; allowed: " in line
    assert room.problem(100, rows, [1, 2, 3], 97, "k", room.TRAIN) is None
    assert room.problem(None, rows, [1, 2, 3], 10**9, "k", room.TRAIN) is None


def test_rows_of_a_file_are_counted_though_few_have_many_characters(long):
    from rlvr.memory import prompts

    rows = prompts.Rows(long.of.base, [long.of.train], [], [])
    demand = {"key": "k", "completion": LIMIT - 1, "split": "train", "tasks": ["gsm8k"], "prompt": None}
    assert len(list(rows._candidates(demand))) == len(tables.read(long.of.train))
    assert len(list(rows._candidates({**demand, "completion": -10_000}))) == 0


def test_the_command_finds_a_long_held_out_prompt(long, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["preflight", "--configfile", str(long.given.file)]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["all stages fit", line_of(long.given, long.of)]


def here(given: SimpleNamespace) -> tuple[list[str], str | None]:
    """What the command adds to its estimate of memory."""
    loaded = config.load([given.file])
    return rows_here.lines(loaded, slices.of(loaded))


def test_the_command_leaves_out_what_the_filters_drop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    filters = ["duplicates", {"tokens": {"max_prompt": LIMIT - 8}}]
    given = experiment(tmp_path / "filtered", [*TRAIN, LONG], TEST, sft=None, filters=filters)
    assert here(given) == ([], None)
    notes, line = here(experiment(tmp_path / "bare", [*TRAIN, LONG], TEST, sft=None))
    assert notes == [] and f"filters: [{{tokens: {{max_prompt: {LIMIT - 8}}}}}]" in line and len(line) <= 300
    assert not (tmp_path / "results").exists()


def test_the_command_says_what_it_could_not_count_and_downloads_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = experiment(tmp_path / "x", TRAIN, TEST)
    given.known["tasks"]["openmath"] = {"train": 0, "sft": 4, "eval": 0, "options": {"revision": "0" * 40}}
    given.file.write_text(json.dumps(given.known), encoding="utf-8")
    expected = [
        "prompts of openmath are not counted: its rows are not here yet",
        "prompts are not counted: the base model's tokenizer is not here yet",
    ]
    assert here(given) == (expected, None)


def test_the_command_names_a_bad_row_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RlvrError, match=r"train.jsonl, line 41: no column 'answer'"):
        here(experiment(tmp_path / "x", [*TRAIN, {"question": "no answer"}], TEST))
