"""TRL's options for the engine that samples within GRPO."""

from __future__ import annotations

import json
from typing import Any

from rlvr.trainer_options import value

DEFAULTS = {"vllm_importance_sampling_mode": "token_truncate"}
"""Over TRL's own, which masks whole completions whose probabilities differ between vLLM and a 4-bit base."""


NEUTRAL = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Options that change the distribution that vLLM samples from, and where they do not."""


def arguments(name: str, server: str | None) -> dict[str, Any]:
    """What the engine decides. name: `transformers`, `vllm_colocate` or `vllm_server`."""
    if name == "transformers":
        return {"use_vllm": False}
    if name == "vllm_colocate":
        return {"use_vllm": True, "vllm_mode": "colocate"}
    return {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": server}


def biased(options: dict[str, Any]) -> str | None:
    """One line where TRL's ratio between trainer and sampler is off for every token, None where it is not.

    vLLM gives the log-probabilities of the distribution that it sampled from (`processed_logprobs`, for TRL 1.14.2 and
    for Unsloth), the trainer those over all tokens at the same temperature. What cuts tokens off or weighs them down
    is in the first alone (huggingface/trl#6789). options: those that TRL gets, `use_vllm` among them.
    """
    read = value("grpo", options, "off_policy_mask_threshold") is not None
    corrected = value("grpo", options, "vllm_importance_sampling_correction")
    if not value("grpo", options, "use_vllm") or not (corrected or read):
        return None
    given = value("grpo", options, "generation_kwargs") or {}
    given = json.loads(given) if isinstance(given, str) else given
    for name, neutral in NEUTRAL.items():
        found = given.get(name, value("grpo", options, name))
        if found not in (None, neutral) and not (name == "top_k" and found < 0):
            cure = " or vllm_importance_sampling_correction: false (which ends the check of max_logp_difference too)"
            return (
                f"{name}: {found:g} biases TRL's importance ratio where vLLM samples, as vLLM's probabilities are "
                f"those of the tokens it keeps and the trainer's those of all (trl#6789); set {name}: {neutral:g}"
                f"{'' if read else cure}"
            )
    return None
