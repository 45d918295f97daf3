"""Replaces, within a step of GRPO, the prompts that teach nothing.

Where all completions of a prompt earn the same, each of their advantages is 0, and every loss that TRL
has is a multiple of the advantage. DAPO (arXiv 2503.14476, section 3.2) calls the cure dynamic sampling.
"""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import pad

from rlvr.engines.sampling import SECONDS, WatchedTrainer
from rlvr.errors import RlvrError

FADING = 0.9


class Draws:
    """The prompts of the further rounds: all rows in shuffled order, pass after pass.

    The order follows from the seed and the number of the pass, so that a place in it is what a
    checkpoint has to keep, with the prompts that rest and the share of groups that had spread.

    rows: training rows with `task` and `key`. rest: steps for which a prompt without spread is left out.
    """

    def __init__(self, rows: Iterable[dict[str, Any]], seed: int, rest: int = 0) -> None:
        self._names = [name(row) for row in rows]
        self._seed = seed
        self._rest = rest
        self._shuffled: tuple[int, list[int]] = (-1, [])
        self._drawn = 0
        self._useful = 0.0
        self._seen = 0.0
        self._resting: dict[str, int] = {}

    def save(self, path: Path) -> None:
        state = {"drawn": self._drawn, "useful": self._useful, "seen": self._seen, "resting": self._resting}
        path.write_text(json.dumps(state), encoding="utf-8")

    def load(self, path: Path) -> None:
        state = json.loads(path.read_text(encoding="utf-8"))
        self._drawn, self._useful, self._seen = state["drawn"], state["useful"], state["seen"]
        self._resting = state["resting"]

    def count(self, names: list[str], useful: list[bool], step: int) -> None:
        """Takes note of groups that were sampled; later ones weigh more."""
        self._useful = FADING * self._useful + sum(useful)
        self._seen = FADING * self._seen + len(useful)
        if self._rest:
            self._resting = {each: until for each, until in self._resting.items() if until > step}
            without = [each for each, spread in zip(names, useful, strict=True) if not spread]
            self._resting |= dict.fromkeys(without, step + 1 + self._rest)

    def needed(self, missing: int, most: int) -> int:
        """Groups to sample for `missing` ones with spread, by the share that had it lately."""
        return min(most, math.ceil(missing * self._seen / self._useful)) if self._useful else most

    def take(self, number: int, step: int, taken: set[str]) -> list[int]:
        """Indices of the next rows that neither rest nor are `taken`; adds them to `taken`.

        Once a whole pass has been looked through, the next ones are taken whatever they are.
        """
        chosen: list[int] = []
        looked = 0
        while len(chosen) < number:
            index = self._next()
            looked += 1
            each = self._names[index]
            if looked > len(self._names) or (each not in taken and self._resting.get(each, 0) <= step):
                chosen.append(index)
                taken.add(each)
        return chosen

    def _next(self) -> int:
        number, place = divmod(self._drawn, len(self._names))
        if self._shuffled[0] != number:
            order = list(range(len(self._names)))
            random.Random(f"{self._seed} {number}").shuffle(order)
            self._shuffled = (number, order)
        self._drawn += 1
        return self._shuffled[1][place]


def name(row: dict[str, Any]) -> str:
    return f"{row['task']} {row['key']}"


@dataclass(frozen=True)
class Round:
    """What one round gave: TRL's tensors, whether each group can teach, and the metrics it logged."""

    tensors: dict[str, torch.Tensor]
    useful: list[bool]
    metrics: dict[str, list[float]]


class DynamicTrainer(WatchedTrainer):
    """A trainer whose batches hold, as far as `max_rounds` further rounds find them, groups with spread.

    The first round is TRL's own batch. Metrics are over all that was sampled. Raises RlvrError where
    completions are spread over processes.
    """

    def __init__(self, *args: Any, draws: Draws, max_rounds: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        processes = self.accelerator.num_processes
        if processes > 1:
            raise RlvrError(f"grpo.dynamic: is not possible with {processes} processes; allowed: 1, or dynamic: false")
        self._draws = draws
        self._max_rounds = max_rounds

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self._rewards = super()._calculate_rewards(*args, **kwargs)
        return self._rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        size, step = self.num_generations, self.state.global_step
        wanted = len(inputs) // size
        taken = {name(row) for row in inputs}
        rounds = [self._sample(inputs)]
        while (missing := wanted - _useful(rounds)) > 0 and len(rounds) <= self._max_rounds:
            indices = self._draws.take(self._draws.needed(missing, wanted), step, taken)
            rounds.append(
                self._sample([row for row in map(self.train_dataset.__getitem__, indices) for _ in range(size)])
            )
        self._log_rounds(rounds, wanted)
        padding = self._tokenizer.pad_token_id
        return merge([each.tensors for each in rounds], choose(rounds, wanted), size, padding)

    def _sample(self, rows: list[dict[str, Any]]) -> Round:
        before = self._metrics["train"]
        self._metrics["train"] = metrics = defaultdict(list)
        try:
            tensors = super()._generate_and_score_completions(rows)
        finally:
            self._metrics["train"] = before
        size = self.num_generations
        useful = can_teach(self._rewards * self.reward_weights.to(self._rewards.device), tensors, size).tolist()
        self._draws.count([name(row) for row in rows[::size]], useful, self.state.global_step)
        return Round(tensors, useful, metrics)

    def _log_rounds(self, rounds: list[Round], wanted: int) -> None:
        metrics = self._metrics["train"]
        for key in dict.fromkeys(key for each in rounds for key in each.metrics):
            value = _joined(key, [(len(each.useful), each.metrics[key]) for each in rounds if key in each.metrics])
            if key == "num_tokens":
                metrics[key] = [value]
            else:
                metrics[key].append(value)
        metrics["dynamic/useful_groups"].append(min(_useful(rounds), wanted) / wanted)
        metrics["dynamic/sampled_groups"].append(sum(len(each.useful) for each in rounds) / wanted)
        metrics["dynamic/rounds"].append(len(rounds) - 1.0)


def _useful(rounds: list[Round]) -> int:
    return sum(sum(each.useful) for each in rounds)


def _joined(key: str, values: list[tuple[int, list[float]]]) -> float:
    """One value of a metric for all rounds of a step; a mean weighs a round by its groups."""
    known = [(groups, value) for groups, logged in values for value in logged if not math.isnan(value)]
    if not known:
        return math.nan
    if key.startswith(("failures/", "not_applied/", SECONDS)):
        return sum(value for _, value in known)
    if key == "num_tokens" or "/max" in key:
        return max(value for _, value in known)
    if "/min" in key:
        return min(value for _, value in known)
    return sum(groups * value for groups, value in known) / sum(groups for groups, _ in known)


def can_teach(rewards: torch.Tensor, tensors: dict[str, torch.Tensor], size: int) -> torch.Tensor:
    """Whether each group moves the policy: its summed rewards differ and reach a token that counts.

    Highest against lowest, not the standard deviation, which rounding lifts above 0 for equal rewards.
    A completion to which no reward applies (NaN throughout) has no say, and neither has one whose
    tokens are all masked, as a truncated one may be.

    rewards: (completions, functions), weighted. Returns bool, (completions / size,).
    """
    total = rewards.nansum(dim=1)
    unscored = rewards.isnan().all(dim=1)
    high = total.masked_fill(unscored, -math.inf).view(-1, size).amax(dim=1)
    low = total.masked_fill(unscored, math.inf).view(-1, size).amin(dim=1)
    spread = high - low > 1e-6 * torch.maximum(high.abs(), low.abs())
    moved = (tensors["advantages"] != 0) & loss_mask(tensors).any(dim=1)
    return spread & moved.view(-1, size).any(dim=1)


def choose(rounds: list[Round], wanted: int) -> list[int]:
    """The groups to train on, counted through all rounds: those with spread, then others, in their order."""
    useful = [flag for each in rounds for flag in each.useful]
    return sorted(range(len(useful)), key=lambda group: not useful[group])[:wanted]


def loss_mask(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return tensors["completion_mask"] * tensors.get("tool_mask", 1)


def merge(batches: list[dict[str, torch.Tensor]], groups: list[int], size: int, pad_token: int) -> dict[str, Any]:
    """One batch of the chosen groups of several, padded to the widest as TRL pads.

    `num_items_in_batch`, by which some losses divide, is the number of tokens kept that carry loss.
    Raises RlvrError for a tensor that it does not know how to join.
    """
    sides = {
        "prompt_ids": ("left", pad_token),
        "prompt_mask": ("left", 0),
        "completion_ids": ("right", pad_token),
        "completion_mask": ("right", 0),
        "tool_mask": ("right", 1),
        "old_per_token_logps": ("right", 0.0),
        "ref_per_token_logps": ("right", 0.0),
        "sampling_per_token_logps": ("right", 0.0),
        "importance_sampling_ratio": ("right", 1.0),
        "advantages": ("right", 0.0),
    }
    rows = torch.tensor([group * size + i for group in groups for i in range(size)])
    merged: dict[str, Any] = {}
    for key in batches[0]:
        if key == "num_items_in_batch":
            continue
        if key not in sides:
            raise RlvrError(f"grpo.dynamic: TRL's batch holds {key!r}; allowed: {', '.join(sides)}")
        tensors = [batch[key] for batch in batches]
        merged[key] = torch.cat(_even(tensors, *sides[key]))[rows.to(tensors[0].device)]
    merged["num_items_in_batch"] = loss_mask(merged).sum()
    return merged


def _even(tensors: list[torch.Tensor], side: str, value: float) -> list[torch.Tensor]:
    if tensors[0].dim() == 1:
        return tensors
    width = max(tensor.shape[1] for tensor in tensors)
    gaps = [width - tensor.shape[1] for tensor in tensors]
    return [
        pad(tensor, (gap, 0) if side == "left" else (0, gap), value=value)
        for tensor, gap in zip(tensors, gaps, strict=True)
    ]
