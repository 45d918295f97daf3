"""Numbers that went through other types on their way into a file, read as the number that was meant.

A decimal number in a float comes back as the shortest decimal number that the float stands for. What is left after that
(rounding noise of a sum, a fraction cut off, digits beyond those that a float keeps) is rounded away where it is clear
what was meant, and refused elsewhere: as an answer it is one that no completion gives.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

ALLOWED = "write the number that is meant as a text, such as '0.3' or '1/3'"


class Unclear(ValueError):
    """A number of which can't be told what was meant; the message says why."""


@dataclass(frozen=True)
class Width:
    """What a float keeps. kept: decimal digits that come back unchanged. shortest: most digits of the shortest form of
    a number that was written with few. whole: whole numbers up to 2 to the power of it are exact. noise: of a sum,
    relative. noisy, short: a number of more digits than `noisy` is taken as noise on one of at most `short`.
    denominators: of fractions that are recognised, up to this one.
    """

    kept: int
    shortest: int
    whole: int
    noise: Decimal
    noisy: int
    short: int
    denominators: int


DOUBLE = Width(15, 15, 53, Decimal("1e-13"), 12, 9, 1000)
SINGLE = Width(6, 7, 24, Decimal("1e-6"), 6, 4, 100)
HALF = Width(3, 4, 11, Decimal(0), 3, 2, 20)
_WIDTHS = {8: DOUBLE, 4: SINGLE, 2: HALF}

_DECIMAL = re.compile(r"(?<![\w.])(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?(?![\w.])")
_WRITTEN_BY_NUMPY = re.compile(
    r"\s*(?:np|numpy)\.(float(?P<bits>16|32|64)|u?int[0-9]{1,2})\((?P<number>[^()]{1,40})\)\s*"
)
_WHOLE = re.compile(r"\s*(-?[0-9]{1,18})(?:\.0*)?\s*")


def text(value: Any) -> str | None:
    """The number as a text; None where the value is none, as are true, false, NaN and infinity.

    value: of Python, of Arrow (decimal) or a scalar of NumPy. Raises Unclear.
    """
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if isinstance(value, bool) or kind == "b":
        return None
    if isinstance(value, int) or kind in ("i", "u"):
        return str(int(value))
    if isinstance(value, Decimal):
        return _of_decimal(value) if value.is_finite() else None
    if isinstance(value, float) or kind == "f":
        if not float("-inf") < value < float("inf"):
            return None
        width = _WIDTHS.get(value.dtype.itemsize, DOUBLE) if kind == "f" else DOUBLE
        return _meant(float.__repr__(float(value)) if width is DOUBLE else str(value), width)
    return None


def meant(written: str) -> str:
    """A text in which a program wrote a number, with the number that was meant in its place. Raises Unclear."""
    found = _WRITTEN_BY_NUMPY.fullmatch(written)
    if found:
        return _of_text(found["number"].strip(), _WIDTHS[int(found["bits"] or 64) // 8])
    return _DECIMAL.sub(lambda match: _of_text(match[0], DOUBLE), written)


def _of_text(number: str, width: Width) -> str:
    try:
        return _meant(number, width) if re.search("[.eE]", number) else number
    except InvalidOperation:
        return number


def whole(value: Any) -> int | None:
    """A whole number, whatever type holds it; None where it is none, or a float that has lost its last digits."""
    if isinstance(value, str):
        found = _WHOLE.fullmatch(value)
        return int(found[1]) if found else None
    try:
        written = text(value)
        number = None if written is None else Decimal(written)
    except (Unclear, InvalidOperation):
        return None
    return int(number) if number is not None and number == number.to_integral_value() else None


def _of_decimal(value: Decimal) -> str:
    if value == value.to_integral_value():
        return f"{value:f}"
    return _meant(f"{value.normalize():f}", DOUBLE)


def _meant(shortest: str, width: Width) -> str:
    number = Decimal(shortest)
    digits = _digits(number)
    whole = number == number.to_integral_value()
    if digits <= width.noisy or (whole and abs(number) < 2**width.whole):
        return shortest
    rounded = _rounded(number, width.noisy)
    if _digits(rounded) <= width.short and abs(rounded - number) <= abs(number) * width.noise:
        return _plain(rounded)
    if width is DOUBLE and (narrow := _of_single(number)):
        return narrow
    fraction = Fraction(number).limit_denominator(width.denominators)
    last = Fraction(10) ** number.normalize().as_tuple().exponent
    sure = 10 * last * fraction.denominator**2 <= 1
    if sure and _repeats(fraction.denominator) and abs(Fraction(number) - fraction) <= last:
        raise Unclear(f"which is {fraction} cut off; {ALLOWED}")
    if digits > (width.kept if whole else width.shortest):
        raise Unclear(f"which has {digits} digits, more than such a number keeps; {ALLOWED}")
    return shortest


def _of_single(number: Decimal) -> str | None:
    """What a number of 4 bytes meant, that was widened to 8; None where it was not, or is unclear."""
    value = float(number)
    try:
        if value != struct.unpack("<f", struct.pack("<f", value))[0]:
            return None
        lengths = (f"{value:.{size}g}" for size in range(6, 10))
        shortest = next(each for each in lengths if struct.pack("<f", float(each)) == struct.pack("<f", value))
        return _meant(shortest, SINGLE)
    except (OverflowError, StopIteration, Unclear):
        return None


def _rounded(number: Decimal, digits: int) -> Decimal:
    return Context(prec=digits, rounding=ROUND_HALF_EVEN).plus(number).normalize()


def _digits(number: Decimal) -> int:
    return len(number.normalize(Context(prec=400)).as_tuple().digits)


def _plain(number: Decimal) -> str:
    return f"{number:f}" if -20 < number.adjusted() < 20 else str(number)


def _repeats(denominator: int) -> bool:
    """Whether the decimal digits of a fraction with that denominator never end."""
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return denominator > 1
