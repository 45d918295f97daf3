"""Brings rewards, which score one sample, to TRL's batch signature."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlvr import tables
from rlvr.errors import RlvrError
from rlvr.growing import Growing
from rlvr.patience import watched
from rlvr.variance import Variance
from rlvr_plugins import Sample
from rlvr_plugins.guard import Judge, Outcome, Rewarder, failure_of
from rlvr_plugins.manager import catalogue

LEAST_ASKED = 50


def schema(rewards: list[str]) -> pa.Schema:
    """Columns of a sampled completion; `failures` names plugin/kind, a reward that does not apply is null.

    `step` is the first one that trains on it, counted from 1, under which TRL logs its metrics.
    """
    fields = [
        ("step", pa.int64()),
        ("task", pa.string()),
        ("key", pa.string()),
        ("completion", pa.string()),
        ("tokens", pa.int64()),
        ("truncated", pa.bool_()),
        ("status", pa.string()),
        ("strict", pa.bool_()),
        ("flexible", pa.bool_()),
        ("failures", pa.list_(pa.string())),
    ]
    return pa.schema([*fields, *((f"rewards/{name}", pa.float64()) for name in rewards)])


class Scorer:
    """Judges each completion once, whatever the number of rewards, and keeps what was sampled.

    A verifier or reward that fails on a completion is counted by kind and costs the completion its
    points; where the share of a plugin's failures passes `max_failures`, training stops.

    prefix: `(prompt) -> str`, what the generation prompt has already said of the completion, which verifiers and
        rewards see before what was sampled; None: nothing.
    log: gets a row of `schema` a completion; None: nothing is kept.
    variance: gets the rewards of each batch; None: nothing watches them.
    keep: most completions of a step that are kept, the first ones in whole groups of `group`; None: all.
    sampled: completions so far, kept or not. latest: the rows of the latest batch.
    """

    def __init__(
        self,
        names: list[str],
        end_tokens: set[int],
        max_failures: float = 0.0,
        seed: int = 0,
        log: Growing | None = None,
        keep: int | None = None,
        group: int = 1,
        prefix: Callable[[Sequence[Mapping[str, str]]], str] | None = None,
        variance: Variance | None = None,
    ) -> None:
        self._prefix = prefix
        self._rewarders = [Rewarder(catalogue().reward(name)) for name in names]
        self._judges: dict[str, Judge] = {}
        self.sampled = 0
        self.latest: list[dict[str, Any]] = []
        self._log = log
        self._variance = variance
        self._keep = keep
        self._group = group
        self._step = -1
        self._kept = 0
        self._end_tokens = end_tokens
        self._max_failures = max_failures
        self._seed = seed
        self._judged: Any = None
        self._samples: list[Sample] = []
        self._asked: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    @property
    def failures(self) -> dict[str, int]:
        """Failures so far, by plugin/kind."""
        return dict(sorted(self._failed.items()))

    def save(self, path: Path) -> None:
        """Writes what a resumed run has to know; the rows so far are then on disk too."""
        self._put_away()
        parts = self._log.mark() if self._log else {}
        state = {"sampled": self.sampled, "asked": self._asked, "failed": self._failed, "parts": parts}
        state["variance"] = self._variance.state() if self._variance else None
        path.write_text(json.dumps(state), encoding="utf-8")

    def load(self, path: Path) -> None:
        """Goes back to what `save` wrote. Raises RlvrError where rows are missing."""
        state = json.loads(path.read_text(encoding="utf-8"))
        self.sampled, self.latest, self._kept = state["sampled"], [], 0
        self._asked, self._failed = Counter(state["asked"]), Counter(state["failed"])
        if self._variance:
            self._variance.restore(state["variance"])
        if self._log:
            self._log.cut(state["parts"])

    def write(self, path: Path) -> None:
        """The rows that were kept, as one parquet file."""
        self._put_away()
        if self._log:
            self._log.write(path)

    def _put_away(self) -> None:
        """Hands the rows of the latest batch, which now have all their rewards, to the log."""
        rows, self.latest = self.latest, []
        if not rows or not self._log:
            return
        if self._keep is not None:
            left = self._keep - self._kept
            rows = rows[: left // self._group * self._group]
        self._kept += len(rows)
        self._log.add(rows)

    def close(self) -> None:
        """Ends the worker processes."""
        for each in (*self._rewarders, *self._judges.values()):
            each.close()

    def functions(self) -> list[Callable[..., list[float | None]]]:
        """One function a reward, named after it, for GRPOTrainer's `reward_funcs`."""
        return [self._function(rewarder) for rewarder in self._rewarders]

    def _function(self, rewarder: Rewarder) -> Callable[..., list[float | None]]:
        name = rewarder.reward.name

        def score(completions, completion_ids, task, key, example, trainer_state, prompts=(), log_metric=None, **_):
            log = log_metric or (lambda *_: None)
            if completions is not self._judged:
                opened = map(self._prefix, prompts) if self._prefix else [""] * len(completions)
                texts = [begun + messages[-1]["content"] for begun, messages in zip(opened, completions, strict=True)]
                self._judged = completions
                self._judge(texts, completion_ids, task, key, example, trainer_state.global_step + 1)
                self._log_verdicts(log)
            with watched("reward", rewarder.reward):
                outcomes = rewarder.score(self._samples)
            self._record(name, outcomes, log)
            if rewarder is self._rewarders[-1]:
                self._compare(log)
            return [outcome.value for outcome in outcomes]

        score.__name__ = name
        return score

    def _compare(self, log: Callable[[str, float], None]) -> None:
        """Looks at the latest batch once it has all its rewards."""
        names = [rewarder.reward.name for rewarder in self._rewarders]
        rewards = {name: [row[f"rewards/{name}"] for row in self.latest] for name in names}
        unrewarded = sum(all(value is None for value in values) for values in zip(*rewards.values(), strict=True))
        if unrewarded:
            log("completions/no_reward_applied", unrewarded / len(self.latest))
        whole_groups = len(self.latest) % self._group == 0  # not where processes share a group
        if self._variance and whole_groups:
            self._variance.add(self._step, rewards)

    def _judge(self, texts, completion_ids, tasks, keys, examples, step: int) -> None:
        items = [tables.to_example(key, example) for key, example in zip(keys, examples, strict=True)]
        verdicts: list[Any] = [None] * len(texts)
        for name in dict.fromkeys(tasks):
            chosen = [i for i, task in enumerate(tasks) if task == name]
            if name not in self._judges:
                self._judges[name] = Judge(catalogue().task(name))
            with watched("task", self._judges[name].task):
                judged = self._judges[name].judge([(texts[i], items[i]) for i in chosen])
            for i, verdict in zip(chosen, judged, strict=True):
                verdicts[i] = verdict
        self._put_away()
        if step != self._step:
            self._step, self._kept = step, 0
        before = self.sampled
        self._samples = [
            Sample(text, item, verdict, len(ids), self._truncated(ids), self._draw(before + i))
            for i, (text, item, verdict, ids) in enumerate(zip(texts, items, verdicts, completion_ids, strict=True))
        ]
        self.latest = [_row(step, task, sample) for task, sample in zip(tasks, self._samples, strict=True)]
        self.sampled += len(self.latest)
        self._asked.update(tasks)
        self._failed.update(failure for row in self.latest for failure in row["failures"])
        for name in dict.fromkeys(tasks):
            judged = [sample.verdict for task, sample in zip(tasks, self._samples, strict=True) if task == name]
            self._stop_on_failures(name, [verdict.reason for verdict in judged if failure_of(verdict)])

    def _truncated(self, ids: list[int]) -> bool:
        return not ids or ids[-1] not in self._end_tokens

    def _draw(self, position: int) -> int:
        digest = hashlib.sha256(f"{self._seed} {position}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def _log_verdicts(self, log: Callable[[str, float], None]) -> None:
        verdicts = [sample.verdict for sample in self._samples]
        for name in ("strict", "flexible"):
            log(f"accuracy/{name}", sum(getattr(verdict, name) for verdict in verdicts) / len(verdicts))
        log("completions/answer_tags", sum(verdict.answers for verdict in verdicts) / len(verdicts))
        for name, count in Counter(failure for row in self.latest for failure in row["failures"]).items():
            log(f"failures/{name}", float(count))

    def _record(self, name: str, outcomes: list[Outcome], log: Callable[[str, float], None]) -> None:
        self._asked[name] += len(outcomes)
        kinds: Counter[str] = Counter()
        for row, outcome in zip(self.latest, outcomes, strict=True):
            row[f"rewards/{name}"] = outcome.value
            if outcome.failure:
                kinds[outcome.failure] += 1
                row["failures"].append(f"{name}/{outcome.failure}")
        for kind, count in kinds.items():
            self._failed[f"{name}/{kind}"] += count
            log(f"failures/{name}/{kind}", float(count))
        missing = sum(outcome.value is None for outcome in outcomes)
        if missing:
            log(f"not_applied/{name}", float(missing))
        self._stop_on_failures(name, [outcome.detail for outcome in outcomes if outcome.failure])

    def _stop_on_failures(self, name: str, details: list[str]) -> None:
        """Raises RlvrError when a plugin has failed on a larger share of completions than allowed.

        The first few count as `LEAST_ASKED`, so that one early failure is not yet a large share.
        """
        if not details:
            return
        counts = {key.rpartition("/")[2]: n for key, n in self.failures.items() if key.rpartition("/")[0] == name}
        failed, asked = sum(counts.values()), self._asked[name]
        if failed <= self._max_failures * max(asked, LEAST_ASKED):
            return
        failures = [(row["completion"], key) for row in self.latest for key in row["failures"]]
        completion = next(text for text, key in failures if key.startswith(f"{name}/"))
        kinds = ", ".join(f"{kind} {count}" for kind, count in counts.items())
        raise RlvrError(
            f"{name!r} failed on {failed} of {asked} completions ({kinds}), more than grpo.max_failures "
            f"({self._max_failures:g}) allows; such as {details[0]}, on {json.dumps(completion[:60])}; "
            f"`rlvr check {name}` looks closer"
        )


def _row(step: int, task: str, sample: Sample) -> dict[str, Any]:
    verdict = sample.verdict
    return {
        "step": step,
        "task": task,
        "key": sample.example.key,
        "completion": sample.completion,
        "tokens": sample.tokens,
        "truncated": sample.truncated,
        "status": verdict.status,
        "strict": verdict.strict,
        "flexible": verdict.flexible,
        "failures": [f"{task}/{failure_of(verdict)}"] if failure_of(verdict) else [],
    }
