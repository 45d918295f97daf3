"""Tries one thing in a process of its own and prints what came of it as JSON.

    python -P probe.py vllm

A library that crashes or hangs takes only this process with it, and none meets what another one has patched.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PLAIN = {
    "task": "a task",
    "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1"}],
}


def torch_and_device() -> dict[str, Any]:
    import torch

    facts: dict[str, Any] = {"build": torch.version.cuda or "CPU", "devices": [], "cuda": torch.cuda.is_available()}
    if torch.version.cuda and not facts["cuda"]:
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:
            facts["why"] = _first_line(error)
    for index in range(torch.cuda.device_count() if facts["cuda"] else 0):
        has = torch.cuda.get_device_properties(index)
        facts["devices"].append(
            {
                "name": has.name,
                "memory": has.total_memory,
                "free": torch.cuda.mem_get_info(index)[0],
                "capability": f"{has.major}.{has.minor}",
            }
        )
    if find_spec("torchvision"):
        try:
            import torchvision  # noqa: F401
        except (RuntimeError, ImportError, OSError) as error:
            facts["torchvision"] = _first_line(error)
    return facts


def transformers() -> dict[str, Any]:
    import peft  # noqa: F401
    from transformers import AutoModelForCausalLM  # noqa: F401
    from trl import GRPOTrainer, SFTTrainer  # noqa: F401

    return {}


def unsloth() -> dict[str, Any]:
    from unsloth import FastLanguageModel  # noqa: F401

    return {}


def vllm() -> dict[str, Any]:
    from vllm import LLM  # noqa: F401
    from vllm.platforms import current_platform

    return {"device": current_platform.device_type}


def four_bit() -> dict[str, Any]:
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = torch.linspace(-1, 1, 4096, device=device).reshape(64, 64)
    back = dequantize_4bit(*quantize_4bit(weights, quant_type="nf4"))
    return {"device": device, "error": (back - weights).abs().max().item()}


def model(folder: str, conversations: str = "") -> dict[str, Any]:
    """What training and sampling ask of a model's files; loads its tokenizer, not its weights.

    conversations: as `template_check.examine` takes them, JSON.
    """
    from transformers import AutoTokenizer

    from rlvr import template_check

    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    ends = template_check.end_tokens(Path(folder), tokenizer)
    facts = {
        "pad": tokenizer.pad_token,
        "ends": [tokenizer.convert_ids_to_tokens(end) for end in sorted(ends)],
        "template": bool(tokenizer.chat_template),
        "tokens": len(tokenizer),
        "rows": config.get("vocab_size") or config.get("text_config", {}).get("vocab_size"),
    }
    if facts["template"]:
        given = json.loads(conversations) if conversations else [PLAIN]
        facts["findings"] = list(map(vars, template_check.examine(tokenizer, ends, given)))
    return facts


PROBES = {
    "torch": torch_and_device,
    "transformers": transformers,
    "unsloth": unsloth,
    "vllm": vllm,
    "4-bit": four_bit,
    "model": model,
}


def _first_line(error: BaseException) -> str:
    while error.__cause__:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


def main(name: str, *arguments: str) -> None:
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)  # what the libraries print
        try:
            facts = PROBES[name](*arguments)
        except Exception as error:  # anything a library raises while it is imported
            facts = {"problem": _first_line(error)}
        json.dump(facts, answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
