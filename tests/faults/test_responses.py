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
    ("<analysis>", "</analysis>"),
    ("<rationale>", "</rationale>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<|thinking|>", "<|/thinking|>"),
    ("<unused94>", "<unused95>"),
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


def test_reasoning_of_gpt_oss_without_its_special_tokens():
    assert verify_number("analysisThe answer is 41.assistantfinal42", FORTY_TWO).flexible
    assert verify_number("analysisThe answer is 42", FORTY_TWO).reason.startswith("no answer: cut off")
    assert verify_number("Analysis: 40 + 2\nThe answer is 42", FORTY_TWO).flexible


def test_words_of_granite_close_its_reasoning():
    thought = "Here is my thought process: The answer is 41.\nHere is my response: "
    assert verify_number(f"{thought}It is 42", FORTY_TWO).flexible
    assert verify_number("Here is my thought process: 40 and 2.\nThe answer is 42", FORTY_TWO).flexible


def test_a_tag_that_is_only_spoken_of_opens_and_closes_nothing():
    for quoted in ("`<think>`", '"<think>"', "“<think>”"):
        assert verify_number(f"<think>a</think>The answer is 42, as {quoted} says.", FORTY_TWO).flexible
    assert not verify_number("<think>I end with `</think>` and say: the answer is 42", FORTY_TWO).flexible


@pytest.mark.parametrize("cut", ["</", "</ans", "</answer"])
def test_a_closing_tag_that_is_cut_off_is_no_part_of_the_answer(cut):
    assert verify_number(f"<think>a</think><answer>42{cut}", FORTY_TWO).flexible
    assert verify_countdown(f"<think>a</think><answer>1+2+3{cut}", SIX).flexible


def test_the_last_closing_tag_decides():
    assert not verify_number("<think>a</think> 42 </think> 41", FORTY_TWO).flexible
    assert verify_number("<think>a</think> 41? <think>no</think> 42", FORTY_TWO).flexible
    assert verify_number("<answer>42</answer><think>as I said</think>", FORTY_TWO).flexible


@pytest.mark.parametrize(
    "end",
    ["<|im_end|>", "<|endoftext|>", "</s>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "<eos>", "<|end|>",
     "<|EOT|>", "<|eom_id|>", "<|return|>", "<|END_OF_TURN_TOKEN|>", "<｜end▁of▁sentence｜>", "<turn|>", "[EOS]",
     "[|endofturn|]", "<SPECIAL_12>", "<|role_end|>", "<|message_sep|>", "<｜hy_place▁holder▁no▁2｜>", "<EOT>",
     "<|endofprompt|>", "<end_of_utterance>", "</assistant>"],
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
     "\n<human>: 5+5 <bot>: 10", "\n\n问题:5+5\n10", "\n\nMath problem: 5+5\n10", "\n\n2) Question: 5+5\n10",
     ".Human: 5+5\n\nAssistant: 10", "\n[|user|]5+5[|assistant|]10", "\n<extra_id_1>User\n10",
     "\n<|start_of_role|>user<|end_of_role|>10", "<role>HUMAN</role>10", "<｜begin▁of▁sentence｜>10"],
)  # fmt: skip
def test_a_question_of_its_own_is_not_judged(question):
    for answer in ("40 + 2 = 42", "#### 42", "She has 42"):
        verdict = verify_number(f"{answer}{question}", FORTY_TWO)
        assert (verdict.strict, verdict.flexible) == (False, True)
    protocol = verify_number(f"<think>a</think><answer>42</answer>{question}", FORTY_TWO)
    assert (protocol.strict, protocol.flexible) == (False, True)
    assert verify_countdown(f"1+2+3 = 6{question}", SIX).flexible


def test_a_question_that_begins_with_a_quantity_is_one():
    for question in ("12 = 2x. Find x.", "5+5=10. Is 10 even?", "40 = 8 * 5", "2 cats"):
        assert verify_number(f"The answer is 42.\n\nQuestion: {question}\nAnswer: 10", FORTY_TWO).flexible


def test_another_problem_in_prose_is_not_judged_after_a_marked_answer():
    other = "\n\nNow let us take a similar problem. Ann has 5 and 5. The answer is 10."
    assert verify_number(f"The answer is 42.{other}", FORTY_TWO).flexible
    assert verify_number("I solve\na similar problem first. Then the answer is 42.", FORTY_TWO).flexible


@pytest.mark.parametrize(
    "other", ["\n\nExample 2:\n5+5", "\n\nTask: 5+5", "\n\nFollow-up: 5+5", "\n\nInput: 5+5", " Question: 5+5"]
)
def test_what_may_be_a_question_ends_the_response_after_a_stated_answer(other):
    for answer in ("#### 42", "The answer is 42.", "**Answer:** 42.", r"So \boxed{42}."):
        assert verify_number(f"{answer}{other}\n#### 10", FORTY_TWO).flexible
    assert verify_number(f"40 and 2.{other}\nThe answer is 42", FORTY_TWO).flexible


@pytest.mark.parametrize(
    "completion",
    [
        "Question: what is 40 + 2?\nAnswer: 42",
        "**Given:** 40 pens and 2 more.\n**Question:** how many?\n**Solution:** 40 + 2 = 42",
        "Question 1: how many packs? 3\nQuestion 2: how many pens? 42",
        "Let me split it.\nQuestion 1: how many packs? 3\nQuestion 2: how many pens? 42",
        "<|im_start|>assistant\nThe answer is 42",
        "The user: Tom. The question asks for 42",
        "40 pens = 40.\n\nQuestion asks for all of them: 40 + 2 = 42",
        "20 * 2 = 40.\nProblem: 2 are left.\nSo 42.",
        "20 + 1 = 21 pay 2 each.\n\nUsers: 21\n\n21*2 = 42",
        "2 legs each.\nHuman: 2\nDogs: 40\nTotal: 42",
        "Students: x = 21\nQuestions: 2 each\nTotal: 42",
        "Of x = 42 in all:\nQ1: 20\nQ2: 22\nSum: 42",
        "Total = 20 + 22.\nQuestion 1: 40/2 = 20\nQuestion 2: 22\nIn all 42",
        "40 = 4*10.\nThe next question is how many in all. 40 + 2 = 42",
        "x = 40.\nTo answer the next question we add 2 and get 42.",
        "The answer will be a number.\nQuestion: 40 + 2?\nIt is 42",
        "Put the answer in \\boxed{}.\n\nTask: 40 pens and 2.\n\n\\boxed{42}",
        "<s> [INST] 40 + 2 [/INST] The answer is 42",
    ],
)
def test_a_question_that_belongs_to_the_task_ends_nothing(completion):
    assert verify_number(completion, FORTY_TWO).flexible


@pytest.mark.parametrize(
    "box",
    [r"\fbox{42}", r"$\fbox{42}$", r"\framebox{42}", r"\framebox[2cm][c]{42}", r"\boxed {42}", "\\boxed\n{42}",
     r"\fbox{$\text{42}$}", r"\fbox{\frac{84}{2}}", r"\Aboxed{x &= 42}", r"\bbox[5px,border:1px solid]{42}",
     r"\colorbox{yellow}{$42$}", r"\fcolorbox{red}{white}{42}", r"\boxed 42", r"\boxed42",
     r"\boxed{\begin{aligned} x &= 42 \end{aligned}}"],
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


def test_a_sentence_without_an_expression_states_none():
    assert verify_countdown("So 1+2+3 = 6.\n\nThe answer is correct.", SIX).flexible


def test_a_second_opinion_gets_the_response(monkeypatch):
    given = []
    fake = type("math_verify", (), {"parse": lambda text: given.append(text), "verify": lambda gold, found: True})
    monkeypatch.setitem(__import__("sys").modules, "math_verify", fake)
    SCORERS["math_verify"]()({"completion": "<think>41</think> It is 42<|im_end|>43", "answer": "42"})
    assert given[-1].strip() == "It is 42"


@pytest.mark.parametrize(
    "piece",
    [
        "<think>",
        "a<think>b</think>",
        "</answer>",
        "<|",
        "<|x|>",
        "</t",
        "q: ",
        "\nquestion:",
        "1 user\n",
        "\\fbox[[",
        "\n1. q1:",
        "\n\nTask: ",
        "1.Human:",
        "\nq: 1 a a",
        "`<think>`",
        "[|user|]",
    ],
)
def test_hostile_completions_take_no_time(piece):
    found = cost.measured(lambda text: {"parts": parts(text)})(piece * (1_000_000 // len(piece)))
    assert found["seconds"] < 0.05
