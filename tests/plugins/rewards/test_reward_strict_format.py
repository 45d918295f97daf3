from __future__ import annotations

import pytest
from reward_cases import check_hostile, only_reward, sample

from rlvr_plugins.rewards import strict_format

REWARD = only_reward(strict_format)
RIGHT = "<reasoning>\n1 + 1\n</reasoning>\n<answer>\n2\n</answer>"


def test_name_and_bounds():
    assert (REWARD.name, REWARD.bounds) == ("strict_format", (0.0, 0.5))


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        (RIGHT, 0.5),
        (RIGHT + "\n", 0.5),
        (RIGHT.replace("reasoning", "think"), 0.5),
        (RIGHT.replace("1 + 1", "so:\n\n1 + 1 < 3\nand </b> {}"), 0.5),
        (RIGHT.replace("1 + 1", ""), 0.5),
        ("", 0.0),
        (RIGHT + "\n\n", 0.0),
        (RIGHT + " ", 0.0),
        (RIGHT + "\nDone.", 0.0),
        (" " + RIGHT, 0.0),
        ("\n" + RIGHT, 0.0),
        (RIGHT * 2, 0.0),
        (RIGHT + "\n" + RIGHT, 0.0),
        (RIGHT.replace("\n", ""), 0.0),
        (RIGHT.replace("\n", "\r\n"), 0.0),
        (RIGHT.replace("</reasoning>\n", "</reasoning>\n\n"), 0.0),
        (RIGHT.replace("</reasoning>\n", "</reasoning>"), 0.0),
        (RIGHT.replace("\n</reasoning>", "</reasoning>"), 0.0),
        (RIGHT.replace("<answer>\n", "<answer>"), 0.0),
        (RIGHT.replace("\n</answer>", "</answer>"), 0.0),
        (RIGHT.replace("<reasoning>\n", "<reasoning>"), 0.0),
        (RIGHT.replace("<reasoning>", "<think>"), 0.0),
        (RIGHT.replace("1 + 1", "<answer>"), 0.0),
        (RIGHT.replace("1 + 1", "</reasoning>"), 0.0),
        (RIGHT.replace("1 + 1", "<think>"), 0.0),
        (RIGHT.replace("2", "<reasoning>"), 0.0),
        (RIGHT.replace("2", "</answer>"), 0.0),
        (RIGHT.replace("2", "x\n</reasoning>\n<answer>\n2"), 0.0),
        (RIGHT.replace("reasoning", "REASONING"), 0.0),
        ("<reasoning>\n</reasoning>\n<answer>\n</answer>", 0.0),
        ("<reasoning>\n\n</reasoning>\n<answer>\n</answer>", 0.0),
        ("<answer>\n2\n</answer>", 0.0),
        ("<reasoning>\n2\n</answer>", 0.0),
        ("<answer>\n2\n</answer>\n<reasoning>\n1 + 1\n</reasoning>", 0.0),
    ],
)
def test_the_format_to_the_letter(completion, value):
    assert REWARD.function(sample(completion)) == value


def test_a_right_answer_earns_nothing_without_the_format():
    assert REWARD.function(sample("2", strict=True, flexible=True, well_formed=True)) == 0.0


def test_hostile_texts():
    check_hostile(REWARD, sample)
    assert REWARD.function(sample(RIGHT.replace("1 + 1", "\0\ud800" * 500_000))) == 0.5
