from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_plugins import Example
from rlvr_plugins.tasks import countdown
from rlvr_plugins.tasks.countdown import Options
from rlvr_plugins.verifiers.expressions import judge, verify_countdown

SPACES = [
    Options(),
    Options(counts=(3, 4), low=1, high=10, operators="+-*/", target_low=1, target_high=100),
    Options(counts=(4,), low=1, high=99, operators="+-*/", target_low=10, target_high=100),
]


@pytest.mark.parametrize("options", SPACES, ids=["small", "enumerated", "sampled"])
@pytest.mark.parametrize("seed", [0, 1])
def test_train_and_evaluation_share_no_item_whatever_the_order_of_numbers(options, seed):
    train, held_out = countdown.splits(options, train=2000, eval=200, seed=seed)
    assert (len(train), len(held_out)) == (2000, 200)

    def identity(example):
        return tuple(sorted(example.fields["numbers"])), example.fields["target"]

    assert len({identity(e) for e in held_out}) == 200
    assert not {identity(e) for e in held_out} & {identity(e) for e in train}
    assert all((e.key == f"{','.join(map(str, identity(e)[0]))}={identity(e)[1]}") for e in train)


def test_the_same_seed_gives_the_same_items_and_another_seed_others():
    first, again, other = (countdown.splits(Options(), 100, 50, seed) for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("options", SPACES, ids=["small", "enumerated", "sampled"])
def test_every_demonstration_is_strictly_right(options):
    train, _ = countdown.splits(options, train=300, eval=10, seed=3)
    for example in train:
        verdict = verify_countdown(countdown.demonstrate(example), example)
        assert verdict.strict, (example, countdown.demonstrate(example), verdict)


def test_a_demonstration_sorts_the_numbers_and_states_a_true_equation():
    train, _ = countdown.splits(SPACES[1], train=200, eval=10, seed=3)
    for example in train:
        thought = countdown.demonstrate(example).removeprefix("<think>\n").partition("\n</think>")[0]
        numbers, equation = thought.splitlines()
        assert numbers == ", ".join(map(str, sorted(example.fields["numbers"], reverse=True)))
        assert not judge(equation, example.fields["numbers"], example.fields["target"]), equation


def test_a_share_of_demonstrations_may_be_terse_and_is_still_right():
    train, held_out = countdown.splits(Options(terse=0.5), train=2000, eval=50, seed=0)
    terse = [example for example in train if countdown.demonstrate(example).startswith("<think>\n</think>")]
    assert 900 < len(terse) < 1100
    assert all(verify_countdown(countdown.demonstrate(example), example).strict for example in terse)
    assert not any("terse" in example.fields for example in held_out)


def test_a_solution_keeps_the_order_of_the_numbers_where_it_can():
    assert countdown.solve([3, 20, 5], 12, "+-").expression == "20 - 3 - 5"
    assert countdown.solve([3, 20, 5], 28, "+-").expression == "3 + 20 + 5"
    assert countdown.solve([8, 14, 8], 2, "+-").expression == "8 - 14 + 8"
    assert countdown.solve([2, 3, 4], 20, "+-*").expression == "(2 + 3) * 4"


@given(st.lists(st.integers(1, 30), min_size=2, max_size=4), st.sampled_from(["+-", "+-*", "+-*/"]), st.integers(0))
@settings(max_examples=200, deadline=None)
def test_solve_finds_a_solution_exactly_where_there_is_one(numbers, operators, seed):
    parts = [countdown.Solution(n, str(n)) for n in numbers]
    reachable = {solution.value for solution in countdown._solutions(parts, operators)}
    target = random.Random(seed).choice(sorted(reachable)) if reachable else 1
    solution = countdown.solve(numbers, target, operators)
    assert (solution is not None) == (target in reachable)
    if solution:
        assert judge(solution.expression, numbers, target, operators) == ""


def test_an_evaluation_set_larger_than_the_space_is_refused():
    with pytest.raises(ValueError, match=r"eval: 6000 items asked for, but these options make \d+ distinct ones"):
        countdown.check(Options(), 100, 6000)
    with pytest.raises(ValueError, match="distinct ones"):
        countdown.check(Options(counts=(3,), low=1, high=60), 10**6, 10**6)


def test_the_prompt_names_numbers_operators_and_target():
    example = Example("k", {"numbers": [7, 3, 9], "target": 19, "operators": "+-*"})
    assert countdown.user(example) == "Use each of the numbers 7, 3, 9 exactly once with +, - and * to make 19."
