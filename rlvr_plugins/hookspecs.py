"""The hooks a plugin may implement."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from rlvr_plugins.types import Reward, Task

PROJECT = "rlvr"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def rlvr_tasks() -> Iterable[Task]:
    """Tasks this plugin provides.

    Example:
        @hookimpl
        def rlvr_tasks():
            yield Task("reverse", options=Options, splits=splits, system=SYSTEM, user=user, verify=verify)
    """


@hookspec
def rlvr_rewards() -> Iterable[Reward]:
    """Rewards this plugin provides.

    Example:
        def integer(sample: Sample) -> float:
            return 0.5 if sample.answer.lstrip("-").isdigit() else 0.0

        @hookimpl
        def rlvr_rewards():
            yield Reward("integer", integer, bounds=(0.0, 0.5))
    """
