"""Holds an exported model against the policy it was made of, before anything is evaluated."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from rlvr import console, tables
from rlvr.errors import RlvrError

BOUNDS = {
    "mean_kl": "mean KL divergence at a token, nats",
    "max_kl": "largest KL divergence at a token, nats",
    "agreement": "share of tokens with the same most probable one",
    "max_logit_difference": "largest difference of a log-probability",
}


def run(
    config: dict[str, Any], *, base: Path, policy: Path, weights: Path, data: list[Path], measures: Path
) -> dict[str, Any]:
    """Writes to `measures` how far the model in `weights` is from its policy: the base with its adapter, unmerged, or
    the policy's own weights.

    A base that was held in 4 bits while training is held in 16 or 32 here, as it is merged: what the 4 bits changed is
    no part of what is measured. Both say what comes after the policy's own greedy answers to the first held-out prompts
    of each task; beside that, each stored weight is held against the base's plus its adapter. With `mode: refuse`,
    raises RlvrError naming the first measure past its bound and the first layer that differs. Where a GPU has room for
    a 16-bit forward only, whose own rounding may pass the bounds, the weights alone decide.
    """
    if config["mode"] == "off":
        measures.write_text(json.dumps({"checked": False, "passed": None}, indent=1) + "\n", encoding="utf-8")
        return {}
    from rlvr.engines import device

    chosen = device.choose(config["device"])
    found = _measure(config, base, policy, weights, data, chosen)
    past = _past(config, found)
    found |= {"checked": True, "passed": past is None, "bounds": {name: config[name] for name in BOUNDS}}
    text = json.dumps({name: _finite(value) for name, value in found.items()}, indent=1)
    console.note(f"gate: {text}")
    if past:
        decisive = found["dtype"] == "float32" or found["weights_differing"] or not found["weights_held"]
        if config["mode"] == "refuse" and decisive:
            raise RlvrError(f"{weights}: {past}")
        why = "gate.mode is warn" if decisive else f"every weight is right, and a forward in {found['dtype']} rounds"
        console.say(f"gate: {weights}: {past}; {why}, so the run goes on")
    measures.write_text(text + "\n", encoding="utf-8")
    return {"device": str(chosen), "passed": past is None}


def _measure(
    config: dict[str, Any], base: Path, policy: Path, weights: Path, data: list[Path], device: Any
) -> dict[str, Any]:
    from rlvr.engines import distance, generation, lengths, models

    tokenizer = models.load_tokenizer(policy)
    rows = [row for file in data for row in tables.read(file)[: config["prompts"]]]
    longest, limit = config["max_completion_tokens"], lengths.limit(base)
    encoded = generation.encode(tokenizer, [row["prompt"] for row in rows])
    prompts = [ids for ids in encoded if not limit or len(ids) + longest <= limit]
    if not prompts:
        raise RlvrError(
            f"gate.max_completion_tokens: {longest} leave no held-out prompt room in the {limit} tokens that the model "
            "takes; allowed: less"
        )
    model = _reference(base, policy, device)
    answers = distance.answer(model, prompts, longest, tokenizer.pad_token_id)
    reference = list(distance.predictions(model, prompts, answers, tokenizer.pad_token_id))
    dtype = model.dtype
    del model
    model = models.load_model(weights, device, dtype).eval()
    found = distance.compare(reference, distance.predictions(model, prompts, answers, tokenizer.pad_token_id))
    del model, reference
    differing, held = distance.differing(base, policy, weights)
    return {
        "prompts": len(prompts),
        **found,
        "dtype": str(dtype).removeprefix("torch."),
        "weights_held": held,
        "weights_differing": len(differing),
        "first_difference": str(differing[0]) if differing else None,
    }


def _reference(base: Path, policy: Path, device: Any) -> Any:
    """The policy as it trained, its adapter not merged: in float32, or in 16 bits on a GPU too small for that."""
    import torch
    from peft import PeftModel

    from rlvr import provenance
    from rlvr.engines import models
    from rlvr.engines.device import half

    provenance.require_trained_on(policy, base)
    adapter = models.is_adapter(policy)
    dtype = torch.float32
    if device.type == "cuda":
        size = sum(file.stat().st_size for file in (base if adapter else policy).glob("*.safetensors"))
        if 3 * size > torch.cuda.mem_get_info()[0]:  # files in 16 bits, and room for the forward
            dtype = getattr(torch, half(device))
    model = models.load_model(base if adapter else policy, device, dtype)
    return (PeftModel.from_pretrained(model, policy) if adapter else model).eval()


def _past(config: dict[str, Any], found: dict[str, Any]) -> str | None:
    """The first measure past its bound, None where all hold."""
    first = f"; first to differ: {found['first_difference']}" if found["first_difference"] else ""
    for name, meaning in BOUNDS.items():
        value, bound = found[name], config[name]
        least = name == "agreement"
        if not (value >= bound if least else value <= bound):
            allowed = f"{bound:g} or {'more' if least else 'less'}"
            return f"is not the model that was trained: {meaning}: {value:.3g}; allowed: {allowed} (gate.{name}){first}"
    if not found["weights_held"]:
        return "can't be held against its policy: none of its weights has a name that the policy's have"
    if found["weights_differing"]:
        return (
            f"is not the model that was trained: {found['weights_differing']} of {found['weights_held']} weights are "
            f"further from base and adapter than rounding; allowed: 0{first}"
        )
    return None


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
