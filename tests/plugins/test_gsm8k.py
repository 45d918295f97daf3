from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import ROOT
from rlvr_plugins.conformance.suite import perturbed
from rlvr_plugins.manager import catalogue
from rlvr_plugins.tasks import gsm8k
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
    train, held_out = gsm8k.splits(options, 1500, 300, seed)
    assert (len(train), len(held_out)) == (1500, 300)
    assert len({e.key for e in train} | {e.key for e in held_out}) == 1800
    assert (train, held_out) == gsm8k.splits(options, 1500, 300, seed)


def test_generated_demonstrations_are_strictly_right_and_their_steps_true():
    train, _ = gsm8k.splits(Options(source="synthetic"), 1500, 10, 0)
    for example in train:
        assert verify_number(gsm8k.demonstrate(example), example).strict
        assert "<<" not in gsm8k.demonstrate(example)
        for mark in gsm8k._CALCULATION.findall(example.fields["solution"]):
            left, right = mark.strip("<>").split("=")
            first, operator, second = (left.partition(sign) for sign in "+-*/" if sign in left).__next__()
            value = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}[operator]
            assert value(int(first), int(second)) == int(right)


def test_questions_of_the_evaluation_file_are_taken_out_of_training(tmp_path):
    shared = question(3)
    reworded = {**shared, "question": shared["question"].upper().replace(".", " !")}
    options = from_files(tmp_path, [question(1), reworded, question(2)], [shared])
    train, held_out = gsm8k.splits(options, None, None, 0)
    assert len(train) == 2
    assert not {e.key for e in train} & {e.key for e in held_out}


def test_files_of_other_layouts_are_read_by_their_columns(tmp_path):
    rows = [{"question": f"How much is {n} + 2?", "ground_truth": n + 2, "correct": n > 1} for n in range(4)]
    train, test = tmp_path / "train.json", tmp_path / "test.csv"
    train.write_text(json.dumps(rows))
    test.write_text('question,ground_truth\n"How much is 9, plus 2?",11\n')
    options = Options(source="path", train_path=str(train), eval_path=str(test), answer="ground_truth")
    gsm8k.check(options, None, None)
    training, held_out = gsm8k.splits(options, None, None, 0)
    assert {example.fields["answer"] for example in training} == {"2", "3", "4", "5"}
    assert held_out[0].fields["question"] == "How much is 9, plus 2?"
    assert all(verify_number(gsm8k.demonstrate(example), example).strict for example in (*training, *held_out))


def test_columns_go_with_files_only():
    with pytest.raises(ValueError, match="go with source: path only"):
        Options(source="synthetic", answer="ground_truth")


def test_the_gold_follows_the_last_mark():
    assert gsm8k.gold_answer("a #### b\n3 + 4 = <<3+4=7>>7\n#### 7") == "7"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("{", "line 2: not JSON"),
        ([1], "line 2: not an object; allowed: an object with question, answer"),
        ({"question": "q"}, "line 2: no column 'answer'; found: question"),
        (
            {"question": " ", "answer": "#### 1"},
            "line 2: column 'question' is \" \"; allowed: a text that is not empty",
        ),
        ({"question": None, "answer": "#### 1"}, "line 2: column 'question' is null"),
        ({"question": "q", "answer": "seven"}, "line 2: the answer 'seven' is no number; allowed: a number, or a"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, expected):
    options = from_files(tmp_path, [question(1), row], [question(2)])
    with pytest.raises(ValueError, match=expected):
        gsm8k.splits(options, None, None, 0)


def test_the_hub_out_of_reach_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"openai/gsm8k at e53f\w+: the hub can't be reached .*; connect, or set"):
        gsm8k.splits(Options(source="hub"), 10, 10, 0)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real GSM8K is not beside this checkout")
def test_every_item_of_the_real_gsm8k_reads_and_verifies():
    options = Options(source="path", train_path=str(REAL / "train.jsonl"), eval_path=str(REAL / "test.jsonl"))
    train, held_out = gsm8k.splits(options, None, None, 0)
    assert (len(train), len(held_out)) == (7473, 1319)
    task = catalogue().task("gsm8k")
    for example in (*train, *held_out):
        gold = task.demonstrate(example)
        assert parse_number(example.fields["answer"]) is not None
        assert task.verify(gold, example).strict
        for wrong in perturbed(gold):
            verdict = task.verify(wrong, example)
            assert not verdict.strict and not verdict.flexible, wrong
