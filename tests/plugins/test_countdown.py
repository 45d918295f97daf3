from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_plugins import Example
from rlvr_plugins.tasks import countdown
from rlvr_plugins.tasks.countdown import Options
from rlvr_plugins.tasks.reach import reach
from rlvr_plugins.verifiers.expressions import judge, verify_countdown

SPACES = [
    Options(),
    Options(counts=(3, 4), low=1, high=10, operators="+-*/", target_low=1, target_high=100),
    Options(counts=(4,), low=1, high=99, operators="+-*/", target_low=10, target_high=100),
]


@pytest.mark.parametrize("options", SPACES, ids=["small", "enumerated", "sampled"])
@pytest.mark.parametrize("seed", [0, 1])
def test_train_and_evaluation_share_no_item_whatever_the_order_of_numbers(options, seed):
    found = countdown.splits(options, train=2000, eval=200, seed=seed)
    train, held_out = found.train, found.eval
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
    train = countdown.splits(options, train=300, eval=10, seed=3).train
    for example in train:
        verdict = verify_countdown(countdown.demonstrate(example), example)
        assert verdict.strict, (example, countdown.demonstrate(example), verdict)


def test_a_demonstration_sorts_the_numbers_and_states_a_true_equation():
    train = countdown.splits(SPACES[1], train=200, eval=10, seed=3).train
    for example in train:
        thought = countdown.demonstrate(example).removeprefix("<think>\n").partition("\n</think>")[0]
        numbers, equation = thought.splitlines()
        assert numbers == ", ".join(map(str, sorted(example.fields["numbers"], reverse=True)))
        assert not judge(equation, example.fields["numbers"], example.fields["target"]), equation


def test_a_share_of_demonstrations_may_be_terse_and_is_still_right():
    found = countdown.splits(Options(terse=0.5), train=2000, eval=50, seed=0)
    train, held_out = found.train, found.eval
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
@settings(max_examples=200)
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


ITEMS = [{"nums": [n, 3, 5], "target": n + 8, "more": None} for n in range(10, 30)]


def from_file(tmp_path, rows, **options) -> Options:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return Options(source="path", train_path=str(path), **options)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.sampled_from(["+-", "+-*", "+-*/"]), st.integers(0))
@settings(max_examples=200)
def test_reach_finds_an_expression_wherever_solve_does_and_only_right_ones(numbers, operators, seed):
    target = random.Random(seed).randint(1, 60)
    expression = reach(numbers, target, operators)
    if expression is not None:
        assert judge(expression, numbers, target, operators) == ""
    else:
        assert countdown.solve(numbers, target, operators) is None


def test_reach_goes_through_fractions_and_negative_numbers():
    assert reach([3, 3, 8, 8], 24, "+-*/") == "8 / (3 - (8 / 3))"
    assert judge(reach([1, 2, 9, 50], -60, "+-*/"), [1, 2, 9, 50], -60) == ""
    assert reach([1, 1, 1, 1, 1, 1], 10_000, "+-*/") is None


def test_items_of_a_file_are_split_by_the_seed_and_demonstrated(tmp_path):
    options = from_file(tmp_path, ITEMS)
    countdown.check(options, None, 5)
    found = countdown.splits(options, None, 5, 0)
    assert (len(found.train), len(found.eval)) == (15, 5)
    assert not {e.key for e in found.train} & {e.key for e in found.eval}
    assert list(found.eval) == list(countdown.splits(options, None, 5, 0).eval)
    assert list(found.eval) != list(countdown.splits(options, None, 5, 1).eval)
    for example in (*found.train, *found.eval):
        assert example.fields["operators"] == "+-*/"
        assert verify_countdown(countdown.demonstrate(example), example).strict


def test_an_item_out_of_reach_is_kept_for_the_filter_and_never_held_out(tmp_path):
    options = from_file(tmp_path, [*ITEMS[:3], {"nums": [1, 1], "target": 99}, ITEMS[0]])
    found = countdown.splits(options, None, 3, 0)
    [bad] = found.train
    assert countdown.gold(bad) == "1, 1 can't reach 99 with + - * /, each used once"
    assert not verify_countdown(countdown.demonstrate(bad), bad).flexible
    assert not any(countdown.gold(example) for example in found.eval)
    assert found.left_out == {"in the evaluation set": 1}


def test_an_item_out_of_reach_in_an_evaluation_file_is_a_bad_row(tmp_path):
    bad = tmp_path / "eval.csv"
    bad.write_text('n,t\n"[1, 2]",3\n"[1, 1]",99\n')
    options = {"eval_path": str(bad), "columns": {"numbers": "n", "target": "t"}}
    rows = [{"n": row["nums"], "t": row["target"]} for row in ITEMS]
    with pytest.raises(ValueError, match=r"eval.csv, line 3: an answer that can't be read: 1, 1 can't reach 99"):
        countdown.splits(from_file(tmp_path, rows, **options), None, None, 0)
    found = countdown.splits(from_file(tmp_path, rows, **options, on_bad_row="skip"), None, None, 0)
    assert [example.key for example in found.eval] == ["1,2=3"]
    assert found.left_out == {"an answer that can't be read": 1}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"nums": [], "target": 3}, "column 'nums' can't be used: it is \\[\\]; allowed: a list of integers"),
        ({"nums": [1, 2.5], "target": 3}, "column 'nums' can't be used"),
        ({"nums": [1, True], "target": 3}, "column 'nums' can't be used"),
        ({"nums": [1], "target": 3}, r"numbers that can't be used: \[1\]; allowed: 2 to 6 integers above 0"),
        ({"nums": [0, 2], "target": 3}, "numbers that can't be used"),
        ({"nums": [1] * 7, "target": 3}, "numbers that can't be used"),
        ({"nums": [1, 2], "target": "x"}, "column 'target' can't be used: it is \"x\"; allowed: an integer"),
    ],
)
def test_a_bad_item_is_named(tmp_path, row, expected):
    with pytest.raises(ValueError, match=f"line 2: {expected}"):
        countdown.splits(from_file(tmp_path, [ITEMS[0], row]), None, 1, 0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"source": "hub", "revision": "a b"}, "revision: 'a b' is not possible; allowed: a commit"),
        ({"source": "path"}, "source: path needs train_path"),
        ({"train_path": "x"}, "train_path goes with source: path only"),
        ({"source": "hub", "low": 2}, "low: goes with source: generator only"),
        ({"columns": {"numbers": "n"}}, "go with source: path or hub only"),
        ({"source": "hub", "columns": {"number": "n"}}, "columns.number: unknown; allowed: numbers, target, id"),
        ({"source": "hub", "max_samples": 0}, "max_samples: 0 is not possible; allowed: 1 or more"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, expected):
    with pytest.raises(ValueError, match=expected):
        Options(**options)


def test_the_only_file_needs_a_number_of_items_to_hold_out(tmp_path):
    with pytest.raises(ValueError, match="eval: must be a number"):
        countdown.check(from_file(tmp_path, ITEMS), None, None)
