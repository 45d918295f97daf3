"""Problems with worked solutions, rewritten into the protocol; and GSM8K-Platinum, which only evaluates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_plugins.conformance import cost
from rlvr_plugins.tasks import gsm8k_platinum, numeric, openmath
from rlvr_plugins.tasks.demonstrations import demonstration, steps
from rlvr_plugins.tasks.hub import HubError
from rlvr_plugins.tasks.openmath import Options
from rlvr_plugins.verifiers.numbers import verify_number
from rlvr_plugins.verifiers.tags import read_tags

COT = [
    {
        "question": f"What is {n} + 2?",
        "ground_truth": n + 2 if n else "no number",
        "predicted_answer": str(n + 2 + (n == 3)),
        "correct": n != 3,
        "cot": f"<think>\nI add {n} and 2.\n</think>\nThe answer is \\boxed{{{n + 2}}}.",
        "tokens": None,
    }
    for n in range(20)
]
COLUMNS = {
    "question": "question",
    "answer": "ground_truth",
    "solution": "cot",
    "predicted": "predicted_answer",
    "correct": "correct",
}


def cot(tmp_path: Path, rows: list[dict] = COT, **options) -> Options:
    path = tmp_path / "cot.json"
    path.write_text(json.dumps(rows, indent=1))
    return Options(source="path", train_path=str(path), **{"columns": COLUMNS, **options})


def test_an_array_of_solutions_is_read_by_a_map_of_columns(tmp_path):
    options = cot(tmp_path)
    openmath.check(options, None, 4)
    found = openmath.splits(options, None, 4, 0)
    assert (len(found.train), len(found.eval), found.left_out) == (16, 4, {})
    items = {example.fields["question"]: example for example in (*found.train, *found.eval)}
    wrong = items["What is 3 + 2?"]
    assert wrong.fields["correct"] is False and items["What is 4 + 2?"].fields["correct"] is True
    assert numeric.demonstrate(wrong) == "<reasoning>\nI add 3 and 2.\n</reasoning>\n<answer>6</answer>"
    assert not verify_number(numeric.demonstrate(wrong), wrong).flexible
    for example in found.eval:
        assert (
            numeric.gold(example) == ""
            and verify_number(numeric.demonstrate(example), example).strict == example.fields["correct"]
        )
    assert [e.key for e in found.eval] == [e.key for e in openmath.splits(options, 1, 4, 0).eval]


def test_an_unreadable_answer_is_kept_for_the_filter_but_never_held_out(tmp_path):
    found = openmath.splits(cot(tmp_path), None, 19, 0)
    [bad] = found.train
    assert numeric.gold(bad) == "the answer 'no number' is no number; allowed: a number, or a solution with ####"
    two = cot(tmp_path, eval_path=str(tmp_path / "cot.json"))
    with pytest.raises(ValueError, match=r"cot.json, row 1: an answer that can't be read: the answer 'no number'"):
        openmath.splits(two, None, None, 0)


def test_questions_that_differ_in_a_sign_are_two_items(tmp_path):
    rows = [{**COT[1], "question": question} for question in ("What is 3 + 5?", "what is 3 - 5", "What is 3 + 5 !")]
    found = openmath.splits(cot(tmp_path, rows), None, 1, 0)
    assert {example.key for example in (*found.train, *found.eval)} == {"what is 3 + 5", "what is 3 - 5"}


@pytest.mark.parametrize(
    ("solution", "expected"),
    [
        ("<think>\nOkay.\n</think>\n\nAdd: $3+4=7$.\n\n**Final Answer**\n\\boxed{7}", "Okay.\n\n\nAdd: $3+4=7$."),
        ("We add. The final answer is $\\boxed{7}$.", "We add."),
        ("So 3 + 4 = \\boxed{\\frac{14}{2}}.", "So 3 + 4 = \\frac{14}{2}."),
        ("First \\boxed{a} and \\boxed{\\boxed{b}}, then on.", "First a and b, then on."),
        ("<reasoning>We add.</reasoning><answer>7</answer>", "We add."),
        ("Is <answer>7</answer> right? Yes, it is.", "Is 7 right? Yes, it is."),
        ("<thi<think>nk>We<answ</answer>er> add.<|im_end|></s>", "We add."),
        ("<THINK >We add.</ think>", "We add."),
        ("1 < 2 and <b>x</b>", "1 < 2 and <b>x</b>"),
        ("#### Step one\nWe add <<3+4=7>>7.\n#### 7", "#### Step one\nWe add 7."),
        ("\\boxed{7", "\\boxed{7"),
        ("\\boxed{7}", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_a_solution_becomes_steps(solution, expected):
    assert steps(solution) == expected


PIECES = ["<think>", "</think>", "<answer>", "</answer>", "<reasoning>", "</reasoning>", "<", ">", "answer", "/", "7",
          "\\boxed{", "{", "}", "\n", ". ", "####", "<|im_end|>", "</s>", "The answer is ", "<<3+4=7>>"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.booleans())
@settings(max_examples=500)
def test_whatever_the_solution_there_is_one_reasoning_and_one_answer_element(solution, in_answer):
    made = demonstration(solution, solution if in_answer else "7")
    tagged = read_tags(made)
    assert tagged.well_formed and tagged.answers == 1
    if not in_answer:
        assert tagged.answer == "7"


@pytest.mark.parametrize(
    "text", ["\\boxed{" * 50_000, "{" * 100_000, "<" * 100_000, "\n" * 100_000, "<answer>" * 20_000]
)
def test_a_hostile_solution_takes_no_time(text):
    found = cost.measured(lambda solution: {"made": demonstration(solution, solution[:1000])})(text)
    assert found["seconds"] < 1


def test_the_offline_items_are_rewritten_too():
    found = openmath.splits(Options(source="synthetic"), 200, 50, 0)
    for example in (*found.train, *found.eval):
        assert "boxed" in example.fields["solution"] and "boxed" not in numeric.demonstrate(example)
        assert verify_number(numeric.demonstrate(example), example).strict


@pytest.mark.parametrize("revision", ["", "main", "v1.0"])
def test_nothing_is_read_of_the_hub_but_at_a_commit(revision):
    with pytest.raises(HubError, match=f"unsloth/OpenMath.*: revision '{revision or 'main'}' is not locked"):
        openmath.splits(Options(revision=revision), 5, 5, 0)


def test_platinum_only_evaluates(tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text('{"question": "1 + 1?", "answer": "One more.\\n#### 2", "cleaning_status": "consensus"}\n')
    options = gsm8k_platinum.Options(source="path", eval_path=str(path))
    gsm8k_platinum.check(options, 0, None)
    found = gsm8k_platinum.splits(options, 0, None, 0)
    assert (len(found.train), [example.fields["answer"] for example in found.eval]) == (0, ["2"])
    with pytest.raises(ValueError, match="for evaluation only; set train: 0 and sft: 0"):
        gsm8k_platinum.check(options, None, None)
    with pytest.raises(ValueError, match="train_path: this task is for evaluation only"):
        gsm8k_platinum.Options(source="path", train_path="x", eval_path="y")
