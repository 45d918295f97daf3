"""Checks that a task or reward keeps to the contract, without a model; `rlvr check` prints them.

Each call of the plugin happens in a worker process, so that one that hangs, crashes or eats memory
fails a check and not the checker.
"""

from rlvr_plugins.conformance.suite import Finding, check

__all__ = ["Finding", "check"]
