"""The statistics of the report. None everywhere means: not estimable from these data."""

from __future__ import annotations

LEVEL = 0.05
"""One minus the confidence of an interval, and the bound on p for what counts as evidence."""

Interval = tuple[float, float]
