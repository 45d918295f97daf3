"""What a number of items can show."""

from __future__ import annotations

from scipy.optimize import brentq
from scipy.stats import norm

from rlvr.statistics import LEVEL

POWER = 0.8


def smallest_difference(n: int, discordant: float) -> float | None:
    """The least difference of two arms that the two-sided McNemar test at 5 % finds with a power of 80 %.

    discordant: share of items that one arm has right and the other wrong. Solves n d² = (z₁ √ψ + z₂ √(ψ - d²))² for
    d: Connor, Biometrics 43 (1987). None where even a difference in all of these items would not do.
    """
    level, power = norm.ppf(1 - LEVEL / 2), norm.ppf(POWER)

    def lacking(difference: float) -> float:
        spread = level * discordant**0.5 + power * max(discordant - difference**2, 0.0) ** 0.5
        return n**0.5 * difference - spread

    if n == 0 or lacking(discordant) <= 0:
        return None
    return float(brentq(lacking, 0.0, discordant))
