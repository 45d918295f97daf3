"""Which file names Snakemake takes as they stand."""

from __future__ import annotations


def check(name: str) -> None:
    """Raises ValueError where Snakemake would read a file's name as a pattern, or refuse it.

    Braces are its wildcards, angle brackets its path variables; blanks at an end and what can't be printed it refuses.
    """
    found = [c for c in name if c in "{}<>" or not c.isprintable()]
    if found or name != name.strip():
        what = f"holds {found[0]!r}" if found else "begins or ends with a blank"
        shown = name if len(name) < 100 else f"{name[:97]}..."
        raise ValueError(
            f"{shown!r} is not possible, as it {what}, which Snakemake reads as something else; allowed: a name "
            "without { } < >, control characters and blanks at its ends"
        )
