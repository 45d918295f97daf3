"""Several comparisons at once."""

from __future__ import annotations

from collections.abc import Sequence

from statsmodels.stats.multitest import multipletests


def holm(p: Sequence[float]) -> list[float]:
    """Each p after Holm's correction (statsmodels); a family of none has none."""
    return [float(value) for value in multipletests(p, method="holm")[1]] if len(p) else []
