"""Says in one line what to do about an out-of-memory error."""

from __future__ import annotations

import re
from typing import Any

from rlvr.memory import advice, machine

CUDA = re.compile(r"CUDA (error: )?out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED")
"""As what is not torch's allocator says it: CUDA itself, its libraries, bitsandbytes, vLLM as it warms up."""
VLLM = {
    "No available memory for the cache blocks": "higher",
    "KV cache is needed, which is larger than the available": "higher",
    "is less than desired GPU memory utilization": "lower",
}
"""What vLLM says that can't start, and which share of the GPU would help."""
CPU_ALLOCATOR = re.compile(r"DefaultCPUAllocator: [^\n]*allocate (\d+) bytes")


def line(error: BaseException, stage: str, config: dict[str, Any]) -> str | None:
    """The line for an error of a stage with that config slice; None where the error is another."""
    text = str(error)
    share = None
    if isinstance(error, MemoryError):
        device, wanted = "cpu", "more memory"
    elif type(error).__name__ == "OutOfMemoryError" and type(error).__module__.startswith("torch"):
        found = re.search(r"Tried to allocate ([\d.]+ \w+)", text)
        device, wanted = _present(), found[1] if found else "more memory"
    elif isinstance(error, RuntimeError) and (found := CPU_ALLOCATOR.search(text)):
        device, wanted = "cpu", f"{int(found[1]) / 2**20:.0f} MiB"
    elif isinstance(error, RuntimeError) and CUDA.search(text):
        device, wanted = _present(), "more memory"
    elif isinstance(error, ValueError) and (share := next((VLLM[part] for part in VLLM if part in text), None)):
        device, wanted = _present(), "vLLM with its cache"
    else:
        return None
    size = machine.capacity(device)
    name = "the GPU" if device == "cuda" else "this machine"
    return (
        f"out of memory: {wanted} did not fit ({name} has {size / machine.GIB:.1f} GiB, others may use some); "
        f"change first: {'; then '.join(_first(stage, config, device, share))}; or lay "
        f"{advice.tier(size / machine.GIB)} over the config"
    )


def _present() -> str:
    """The device that an error of a GPU is about."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _first(stage: str, config: dict[str, Any], device: str, share: str | None) -> list[str]:
    """The settings to change, at most three. share: which one would help vLLM, where it is vLLM that failed."""
    here = f"what else runs on {'the GPU' if device == 'cuda' else 'this machine'}"
    kind = {"generate": "evaluation", "sft": "sft", "grpo": "grpo/", "rollouts": "rollouts"}.get(stage)
    if kind is None:
        return [here]
    if share and stage != "grpo":
        return [here, "engines.generation: transformers"]
    trainer = config.get("trainer", {})
    sampling = config.get("sampling", config)
    settings = {
        "adapter": config.get("adapter"),
        "sft": trainer,
        "grpo": {"": trainer},
        "evaluation": {"batch_size": sampling.get("batch_size", 32)},
        "rollouts": [{"batch_size": sampling.get("batch_size", 128)}],
    }
    own = [f"grpo.trainer.vllm_gpu_memory_utilization: a {share} one"] if share else []
    return [*own, *(text for text, _ in advice.changes(settings, kind, device))][:3]
