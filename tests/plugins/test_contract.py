"""The contract: what it costs to import, how plugins are found, and how bad ones are reported."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, distribution
from rlvr_plugins import (
    Example,
    Filter,
    FilterContext,
    Limits,
    Reward,
    Rollout,
    Row,
    Sample,
    Sampling,
    Verdict,
    hookspecs,
)
from rlvr_plugins.manager import BUILTIN, PluginError, catalogue

ONE = """
from rlvr_plugins import Reward, hookimpl
def one(sample):
    "Always one."
    return 1.0
@hookimpl
def rlvr_rewards():
    yield Reward("one", one)
"""
TASK = """
from dataclasses import dataclass
from rlvr_plugins import Task, hookimpl
@dataclass(frozen=True)
class Options: pass
def splits(options, train, eval, seed): return [], []
def user(example): return ""
def verify(completion, example): return None
@hookimpl
def rlvr_tasks():
    yield Task("t", options={options}, splits={splits}, system={system}, user=user, verify={verify})
"""
FILTER = """
from dataclasses import dataclass
from rlvr_plugins import Filter, Sampling, hookimpl
@dataclass(frozen=True)
class Options: pass
def start(options, context): return lambda rows: [""] * len(rows)
def sampling(options): return Sampling()
@hookimpl
def rlvr_filters():
    yield Filter("f", {arguments})
"""
HOOKS = [name for name in vars(hookspecs) if name.startswith("rlvr_")]


def plugins(folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """`rlvr plugins` in a process that sees the distributions in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "rlvr", "plugins"],
        env={"PYTHONPATH": f"{folder}:{ROOT / 'workflow'}:{ROOT}", "PATH": "", **environment},
        capture_output=True,
        text=True,
    )


def broken(folder: Path, module: str) -> str:
    """The warning about a broken distribution; nothing else may suffer from it."""
    result = plugins(distribution(folder, module))
    assert result.returncode == 0, result.stderr
    assert "correctness" in result.stdout
    (line,) = result.stderr.strip().splitlines()
    head = "broken: stranger_plugin (stranger 1.2): "
    assert line.startswith(head), line
    return line.removeprefix(head)


def test_the_contract_imports_no_torch_and_nothing_heavy():
    script = (
        "import sys, json, rlvr_plugins.manager as m; m.catalogue(); import rlvr_plugins.conformance;"
        "heavy = 'torch transformers pandas pyarrow datasets numpy sympy reasoning_gym pydantic jinja2'.split();"
        "print(json.dumps([n for n in heavy if n in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []


def test_the_built_in_plugins_are_there():
    assert set(catalogue().tasks) >= {"countdown", "gsm8k"}
    assert len(catalogue().rewards) == 14
    assert len(catalogue().filters) == 9
    assert not catalogue().broken


def test_one_file_a_plugin():
    listed = {name.replace(".", "/") + ".py" for name in BUILTIN}
    hooks = {
        str(path.relative_to(ROOT))
        for folder in ("tasks", "rewards", "filters")
        for path in (ROOT / "rlvr_plugins" / folder).glob("*.py")
        if "@hookimpl" in path.read_text()
    }
    assert hooks == listed


def test_the_table_says_what_comes_from_where(tmp_path):
    lines = plugins(distribution(tmp_path, ONE)).stdout.splitlines()
    assert lines[0].split() == ["name", "kind", "distribution", "version", "digest", "where"]
    (row,) = [line.split() for line in lines if line.startswith("one ")]
    assert row[:4] == ["one", "reward", "stranger", "1.2"] and len(row[4]) == 16 and row[5] == "stranger_plugin"


def test_a_name_given_twice_names_both_providers(tmp_path):
    result = plugins(distribution(tmp_path, ONE.replace('"one"', '"format"')))
    assert result.returncode == 1
    assert result.stderr.startswith("rlvr plugins: reward 'format' is provided twice: by rlvr_plugins.rewards.format")
    assert "and by stranger_plugin (stranger 1.2)" in result.stderr


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("1/0", "ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("raise SystemExit('need cuda')", "SystemExit: need cuda"),
        ("x = 1", "TypeError: implements no hook; hooks: rlvr_tasks, rlvr_find_task, rlvr_rewards"),
        (ONE.replace("rlvr_rewards", "rlvr_reward"), "unknown hook 'rlvr_reward'; did you mean 'rlvr_rewards'?"),
        (ONE.replace("@hookimpl", ""), "rlvr_rewards lacks @hookimpl"),
        (ONE.replace("rlvr_rewards()", "rlvr_rewards(config)"), "Argument(s) {'config'} are declared in the hookimpl"),
        (ONE.replace("one(sample)", "one()"), "Reward 'one': function must take (sample), but is ()"),
        (ONE.replace("one(sample)", "one(a, b)"), "Reward 'one': function must take (sample), but is (a, b)"),
        (ONE.replace('"one", one', '"one", 5'), "function must be a function (sample), not int"),
        (ONE.replace("yield Reward", "return Reward"), "rlvr_rewards must yield its objects or return a list of them"),
        (ONE.replace('Reward("one", one)', "one"), "rlvr_rewards must yield Reward objects, not function"),
        (ONE.replace('"one", one', '"One!", one'), "Reward 'One!': the name must be lower-case letters"),
        (
            ONE.replace('"one", one', '"one", one, (1.0, 0.0)'),
            "bounds (1.0, 0.0) are not possible; allowed: (low, high)",
        ),
        (ONE.replace('"one", one', '"one", one, (0.0, 1e38)'), "allowed: (low, high), low first, within ±10,000"),
        (ONE.replace('"one", one', '"one", one, (0.0, float("nan"))'), "bounds (0.0, nan) are not possible"),
        (ONE.replace('"one", one', '"one", one, isolate=True'), "Reward 'one': isolate must be Limits or None"),
        (ONE.replace('"one", one', '"one", one, requires="pluggy"'), "requires must be a tuple of names"),
        (
            TASK.format(options="dict", splits="splits", system="''", verify="verify"),
            "Task 't': options must be a dataclass",
        ),
        (
            TASK.format(options="Options", splits="splits", system="5", verify="verify"),
            "Task 't': system must be a string",
        ),
        (
            TASK.format(options="Options", splits="user", system="''", verify="verify"),
            "Task 't': splits must take (options, train, eval, seed), but is (example)",
        ),
        (
            TASK.format(options="Options", splits="splits", system="''", verify="user"),
            "Task 't': verify must take (completion, example), but is (example)",
        ),
        (FILTER.format(arguments="dict, start"), "Filter 'f': options must be a dataclass"),
        (
            FILTER.format(arguments="Options, sampling"),
            "Filter 'f': start must take (options, context), but is (options)",
        ),
        (
            FILTER.format(arguments="Options, start, splits=('eval',)"),
            "Filter 'f': splits ('eval',) is not possible; allowed: a tuple of train, sft",
        ),
        (
            FILTER.format(arguments="Options, start, splits=['sft']"),
            "Filter 'f': splits ['sft'] is not possible; allowed: a tuple of train, sft",
        ),
        (FILTER.format(arguments="Options, start, splits=()"), "Filter 'f': splits must name train, sft or both"),
        (
            FILTER.format(arguments="Options, start, needs=('gpu',)"),
            "needs ('gpu',) is not possible; allowed: a tuple of tokenizer, verifier, evaluation, rollouts",
        ),
        (
            FILTER.format(arguments="Options, start, needs=('rollouts',), splits=('train',)"),
            "Filter 'f': needs 'rollouts' and the function sampling go together",
        ),
        (
            FILTER.format(arguments="Options, start, sampling=sampling"),
            "Filter 'f': needs 'rollouts' and the function sampling go together",
        ),
        (
            FILTER.format(arguments="Options, start, needs=('rollouts',), sampling=sampling"),
            "Filter 'f': a filter that needs rollouts has splits=('train',)",
        ),
        (
            FILTER.format(arguments="Options, start, check=sampling"),
            "Filter 'f': check must take (options, task), but is (options)",
        ),
        (FILTER.format(arguments="Options, start, requires='regex'"), "requires must be a tuple of names"),
    ],
)
def test_a_broken_package_only_warns_and_says_what_is_wrong(tmp_path, module, expected):
    assert expected in broken(tmp_path, module)


def test_a_warning_names_the_line_in_the_package(tmp_path):
    problem = broken(tmp_path, "\n\nimport not_there")
    assert problem.endswith(f"({tmp_path}/stranger_plugin.py, line 3)")


def test_a_broken_package_that_is_needed_is_named(tmp_path):
    folder = distribution(tmp_path, "import not_there")
    script = "from rlvr_plugins.manager import catalogue; catalogue().reward('one')"
    result = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": f"{folder}:{ROOT}"}, capture_output=True, text=True
    )
    last = result.stderr.strip().splitlines()[-1]
    assert "unknown reward 'one'; installed: boxed" in last
    assert "broken: stranger_plugin (stranger 1.2): ModuleNotFoundError: No module named 'not_there'" in last


@pytest.mark.parametrize(("limit", "loaded"), [("stranger", True), ("Stranger,", True), ("", False), (",", False)])
def test_an_environment_variable_limits_what_loads(tmp_path, limit, loaded):
    result = plugins(distribution(tmp_path, ONE), RLVR_PLUGINS=limit)
    assert result.returncode == 0
    assert ("\none " in result.stdout) == loaded
    assert ("left out by RLVR_PLUGINS: stranger" in result.stderr) != loaded


def test_a_limit_that_names_nothing_installed_is_refused(tmp_path):
    result = plugins(distribution(tmp_path, ONE), RLVR_PLUGINS="stranger, other")
    assert result.returncode == 1
    line = "rlvr plugins: RLVR_PLUGINS: no plugin package other; allowed: "
    assert result.stderr.startswith(line) and result.stderr.endswith("stranger\n")


def test_a_name_left_out_is_said_to_be(tmp_path, monkeypatch, installed):
    monkeypatch.setenv("RLVR_PLUGINS", "")
    installed(ONE)
    with pytest.raises(PluginError, match=r"unknown reward 'one'; .*; left out by RLVR_PLUGINS: .*stranger"):
        catalogue().reward("one")


def test_an_unknown_name_lists_what_is_there():
    with pytest.raises(
        PluginError, match=r"unknown reward 'correctnes'; did you mean 'correctness'\? installed: boxed, "
    ):
        catalogue().reward("correctnes")


def test_a_task_found_on_demand_is_checked_and_kept(installed):
    installed(
        TASK.format(options="Options", splits="splits", system="''", verify="verify")
        + """
@hookimpl
def rlvr_find_task(name):
    family, _, member = name.partition(":")
    if member == "wrong":
        return "no task"
    if member == "missing":
        raise ValueError("no such member; allowed: a")
    return Task(name, options=Options, splits=splits, system="", user=user, verify=verify) if family == "mine" else None
"""
    )
    assert catalogue().task("mine:a") is catalogue().task("mine:a")
    assert catalogue().provider("task", "mine:a").distribution == "stranger"
    with pytest.raises(PluginError, match=r"task 'mine:missing': no such member; allowed: a \(from stranger_plugin"):
        catalogue().task("mine:missing")
    with pytest.raises(PluginError, match=r"unknown task 'mine:wrong'.*broken: stranger_plugin .* not str"):
        catalogue().task("mine:wrong")
    assert catalogue().task("reasoning_gym:ab").name == "reasoning_gym:ab"
    with pytest.raises(PluginError, match="unknown task 'other:a'"):
        catalogue().task("other:a")


def test_what_plugins_hand_out_is_frozen():
    sample = Sample("text", Example("k", {}), Verdict(True, True, True, "7"))
    assert sample.answer == "7"
    for thing, field in (
        (sample, "completion"),
        (sample.verdict, "strict"),
        (Reward("r", len), "name"),
        (Limits(), "memory_mib"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, field, "other")


@pytest.mark.parametrize(
    ("verdict", "status", "score"),
    [
        (Verdict(True, True, True, "7"), "right", 1.0),
        (Verdict(False, True, False, "7"), "wrong_format", 0.0),
        (Verdict(False, False, True, "7"), "wrong", 0.0),
        (Verdict(False, False, True), "missing", 0.0),
        (Verdict(False, False, True, "x", status="unreadable", score=0.25), "unreadable", 0.25),
    ],
)
def test_status_and_score_follow_from_the_rest(verdict, status, score):
    assert (verdict.status, verdict.score) == (status, score)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"strict": True, "flexible": False, "well_formed": True}, "a strict verdict must be flexible"),
        ({"strict": True, "flexible": True, "well_formed": False}, "a strict verdict must be flexible and well_formed"),
        ({"strict": False, "flexible": False, "well_formed": True, "status": "bad"}, "status: 'bad' is not possible"),
        (
            {"strict": False, "flexible": False, "well_formed": True, "score": 2},
            "score: 2 is not possible; allowed: 0 to 1",
        ),
    ],
)
def test_a_verdict_that_contradicts_itself_is_refused(arguments, expected):
    with pytest.raises(ValueError, match=expected):
        Verdict(**arguments)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_and_its_arguments_stand_in_the_documentation(name):
    document = (ROOT / "docs" / "plugins.md").read_text()
    arguments = ", ".join(inspect.signature(getattr(hookspecs, name)).parameters)
    assert f"`{name}({arguments})`" in document


@pytest.mark.parametrize("name", HOOKS)
def test_the_example_of_every_hook_runs(name, tmp_path):
    example = inspect.cleandoc(getattr(hookspecs, name).__doc__).partition("Example:\n")[2]
    assert f"def {name}(" in example
    result = plugins(distribution(tmp_path, inspect.cleandoc(example)))
    assert (result.returncode, result.stderr) == (0, "")
    assert "stranger" in result.stdout


@pytest.mark.parametrize(
    "kind", [Example, Verdict, Sample, Reward, Limits, Filter, FilterContext, Row, Rollout, Sampling]
)
def test_every_field_of_the_contract_is_described(kind):
    for field in dataclasses.fields(kind):
        described = f"{field.name}:" in kind.__doc__ or f"`{field.name}`" in (ROOT / "docs/plugins.md").read_text()
        assert described, f"{kind.__name__}.{field.name}"
