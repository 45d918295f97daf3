"""Files laid out as published data sets are: the columns that the docs name, nested columns, lists of messages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from conftest import ROOT
from rlvr.config import task_options
from rlvr.errors import RlvrError
from rlvr.stages import data
from rlvr_plugins.manager import catalogue

REPORTED = [
    {"prompt": [{"role": "user", "content": "Sam’s shop sells pens at £3 each; he sells 14."}], "answer": "42"},
    {"prompt": [{"role": "user", "content": "Ann has 5 boxes of 12 eggs. How many eggs?"}], "answer": "60"},
]
VERL = [
    {
        "data_source": "openai/gsm8k",
        "prompt": [
            {"role": "system", "content": "Answer in \\boxed{}."},
            {"role": "user", "content": f"What is {n} + 2? Think step by step."},
        ],
        "reward_model": {"style": "rule", "ground_truth": str(n + 2)},
        "extra_info": {"question": f"What is {n} + 2?", "index": n, "solution": f"Add.\n#### {n + 2}"},
    }
    for n in range(3)
]
ENDINGS = ("jsonl", "json", "csv", "parquet")


def write(path: Path, rows: list[dict]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        lines = [list(rows[0]), *(map(cell, row.values()) for row in rows)]
        path.write_text("".join(",".join(quoted(value) for value in line) + "\n" for line in lines), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def splits(task: str, options: dict, eval: int | None = None):
    chosen = task_options(task, {"source": "path", **options})
    plugin = catalogue().task(task)
    plugin.check(chosen, None, eval)
    return plugin.items(chosen, None, eval, 0)


def fields(found, name: str) -> list:
    return [example.fields[name] for example in found]


def read(tmp_path: Path, rows: list[dict], columns: dict, ending: str = "jsonl", task: str = "openmath", **more):
    """The items of one file, in its order."""
    path = write(tmp_path / f"rows.{ending}", rows)
    return splits(task, {"train_path": path, "columns": columns, **more}, eval=len(rows))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_prompt_may_be_a_list_of_messages(tmp_path, ending):
    found = read(tmp_path, REPORTED, {"question": "prompt", "answer": "answer"}, ending).eval
    said = {row["prompt"][0]["content"]: row["answer"] for row in REPORTED}
    assert dict(zip(fields(found, "question"), fields(found, "answer"), strict=True)) == said


@pytest.mark.parametrize("ending", ENDINGS)
def test_nested_columns_are_read_by_their_path(tmp_path, ending):
    columns = {
        "question": "extra_info.question",
        "answer": "reward_model.ground_truth",
        "solution": "extra_info.solution",
        "id": "extra_info.index",
        "source": "data_source",
    }
    found = read(tmp_path, VERL, columns, ending)
    assert sorted(fields(found.eval, "question")) == [f"What is {n} + 2?" for n in range(3)]
    for example in found.eval:
        n = int(example.fields["id"])
        assert example.fields["answer"] == str(n + 2) and example.fields["solution"].startswith("Add.")
        assert example.fields["source"] == "openai/gsm8k"
    assert found.remarks == ()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_message_of_the_system_is_passed_over_and_said(tmp_path, capsys, ending):
    path = write(tmp_path / f"rows.{ending}", VERL)
    columns = {"question": "prompt", "answer": "reward_model.ground_truth"}
    options = {"source": "path", "train_path": path, "columns": columns}
    sizes = {"train": 1, "sft": 1, "eval": 2, "system_prompt": None, "user_prompt": None}
    files = {name: tmp_path / name for name in ("train", "eval", "sft", "stats")}
    data.run({"task": "openmath", **sizes, "options": options, "with_sft": True, "seed": 0}, **files)
    line = "3 rows have a system message of their own, which is not used; allowed: one for all rows"
    assert f"openmath: {line}" in capsys.readouterr().err
    assert json.loads(files["stats"].read_text(encoding="utf-8"))["notes"][0].startswith(line)
    prompts = [row["prompt"] for row in pq.read_table(files["eval"]).to_pylist()]
    assert all([message["role"] for message in prompt] == ["system", "user"] for prompt in prompts)
    assert all(
        prompt[1]["content"].startswith("What is ") and "boxed" not in prompt[0]["content"] for prompt in prompts
    )


def test_messages_as_other_libraries_write_them(tmp_path):
    turns = [
        [{"from": "human", "value": "What is 1 + 1?"}],
        [{"role": "user", "content": [{"type": "text", "text": "What is 2 + 1?"}]}],
        json.dumps([{"role": "developer", "content": "x"}, {"role": "user", "content": "What is 3 + 1?"}]),
        "[a text that begins with a bracket] What is 4 + 1?",
    ]
    rows = [{"prompt": turn, "answer": 2 + n} for n, turn in enumerate(turns)]
    found = read(tmp_path, rows, {"question": "prompt", "answer": "answer"}).eval
    expected = [f"What is {n} + 1?" for n in (1, 2, 3)] + [turns[3]]
    assert sorted(fields(found, "question")) == sorted(expected)


def test_a_conversation_gives_question_and_solution_by_place(tmp_path):
    turns = [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": "One and one. \\boxed{2}"}]
    rows = [{"messages": turns, "completion": turns[1:], "gold": 2}]
    for solution in ("messages.1.content", "completion"):
        columns = {"question": "messages.0.content", "solution": solution, "answer": "gold"}
        [example] = read(tmp_path, rows, columns).eval
        assert (example.fields["question"], example.fields["solution"][:11]) == ("What is 1 + 1?", "One and one")


def test_a_map_of_arrow_is_read_by_its_keys(tmp_path):
    maps = pa.array(
        [[("q", "What is 1 + 1?"), ("a", "2")], [("q", "What is 2 + 1?")]], pa.map_(pa.string(), pa.string())
    )
    pq.write_table(pa.table({"row": maps}), tmp_path / "maps.parquet")
    known = {"train_path": str(tmp_path / "maps.parquet"), "columns": {"question": "row.q", "answer": "row.a"}}
    found = splits("openmath", {**known, "on_bad_row": "skip"}, eval=1)
    assert fields(found.eval, "question") == ["What is 1 + 1?"] and found.left_out == {"no column 'row.a'": 1}


@pytest.mark.parametrize("column", ["extra_info.answer", "list.0.answer"])
def test_a_nested_column_that_is_no_json_is_named(tmp_path, column):
    """Pandas writes nested columns to CSV as Python does."""
    rows = [{"prompt": "x 1", "extra_info": str({"answer": "1"}), "list": str([{"answer": "1"}])}]
    with pytest.raises(ValueError, match=r"line 2: column '(extra_info|list)' can't be used: it is .* is no JSON; "):
        read(tmp_path, rows, {"question": "prompt", "answer": column}, "csv")


USER, ASSISTANT = {"role": "user", "content": "x 1"}, {"role": "assistant", "content": "y"}


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ([USER, USER], "a list of messages of user, user; allowed: one of the user, and before it one of the system"),
        ([USER, ASSISTANT], "or the name of one message, such as `messages.0.content`"),
        ([USER, ASSISTANT], "a list of messages of user, assistant; allowed: one of the user"),
        ([{"role": "system", "content": "x"}], "a list of messages of system; allowed: one of the user"),
        ([{"content": "x"}], "of which one has no role"),
        ([{"role": "user", "content": None}], "of which that of the user is no text"),
        ([{"role": "user", "content": [{"type": "image", "url": "x"}]}], "of which that of the user is no text"),
        ("[{'role': 'user', 'content': 'x'}]", "a list of messages that is no JSON"),
        ([], "allowed: a text that is not empty, or a list of messages"),
        (["x"], "allowed: a text that is not empty, or a list of messages"),
        ([{"role": "user", "content": " "}], "allowed: a text that is not empty"),
        (7, "allowed: a text that is not empty"),
    ],
)
def test_a_list_of_messages_without_one_question_is_named_by_row(tmp_path, prompt, expected):
    rows = [{"prompt": [USER], "answer": 1}, {"prompt": prompt, "answer": 2}]
    with pytest.raises(ValueError, match=r"rows.jsonl, line 2: column 'prompt' can't be used: it is ") as raised:
        read(tmp_path, rows, {"question": "prompt", "answer": "answer"})
    assert expected in str(raised.value) and len(str(raised.value)) < 500


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_path_that_leads_nowhere_is_named(tmp_path, ending):
    with pytest.raises(ValueError, match=r"no column 'reward_model\.gold'; found: "):
        read(tmp_path, VERL, {"question": "prompt", "answer": "reward_model.gold"}, ending)
    with pytest.raises(ValueError, match=r"no column 'nothing\.gold'; found: "):
        read(tmp_path, VERL, {"question": "prompt", "answer": "nothing.gold"}, ending)


def test_a_column_whose_own_name_has_a_dot_comes_first(tmp_path):
    rows = [{"a.b": "What is 1 + 1?", "a": {"b": "another"}, "answer": "2"}]
    for ending in ("jsonl", "parquet"):
        found = read(tmp_path, rows, {"question": "a.b", "answer": "answer"}, ending)
        assert fields(found.eval, "question") == ["What is 1 + 1?"]


OWN = {
    "countdown": {"numbers": [3, 5, 7], "target": 15},
    "gsm8k": {"question": "What is 1 + 1?", "answer": "#### 2"},
    "gsm8k_platinum": {"question": "What is 1 + 1?", "answer": "2"},
    "openmath": {"question": "What is 1 + 1?", "answer": "2", "solution": "One and one is \\boxed{2}."},
}
PUBLISHED = {
    "countdown": {"target": 15, "nums": [3, 5, 7]},
    "gsm8k": OWN["gsm8k"],
    "gsm8k_platinum": OWN["gsm8k"],
    "openmath": {
        "expected_answer": "2",
        "problem_type": "has_answer_extracted",
        "problem_source": "aops",
        "problem": "What is 1 + 1?",
        "generated_solution": "<think>x</think> \\boxed{2}",
    },
}
"""A row of each data set as its publisher lays it out, TinyZero's Countdown among them."""


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("rows", [OWN, PUBLISHED], ids=["own names", "published names"])
@pytest.mark.parametrize("task", list(OWN))
def test_a_file_needs_no_map_where_its_columns_are_those_of_the_docs_or_of_the_published_set(
    tmp_path, task, rows, ending
):
    path = write(tmp_path / f"rows.{ending}", [rows[task]])
    paths = {"eval_path": path} if task == "gsm8k_platinum" else {"train_path": path, "eval_path": path}
    if task == "gsm8k_platinum":
        plugin = catalogue().task(task)
        found = plugin.items(task_options(task, {"source": "path", **paths}), 0, None, 0)
    else:
        found = splits(task, paths)
    assert len(found.eval) == 1 and not plugin_problem(task, found.eval[0])


def plugin_problem(task: str, example) -> str:
    return catalogue().task(task).gold(example)


def documented(task: str) -> set[str]:
    """The columns that the generated docs name for a task."""
    text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    section = text.partition(f"## `tasks.{task}.options`")[2].partition("\n## ")[0]
    sentence = " ".join(section.partition("The task's columns are")[2].split("\nrepository,")[0].split())
    assert sentence, task
    return documented("gsm8k") if "those of `gsm8k`" in sentence else set(re.findall(r"`([a-z]+)`", sentence))


@pytest.mark.parametrize("task", list(OWN))
def test_the_docs_name_the_columns_that_the_code_takes(task):
    named = documented(task)
    assert set(OWN[task]) <= named
    paths = {"source": "path", "eval_path": "x.jsonl"}
    paths |= {} if task == "gsm8k_platinum" else {"train_path": "x.jsonl"}
    for key in named - {"nums"}:
        assert task_options(task, {**paths, "columns": {key: "c"}}).columns == {key: "c"}
    with pytest.raises(RlvrError) as raised:
        task_options(task, {**paths, "columns": {"no such key": "c"}})
    assert set(str(raised.value).partition("allowed: ")[2].split(", ")) == named - {"nums"}


def examples() -> list[dict]:
    """The YAML examples of the docs that read files."""
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    found = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    return [
        {"task": task, **settings}
        for block in found
        for task, settings in block.get("tasks", {}).items()
        if settings["options"]["source"] == "path"
    ]


VALUES = {"question": "What is 1 + 1?", "answer": "2", "solution": "It is 2.", "predicted": "2", "correct": True}


def row_of(columns: dict[str, str]) -> dict:
    """A row with a value under each column, nested where its name has dots."""
    row: dict = {}
    for key, name in columns.items():
        *folders, last = name.split(".")
        inner = row
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[last] = [{"role": "user", "content": VALUES[key]}] if name == "prompt" else VALUES[key]
    return row


@pytest.mark.parametrize("example", examples(), ids=lambda example: example["task"])
def test_the_examples_of_the_docs_read_what_they_say(tmp_path, monkeypatch, example):
    monkeypatch.chdir(tmp_path)
    options = example["options"]
    for key in {"train_path", "eval_path"} & options.keys():
        path = Path(options[key])
        path.parent.mkdir(exist_ok=True)
        columns = {**options["columns"], **(options.get("eval_columns") or {} if key == "eval_path" else {})}
        write(path, [row_of(columns)])
    other = {} if "eval_path" in options else {"eval": 0}
    found = splits(example["task"], {key: value for key, value in options.items() if key != "source"}, **other)
    kept = [*found.train, *found.eval]
    assert kept and all(not plugin_problem(example["task"], each) for each in kept)


def test_the_docs_have_examples_of_nested_columns_and_of_messages():
    columns = [example["options"].get("columns", {}) for example in examples()]
    assert any("." in name for each in columns for name in each.values())
    assert any(each.get("question") == "prompt" for each in columns)
    assert len(columns) >= 3
