"""How tables are written: for programs, for people, for papers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

NOT_ESTIMABLE = "not estimable"
TEXT = ("arm", "variant", "stage", "task", "decoding", "from", "to", "verdict")


def known(value: Any) -> bool:
    return value is not None and not pd.isna(value)


def percent(share: float | None) -> str:
    return f"{100 * share:.1f}" if known(share) else NOT_ESTIMABLE


def points(difference: float | None) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * difference:+.1f}" if known(difference) else NOT_ESTIMABLE


def between(low: float | None, high: float | None, signed: bool = False) -> str:
    if not (known(low) and known(high)):
        return NOT_ESTIMABLE
    return f"{points(low)} to {points(high)}" if signed else f"{percent(low)}–{percent(high)}"


def p_value(p: float | None) -> str:
    if not known(p):
        return NOT_ESTIMABLE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def rounded(value: float | None) -> float | None:
    return round(float(value), 6) if known(value) else None


def write(tidy: pd.DataFrame, readable: pd.DataFrame, folder: Path, name: str, note: str = "") -> None:
    """Writes `name.csv` (tidy, fractions), `.md` and `.tex` (as people read it, per cent). note: below the `.md`."""
    write_csv(tidy, folder / f"{name}.csv")
    (folder / f"{name}.md").write_text(
        "\n\n".join([markdown(readable), *([note] if note else [])]) + "\n", encoding="utf-8"
    )
    (folder / f"{name}.tex").write_text(latex(readable), encoding="utf-8")


def write_csv(tidy: pd.DataFrame, file: Path) -> None:
    """Writes what can't be estimated in words; an arm without a seed or variant has an empty field."""
    text = tidy.astype(object)
    for column in text.columns.difference(["seed", "variant"]):
        text[column] = text[column].where(text[column].notna(), NOT_ESTIMABLE)
    text.to_csv(file, index=False)


def markdown(frame: pd.DataFrame) -> str:
    align = ["left" if column in TEXT else "right" for column in frame.columns]
    return frame.to_markdown(index=False, disable_numparse=True, colalign=align)


def latex(frame: pd.DataFrame) -> str:
    column_format = "".join("l" if column in TEXT else "r" for column in frame.columns)
    escapes = {"%": r"\%", "_": r"\_", "–": "--", "×": r"$\times$", "<": "$<$"}

    def escaped(text: str) -> str:
        for character, command in escapes.items():
            text = text.replace(character, command)
        return text

    return frame.map(escaped).rename(columns=escaped).to_latex(index=False, escape=False, column_format=column_format)
