"""The checks: each runs over the answers that a plugin gave in a worker process."""

from __future__ import annotations

import json
import pickle
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlvr_plugins import calls, guard
from rlvr_plugins.conformance import corpus, cost
from rlvr_plugins.filter_types import Filter
from rlvr_plugins.isolation import LEFT_OUT, Failure, Worker
from rlvr_plugins.manager import catalogue
from rlvr_plugins.types import ERROR, Example, Limits, Reward, Sample, Task

SECONDS = 0.010
WAITED_SECONDS = 0.100
RUN_SECONDS = 3600.0
MEMORY_MIB = 256
SIZES = ((40, 20), (8, 4), (2, 1), (0, 20))
SAMPLED = 12
POINTS = 0.5
SAMPLE_TASKS = ("countdown", "gsm8k")

Answer = dict[str, Any] | Failure


@dataclass(frozen=True)
class Finding:
    """One check: whether it passed, None where it could not be made, and one line on what was seen."""

    check: str
    passed: bool | None
    detail: str


@dataclass(frozen=True)
class Case:
    """One text for the plugin; `kind` is gold, perturbed, hostile or injection."""

    kind: str
    item: dict[str, Any]

    @property
    def shown(self) -> str:
        text = self.item["completion"]
        return f"{self.kind} text {text[:50]!r}" + (f"… ({len(text):,} characters)" if len(text) > 50 else "")


def check(kind: str, name: str, options: Mapping[str, Any] | None = None) -> list[Finding]:
    """All findings on a task or a reward.

    kind: `task` or `reward`. options: of the task, in place of its `offline` ones. Raises PluginError
    on an unknown name, and WorkerError where the plugin can't be loaded in a fresh process.
    """
    plugin = catalogue().plugin(kind, name)
    findings = [picklable(plugin)]
    try:
        with calls.calling(f"{kind} {name!r}", calls.ITEM_SECONDS):
            if kind == "task":
                examples, finding = _items(plugin, options)
                findings.append(finding)
                cases = _task_cases(plugin, examples)
            else:
                cases = [case for task in SAMPLE_TASKS for case in _reward_cases(catalogue().task(task))]
    except Exception as error:
        return [*findings, Finding("items", False, f"{type(error).__name__}: {error}")]
    runs, left = _three_runs(kind, plugin, cases)
    findings += _verdicts(cases, runs[0]) if kind == "task" else _rewards(plugin, cases, runs[0])
    findings += [_injection(cases, runs[0], left), *_repeatable(cases, runs)]
    findings += _budgets(kind, plugin, cases, runs)
    return findings


def _items(task: Task, options: Mapping[str, Any] | None) -> tuple[list[Example], Finding]:
    chosen = task.options(**dict(task.offline if options is None else options))
    for train, held_out in SIZES:
        try:
            if task.check:
                task.check(chosen, train, held_out)
            first, again = (_splits(task, chosen, train, held_out) for _ in range(2))
            break
        except ValueError:
            if (train, held_out) == SIZES[-1]:
                raise
    examples = [*first[0], *first[1]]
    if not examples:
        raise ValueError("splits gave no items")
    problem = ""
    if [list(split) for split in first] != [list(split) for split in again]:
        problem = "the same seed gave other items"
    shared = {example.key for example in first[0]} & {example.key for example in first[1]}
    if shared:
        problem = f"{len(shared)} items are in both splits, such as {min(shared)!r}"
    for example in examples:
        if json.loads(json.dumps(dict(example.fields))) != dict(example.fields):
            problem = f"the fields of {example.key!r} are not JSON values"
        if not isinstance(task.user(example), str):
            problem = "user must return a string"
    return examples, Finding("items", not problem, problem or f"{len(examples)} items, repeatable and disjoint")


def _splits(task: Task, options: Any, train: int, held_out: int) -> tuple[Sequence[Example], Sequence[Example]]:
    found = task.items(options, train, held_out, 0)
    return found.train, found.eval


def _task_cases(task: Task, examples: Sequence[Example]) -> list[Case]:
    cases = []
    if task.demonstrate:
        for example in examples:
            gold = task.demonstrate(example)
            cases.append(Case("gold", guard.to_json(gold, example)))
            cases += [Case("perturbed", guard.to_json(text, example)) for text in perturbed(gold)]
    texts = [("hostile", text) for text in corpus.hostile()] + [("injection", text) for text in corpus.injections()]
    cases += [Case(kind, guard.to_json(text, examples[i % len(examples)])) for i, (kind, text) in enumerate(texts)]
    return cases


def perturbed(gold: str) -> list[str]:
    """Wrong completions made from a right one: other digits or letters in its answer, or no answer."""
    head, opening, rest = gold.rpartition("<answer>")
    answer, closing, tail = rest.partition("</answer>")
    if not opening:
        head, answer, closing, tail = "", gold, "", ""
    changed = {"".join(_other(c) if i == at else c for i, c in enumerate(answer)) for at in _changeable(answer)}
    return [f"{head}{opening}{text}{closing}{tail}" for text in ("", *sorted(changed))]


def _changeable(answer: str) -> list[int]:
    """The first and last digit, or letter where there is no digit."""
    digits = [i for i, c in enumerate(answer) if c in "0123456789"]
    places = digits or [i for i, c in enumerate(answer) if c.isalpha()]
    return sorted({places[0], places[-1]}) if places else []


def _other(character: str) -> str:
    if character.isdigit():
        return str((int(character) + 1) % 10)
    return "q" if character.lower() != "q" else "z"


def _reward_cases(task: Task) -> list[Case]:
    """Samples of a task, judged by its verifier as in training."""
    examples, _ = _items(task, None)
    places = {example.key: place for place, example in enumerate(examples)}
    cases = []
    for case in _task_cases(task, examples[:SAMPLED]):
        text, example = case.item["completion"], Example(case.item["key"], case.item["fields"])
        verdict = guard.judge_one(task, text, example)
        sample = Sample(text, example, verdict, tokens=len(text) // 4, draw=places[example.key])
        cases.append(replace(case, item=guard.sample_to_json(sample)))
    return cases


def _three_runs(kind: str, plugin: Task | Reward, cases: list[Case]) -> tuple[list[list[Answer]], list[str]]:
    """The answers in order, in order again, and backwards in another process; and the files they left.

    The first text that hangs is the last.
    """
    runs: list[list[Answer]] = []
    with tempfile.TemporaryDirectory() as folder:
        for hash_seed, order, times in (("1", 1, 2), ("2", -1, 1)):
            worker = _worker(kind, plugin, {"PYTHONHASHSEED": hash_seed}, Path(folder))
            items = [case.item for case in cases[::order]]
            try:
                for _ in range(times):
                    hung = any(
                        isinstance(answer, Failure) and answer.kind == "timeout" for run in runs for answer in run
                    )
                    left_out = [Failure("timeout", LEFT_OUT)] * len(items)
                    runs.append(left_out if hung else worker.run(items, most_timeouts=1)[::order])
            finally:
                worker.close()
        return runs, [path.name for path in Path(folder).iterdir()]


def _worker(kind: str, plugin: Task | Reward, environment: Mapping[str, str], folder: Path) -> Worker:
    """A worker that measures, within the plugin's own memory; its time ends only what hangs."""
    may = plugin.isolate.sample_seconds if plugin.isolate else SECONDS + WAITED_SECONDS
    memory = plugin.isolate.memory_mib if plugin.isolate else MEMORY_MIB
    limits = Limits(sample_seconds=cost.hang(may), batch_seconds=RUN_SECONDS, memory_mib=memory)
    return Worker(kind, plugin.name, limits, environment, folder, measured=True)


def _verdicts(cases: list[Case], answers: list[Answer]) -> list[Finding]:
    gold, wrong, hostile, raised = [], [], [], []
    counts = {"gold": 0, "perturbed": 0, "hostile": 0}
    for case, answer in zip(cases, answers, strict=True):
        if isinstance(answer, Failure):
            continue
        verdict = guard.verdict_from_json(answer["verdict"])
        if case.kind in counts:
            counts[case.kind] += 1
        if verdict.status == ERROR and verdict.reason.startswith("raised"):
            raised.append(f"{verdict.reason} on {case.shown}")
        elif case.kind == "gold" and not (verdict.strict and verdict.score == 1):
            gold.append(f"{verdict.reason or 'not strict'} on {case.shown}")
        elif case.kind == "perturbed" and (verdict.strict or verdict.flexible):
            wrong.append(f"right: {case.shown}, answer {case.item['completion'][-60:]!r}")
        elif case.kind == "hostile" and (verdict.strict or verdict.score >= POINTS):
            hostile.append(f"scored {verdict.score:g}: {case.shown}")
    texts = counts["hostile"]
    found = [finding("hostile", hostile + raised, f"{texts} texts, none scored, none raised", texts)]
    if not any(case.kind == "gold" for case in cases):
        return [Finding("gold", None, "the task has no `demonstrate`, so there are no right answers to judge"), *found]
    return [
        finding("gold", gold, f"{counts['gold']} right answers scored 1", counts["gold"]),
        finding("perturbed", wrong, f"{counts['perturbed']} wrong answers scored 0", counts["perturbed"]),
        *found,
    ]


def _rewards(reward: Reward, cases: list[Case], answers: list[Answer]) -> list[Finding]:
    bad, raised, worse = [], [], []
    low, high = reward.bounds
    values = applied = compared = 0
    gold = None
    for case, answer in zip(cases, answers, strict=True):
        if isinstance(answer, Failure):
            gold = None if case.kind == "gold" else gold
            continue
        kind, value = answer.get("failure"), answer.get("value")
        if kind:
            value = None
        if kind == "raised":
            raised.append(f"{answer['detail']} on {case.shown}")
        elif kind and kind != "memory":
            bad.append(f"{kind}: {answer['detail']} on {case.shown}")
        values += 1
        applied += value is not None
        if case.kind == "gold":
            gold = value
        elif case.kind == "perturbed" and None not in (gold, value):
            compared += 1
        if case.kind == "perturbed" and high > 0 and None not in (gold, value) and value > gold:
            worse.append(f"{value:g} for a wrong answer, {gold:g} for the right one: {case.shown}")
    return [
        finding("values", bad, f"{applied} of {values} samples scored, all within {low:g} to {high:g}", applied),
        finding("gold", worse, "no wrong answer earns more than the right one" if high > 0 else "a penalty", compared),
        finding("hostile", raised, "no text raised", values),
    ]


def _injection(cases: list[Case], answers: list[Answer], left: list[str]) -> Finding:
    scored = [
        f"right: {case.shown}"
        for case, answer in zip(cases, answers, strict=True)
        if case.kind == "injection" and isinstance(answer, dict) and answer.get("verdict", {}).get("score", 0) >= POINTS
    ]
    traces = [f"left the file {name!r}: it runs what a text says" for name in left]
    payloads = sum(
        case.kind == "injection" and isinstance(answer, dict) for case, answer in zip(cases, answers, strict=True)
    )
    return finding("injection", traces + scored, f"{payloads} payloads left nothing", payloads)


def _repeatable(cases: list[Case], runs: list[list[Answer]]) -> list[Finding]:
    first, again, backwards = runs
    changed = [case.shown for case, a, b in zip(cases, first, again, strict=True) if _differ(a, b)]
    ordered = [case.shown for case, a, b in zip(cases, first, backwards, strict=True) if _differ(a, b)]
    twice, thrice = (
        sum(isinstance(a, dict) and isinstance(b, dict) for a, b in zip(first, other, strict=True))
        for other in (again, backwards)
    )
    return [
        finding(
            "deterministic",
            [f"another value the second time: {text}" for text in changed],
            "same text, same value",
            twice,
        ),
        finding(
            "order",
            [f"another value in another order or process: {text}" for text in ordered],
            "forwards and backwards alike",
            thrice,
        ),
    ]


def _differ(first: Answer, second: Answer) -> bool:
    """Whether two answers to one item differ in more than their time; a missing one differs from none."""
    if isinstance(first, Failure) or isinstance(second, Failure):
        return False
    times = {"seconds": 0, "waited": 0}
    return {**first, **times} != {**second, **times}


def _budgets(kind: str, plugin: Task | Reward, cases: list[Case], runs: list[list[Answer]]) -> list[Finding]:
    slow, large, crashed, suspects, slowest = [], [], [], [], 0.0
    for i, case in enumerate(cases):
        answers = [run[i] for run in runs]
        failures = [answer for answer in answers if isinstance(answer, Failure) and answer.detail != LEFT_OUT]
        kinds = {failure.kind for failure in failures}
        if any(_is_memory(answer) for answer in answers):
            large.append(case.shown)
        if "timeout" in kinds:
            slow.append(f"{next(f.detail for f in failures if f.kind == 'timeout')} on {case.shown}")
        if "crashed" in kinds:
            crashed.append(f"{next(f.detail for f in failures if f.kind == 'crashed')} on {case.shown}")
        answered = [answer for answer in answers if isinstance(answer, dict)]
        if answered and _excess(plugin, answered):
            suspects.append((case, answered))
        else:
            slowest = max(slowest, _least(answered)[0])
    if suspects and not slow:
        slow = _confirmed(kind, plugin, suspects)
    limit = f"{plugin.isolate.sample_seconds:g} s" if plugin.isolate else f"{1000 * SECONDS:.0f} ms"
    memory = plugin.isolate.memory_mib if plugin.isolate else MEMORY_MIB
    return [
        finding("time", slow, f"at most {1000 * slowest:.1f} ms a text; allowed: {limit}"),
        finding("memory", [f"more than {memory} MiB on {text}" for text in large], f"within {memory} MiB"),
        finding("crash", crashed, "the process lived"),
    ]


def _least(answers: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """The least seconds of computing and of waiting among answers to one text."""
    return tuple(min((answer[key] for answer in answers), default=0.0) for key in ("seconds", "waited"))


def _excess(plugin: Task | Reward, answers: Sequence[dict[str, Any]]) -> str:
    """What is too much of the time that a text took at the least, "" where nothing is."""
    seconds, waited = _least(answers)
    if plugin.isolate:
        return f"{seconds + waited:.1f} s" if seconds + waited > plugin.isolate.sample_seconds else ""
    if waited > WAITED_SECONDS:
        return f"waits {1000 * waited:.0f} ms"
    return f"{1000 * seconds:.0f} ms" if seconds > SECONDS else ""


def _confirmed(kind: str, plugin: Task | Reward, suspects: Sequence[tuple[Case, list[dict[str, Any]]]]) -> list[str]:
    """The first text that is too slow in a process of its own as well, however often it is asked."""
    with tempfile.TemporaryDirectory() as folder:
        worker = _worker(kind, plugin, {}, Path(folder))
        try:
            for case, answers in suspects:
                for _ in range(cost.ATTEMPTS):
                    (answer,) = worker.run([case.item])
                    answers += [answer] if isinstance(answer, dict) else []
                    if not (excess := _excess(plugin, answers)):
                        break
                else:
                    return [
                        f"{excess} on {case.shown}"
                        + ("" if plugin.isolate else "; what takes longer needs isolate=Limits(…)")
                    ]
        finally:
            worker.close()
    return []


def _is_memory(answer: Answer) -> bool:
    if isinstance(answer, Failure):
        return answer.kind == "memory"
    return answer.get("failure") == "memory" or answer.get("verdict", {}).get("reason", "").startswith("memory:")


def picklable(plugin: Task | Reward | Filter) -> Finding:
    try:
        pickle.loads(pickle.dumps(plugin))
    except Exception as error:
        return Finding("picklable", False, f"{error}; use functions of a module, no lambdas or closures")
    return Finding("picklable", True, "survives a trip to another process")


def finding(check: str, problems: list[str], fine: str, looked_at: int = 1) -> Finding:
    """Passed without problems; None where there was nothing to look at."""
    if not problems and not looked_at:
        return Finding(check, None, "there was no value to look at")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Finding(check, not problems, f"{problems[0]}{more}" if problems else fine)
