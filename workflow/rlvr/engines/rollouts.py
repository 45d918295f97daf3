"""TRL's options for the engine that samples within GRPO."""

from __future__ import annotations

from typing import Any

DEFAULTS = {"vllm_importance_sampling_mode": "token_truncate", "vllm_gpu_memory_utilization": 0.4}
"""Over TRL's own, which masks whole completions whose probabilities differ between vLLM and a 4-bit base."""


def arguments(name: str, server: str | None) -> dict[str, Any]:
    """What the engine decides. name: `transformers`, `vllm_colocate` or `vllm_server`."""
    if name == "transformers":
        return {"use_vllm": False}
    if name == "vllm_colocate":
        return {"use_vllm": True, "vllm_mode": "colocate"}
    return {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": server}
