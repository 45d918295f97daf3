"""Tasks from reasoning-gym: made on demand, judged by its own scorers in a worker."""

from __future__ import annotations

import inspect
import re
import sys

import pytest
from reasoning_gym.factory import DATASETS

from rlvr_plugins.conformance import check
from rlvr_plugins.guard import Judge
from rlvr_plugins.manager import PluginError, catalogue
from rlvr_plugins.tasks.reasoning_gym import RUNS_ANSWERS, Options


def test_items_are_repeatable_disjoint_and_judged_by_their_own_scorer():
    task = catalogue().task("reasoning_gym:chain_sum")
    train, held_out = task.splits(Options({"max_terms": 3}), 30, 10, 4)
    assert (len(train), len(held_out)) == (30, 10)
    assert (train, held_out) == task.splits(Options({"max_terms": 3}), 30, 10, 4)
    assert not {example.key for example in train} & {example.key for example in held_out}
    judge = Judge(task)
    right = judge.judge([(task.demonstrate(example), example) for example in train])
    swapped = judge.judge([(task.demonstrate(train[0]), example) for example in train[1:]])
    elsewhere = judge.judge([(f"the answer is {train[0].fields['answer']}", train[0]), ("", train[0])])
    judge.close()
    assert {verdict.status for verdict in right} == {"right"}
    assert not any(verdict.strict for verdict in swapped)
    assert [verdict.status for verdict in elsewhere] == ["wrong_format", "missing"]


def test_every_data_set_whose_scorer_runs_the_answer_is_refused():
    pattern = re.compile(r"\b(?:eval|exec|compile|parse_expr|sympify)\(\s*\w*answer")
    found = {name for name, (kind, _) in DATASETS.items() if pattern.search(inspect.getsource(inspect.getmodule(kind)))}
    assert found == RUNS_ANSWERS


def test_it_conforms():
    assert [finding for finding in check("task", "reasoning_gym:basic_arithmetic") if not finding.passed] == []


def test_a_data_set_without_answers_has_no_demonstrations():
    assert catalogue().task("reasoning_gym:graph_color").demonstrate is None
    assert catalogue().task("reasoning_gym:chain_sum").demonstrate is not None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("reasoning_gym:countdown", "its scorer pays for wrong answers .* use the task 'countdown'"),
        ("reasoning_gym:chain_summ", "no such data set; allowed: ab, acre"),
        ("reasoning_gym:spiral_matrix", "its scorer runs the model's answer as code"),
        ("reasoning_gym:", "no such data set"),
    ],
)
def test_what_is_refused(name, expected):
    with pytest.raises(PluginError, match=expected):
        catalogue().task(name)


def test_options_the_data_set_refuses_are_named_before_any_job():
    task = catalogue().task("reasoning_gym:chain_sum")
    for config in ({"terms": 3}, {"min_terms": 9, "max_terms": 2}):
        with pytest.raises(ValueError, match=r"options\.config: reasoning_gym:chain_sum refuses it: "):
            task.check(Options(config), 10, 10)
    with pytest.raises(ValueError, match="train, sft and eval must be numbers"):
        task.check(Options(), None, 10)


def test_too_small_a_space_is_said_so():
    task = catalogue().task("reasoning_gym:chain_sum")
    small = Options({"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1})
    with pytest.raises(ValueError, match=r"only .* distinct items in .* tries, 5000 asked for"):
        task.splits(small, 4000, 1000, 0)


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    monkeypatch.setattr("rlvr_plugins.tasks.reasoning_gym.find_spec", lambda name: None)
    catalogue.cache_clear()
    with pytest.raises(PluginError, match=r'reasoning-gym is not installed; pip install -e "\.\[reasoning-gym\]"'):
        catalogue().task("reasoning_gym:ab")
    catalogue.cache_clear()
