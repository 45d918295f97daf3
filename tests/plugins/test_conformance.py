"""The conformance suite passes every built-in plugin, and names the fault of each bad one."""

from __future__ import annotations

import pytest

from rlvr_plugins.conformance import check, cost
from rlvr_plugins.conformance.corpus import INJECTIONS, injections
from rlvr_plugins.conformance.suite import perturbed
from rlvr_plugins.manager import catalogue

BUILT_IN = [("task", name) for name in catalogue().tasks] + [("reward", name) for name in catalogue().rewards]

BAD = """
import os, random, time
from dataclasses import dataclass
from rlvr_plugins import Example, Limits, Reward, Task, Verdict, hookimpl

calls = []
hoard = []

@dataclass(frozen=True)
class Options: pass

def splits(options, train, eval, seed):
    items = [Example(f"{n}", {"n": n, "answer": str(7 * n)}) for n in range(100, 160)]
    return items[:train], items[-eval:]

def shared_splits(options, train, eval, seed):
    items, _ = splits(options, 60, 1, seed)
    return items, items[:eval]

def random_splits(options, train, eval, seed):
    items, _ = splits(options, 60, 1, seed)
    random.shuffle(items)
    return items[:train], items[train:train + eval]

def set_splits(options, train, eval, seed):
    return [Example("a", {"n": (1, 2)})], [Example("b", {"n": 2})]

def user(example): return "7 times " + str(example.fields["n"])
def demonstrate(example): return "<answer>" + example.fields["answer"] + "</answer>"

def verdict(right, text): return Verdict(right, right, right, text[:50])

def good(completion, example):
    return verdict(completion == demonstrate(example), completion)

def never(completion, example): return verdict(False, completion)
def always(completion, example): return verdict(True, completion)
def last_digits(completion, example):
    return verdict(example.fields["answer"][1:] in completion, completion)
def power(completion, example): return verdict("1e9" in completion or completion == demonstrate(example), completion)

def raises(completion, example):
    if "\\0" in completion:
        raise ValueError("NUL")
    return good(completion, example)

def evaluates(completion, example):
    try:
        "pwned" in completion and eval(completion)
    except BaseException:
        pass
    return good(completion, example)

def coin(completion, example): return verdict(random.random() < 0.5, completion)

def every_seventh(completion, example):
    calls.append(completion)
    return verdict(completion == demonstrate(example) or len(calls) % 7 == 3, completion)

def hashed(completion, example):
    right = completion == demonstrate(example)
    return Verdict(right, right, right, str(hash(completion)))

def slow(completion, example):
    if completion == "nan": sum(i * i for i in range(3_000_000))
    return good(completion, example)

def hangs(completion, example):
    while "****" in completion or "nan" in completion: pass
    return good(completion, example)

def hoards(completion, example):
    if "nan" in completion:
        hoard.append(bytearray(300 * 1024**2))
    return good(completion, example)

def dies(completion, example):
    if "\\0" in completion:
        os._exit(1)
    return good(completion, example)

def task(name, verify, splits=splits, **more):
    more = {"demonstrate": demonstrate, **more}
    return Task(name, options=Options, splits=splits, system="", user=user, verify=verify, **more)

@hookimpl
def rlvr_tasks():
    plain = (good, never, always, last_digits, power, raises, evaluates, coin, every_seventh, hashed)
    for verify in (*plain, slow, hangs, hoards, dies):
        yield task(verify.__name__, verify)
    yield task("shared", good, shared_splits)
    yield task("shuffled", good, random_splits)
    yield task("tuples", good, set_splits)
    yield task("lambda", lambda completion, example: good(completion, example))
    yield task("no_gold", good, demonstrate=None)
    yield task("hangs_isolated", hangs, isolate=Limits(sample_seconds=0.2, batch_seconds=5))

def r_good(sample): return 1.0 if sample.verdict.strict else 0.0
def r_upside_down(sample): return 0.0 if sample.verdict.strict else 1.0
def r_raises(sample): return 0 / len(sample.completion)
def r_nan(sample): return float("nan") if "\\0" in sample.completion else 0.0
def r_wide(sample): return float(len(sample.completion))
def r_text(sample): return "1"
def r_coin(sample): return random.random()
def r_slow(sample):
    text = sample.completion
    return float(sum(c == "a" for c in 5 * text) % 2) if text.startswith("aaa") else 0.0
def r_stalls(sample):  # in the processes of the first look only
    if "nan" in sample.completion and os.environ["PYTHONHASHSEED"] in "12": time.sleep(0.2)
    return 0.0
def r_waits(sample):
    if "nan" in sample.completion: time.sleep(0.2)
    return 0.0
def r_hangs(sample):
    while True: pass
def r_evaluates(sample):
    try:
        "pwned" in sample.completion and eval(sample.completion)
    except BaseException:
        pass
    return 0.0

@hookimpl
def rlvr_rewards():
    for function in (r_good, r_upside_down, r_raises, r_nan, r_wide, r_text, r_coin, r_slow, r_stalls, r_waits,
                     r_evaluates):
        yield Reward(function.__name__, function)
    yield Reward("r_hangs", r_hangs, isolate=Limits(sample_seconds=0.2, batch_seconds=5))
"""


def failed(kind: str, name: str) -> dict[str, str]:
    return {finding.check: finding.detail for finding in check(kind, name) if finding.passed is False}


def wait_less(monkeypatch):
    """Takes a text for hanging after 1 or 2 s: of plugins that hang anyhow, where a stalled machine changes nothing."""
    monkeypatch.setattr(cost, "LEAST_HANG", 1.0)


@pytest.mark.parametrize(("kind", "name"), BUILT_IN, ids=[name for _, name in BUILT_IN])
def test_every_built_in_plugin_passes(kind, name):
    assert failed(kind, name) == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("good", {}),
        ("never", {"gold"}),
        ("always", {"perturbed", "hostile", "injection"}),
        ("last_digits", {"perturbed"}),
        ("power", {"hostile"}),
        ("raises", {"hostile"}),
        ("evaluates", {"injection"}),
        ("coin", {"deterministic", "order", "gold", "perturbed", "hostile", "injection"}),
        ("every_seventh", {"deterministic", "order", "perturbed", "hostile", "injection"}),
        ("hashed", {"order"}),
        ("slow", {"time"}),
        ("hangs", {"time"}),
        ("hoards", {"memory"}),
        ("dies", {"crash"}),
        ("shared", {"items"}),
        ("shuffled", {"items"}),
        ("tuples", {"items"}),
        ("lambda", {"picklable"}),
        ("no_gold", {}),
        ("hangs_isolated", {"time"}),
    ],
)
def test_a_bad_task_fails_by_name(installed, monkeypatch, name, expected):
    installed(BAD)
    if name.startswith("hangs"):
        wait_less(monkeypatch)
    found = failed("task", name)
    assert set(found) == set(expected), found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("r_good", {}),
        ("r_upside_down", {"gold"}),
        ("r_raises", {"hostile"}),
        ("r_nan", {"values"}),
        ("r_wide", {"values"}),
        ("r_text", {"values"}),
        ("r_coin", {"deterministic", "order", "gold"}),
        ("r_slow", {"time"}),
        ("r_stalls", {}),
        ("r_waits", {"time"}),
        ("r_evaluates", {"injection"}),
    ],
)
def test_a_bad_reward_fails_by_name(installed, monkeypatch, name, expected):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    installed(BAD)
    found = failed("reward", name)
    assert set(found) == set(expected), found


def test_what_failed_is_shown(installed):
    installed(BAD)
    assert failed("task", "evaluates")["injection"].startswith("left the file 'pwned': it runs what a text says")
    assert failed("task", "shared")["items"] == "20 items are in both splits, such as '100'"
    assert "ValueError: NUL on hostile text '\\x00'" in failed("task", "raises")["hostile"]


def test_a_task_without_demonstrations_is_not_said_to_pass(installed):
    installed(BAD)
    (gold,) = [finding for finding in check("task", "no_gold") if finding.check == "gold"]
    assert gold.passed is None and "no right answers to judge" in gold.detail


def test_a_reward_that_always_hangs_is_left_after_the_first_text_and_not_said_to_be_fine(installed, monkeypatch):
    installed(BAD)
    wait_less(monkeypatch)
    findings = {finding.check: finding for finding in check("reward", "r_hangs")}
    assert findings["time"].passed is False and findings["time"].detail.startswith("no answer in ")
    assert "more)" not in findings["time"].detail and "left out" not in findings["time"].detail
    for name in ("values", "gold", "hostile", "injection", "deterministic", "order"):
        assert findings[name].passed is None, findings[name]


def test_the_corpus_holds_fifty_payloads_each_once():
    assert len(INJECTIONS) == len(set(INJECTIONS)) >= 50
    assert all("pwned" in payload for payload in INJECTIONS)
    assert len(injections()) == 4 * len(INJECTIONS)


@pytest.mark.parametrize(
    ("gold", "expected"),
    [
        ("<think>1</think><answer>19</answer>", ["", "10", "29"]),
        ("<answer>yes</answer>", ["", "qes", "yeq"]),
        ("<answer>-</answer>", [""]),
    ],
)
def test_perturbed_answers_differ_in_the_answer_only(gold, expected):
    head, *_ = gold.rpartition("<answer>")
    assert perturbed(gold) == [f"{head}<answer>{answer}</answer>" for answer in expected]
