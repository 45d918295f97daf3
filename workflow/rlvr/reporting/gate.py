"""How far each exported model is from the policy it was made of."""

from __future__ import annotations

import json

import pandas as pd

from rlvr.reporting.results import Results


def table(results: Results) -> pd.DataFrame | None:
    """A row an arm with a merged model, as text; None where no gate was run."""
    rows = []
    for arm in results.trained():
        file = results.folder / "model" / arm.path / "gate" / "gate.json"
        if file.is_file():
            rows.append({"arm": arm.path, **_row(json.loads(file.read_text(encoding="utf-8")))})
    return pd.DataFrame(rows) if rows else None


def _row(found: dict) -> dict[str, str]:
    if not found["checked"]:
        return {**dict.fromkeys(_SHOWN, ""), "weights that differ": "", "passed": "not checked"}
    weights = f"{found['weights_differing']} of {found['weights_held']}"
    if found["first_difference"]:
        weights += f", first {found['first_difference']}"
    shown = {title: _number(found[key], form) for title, (key, form) in _SHOWN.items()}
    return {**shown, "weights that differ": weights, "passed": "yes" if found["passed"] else "no"}


_SHOWN = {
    "prompts": ("prompts", "d"),
    "tokens": ("tokens", "d"),
    "mean KL": ("mean_kl", ".2g"),
    "max KL": ("max_kl", ".2g"),
    "agreement": ("agreement", ".2%"),
    "largest difference": ("max_logit_difference", ".2g"),
}


def _number(value: float | None, form: str) -> str:
    return "not a number" if value is None else format(value, form)
