"""The checks of a filter, over rows of the sample tasks and hostile ones, in a worker process."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rlvr_plugins import guard
from rlvr_plugins.conformance import corpus, cost
from rlvr_plugins.conformance.suite import SAMPLE_TASKS, Finding, finding, perturbed, picklable
from rlvr_plugins.filter_types import (
    EVALUATION,
    NEEDS,
    ROLLOUTS,
    TOKENIZER,
    VERIFIER,
    Filter,
    FilterContext,
    Rollout,
    Row,
    Sampling,
)
from rlvr_plugins.isolation import Failure, Worker
from rlvr_plugins.manager import catalogue
from rlvr_plugins.types import Example, Limits, Task, Verdict

SECONDS = 0.010
WAITED_SECONDS = 0.100
LARGE_SECONDS = 1.0
LIMITS = Limits(batch_seconds=3600.0, memory_mib=1024)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
BATCH = 7
LONGEST_REASON = 60
LONGEST_DETAIL = 1000
MOST_REASONS = 20
LOST = "lost"

Json = dict[str, Any]


@dataclass(frozen=True)
class Stream:
    """Rows of one task and split. begin: what `Session` needs to start. large: texts of a megabyte, one a row."""

    begin: Json
    rows: list[Json]
    large: list[Json]


@dataclass
class Run:
    """What came of a stream in batches of one size; a row without an answer has None as its reason.

    times: of each batch the seconds of computing and of waiting, None without an answer.
    """

    rows: list[Json]
    reasons: list[str | None] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    times: list[tuple[float, float] | None] = field(default_factory=list)


class Session:
    """A filter in its worker: an item starts it anew or is a batch of rows."""

    def __init__(self, plugin: Filter) -> None:
        self.plugin = plugin
        self.select = None
        self.needs: tuple[str, ...] = ()

    def answer(self, item: Json) -> Json:
        try:
            if "begin" in item:
                self.select = None
                self.select = self._start(item["begin"])
                return {"reasons": []}
            if self.select is None:
                return {"failure": LOST}
            rows = [self._row(row) for row in item["rows"]]
            reasons = self.select(rows)
        except MemoryError:
            return {"failure": "memory", "detail": "out of memory"}
        except (Exception, SystemExit) as error:
            return {"failure": "raised", "detail": guard.said(error)}
        problem = _unsound(reasons, len(rows))
        return {"failure": "reasons", "detail": problem} if problem else {"reasons": list(reasons)}

    def _start(self, begin: Json) -> Any:
        task = catalogue().task(begin["task"])
        self.needs = tuple(begin["needs"])
        given: dict[str, Any] = {}
        if TOKENIZER in self.needs:
            given["prompt_tokens"] = lambda rows: [sum(len(m["content"]) for m in row.prompt) for row in rows]
            given["whole_tokens"] = lambda rows: [
                length + len(row.completion or "")
                for row, length in zip(rows, given["prompt_tokens"](rows), strict=True)
            ]
        if VERIFIER in self.needs:
            given["judge"] = lambda texts, examples: [
                guard.judge_one(task, text, example) for text, example in zip(texts, examples, strict=True)
            ]
        if EVALUATION in self.needs:
            given["evaluation"] = ((task, Example(*held_out)) for held_out in begin["evaluation"])
        options = self.plugin.options(**begin["options"])
        return self.plugin.start(options, FilterContext(task, begin["split"], **given))

    def _row(self, row: Json) -> Row:
        rollouts = _rollouts(row) if ROLLOUTS in self.needs else ()
        example = Example(row["key"], row["fields"])
        return Row(row["task"], example, row["prompt"], row["completion"], rollouts)


def check(name: str, options: Mapping[str, Any] | None = None) -> list[Finding]:
    """All findings on a filter. options: in place of its `offline` ones. Raises as `suite.check`."""
    plugin = catalogue().filter(name)
    findings = [picklable(plugin)]
    values = dict(plugin.offline if options is None else options)
    try:
        chosen = plugin.options(**values)
    except (TypeError, ValueError) as error:
        return [*findings, Finding("options", False, f"{error}; allowed: what --options or `offline` says")]
    try:
        streams, refused = _streams(plugin, chosen, values)
    except Exception as error:
        return [*findings, Finding("rows", False, guard.said(error))]
    if not streams:
        return [*findings, Finding("rows", None, f"no sample task suits it: {'; '.join(refused)}")]
    runs, large, left = _run_all(plugin, streams)
    ordinary = [run for same in runs for run in same]
    undeclared = _undeclared(plugin, streams, ordinary + large)
    texts = sum(len(stream.rows) + len(stream.large) for stream in streams)
    raised = [] if undeclared else _failures(ordinary + large, "raised")
    found = [
        Finding("rows", True, f"{texts} rows of {', '.join(sorted({s.begin['task'] for s in streams}))}"),
        _reasons(runs, ordinary + large),
        finding("needs", undeclared, f"uses no more than {', '.join(plugin.needs) or 'the rows'}"),
        finding("hostile", raised, "no row raised"),
        finding("injection", [f"left the file {file!r}: it runs what a text says" for file in left], "left nothing"),
        _same("deterministic", "another reason the second time or in another process", runs, (0, 1, 2)),
        _same("batches", "another reason in batches of another size", runs, (2, 3, 4)),
        _time(plugin, streams, runs, large),
        finding("memory", _failures(ordinary + large, "memory"), f"within {LIMITS.memory_mib} MiB"),
        finding("crash", _failures(ordinary + large, "crashed"), "the process lived"),
    ]
    if plugin.sampling:
        found.append(_sampling(plugin, chosen, runs))
    return findings + found


def _streams(plugin: Filter, options: Any, values: Json) -> tuple[list[Stream], list[str]]:
    """The rows of each sample task that the filter's check lets pass; and why it refused the others."""
    streams, refused = [], []
    for task in map(catalogue().task, SAMPLE_TASKS):
        try:
            if plugin.check:
                plugin.check(options, task)
        except ValueError as error:
            refused.append(f"{task.name}: {error}")
            continue
        items = task.items(task.options(**task.offline), 40, 20, 0)
        train, held_out = list(items.train), list(items.eval)
        for split in plugin.splits:
            begin = {"task": task.name, "split": split, "options": values, "needs": plugin.needs}
            begin["evaluation"] = [[example.key, dict(example.fields)] for example in held_out]
            examples = [*train, *held_out[:3], *train[:5]]
            rows = [_row_of(task, example, split, place) for place, example in enumerate(examples)]
            small = [_hostile(rows[i % len(train)], text) for i, text in enumerate((*corpus.SMALL, *corpus.INJECTIONS))]
            streams.append(Stream(begin, rows + small, [_hostile(rows[0], text) for text in corpus.LARGE]))
    return streams, refused


def _row_of(task: Task, example: Example, split: str, place: int) -> Json:
    """A row with rollouts that are none, all right, all wrong or some of both, by its place."""
    right = task.demonstrate(example)
    wrong = perturbed(right)[0]
    texts = ((), (right, right), (wrong, wrong), (right, wrong, wrong))[place % 4]
    return {
        "task": task.name,
        "key": example.key,
        "fields": dict(example.fields),
        "prompt": task.prompt(example),
        "completion": right if split == "sft" else None,
        "rollouts": [[text, vars(guard.judge_one(task, text, example))] for text in texts],
    }


def _hostile(row: Json, text: str) -> Json:
    """The row with this text as its question and, of an SFT row, as its demonstration."""
    *head, last = row["prompt"]
    fields = {name: text if value == last["content"] else value for name, value in row["fields"].items()}
    completion = None if row["completion"] is None else text
    return {**row, "fields": fields, "prompt": [*head, {**last, "content": text}], "completion": completion}


def _rollouts(row: Json) -> list[Rollout]:
    return [Rollout(text, Verdict(**verdict), tokens=len(text)) for text, verdict in row["rollouts"]]


def _run_all(plugin: Filter, streams: Sequence[Stream]) -> tuple[list[list[Run]], list[Run], list[str]]:
    """For each stream its five runs, two in one process and three in another; those of the large texts; files left.

    The first that runs out of time is the last.
    """
    runs: list[list[Run]] = [[] for _ in streams]
    large: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        for hash_seed, sizes in (("1", (BATCH, BATCH)), ("2", (BATCH, 1, None))):
            environment = {**ENVIRONMENT, "PYTHONHASHSEED": hash_seed}
            worker = _worker(plugin, environment, Path(folder))
            try:
                for stream, found in zip(streams, runs, strict=True):
                    found += [_run(worker, stream.begin, stream.rows, size) for size in sizes]
                    if hash_seed == "1":
                        large.append(_run(worker, stream.begin, stream.large, 1, LARGE_SECONDS))
                    if _failures([*found, *large], "timeout"):
                        break
            finally:
                worker.close()
            if _failures([run for found in runs for run in found] + large, "timeout"):
                break
        return [found for found in runs if found], large, [path.name for path in Path(folder).iterdir()]


def _worker(plugin: Filter, environment: Mapping[str, str] = ENVIRONMENT, folder: Path | None = None) -> Worker:
    return Worker("filter", plugin.name, LIMITS, environment, folder, measured=True)


def _run(worker: Worker, begin: Json, rows: list[Json], size: int | None, allowed: float = SECONDS) -> Run:
    """allowed: seconds for a row, which say when a batch is taken for hanging."""
    batches = list(_batches(rows, size or len(rows)))
    worker.limits = replace(LIMITS, sample_seconds=cost.hang((allowed + WAITED_SECONDS) * len(batches[0])))
    first, *answers = worker.run([{"begin": begin}, *({"rows": batch} for batch in batches)], most_timeouts=1)
    run = Run(rows)
    for batch, answer in ((rows[:1], first), *zip(batches, answers, strict=True)):
        starting = answer is first
        if isinstance(answer, Failure) or "failure" in answer:
            kind, detail = _failure(answer)
            if kind != LOST:
                run.failures.append((kind, f"{detail} {'at its start' if starting else f'on {_shown(batch)}'}"))
        if not starting:
            answered = isinstance(answer, dict) and "reasons" in answer
            run.reasons += answer["reasons"] if answered else [None] * len(batch)
            run.times.append((answer["seconds"], answer["waited"]) if answered else None)
    return run


def _batches(rows: list[Json], size: int) -> Iterator[list[Json]]:
    yield from (rows[start : start + size] for start in range(0, len(rows), size))


def _failure(answer: Json | Failure) -> tuple[str, str]:
    if isinstance(answer, Failure):
        return answer.kind, answer.detail
    return answer["failure"], answer.get("detail", "")


def _shown(batch: Sequence[Json]) -> str:
    texts = [row["prompt"][-1]["content"] for row in batch]
    rest = f" (a batch of {len(texts)})" if len(texts) > 1 else ""
    return f"{texts[0][:50]!r}{rest}"


def _unsound(reasons: Any, rows: int) -> str:
    """What is wrong with what `select` returned, "" where nothing is."""
    if not isinstance(reasons, Sequence) or isinstance(reasons, str):
        return f"select returned {type(reasons).__name__}, not a list of reasons"
    if len(reasons) != rows:
        return f"{len(reasons)} reasons for {rows} rows"
    for reason in reasons:
        if not isinstance(reason, str):
            return f"{reason!r:.80} is no reason; allowed: a str, empty to keep the row"
        if len(_counted(reason)) > LONGEST_REASON or len(reason) > LONGEST_DETAIL:
            return (
                f"the reason {reason[:40]!r}… is too long; allowed: {LONGEST_REASON} characters before a line break, "
                f"{LONGEST_DETAIL} in all"
            )
    return ""


def _failures(runs: Sequence[Run], kind: str) -> list[str]:
    return list(dict.fromkeys(detail for run in runs for found, detail in run.failures if found == kind))


def _reasons(runs: Sequence[Sequence[Run]], every: Sequence[Run]) -> Finding:
    problems = _failures(every, "reasons")
    given = [reason for same in runs for reason in same[0].reasons if reason is not None]
    distinct = sorted(set(map(_counted, given)) - {""})
    if len(distinct) > MOST_REASONS:
        problems.append(f"{len(distinct)} reasons, such as {distinct[0]!r}; allowed: {MOST_REASONS}, they are counted")
    dropped = len(given) - given.count("")
    if not dropped and not problems:
        return Finding("reasons", None, f"none of {len(given)} rows was dropped; set `offline`, or give --options")
    return finding("reasons", problems, f"{dropped} of {len(given)} rows dropped, {len(distinct)} reasons", len(given))


def _counted(reason: str) -> str:
    return reason.partition("\n")[0]


def _undeclared(plugin: Filter, streams: Sequence[Stream], runs: Sequence[Run]) -> list[str]:
    """What raised but does not once the filter gets all there is, whatever it declares."""
    raised = _failures(runs, "raised")
    if not raised:
        return []
    more = {"needs": NEEDS}
    worker = _worker(plugin)
    try:
        again = [_run(worker, {**stream.begin, **more}, stream.rows, BATCH) for stream in streams]
    finally:
        worker.close()
    return [] if _failures(again, "raised") else [f"uses what it does not list in needs: {raised[0]}"]


def _same(check: str, what: str, runs: Sequence[Sequence[Run]], compared: Sequence[int]) -> Finding:
    """Whether runs over the same rows gave the same reasons; rows without an answer are left out."""
    problems, answered = [], 0
    for same in (same for same in runs if len(same) > compared[1]):
        first, *others = (same[i].reasons for i in compared if i < len(same))
        for row, reason, *rest in zip(same[0].rows, first, *others, strict=True):
            answered += reason is not None
            given = {text for text in (reason, *rest) if text is not None}
            if len(given) > 1:
                problems.append(f"{what}: {' or '.join(map(repr, sorted(given)))} on {_shown([row])}")
    return finding(check, problems, "same row, same reason", answered)


def _time(plugin: Filter, streams: Sequence[Stream], runs: Sequence[Sequence[Run]], large: Sequence[Run]) -> Finding:
    hung = _failures([run for same in runs for run in same] + list(large), "timeout")
    slow, slowest = list(hung), 0.0
    worker = _worker(plugin)
    try:
        for stream, same, texts in zip(streams, runs, large, strict=False):
            for size, allowed, found in ((BATCH, SECONDS, list(same[:3])), (1, LARGE_SECONDS, [texts])):
                problems, most = _excess(found, size, allowed)
                while problems and not slow and len(found) < cost.ATTEMPTS:  # a busy machine, or the filter?
                    found.append(_run(worker, stream.begin, found[0].rows, size, allowed))
                    problems, most = _excess(found, size, allowed)
                slow += problems
                slowest = max(slowest, most) if size > 1 else slowest
    finally:
        worker.close()
    return finding("time", slow, f"at most {1000 * slowest:.1f} ms a row; allowed: {1000 * SECONDS:.0f} ms")


def _excess(runs: Sequence[Run], size: int, allowed: float) -> tuple[list[str], float]:
    """What takes too long in all runs over the same batches; and the most seconds of computing a row."""
    problems, most = [], 0.0
    for batch, *times in zip(_batches(runs[0].rows, size), *(run.times for run in runs), strict=True):
        answered = [each for each in times if each]
        if not answered:
            continue
        seconds, waited = (min(each) / len(batch) for each in zip(*answered, strict=True))
        most = max(most, seconds)
        if waited > WAITED_SECONDS:
            problems.append(f"waits {1000 * waited:.0f} ms a row on {_shown(batch)}")
        elif seconds > allowed:
            problems.append(f"{1000 * seconds:.0f} ms a row on {_shown(batch)}; allowed: {1000 * allowed:.0f} ms")
    return problems, most


def _sampling(plugin: Filter, options: Any, runs: Sequence[Sequence[Run]]) -> Finding:
    """Whether sampling stops at the prompts that the filter keeps."""
    try:
        made = plugin.sampling(options)
        if not isinstance(made, Sampling):
            return Finding("sampling", False, f"sampling returned {type(made).__name__}, not a Sampling")
        pickle.dumps(made)
        if made.wanted is None:
            return Finding("sampling", made.target is None, "all prompts are sampled: it says none is wanted")
        kept = [
            (row, reason == "")
            for same in runs
            for row, reason in zip(same[0].rows, same[0].reasons, strict=True)
            if row["rollouts"] and reason is not None
        ]
        problems = [
            f"wanted and select disagree on {_shown([row])}"
            for row, keeps in kept
            if bool(made.wanted(_rollouts(row))) != keeps
        ]
    except Exception as error:
        return Finding("sampling", False, f"{guard.said(error)}; wanted must be a function of a module, or a partial")
    return finding("sampling", problems, "wants the prompts that it keeps", len(kept))
