"""What of a completion is its answer: not its reasoning, not what follows its end, not a question of its own."""

from __future__ import annotations

import pytest

from rlvr_plugins import Example
from rlvr_plugins.conformance import cost
from rlvr_plugins.second import SCORERS
from rlvr_plugins.verifiers.expressions import verify_countdown
from rlvr_plugins.verifiers.numbers import verify_number
from rlvr_plugins.verifiers.response import parts

FORTY_TWO = Example("k", {"answer": "42"})
SIX = Example("1,2,3=6", {"numbers": [1, 2, 3], "target": 6})


@pytest.mark.parametrize(
    ("completion", "gold", "strict", "flexible"),
    [
        ("<think>I guess <answer>30</answer>, but forgot 4.</think>\nThe final answer is 34.", 30, False, False),
        ("The answer is 9.<|im_end|>\n<|im_start|>user\n2+3?<|im_end|>\n<|im_start|>assistant\n5", 9, False, True),
        ("Ann has 2 bags of 7, 2*7=14.\n#### 14\n\nQuestion: Bo has 3.\nAnswer: 3*3=9\n#### 9", 14, False, True),
        ("<think>\n30+4\n</think>\n<answer>\n34\n</answer><|im_end|>user more text 7", 34, True, True),
        ("So 3 + 5 = 8.\n</think>\n\nShe had **6 red** and **7 green** pens, so **8 pens** in all.", 8, False, True),
        ("<think>12-5=7, 7*3=21</think>\n\nHe makes $21 every week.", 21, False, True),
        ("She has 5 and 30.\n#### 35\nTo check once more, 35 minus 30 gives 5, so it fits.", 35, False, True),
    ],
)
def test_reports_of_graders_that_took_the_wrong_part(completion, gold, strict, flexible):
    verdict = verify_number(completion, Example("k", {"answer": str(gold)}))
    assert (verdict.strict, verdict.flexible) == (strict, flexible)


OPENING_AND_CLOSING = [
    ("<think>", "</think>"),
    ("<Think>", "</Think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("<scratchpad>", "</scratchpad>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
]


@pytest.mark.parametrize(("opening", "closing"), OPENING_AND_CLOSING)
def test_reasoning_is_not_the_answer(opening, closing):
    for head in (opening, ""):  # the prompt may have opened it
        thought = f"{head}It is 42, so <answer>42</answer>, \\boxed{{42}}.{closing}"
        assert not verify_number(f"{thought} Hence 41.", FORTY_TWO).flexible
        assert not verify_number(thought, FORTY_TWO).flexible
        assert verify_number(f"{head}It is 41.{closing}\nHence 42.", FORTY_TWO).flexible
    assert verify_countdown(f"{opening}3-2-1{closing}1+2+3", SIX).flexible
    assert not verify_countdown(f"{opening}1+2+3{closing}", SIX).flexible


@pytest.mark.parametrize("opening", [opening for opening, _ in OPENING_AND_CLOSING])
def test_cut_off_inside_the_reasoning_is_no_answer(opening):
    for text in (f"{opening}The answer is 42", f"{opening}<answer>42</answer>", f"42. {opening}or 43"):
        verdict = verify_number(text, FORTY_TWO)
        assert (verdict.flexible, verdict.status) == (False, "missing")
        assert verdict.reason.startswith("no answer: cut off inside the reasoning")
    assert verify_countdown(f"{opening}1+2+3", SIX).reason.startswith("no answer: cut off inside the reasoning")


def test_the_last_closing_tag_decides():
    assert not verify_number("<think>a</think> 42 </think> 41", FORTY_TWO).flexible
    assert verify_number("<think>a</think> 41? <think>no</think> 42", FORTY_TWO).flexible
    assert verify_number("<answer>42</answer><think>as I said</think>", FORTY_TWO).flexible


@pytest.mark.parametrize(
    "end",
    ["<|im_end|>", "<|endoftext|>", "</s>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "<eos>", "<|end|>",
     "<|EOT|>", "<|eom_id|>", "<|return|>", "<|END_OF_TURN_TOKEN|>", "<｜end▁of▁sentence｜>", "<turn|>", "[EOS]"],
)  # fmt: skip
def test_the_first_end_token_ends_the_text(end):
    for rest in (" 41", f"\n#### 41{end}", "\n<answer>41</answer>", f"{end}{end} 41"):
        assert verify_number(f"#### 42{end}{rest}", FORTY_TWO).flexible
        assert verify_number(f"<think>a</think><answer>42</answer>{end}{rest}", FORTY_TWO).strict
        assert verify_countdown(f"<think>a</think><answer>1+2+3</answer>{end}{rest}", SIX).strict
    assert not verify_number(f"<think>a{end}</think><answer>42</answer>", FORTY_TWO).flexible


@pytest.mark.parametrize(
    "question",
    ["\n\nQuestion: 5+5?\nAnswer: 10", "\nQ: 5+5?\nA: 10", "\n\n**Question 2:** 5+5\n10", "\n\nProblem 2.\n5+5=10",
     "\n\n### Instruction:\n5+5\n\n### Response:\n10", "\n\n## Question\n5+5, 10", "\nUser: 5+5?\nAssistant: 10",
     "\nHuman: 5+5?", "\nuser\n5+5\nassistant\n10", ".user\n\n5+5", "\n<|im_start|>user\n10", "\n[INST] 5+5 [/INST] 10",
     "<|start_header_id|>user<|end_header_id|>\n\n10", "<start_of_turn>user\n10", "<|user|>\n10",
     "\n\nNext question: 5+5\n10", "\n\nQuestion Ann has 10 eggs", "\n\n<question>5+5</question> 10",
     "\n<human>: 5+5 <bot>: 10", "\n\n问题:5+5\n10"],
)  # fmt: skip
def test_a_question_of_its_own_is_not_judged(question):
    for answer in ("40 + 2 = 42", "#### 42", "She has 42"):
        verdict = verify_number(f"{answer}{question}", FORTY_TWO)
        assert (verdict.strict, verdict.flexible) == (False, True)
    protocol = verify_number(f"<think>a</think><answer>42</answer>{question}", FORTY_TWO)
    assert (protocol.strict, protocol.flexible) == (False, True)
    assert verify_countdown(f"1+2+3 = 6{question}", SIX).flexible


def test_another_problem_in_prose_is_not_judged_after_a_marked_answer():
    other = "\n\nNow let us take a similar problem. Ann has 5 and 5. The answer is 10."
    assert verify_number(f"The answer is 42.{other}", FORTY_TWO).flexible
    assert verify_number("I solve\na similar problem first. Then the answer is 42.", FORTY_TWO).flexible


@pytest.mark.parametrize(
    "completion",
    [
        "Question: what is 40 + 2?\nAnswer: 42",
        "**Given:** 40 pens and 2 more.\n**Question:** how many?\n**Solution:** 40 + 2 = 42",
        "Question 1: how many packs? 3\nQuestion 2: how many pens? 42",
        "Let me split it.\nQuestion 1: how many packs? 3\nQuestion 2: how many pens? 42",
        "<|im_start|>assistant\nThe answer is 42",
        "The user: Tom. The question asks for 42",
    ],
)
def test_a_question_that_belongs_to_the_task_ends_nothing(completion):
    assert verify_number(completion, FORTY_TWO).flexible


@pytest.mark.parametrize(
    "box",
    [r"\fbox{42}", r"$\fbox{42}$", r"\framebox{42}", r"\framebox[2cm][c]{42}", r"\boxed {42}", "\\boxed\n{42}",
     r"\fbox{$\text{42}$}", r"\fbox{\frac{84}{2}}", r"\Aboxed{x &= 42}", r"\bbox[5px,border:1px solid]{42}",
     r"\colorbox{yellow}{$42$}", r"\fcolorbox{red}{white}{42}", r"\boxed 42", r"\boxed42"],
)  # fmt: skip
def test_a_box_of_any_kind_marks_the_answer(box):
    assert verify_number(f"So {box}, of 50 in 7 rows", FORTY_TWO).flexible
    assert not verify_number(f"So {box}, then \\fbox{{41}}", FORTY_TWO).flexible
    assert verify_number(f"<think>a</think><answer>{box}</answer>", FORTY_TWO).strict


@pytest.mark.parametrize("box", [r"\fbox{1+2+3}", r"$\framebox[2cm]{1+2+3}$", r"\boxed {1+2+3}", "\\boxed\n{1+2+3}"])
def test_a_box_of_any_kind_marks_an_expression(box):
    assert verify_countdown(f"So {box}, not 1+2", SIX).flexible
    assert verify_countdown(f"<think>a</think><answer>{box.strip('$')}</answer>", SIX).strict


@pytest.mark.parametrize(
    ("after", "flexible"),
    [
        ("\nTo check, 42 minus 40 gives 2.", True),
        ("\nTo verify: is it 42 or 41? 40 + 2.", True),
        ("\n\nWait, let me double-check: 42 - 40 = 2. Fine.", True),
        ("\nWait, that is wrong, 41.", False),
        ("\nActually it should be 41", False),
        (" Or 41.", False),
    ],
)
def test_a_check_does_not_take_back_a_marked_answer(after, flexible):
    for marked in ("#### 42", r"\boxed{42}", "The answer is 42."):
        assert verify_number(f"40 and 2.\n{marked}{after}", FORTY_TWO).flexible == flexible


def test_a_second_opinion_gets_the_response(monkeypatch):
    given = []
    fake = type("math_verify", (), {"parse": lambda text: given.append(text), "verify": lambda gold, found: True})
    monkeypatch.setitem(__import__("sys").modules, "math_verify", fake)
    SCORERS["math_verify"]()({"completion": "<think>41</think> It is 42<|im_end|>43", "answer": "42"})
    assert given[-1].strip() == "It is 42"


@pytest.mark.parametrize(
    "piece",
    ["<think>", "a<think>b</think>", "</answer>", "<|", "<|x|>", "</t", "q: ", "\nquestion:", "1 user\n", "\\fbox[["],
)
def test_hostile_completions_take_no_time(piece):
    found = cost.measured(lambda text: {"parts": parts(text)})(piece * (1_000_000 // len(piece)))
    assert found["seconds"] < 0.05
