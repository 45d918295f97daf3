"""Tasks and rewards for RLVR as plugins: the contract and the built-in ones.

Importing this package costs milliseconds and never imports torch.
"""

from rlvr_plugins.hookspecs import PROJECT, hookimpl
from rlvr_plugins.types import Example, Limits, Reward, Sample, Task, Verdict

__all__ = ["PROJECT", "Example", "Limits", "Reward", "Sample", "Task", "Verdict", "hookimpl"]
