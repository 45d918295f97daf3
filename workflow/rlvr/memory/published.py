"""The published shapes of the presets' base models, for estimates before any of them is here."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig

FILE = Path(__file__).with_name("published.json")
"""Of each model's config.json what decides its size."""


def config(model: str) -> PreTrainedConfig | None:
    """None for a model that is not among them."""
    known = json.loads(FILE.read_text(encoding="utf-8")).get(model)
    return known and AutoConfig.for_model(**known)
