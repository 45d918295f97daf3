"""Checks that a task, reward or filter keeps to the contract, without a model; `rlvr check` prints them.

Verifiers, rewards and filters are called in a worker process, so that one that hangs, crashes or eats memory
fails a check and not the checker. What makes a task's items runs here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr_plugins.conformance import filters, suite
from rlvr_plugins.conformance.suite import Finding

__all__ = ["Finding", "check"]


def check(kind: str, name: str, options: Mapping[str, Any] | None = None) -> list[Finding]:
    """All findings on a plugin.

    kind: `task`, `reward` or `filter`. options: of a task or filter, in place of its `offline` ones. Raises
    PluginError on an unknown name, and WorkerError where the plugin can't be loaded in a fresh process.
    """
    return filters.check(name, options) if kind == "filter" else suite.check(kind, name, options)
