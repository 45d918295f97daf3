"""GPUs with what decides how long a run takes, by their vendor's data sheets."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """tera: 10^12 operations a second with 16-bit matrices, dense, added up in float32 where the sheet tells them apart
    (bfloat16; float16 on the T4 and V100, which have no other). bandwidth: 10^9 bytes a second. memory: GB.
    """

    name: str
    tera: float
    bandwidth: float
    memory: int
    source: str


AMPERE, ADA = "NVIDIA GA102 architecture white paper", "NVIDIA Ada architecture white paper"
DEVICES = (
    Device("RTX 4060", 30, 272, 8, f"{ADA}, by its cores and clock"),
    Device("RTX 4060 Ti", 44, 288, 16, f"{ADA}, by its cores and clock"),
    Device("RTX 3090", 71, 936, 24, AMPERE),
    Device("RTX 4090", 165, 1008, 24, ADA),
    Device("T4", 65, 320, 16, "NVIDIA T4 data sheet"),
    Device("V100", 125, 900, 32, "NVIDIA V100 data sheet (SXM2)"),
    Device("A10", 125, 600, 24, "NVIDIA A10 data sheet"),
    Device("L4", 121, 300, 24, "NVIDIA L4 data sheet, half of what it gives with sparsity"),
    Device("L40S", 362, 864, 48, "NVIDIA L40S data sheet, half of what it gives with sparsity"),
    Device("A100 40GB", 312, 1555, 40, "NVIDIA A100 data sheet"),
    Device("A100 80GB", 312, 2039, 80, "NVIDIA A100 data sheet (SXM)"),
    Device("H100 PCIe", 756, 2000, 80, "NVIDIA H100 data sheet, half of what it gives with sparsity"),
    Device("H100", 989, 3350, 80, "NVIDIA H100 data sheet (SXM), half of what it gives with sparsity"),
    Device("H200", 989, 4800, 141, "NVIDIA H200 data sheet (SXM), half of what it gives with sparsity"),
)
ANOTHER = {"ti", "super", "d", "laptop", "mobile", "max", "mig"}
"""Words after a name that make it that of another card, or of a slice of one."""
OF_TIER = {8: "RTX 4060", 16: "RTX 4060 Ti", 24: "RTX 4090", 80: "H100"}
"""The GPU that stands for a tier of `config/memory/`, GB."""


def named(text: str) -> Device | None:
    """By the driver's name, such as `NVIDIA GeForce RTX 4090` or `NVIDIA A100-SXM4-80GB`; None: unknown."""
    asked = _words(text)
    fitting = [d for d in DEVICES if _words(d.name) <= asked and not (asked - _words(d.name)) & ANOTHER]
    return max(fitting, key=lambda device: len(_words(device.name)), default=None)


def of_memory(gib: float) -> Device | None:
    """The GPU that stands for the tier of that size; None where there is none within a tenth."""
    return next((named(name) for size, name in OF_TIER.items() if abs(gib - size) <= 0.1 * size), None)


def _words(text: str) -> set[str]:
    """`GeForce RTX 4060Ti` and `A100-SXM4-80GB` as words: a number and its letters apart where a suffix follows."""
    spaced = re.sub(r"(\d{4})(ti)\b", r"\1 \2", text.lower())
    return set(re.findall(r"[a-z0-9]+", spaced))
