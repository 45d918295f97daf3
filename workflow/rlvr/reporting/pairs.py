"""Which arms are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlvr.reporting.results import Arm


@dataclass(frozen=True)
class Pair:
    """Two arms that are compared: `second` with `first`."""

    first: Arm
    second: Arm

    @property
    def slug(self) -> str:
        return f"{self.first.slug}--{self.second.slug}"


def of(config: Mapping[str, Any]) -> list[Pair]:
    """base with each arm, the start with what starts there, a real arm with its control, the first variant with the
    others under the same seed. config: the report's."""
    arms, controls = [Arm(path) for path in config["arms"]], config["controls"]
    trained = [arm for arm in arms if arm.kind == "grpo"]
    real = next((arm for arm in trained if arm.path not in controls), None)
    found = [("base", arm.path) for arm in arms if arm.path != "base"]
    found += [(config["starts"][arm.path], arm.path) for arm in arms if arm.path in config["starts"]]
    found += [(real.path, path) for path in controls if real]
    for arm in trained:
        beside = f"grpo/{real.variant}/seed{arm.seed}"
        if arm.path not in controls and arm.variant != real.variant and beside in config["arms"]:
            found.append((beside, arm.path))
    return [Pair(Arm(first), Arm(second)) for first, second in dict.fromkeys(found)]
