from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import ROOT
from rlvr_plugins.conformance.suite import perturbed
from rlvr_plugins.manager import catalogue
from rlvr_plugins.tasks import demonstrations, gsm8k, numeric
from rlvr_plugins.tasks.gsm8k import Options
from rlvr_plugins.tasks.hub import HubError
from rlvr_plugins.verifiers.numbers import parse_number, verify_number

REAL = ROOT.parent / "shared" / "data" / "gsm8k"


def write(path: Path, rows: list) -> str:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return str(path)


def question(n: int) -> dict[str, str]:
    return {
        "question": f"Tom has {n} pens and buys 2. How many?",
        "answer": f"{n} + 2 = <<{n}+2={n + 2}>>{n + 2}\n#### {n + 2}",
    }


def from_files(tmp_path: Path, train: list, test: list) -> Options:
    return Options(
        source="path", train_path=write(tmp_path / "train.jsonl", train), eval_path=write(tmp_path / "test.jsonl", test)
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_generated_splits_are_disjoint_and_repeatable(seed):
    options = Options(source="synthetic")
    found = gsm8k.splits(options, 1500, 300, seed)
    train, held_out = found.train, found.eval
    assert (len(train), len(held_out)) == (1500, 300)
    assert len({e.key for e in train} | {e.key for e in held_out}) == 1800
    assert found == gsm8k.splits(options, 1500, 300, seed)


def test_generated_demonstrations_are_strictly_right_and_their_steps_true():
    for example in gsm8k.splits(Options(source="synthetic"), 1500, 10, 0).train:
        assert verify_number(numeric.demonstrate(example), example).strict
        assert "<<" not in numeric.demonstrate(example)
        for mark in demonstrations._CALCULATION.findall(example.fields["solution"]):
            left, right = mark.strip("<>").split("=")
            first, operator, second = (left.partition(sign) for sign in "+-*/" if sign in left).__next__()
            value = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}[operator]
            assert value(int(first), int(second)) == int(right)


def test_questions_of_the_evaluation_file_are_taken_out_of_training(tmp_path):
    shared = question(3)
    reworded = {**shared, "question": shared["question"].upper().replace(".", " !")}
    options = from_files(tmp_path, [question(1), reworded, question(2)], [shared])
    found = gsm8k.splits(options, None, None, 0)
    assert len(found.train) == 2
    assert not {e.key for e in found.train} & {e.key for e in found.eval}
    assert found.left_out == {"in the evaluation set": 1}
    assert found.notes == (f"{options.train_path}, line 2: in the evaluation set",)


def test_files_of_other_layouts_are_read_by_their_columns(tmp_path):
    rows = [{"question": f"How much is {n} + 2?", "ground_truth": n + 2, "correct": n > 1} for n in range(4)]
    train, test = tmp_path / "train.json", tmp_path / "test.csv"
    train.write_text(json.dumps(rows))
    test.write_text('question,ground_truth\n"How much is 9, plus 2?",11\n')
    options = Options(source="path", train_path=str(train), eval_path=str(test), columns={"answer": "ground_truth"})
    gsm8k.check(options, None, None)
    found = gsm8k.splits(options, None, None, 0)
    training, held_out = found.train, found.eval
    assert {example.fields["answer"] for example in training} == {"2", "3", "4", "5"}
    assert held_out[0].fields["question"] == "How much is 9, plus 2?"
    assert all(verify_number(numeric.demonstrate(example), example).strict for example in (*training, *held_out))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"source": "synthetic", "columns": {"answer": "x"}}, "go with source: path or hub only"),
        ({"columns": {"answers": "x"}}, "columns.answers: unknown; allowed: question, answer, solution, predicted"),
        ({"revision": "e53f048"}, "revision: 'e53f048' is not possible, as it looks like a part of a commit; allowed"),
        ({"source": "path", "train_path": "x"}, "source: path needs eval_path"),
        ({"max_samples": -1}, "max_samples: -1 is not possible"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, expected):
    with pytest.raises(ValueError, match=expected):
        Options(**options)


def test_a_share_of_the_items_of_a_file_is_terse(tmp_path):
    options = from_files(tmp_path, [question(n) for n in range(400)], [question(1000)])
    found = gsm8k.splits(replace(options, terse=0.5), 300, None, 0)
    terse = [example for example in found.train if "<reasoning>\n</reasoning>" in numeric.demonstrate(example)]
    assert 100 < len(terse) < 200 and all(example.fields["terse"] for example in terse)
    assert all(verify_number(numeric.demonstrate(example), example).strict for example in found.train)


def test_the_gold_follows_the_last_mark():
    assert numeric.gold_answer("a #### b\n3 + 4 = <<3+4=7>>7\n#### 7") == "7"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("{", "line 2: not JSON"),
        ({"question": "?", "answer": "1"}, "line 2: a question without a word: '\\?'"),
        ([1], "line 2: not an object; allowed: an object with question, answer"),
        ({"question": "q"}, "line 2: no column 'answer'; found: question"),
        (
            {"question": " ", "answer": "#### 1"},
            "line 2: column 'question' can't be used: it is \" \"; allowed: a text that is not empty",
        ),
        ({"question": None, "answer": "#### 1"}, "line 2: column 'question' can't be used: it is null"),
        (
            {"question": "q", "answer": "seven"},
            "line 2: an answer that can't be read: the answer 'seven' is no number; allowed",
        ),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, expected):
    options = from_files(tmp_path, [question(1), row], [question(2)])
    with pytest.raises(ValueError, match=expected):
        gsm8k.splits(options, None, None, 0)
    found = gsm8k.splits(replace(options, on_bad_row="skip"), None, None, 0)
    assert (len(found.train), sum(found.left_out.values()), len(found.notes)) == (1, 1, 1)


def test_the_hub_out_of_reach_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"openai/gsm8k at e53f\w+: the hub can't be reached .*; connect, or set"):
        gsm8k.splits(Options(source="hub"), 10, 10, 0)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real GSM8K is not beside this checkout")
def test_every_item_of_the_real_gsm8k_reads_and_verifies():
    options = Options(source="path", train_path=str(REAL / "train.jsonl"), eval_path=str(REAL / "test.jsonl"))
    found = gsm8k.splits(options, None, None, 0)
    train, held_out = found.train, found.eval
    assert (len(train), len(held_out), found.left_out) == (7473, 1319, {})
    task = catalogue().task("gsm8k")
    for example in (*train, *held_out):
        gold = task.demonstrate(example)
        assert parse_number(example.fields["answer"]) is not None
        assert task.verify(gold, example).strict
        for wrong in perturbed(gold):
            verdict = task.verify(wrong, example)
            assert not verdict.strict and not verdict.flexible, wrong
