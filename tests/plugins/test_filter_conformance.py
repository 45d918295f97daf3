"""The conformance suite passes every built-in filter, and names the fault of each bad one."""

from __future__ import annotations

import pytest

from rlvr_plugins.conformance import check, cost
from rlvr_plugins.manager import catalogue

BAD = """
import os, random, time
from dataclasses import dataclass
from functools import partial
from rlvr_plugins import Filter, Sampling, hookimpl

hoard = []

@dataclass(frozen=True)
class Options:
    most: int = 400

    def __post_init__(self):
        if self.most < 0:
            raise ValueError("most must not be negative")

def start_of(select):
    return partial(_start, select)

def _start(select, options, context):
    return partial(select, context)

def good(context, rows): return ["long" if len(row.user) > 100 else "" for row in rows]
def judges(context, rows): return ["" if v.strict else v.status for v in context.judge(
    [row.completion or "" for row in rows], [row.example for row in rows])]
def measures(context, rows): return ["long" if n > 400 else "" for n in context.prompt_tokens(rows)]
def averages(context, rows):
    return ["" if sum(r.verdict.strict for r in row.rollouts) / len(row.rollouts) else "wrong" for row in rows]
def raises(context, rows):
    if any("\\0" in row.user for row in rows):
        raise ValueError("NUL")
    return good(context, rows)
def evaluates(context, rows):
    for row in rows:
        try:
            "pwned" in row.user and eval(row.user)
        except BaseException:
            pass
    return good(context, rows)
def coin(context, rows): return [random.choice(("", "tails")) for _ in rows]
def hashed(context, rows): return ["odd" if hash(row.user) % 2 else "" for row in rows]
def last_of_batch(context, rows): return [""] * (len(rows) - 1) + ["last"]
def too_few(context, rows): return good(context, rows)[1:]
def flags(context, rows): return [True for row in rows]
def text(context, rows): return "x" * len(rows)
def quotes(context, rows): return [f"dropped: {row.user}" for row in rows]
def many(context, rows): return [f"{len(row.user)} characters" for row in rows]
def slow(context, rows):
    if any(row.user == "nan" for row in rows): sum(i * i for i in range(10_000_000))
    return good(context, rows)
def waits(context, rows):
    if any(row.user == "nan" for row in rows): time.sleep(0.15 * min(len(rows), 7))
    return good(context, rows)
def stalls(context, rows):  # in the processes of the first look only
    here = any(row.user == "nan" and row.task == "gsm8k" and row.completion is None for row in rows)
    if here and os.environ["PYTHONHASHSEED"] in "12": time.sleep(0.15 * min(len(rows), 7))
    return good(context, rows)
def quadratic(context, rows):
    for row in rows:
        if row.user.startswith("aaa") and row.completion is None: sum(i * i for i in range(60_000_000))
    return good(context, rows)
def hoards(context, rows):
    if any("nan" in row.user for row in rows): hoard.append(bytearray(1100 * 1024**2))
    return good(context, rows)
def dies(context, rows):
    if any("\\0" in row.user for row in rows): os._exit(1)
    return good(context, rows)
def hangs(context, rows):
    while any("9**9" in row.user for row in rows): pass
    return good(context, rows)

def fails_at_once(options, context): raise KeyError("model")

def rated(context, rows): return ["" if _any(row.rollouts) else "wrong" for row in rows]
def _any(rollouts): return any(rollout.verdict.strict for rollout in rollouts)
def _none(rollouts): return False
def wants_right(options): return Sampling(wanted=_any)
def wants_none(options): return Sampling(wanted=_none)
def wants_lambda(options): return Sampling(wanted=lambda rollouts: _any(rollouts))
def no_sampling(options): return None

def refuses(options, task): raise ValueError("not this task")

@hookimpl
def rlvr_filters():
    for select in (good, judges, measures, averages, raises, evaluates, coin, hashed, last_of_batch, too_few, flags,
                   text, quotes, many, slow, waits, stalls, quadratic, hoards, dies, hangs):
        yield Filter(select.__name__, Options, start_of(select))
    yield Filter("fails_at_once", Options, fails_at_once)
    yield Filter("lambda", Options, lambda options, context: partial(good, context))
    yield Filter("bad_options", Options, start_of(good), offline={"most": -1})
    yield Filter("refuses", Options, start_of(good), check=refuses)
    for sampling in (wants_right, wants_none, wants_lambda, no_sampling):
        yield Filter(sampling.__name__, Options, start_of(rated), ("train",), ("rollouts",), sampling)
"""


def failed(name: str) -> dict[str, str]:
    return {finding.check: finding.detail for finding in check("filter", name) if finding.passed is False}


@pytest.mark.parametrize("name", catalogue().filters)
def test_every_built_in_filter_passes(name):
    if name == "language":
        pytest.importorskip("py3langid")
    assert failed(name) == {}


CASES = [
    ("good", {}),
    ("judges", {"needs"}),
    ("measures", {"needs"}),
    ("averages", {"hostile"}),
    ("raises", {"hostile"}),
    ("evaluates", {"injection"}),
    ("coin", {"deterministic", "batches"}),
    ("hashed", {"deterministic"}),
    ("last_of_batch", {"batches"}),
    ("too_few", {"reasons"}),
    ("flags", {"reasons"}),
    ("text", {"reasons"}),
    ("quotes", {"reasons"}),
    ("many", {"reasons"}),
    ("slow", {"time"}),
    ("waits", {"time"}),
    ("stalls", {}),
    ("quadratic", {"time"}),
    ("hoards", {"memory"}),
    ("dies", {"crash"}),
    ("hangs", {"time"}),
    ("fails_at_once", {"hostile"}),
    ("lambda", {"picklable"}),
    ("bad_options", {"options"}),
    ("refuses", {}),
    ("wants_right", {}),
    ("wants_none", {"sampling"}),
    ("wants_lambda", {"sampling"}),
    ("no_sampling", {"sampling"}),
]
QUICK = {"good", "raises", "evaluates", "quotes", "stalls", "lambda", "wants_none"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [pytest.param(*case, marks=() if case[0] in QUICK else pytest.mark.slow) for case in CASES],
)
def test_a_bad_filter_fails_by_name(installed, monkeypatch, name, expected):
    installed(BAD)
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    if name == "hangs":  # where a machine that stalls for a second changes nothing
        monkeypatch.setattr(cost, "LEAST_HANG", 1.0)
    found = failed(name)
    assert set(found) == set(expected), found


def test_what_failed_is_shown(installed):
    installed(BAD)
    assert failed("judges")["needs"].startswith("uses what it does not list in needs: TypeError: 'NoneType'")
    assert "ValueError: NUL on " in failed("raises")["hostile"]
    assert failed("evaluates")["injection"].startswith("left the file 'pwned'")
    assert failed("fails_at_once")["hostile"].startswith("KeyError: 'model' at its start")
    assert failed("bad_options")["options"].startswith("most must not be negative")


def test_a_filter_that_suits_no_sample_task_is_not_said_to_pass(installed):
    installed(BAD)
    (finding,) = [finding for finding in check("filter", "refuses") if finding.check == "rows"]
    assert finding.passed is None and "countdown: not this task" in finding.detail
