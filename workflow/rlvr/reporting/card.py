"""The data card of a task's rows, in the format of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCardData
from jinja2 import Environment, StrictUndefined

from rlvr.reporting.filtered import filter_table

TEMPLATE = Path(__file__).with_suffix(".md.j2")
SIZES = (("n<1K", 1_000), ("1K<n<10K", 10_000), ("10K<n<100K", 100_000), ("100K<n<1M", 1_000_000), ("1M<n<10M", 10**7))


CONFIGS = {"train": ("default", "train"), "sft": ("sft", "train"), "eval": ("eval", "test")}
"""Config and split of the hub for each of ours; each a config of its own, as the columns differ."""


def render(config: Mapping[str, Any], found: Mapping[str, Any], files: Mapping[str, Path]) -> str:
    """The card of `stats.json`'s content; `files` by split, all in the card's folder."""
    splits = {split: counts for split, counts in found["splits"].items() if counts["kept"]}
    total = sum(counts["kept"] for counts in splits.values())
    head = DatasetCardData(
        pretty_name=f"{config['task']} of {config['experiment']}",
        size_categories=next((name for name, limit in SIZES if total < limit), "n>1T"),
        task_categories=["text-generation"],
        tags=["rlvr"],
        configs=[
            {"config_name": config, "data_files": [{"split": part, "path": files[split].name}]}
            for split, (config, part) in CONFIGS.items()
            if split in splits
        ],
    )
    filters = filter_table({config["task"]: found}).drop(columns="task")
    filters["why"] = filters["why"].str.replace("|", r"\|").str.replace("<", "&lt;")
    environment = Environment(autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        config=config,
        splits=found["splits"],
        source=found["source"],
        lengths=found["lengths"],
        rates="pass_rates" in found,
        filters=filters.to_markdown(index=False, disable_numparse=True),
    )
    return f"---\n{head.to_yaml()}\n---\n{text}"
