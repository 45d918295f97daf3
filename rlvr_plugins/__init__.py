"""Tasks, rewards and filters for RLVR as plugins: the contract and the built-in ones.

Importing this package costs milliseconds and never imports torch.
"""

from rlvr_plugins.filter_types import Filter, FilterContext, Rollout, Row, Sampling
from rlvr_plugins.hookspecs import PROJECT, hookimpl
from rlvr_plugins.types import Example, Limits, Reward, Sample, Splits, Task, Verdict

__all__ = [
    "PROJECT",
    "Example",
    "Filter",
    "FilterContext",
    "Limits",
    "Reward",
    "Rollout",
    "Row",
    "Sample",
    "Sampling",
    "Splits",
    "Task",
    "Verdict",
    "hookimpl",
]
