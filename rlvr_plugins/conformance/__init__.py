"""Checks that a task or reward keeps to the contract, without a model; `rlvr check` prints them.

Verifiers and rewards are called in a worker process, so that one that hangs, crashes or eats memory
fails a check and not the checker. What makes a task's items runs here.
"""

from rlvr_plugins.conformance.suite import Finding, check

__all__ = ["Finding", "check"]
