from __future__ import annotations

import pickle

import pytest
from filter_cases import reasons, refuses, row

from rlvr_plugins import Rollout, Verdict
from rlvr_plugins.manager import catalogue

RIGHT = Rollout("right", Verdict(True, True, True, "5"))
LOOSE = Rollout("loose", Verdict(False, True, False, "5"))
WRONG = Rollout("wrong", Verdict(False, False, True, "6"))
CASES = [
    ({}, [], "not sampled"),
    ({}, [WRONG] * 8, "never right"),
    ({}, [LOOSE] * 8, "never right"),
    ({}, [WRONG] * 7 + [RIGHT], ""),
    ({}, [WRONG] + [RIGHT] * 7, ""),
    ({}, [RIGHT] * 8, "always right"),
    ({"by": "flexible"}, [WRONG, LOOSE], ""),
    ({"by": "flexible"}, [RIGHT, LOOSE], "always right"),
    ({"min_rate": 0.25}, [WRONG] * 3 + [RIGHT], ""),
    ({"min_rate": 0.25}, [WRONG] * 4 + [RIGHT], "below min_rate"),
    ({"max_rate": 0.5}, [WRONG, RIGHT], ""),
    ({"max_rate": 0.5}, [WRONG, RIGHT, RIGHT], "above max_rate"),
    ({"min_rate": 0.0, "max_rate": 1.0}, [WRONG], ""),
    ({"min_rate": 0.0, "max_rate": 1.0}, [RIGHT], ""),
]


@pytest.mark.parametrize(("options", "rollouts", "reason"), CASES)
def test_rates_and_what_sampling_looks_for(options, rollouts, reason):
    assert reasons("pass_rate", [row("q", rollouts=rollouts)], options) == [reason]
    plugin = catalogue().filter("pass_rate")
    sampling = pickle.loads(pickle.dumps(plugin.sampling(plugin.options(**options))))
    assert sampling.wanted(rollouts) == (reason == "")


def test_how_to_sample():
    plugin = catalogue().filter("pass_rate")
    options = plugin.options(
        samples=4, temperature=0.7, top_p=0.9, max_completion_tokens=64, batch_size=8, target_size=9
    )
    made = plugin.sampling(options)
    assert (made.completions, made.temperature, made.top_p) == (4, 0.7, 0.9)
    assert (made.max_completion_tokens, made.batch_size, made.target) == (64, 8, 9)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"min_rate": 0.9, "max_rate": 0.1}, "0 <= min_rate <= max_rate <= 1"),
        ({"max_rate": 1.1}, "0 <= min_rate <= max_rate <= 1"),
        ({"temperature": 0}, "temperature must be above 0 and at most 2"),
        ({"top_p": 0}, "top_p must be above 0 and at most 1"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"target_size": 0}, "target_size must be at least 1"),
        ({"samples": 1}, "let no rate of 1 samples through"),
        ({"samples": 2, "min_rate": 0.3, "max_rate": 0.4}, "let no rate of 2 samples through"),
        ({"samples": 8, "batch_size": 4}, "batch_size must be at least samples"),
    ],
)
def test_bad_options(options, expected):
    refuses("pass_rate", options, expected)
