"""Controls: arms that show what a gain is not due to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REWARDS = {"random_reward": {"random": 1.0}, "format_only": {"format_only": 1.0}}
"""The only reward of a control that is GRPO."""
LONGER = "longer"
"""The SFT arm of `sft_longer`."""


def expanded(config: Any) -> Any:
    """A config as read from a file, with each control that is GRPO as a variant like the first one but for its reward.

    Raises ValueError where a variant has the name of a control.
    """
    wanted = config.get("controls") if isinstance(config, Mapping) else None
    grpo = config.get("grpo") if wanted else None
    if not isinstance(wanted, list) or not isinstance(grpo, Mapping):
        return config
    variants = grpo.get("variants") or {"grpo": {}}
    if not isinstance(variants, Mapping):
        return config
    for name in REWARDS:
        if name in variants:
            raise ValueError(f"grpo.variants.{name}: is the name of a control; allowed: another name")
    first = next(iter(variants.values())) or {}
    if not isinstance(first, Mapping):
        return config
    added = {name: {**first, "rewards": REWARDS[name]} for name in wanted if name in REWARDS}
    return {**config, "grpo": {**grpo, "variants": {**variants, **added}}}


def arms(controls: list[str], seed: int) -> dict[str, str]:
    """The control of each arm that is one. seed: the first of the experiment."""
    paths = {"sft_longer": f"sft/{LONGER}"}
    return {paths.get(name, f"grpo/{name}/seed{seed}"): name for name in controls}
