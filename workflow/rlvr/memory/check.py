"""Whether the stages of an experiment fit a device, with a table and advice."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from transformers import PreTrainedConfig

from rlvr.engines import rollouts
from rlvr.memory import advice, apart, estimate, host, machine, sampling, sizes, vllm_share
from rlvr.memory.devices import Device
from rlvr.memory.hours import Clock, Hours
from rlvr.memory.machine import GIB
from rlvr.memory.shapes import Lengths
from rlvr.trainer_options import value

MIB = 2**20
UNSLOTH = "; it may fit all the same: Unsloth trains it, which takes less than this estimate of TRL alone"


class Check:
    """The estimates of all stages on a device of that capacity, bytes, and of those on the CPU within `ram`, bytes;
    None: this machine's.

    Raises apart.Failed where there is none.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        model: PreTrainedConfig,
        lengths: Lengths,
        device: str,
        capacity: int,
        ram: int | None = None,
    ) -> None:
        self._settings = {**sampling.resolved(settings, device), "memory": capacity}
        self._estimate = partial(estimate.of, model=model, lengths=lengths, device=device, rows=settings["rows"])
        self._lengths = lengths
        self._model = model
        self._device = device
        self._capacity = capacity
        self._usable = int(capacity * (1 - settings["reserve"]))
        self._shares = self._vllm(model)
        self.estimates = self._estimate(self._settings)
        self.host = host.of(settings, model) if model is not None else []
        self._ram = machine.capacity("cpu") if ram is None else ram

    def _vllm(self, model: PreTrainedConfig) -> dict[str, vllm_share.Share]:
        """vLLM's share of the GPU for each variant of GRPO that it samples for in the same process."""
        known = self._settings
        return {
            name: vllm_share.of(
                model,
                trainer,
                known["adapter"],
                known["trains"],
                self._lengths.prompt + value("grpo", trainer, "max_completion_length"),
                self._capacity,
            )
            for name, trainer in known["grpo"].items()
            if trainer["use_vllm"] and trainer["vllm_mode"] == "colocate"
        }

    @property
    def too_large(self) -> list[estimate.Estimate]:
        return [each for each in self.estimates if each.total > self._usable]

    @property
    def refused(self) -> bool:
        """Whether a stage is too large whose estimate is of the engine that would train it."""
        return bool(self.host_problem()) or any(not self._by_unsloth(each.stage) for each in self.too_large)

    def host_problem(self) -> str | None:
        """One line on export and gate, where they do not fit into the RAM; None where they do."""
        return host.problem(self.host, self._ram, int(self._ram * (1 - self._settings["reserve"])))

    def _by_unsloth(self, stage: str) -> bool:
        return stage.partition("/")[0] in ("sft", "grpo") and self._settings["trains"] == "unsloth"

    def record(self) -> dict[str, Any]:
        """All of it as JSON values, in bytes."""
        return {
            "device": self._device,
            "capacity": self._capacity,
            "usable": self._usable,
            "ram": self._ram,
            "lengths": {"prompt": self._lengths.prompt, "whole": self._lengths.whole, "source": self._lengths.source},
            "vllm": {name: dataclasses.asdict(share) for name, share in self._shares.items()},
            "stages": {
                each.stage: {"total": each.total, "parts": each.parts} for each in [*self.estimates, *self.host]
            },
        }

    def table(self) -> str:
        """A row a part, a column a stage, MiB; below it what was assumed."""
        shown = [*self.estimates, *self.host]
        names = list(dict.fromkeys(part for each in shown for part in each.parts))
        rows = [(name, [each.parts.get(name) for each in shown]) for name in names]
        rows = [(name, values) for name, values in rows if any(value and value >= MIB for value in values)]
        rows.append(("all", [each.total for each in shown]))
        titles = [*(each.stage for each in self.estimates), *(f"{each.stage} (RAM)" for each in self.host)]
        lines = ["| MiB | " + " | ".join(titles) + " |", "|:--|" + "--:|" * len(shown)]
        for name, values in rows:
            cells = ["" if value is None else f"{value / MIB:,.0f}" for value in values]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        kind = "GPU" if self._device == "cuda" else "CPU"
        return "\n".join(
            [
                *lines,
                "",
                f"{kind} with {self._capacity / GIB:.1f} GiB, {self._usable / GIB:.1f} GiB of it usable; prompts of up "
                f"to {self._lengths.prompt} tokens, with demonstration {self._lengths.whole} ({self._lengths.source})",
                *([f"RAM: {self._ram / GIB:.1f} GiB; export and gate run on the CPU"] if self.host else []),
            ]
        )

    def notes(self) -> list[str]:
        """What vLLM gets, and what will train, but not as one may think; a line each."""
        said = [f"grpo/{name}: {share.line()}" for name, share in self._shares.items()]
        found = {name: rollouts.biased(trainer) for name, trainer in self._settings["grpo"].items()}
        return said + [f"grpo/{name}: grpo.trainer.{line}" for name, line in found.items() if line]

    def hours(self, device: Device, work: dict[str, Any]) -> list[Hours] | None:
        """How long each stage takes there; None for a model of unknown sizes. work: of `shapes.work`."""
        known = sizes.of(self._model)
        if known is None:
            return None
        rows = self._settings["rows"] if self._lengths.rows else None
        return Clock(self._settings, work, known, device, self._shares, self._lengths.prompt, rows).stages()

    def problem(self) -> str | None:
        """One line on what does not fit; None where all fits."""
        return "; also, ".join(line for line in (self.device_problem(), self.host_problem()) if line) or None

    def device_problem(self) -> str | None:
        """One line on the largest stage that does not fit and what each change would save; None where all fit."""
        if not self.too_large:
            return None
        worst = max(self.too_large, key=lambda each: (not self._by_unsloth(each.stage), each.total))
        saved = []
        for text, changed in advice.changes(self._settings, worst.stage, self._device):
            try:
                [after] = self._estimate(changed, only=worst.stage)
            except apart.Failed:
                continue
            if worst.total - after.total >= 0.01 * worst.total:
                saved.append(f"{text} (saves {(worst.total - after.total) / GIB:.1f} GiB)")
        return (
            f"{worst.stage} needs about {worst.total / GIB:.1f} GiB, but of {self._capacity / GIB:.1f} GiB only "
            f"{self._usable / GIB:.1f} may be used; change, in this order: "
            f"{'; '.join(saved) or 'the base model'}; or lay {advice.tier(self._capacity / GIB)} over the config"
            + (UNSLOTH if self._by_unsloth(worst.stage) else "")
        )
