"""Writes the table of presets and tiers of memory into docs/presets.md, by arithmetic; the same on every machine.

    python benchmarks/preset_table.py           # --check: exit 1 where the table there is another

All packages of the GPU set count as installed, and no model or GPU is needed: the bases' published shapes lie in
`workflow/rlvr/memory/published.json`, the GPUs in `workflow/rlvr/memory/devices.py`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rlvr import config, console, slices
from rlvr.engines import choice
from rlvr.memory import advice, devices, hours, published, sampling, shapes, sizes, vllm_share
from rlvr.memory.machine import GIB
from rlvr.trainer_options import generated_at_once, value

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "presets.md"
FIRST, LAST = "<!-- preset table: written by benchmarks/preset_table.py -->", "<!-- end of the preset table -->"
PRESETS = {path.stem: [path] for path in sorted((ROOT / "config" / "presets").glob("*.yaml"))}
PRESETS |= {
    f"{path.parent.name}/{path.stem}": [*PRESETS[path.parent.name], path]
    for path in sorted((ROOT / "config" / "presets").glob("*/*.yaml"))
}
WITHOUT_GPU = "tiny-gsm8k"
COLUMNS = (
    *("preset", "tier", "trains, samples", "completions that fit at once", "vLLM's share", "GiB while GRPO trains"),
    *("time (GPU)", "with `night.yaml`"),
)


def loaded(name: str, tier: int) -> config.Config:
    """A preset on a tier of memory."""
    return config.load([*PRESETS[name], ROOT / "config" / "memory" / f"{tier}gb.yaml"])


def row(name: str, tier: int) -> list[str]:
    """One preset on one tier."""
    experiment = loaded(name, tier)
    cut = slices.of(experiment)
    settings = sampling.resolved(cut["preflight"], "cuda")
    model, lengths = published.config(experiment.base.model), shapes.assumed(settings["lengths"])
    known, device, capacity = sizes.of(model), devices.of_memory(tier), tier * GIB
    [(variant, trainer)] = settings["grpo"].items()
    adapter, trains = settings["adapter"], settings["trains"]
    length = lengths.prompt + value("grpo", trainer, "max_completion_length")
    shares = {}
    if trainer["use_vllm"]:
        shares[variant] = vllm_share.of(model, trainer, adapter, trains, length, capacity)
    parts = memory(known, trainer, adapter, trains, length, capacity, shares.get(variant))
    stages = hours.Clock(settings, cut["hours"], known, device, shares, lengths.prompt).stages()
    share, wanted = shares.get(variant), generated_at_once(trainer)
    fits = wanted if share is None else share.sequences
    few = " (fewer than a group)" if share is not None and share.short else ""
    bits = "4" if adapter["load_in_4bit"] else "16"
    listed = ", ".join(f"{part} {size / GIB:.1f}" for part, size in parts.items() if size >= GIB / 20)
    return [
        f"`{name}`",
        f"{tier} GB",
        f"{trains.replace('unsloth', 'Unsloth')} in {bits} bits, {'vLLM' if share else 'transformers'}",
        f"{fits} of {wanted:,}{few}",
        f"{share.share:.2f}" if share else "",
        f"{sum(parts.values()) / GIB:.1f}: {listed}",
        f"{hours.show(sum(stage.hours for stage in stages))} ({device.name})",
    ]


def memory(
    known: sizes.Sizes,
    trainer: dict,
    adapter: dict,
    trains: str,
    length: int,
    capacity: int,
    share: vllm_share.Share | None,
) -> dict[str, int]:
    """Bytes by part."""
    unsloth = trains == "unsloth"
    parts = vllm_share.trained(known, trainer, adapter, unsloth, length)
    if share is None:
        cache = generated_at_once(trainer) * known.cache(length)
        return {**parts, "weights": known.bytes(adapter["load_in_4bit"]), "KV cache": cache}
    whole = int(share.share * (capacity - vllm_share.CONTEXT if unsloth else capacity))
    shared = share.held if unsloth else parts["weights"]
    return {**parts, "weights": shared, "vLLM": whole - (shared if unsloth else 0)}


def table() -> str:
    choice.installed = lambda part: True
    console.note = lambda *_, **__: None
    names = [name for name in PRESETS if not name.endswith("/night") and name != WITHOUT_GPU]
    lines = [line(name, tier) for name in names for tier in advice.TIERS]
    return "\n".join([f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *lines, ""])


def line(name: str, tier: int) -> str:
    """One of the table: a preset on a tier, and the time of its night there."""
    night = row(f"{name}/night", tier)[-1] if f"{name}/night" in PRESETS else ""
    return f"| {' | '.join([*row(name, tier), night.partition(' (')[0]])} |"


def main() -> int:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(FIRST)
    there, _, after = rest.partition(LAST)
    wanted = f"\n\n{table()}\n"
    if "--check" in sys.argv[1:]:
        return int(there != wanted)
    PAGE.write_text(f"{before}{FIRST}{wanted}{LAST}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
