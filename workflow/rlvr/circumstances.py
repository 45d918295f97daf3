"""What can change a result and stands in no file of the experiment: code, plugins, seeds, flags, how it was asked for.

Recorded in every manifest; torch is looked at only where a stage imported it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr import digests, yaml_files
from rlvr_plugins.manager import catalogue

ASKED = "RLVR_ASKED"
"""Environment variable by which snakemake hands its config files and overrides to the stages, as JSON."""

ENVIRONMENT = (
    *("PYTHONHASHSEED", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_CBWR"),
    *("RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG"),
    *("NVIDIA_TF32_OVERRIDE", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "ATEN_CPU_CAPABILITY"),
    *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "RLVR_PLUGINS"),
)


def facts(stage: str, config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a stage ran under, for its manifest. given: the files of each of its arguments."""
    return {
        "code": digests.stage(stage),
        "parts": parts(stage, config),
        "plugins": plugins(stage, config, given),
        "seeds": seeds(config),
        "flags": flags(),
        "asked": json.loads(os.environ.get(ASKED, "null")),
    }


def asked(
    files: Sequence[Path], overrides: Sequence[str] | Mapping[str, Any], commits: Mapping[str, str] | None = None
) -> str:
    """Config files, by their path from here where they lie below, overrides, and commits of named revisions; JSON."""
    here = Path.cwd()
    paths = [path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path for path in files]
    found = {"configfiles": list(map(str, paths)), "config": yaml_files.overrides(overrides)}
    return json.dumps(found | ({"revisions": dict(commits)} if commits else {}))


def parts(stage: str, config: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the code that a stage uses only where its config asks for it."""
    return {"evaluation": digests.part("evaluation")} if stage == "grpo" and config.get("evaluate") else {}


def plugins(stage: str, config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the plugins that a stage uses, such as `reward/format` or `task/countdown (verifier)`."""
    found = {f"reward/{name}": digests.reward(name) for name in config.get("rewards", {})}
    if "filter" in config:
        found[f"filter/{config['filter']}"] = digests.filter(config["filter"])
    for task in _sources(stage, config, given):
        found[f"task/{task} (source)"] = digests.source(task)
    for task in _verifiers(stage, config, given):
        found[f"task/{task} (verifier)"] = digests.verifier(task)
    return found


def _sources(stage: str, config: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Tasks whose code makes items, prompts or the words that are compared."""
    if stage == "generate":
        return [config["prompt"]["task"]] if config.get("prompt") else []
    if stage == "relabel":
        return [config["task"], config["second"]]
    held_out = {task for file in given.get("evaluation") or [] for task in _tasks(file)}
    return sorted({config["task"], *held_out}) if stage in ("data", "filter", "select") else []


def _verifiers(stage: str, config: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Tasks whose verifier is asked."""
    if stage == "grpo":
        files = [*given.get("data", []), *(given.get("held_out") or [] if config.get("evaluate") else [])]
        return sorted({task for file in files for task in _tasks(file)})
    if stage == "relabel":
        return [config["second"]]
    needed = {
        "score": lambda: True,
        "repeat": lambda: True,
        "select": lambda: True,
        "rollouts": lambda: "filter" in config,
        "filter": lambda: "verifier" in catalogue().filter(config["filter"]).needs,
        "data": lambda: catalogue().task(config["task"]).gold is not None,
    }
    return [config["task"]] if stage in needed and needed[stage]() else []


def _tasks(file: Path) -> list[str]:
    import pyarrow.compute as pc

    from rlvr import tables

    return pc.unique(tables.table(file, ["task"])["task"]).to_pylist()


def seeds(config: Any, where: str = "") -> dict[str, int]:
    """Every seed in a config, by its key."""
    found = {}
    for key, value in config.items() if isinstance(config, Mapping) else ():
        name = f"{where}{key}"
        if key in ("seed", "data_seed") and value is not None:
            found[name] = value
        found |= seeds(value, f"{name}.")
    return found


def flags() -> dict[str, Any]:
    """Switches of this process that can change a result."""
    found: dict[str, Any] = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    torch = sys.modules.get("torch")
    return found | (_flags_of_torch(torch) if torch else {})


def _flags_of_torch(torch: Any) -> dict[str, Any]:
    backends = torch.backends
    asked: dict[str, Callable[[], Any]] = {
        "threads": torch.get_num_threads,
        "interop_threads": torch.get_num_interop_threads,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled,
        "float32_matmul_precision": torch.get_float32_matmul_precision,
        "matmul_tf32": lambda: backends.cuda.matmul.allow_tf32,
        "cudnn_tf32": lambda: backends.cudnn.allow_tf32,
        "cudnn_benchmark": lambda: backends.cudnn.benchmark,
        "cudnn_deterministic": lambda: backends.cudnn.deterministic,
        "cpu_capability": backends.cpu.get_cpu_capability,
    }
    if torch.cuda.is_initialized():
        asked["gpu"] = torch.cuda.get_device_name
    return {f"torch.{name}": _answer(ask) for name, ask in asked.items()}


def _answer(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except RuntimeError:  # torch refuses to say where its old and new switches were mixed
        return "unknown"
