"""How long each stage takes on a GPU, by arithmetic: tokens, operations and bytes over what the data sheet says.

Good for a factor of two either way; none of it has been measured. What is assumed stands in the constants below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rlvr.memory.devices import DEVICES, Device
from rlvr.memory.sizes import HALF, NF4, Sizes
from rlvr.memory.vllm_share import Share
from rlvr.trainer_options import generated_at_once, step_rows, value

COMPUTE = 0.3
"""Of the sheet's operations a second that a training step comes to, padding and small kernels included."""
BANDWIDTH = 0.6
"""Of the sheet's bytes a second that a decoding step comes to."""
LAUNCH = 0.004
"""Seconds of a decoding step beside its work, with vLLM's CUDA graphs."""
EAGER = 0.0008
"""Seconds a layer of a decoding step beside its work, with `generate`."""
STEP = 2.0
"""Seconds of a GRPO step beside sampling and training: optimiser, moving weights."""
COMPLETION = 0.01
"""Seconds a completion in such a step: rewards, tokens and texts."""
START = 120.0
"""Seconds until a stage works: imports, weights, vLLM's compilation."""
MEAN = 0.5
"""Mean completion over the longest there may be."""
PROMPT = 200
"""Tokens of the mean prompt, where the longest is not shorter."""
KEPT = 2
"""Prompts that a filter samples for each that it keeps, where it stops at a number of them."""
KNOWN_ROWS = {"gsm8k": {"train": 7473, "sft": 7473, "eval": 1319}, "openmath": {"sft": 19000}}
"""Rows of the hub's data where the config takes all: GSM8K's own files, and OpenMathReasoning-mini's page, rounded."""


@dataclass(frozen=True)
class Hours:
    """stage: such as `grpo/dapo`. each: seconds of one run; None where the rows are not known. runs: of that stage.

    steps: optimiser steps of a run, 0 where none is trained.
    """

    stage: str
    each: float | None
    runs: int = 1
    steps: int = 0

    @property
    def hours(self) -> float | None:
        return None if self.each is None else self.each * self.runs / 3600

    def __str__(self) -> str:
        times = f"{self.runs} x " if self.runs > 1 else ""
        if self.each is None:
            return f"{self.stage}: not known before its rows are there"
        steps = f" ({self.steps:,} steps)" if self.steps else ""
        return f"{self.stage}: {times}{show(self.each / 3600)}{steps}"


def show(hours: float) -> str:
    """With two digits."""
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"


def said(device: Device | None, name: str, stages: list[Hours] | None) -> list[str]:
    """Lines on how long all takes. name: of the GPU that was looked for; stages: None where the model is of a kind
    that can't be counted."""
    if device is None:
        return [
            f"time: no numbers of {name}; `rlvr preflight --device NAME` takes {', '.join(d.name for d in DEVICES)}"
        ]
    if stages is None:
        return ["time: not known for a model of this kind"]
    known = sum(stage.hours for stage in stages if stage.hours is not None)
    more = " and what is not known" if any(stage.hours is None for stage in stages) else ""
    return [
        f"time on one {device.name} by arithmetic, good for a factor of 2 either way (a mean completion of "
        f"{MEAN:.0%} of the longest assumed): about {show(known)}{more}",
        *(f"  {stage}" for stage in stages),
    ]


class Clock:
    """Seconds on a device, for a model, under an experiment's settings.

    settings: of `sampling.resolved`. work: of `shapes.work`. shares: of each GRPO variant that vLLM samples for.
    prompt: tokens of the longest. rows: `train` and `sft` rows where they are there already.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        work: dict[str, Any],
        known: Sizes,
        device: Device,
        shares: dict[str, Share],
        prompt: int,
        rows: dict[str, int] | None = None,
    ) -> None:
        self._settings, self._work, self._known, self._device, self._shares = settings, work, known, device, shares
        self._prompt = min(prompt, PROMPT)
        self._rows = rows or {}
        self._vllm = settings["generation"] == "vllm"

    def stages(self) -> list[Hours]:
        work = self._work
        found = [self._sft(arm, trainer) for arm, trainer in work["sft"].items()]
        found += [self._rollouts(wanted) for wanted in work["rollouts"]]
        trainers = {name: {**trainer, **work["grpo"][name]} for name, trainer in self._settings["grpo"].items()}
        found += [self._grpo(name, trainer) for name, trainer in trainers.items()]
        return [*found, self._evaluation()]

    def _of(self, split: str, task: str | None = None) -> int | None:
        """Rows of a split, of all tasks or of one; None where that is not known."""
        if task is None and self._rows.get(split):
            return self._rows[split]
        tasks, hub = self._work["rows"], self._work["hub"]
        known = {name: rows for name, rows in KNOWN_ROWS.items() if name in hub}
        found = [
            rows[split] if rows[split] is not None else known.get(name, {}).get(split)
            for name, rows in tasks.items()
            if task in (None, name)
        ]
        return None if None in found else sum(found)

    def _steps(self, stage: str, trainer: dict[str, Any], rows: int | None, at_once: float) -> int | None:
        """Optimiser steps; at_once: rows that one takes."""
        if (most := value(stage, trainer, "max_steps")) > 0:
            return most
        return None if rows is None else math.ceil(value(stage, trainer, "num_train_epochs") * rows / at_once)

    def _sft(self, arm: str, trainer: dict[str, Any]) -> Hours:
        rows, batch = self._of("sft"), step_rows("sft", trainer)
        steps = self._steps("sft", trainer, rows, batch)
        if steps is None:
            return Hours(arm, None)
        length = self._settings["lengths"]["whole"] or value("sft", trainer, "max_length") or 1024
        tokens = steps * batch * MEAN * min(length, value("sft", trainer, "max_length") or length)
        return Hours(arm, START + self._trained("sft", trainer, tokens, tokens, 0), steps=steps)

    def _grpo(self, name: str, trainer: dict[str, Any]) -> Hours:
        group, iterations = (value("grpo", trainer, key) for key in ("num_generations", "num_iterations"))
        batch = step_rows("grpo", trainer)
        steps = self._steps("grpo", trainer, self._of("train"), batch / group / iterations)
        runs = self._work["runs"].get(name, 1)
        if steps is None:
            return Hours(f"grpo/{name}", None, runs)
        longest = value("grpo", trainer, "max_completion_length")
        at_once = generated_at_once(trainer)
        generations = math.ceil(steps * batch / at_once / iterations)
        sampled = generations * self._decoded(at_once, at_once / group, longest, self._shares.get(name), trainer)
        scored = steps * batch * MEAN * longest
        tokens = steps * batch * (self._prompt + MEAN * longest)
        # probabilities under the weights that sampled, and under those of the base
        passes = bool(value("grpo", trainer, "use_vllm")) + bool(value("grpo", trainer, "beta"))
        seconds = (
            START
            + sampled
            + self._trained("grpo", trainer, tokens, scored, passes)
            + steps * (STEP + batch * COMPLETION)
        )
        return Hours(f"grpo/{name}", seconds + self._evaluated(name, trainer, steps), runs, steps)

    def _evaluated(self, name: str, trainer: dict[str, Any], steps: int) -> float:
        """Seconds of pass@k while training."""
        wanted = self._work["evaluate"]
        if not wanted:
            return 0.0
        rows, group = self._of("train"), value("grpo", trainer, "num_generations")
        epochs = steps * step_rows("grpo", trainer) / group / rows if rows else 0
        times = steps // wanted["every_steps"] if wanted["every_steps"] else int(epochs / wanted["every_epochs"] + 1e-3)
        longest = wanted["max_completion_tokens"] or value("grpo", trainer, "max_completion_length")
        items = wanted["items"] * len(self._work["evaluated"])
        seconds = self._decoded(items * wanted["samples"], items, longest, self._shares.get(name), trainer)
        return (times + 1) * seconds

    def _rollouts(self, wanted: dict[str, Any]) -> Hours:
        rows = self._of("train")
        if rows is None:
            return Hours("rollouts", None)
        rows = min(rows, KEPT * wanted["target"]) if wanted["target"] else rows
        return Hours("rollouts", START + self._answered(rows, wanted["completions"], wanted))

    def _evaluation(self) -> Hours:
        work, wanted = self._work, self._settings["evaluation"]
        seconds = 0.0
        for task, samples in work["cells"]:
            rows = self._of("eval", task)
            if rows is None:
                return Hours("evaluation", None)
            seconds += START + self._answered(rows, samples, wanted)
        return Hours("evaluation", seconds)

    def _answered(self, rows: int, samples: int, wanted: dict[str, int]) -> float:
        """Seconds to answer each row so many times with the merged model in 16 bits."""
        longest, batch = wanted["max_completion_tokens"], wanted["batch_size"]
        return self._decoding(rows * samples, rows, longest, batch, self._known.bytes(False), self._vllm)

    def _decoded(
        self, completions: int, prompts: float, longest: int, share: Share | None, trainer: dict[str, Any]
    ) -> float:
        """Seconds to sample within GRPO."""
        known, in_4bit = self._known, bool((self._settings["adapter"] or {}).get("load_in_4bit"))
        # bitsandbytes unpacks a layer for each batch: reads 4 bits, writes 16, reads 16
        moved = known.linear * (NF4 + 2 * HALF if in_4bit else HALF) + known.embedding * HALF
        at_once = completions
        if share and share.sequences is not None:
            room = max(1, share.sequences) * share.length / (self._prompt + MEAN * longest)
            at_once = min(completions, share.at_once, max(1, int(room)))
            if share.sequences == share.wanted:
                at_once = min(completions, share.at_once)
        return self._decoding(completions, prompts, longest, at_once, moved, bool(share))

    def _decoding(
        self, completions: float, prompts: float, longest: int, at_once: float, moved: float, vllm: bool
    ) -> float:
        """Seconds: the prompts once, then a token a step for `at_once` completions, the last ones at their longest.

        moved: bytes of weights that a step reads.
        """
        known, at_once = self._known, min(at_once, completions)
        fast, wide = self._device.tera * 1e12 * COMPUTE, self._device.bandwidth * 1e9 * BANDWIDTH
        reading = prompts * self._prompt * 2 * known.weights / fast
        cache = at_once * known.cache(int(self._prompt + MEAN * longest / 2))
        step = max((moved + cache) / wide, at_once * 2 * known.weights / fast)
        step += LAUNCH if vllm else EAGER * known.layers
        mean = MEAN * longest if vllm else longest  # `generate` goes on until the last of a batch has ended
        return reading + step * (completions * mean / at_once + (longest - mean))

    def _trained(self, stage: str, trainer: dict[str, Any], tokens: float, scored: float, passes: int) -> float:
        """Seconds of forward and backward. passes: further ones without gradient. scored: tokens with logits.

        2 operations a weight and token forward, as many for the gradient of what comes in, as many again for that of
        the weights where they are trained, and a second forward with gradient checkpointing.
        """
        known, all_weights = self._known, self._settings["adapter"] is None
        again = bool(value(stage, trainer, "gradient_checkpointing"))
        body = 2 * known.linear * (2 + again + all_weights + passes)
        head = 2 * known.embedding * (2 + all_weights + passes)
        return (tokens * body + scored * head) / (self._device.tera * 1e12 * COMPUTE)
