"""Looks at the machine for one config."""

from __future__ import annotations

import json
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rlvr import availability, comparison, config, nvidia, template_check
from rlvr.doctor import diagnosis, machine, needs, packages, trials
from rlvr.doctor.findings import Finding
from rlvr.errors import RlvrError


def examine(files: list[Path], root: Path) -> dict[str, Any]:
    """Findings about this machine and the parts that the config in `files` needs and that are lacking.

    root: the checkout, with `results/`. Takes as long as the slowest engine does to import.
    """
    values, about, prompts = _config(files)
    needed = needs.of(values)
    folder, where = needs.base_folder(values, root) if values else (None, "")
    probes = {"torch": [], "transformers": []}
    probes |= {part: [] for part in ("unsloth", "vllm", "4-bit") if not availability.missing(part)}
    probes |= {"model": [str(folder.resolve()), json.dumps(prompts)]} if folder else {}
    with ThreadPoolExecutor(1) as pool:
        hub = pool.submit(machine.hub)
        answers = trials.run(probes)
        hub = hub.result()
    cuda = answers["torch"].get("cuda", False)
    if values.get("device") == "auto" and not cuda and not nvidia.hidden() and nvidia.gpus():
        needed.add("cuda")  # every stage would stop: engines/device.py
    versions, differing = packages.compare("cuda" if cuda else "cpu")
    found = [
        *diagnosis.installed(versions, differing),
        *diagnosis.computer(answers["torch"], versions.get("torch", "")),
        diagnosis.disk(root, Path(hub["cache"])),
        *diagnosis.dvc(root),
        *diagnosis.engines(answers, versions.get("trl")),
        diagnosis.hub(hub),
        *about,
        *_packages(needed),
    ]
    if folder:
        found += diagnosis.model(answers["model"], where)
    elif values:
        found.append(Finding("config", "model", "ok", f"{values['base']['model']}: not looked at, {where}"))
        needed |= {"hub"} if "hub" in where else set()
    lacking = [each.part for each in found if each.mark == "lack" and each.part in needed]
    return {
        "python": platform.python_version(),
        "versions": versions,
        "configfiles": [str(file) for file in files],
        "needed": sorted(needed),
        "lacking": list(dict.fromkeys(lacking)),
        "findings": found,
    }


def _config(files: list[Path]) -> tuple[dict[str, Any], list[Finding], list[dict[str, Any]]]:
    """The config as plain values, empty without one that holds, what there is to say about it, and its prompts."""
    if not files:
        return {}, [], []
    try:
        loaded = config.load(files)
    except RlvrError as error:
        lines = str(error).splitlines()
        return {}, [Finding("config", "config", "lack", line, "see config/README.md") for line in lines], []
    prompts = template_check.of_texts(comparison.texts(loaded))
    return loaded.model_dump(), [Finding("config", "config", "ok", f"experiment {loaded.experiment}")], prompts


def _packages(needed: set[str]) -> list[Finding]:
    """The optional packages that only a config makes needed."""
    found = []
    for part, cure in needs.INSTALL.items():
        if part in needed:
            lacking = ", ".join(availability.missing(part))
            mark, text = ("lack", f"not installed: {lacking}") if lacking else ("ok", "installed")
            found.append(Finding("config", part, mark, text, cure if lacking else ""))
    return found
