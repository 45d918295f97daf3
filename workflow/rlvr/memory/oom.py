"""Says in one line what to do about an out-of-memory error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rlvr.memory import advice, machine

CUDA = re.compile(
    r"CUDA (driver )?(error: )?out of memory|cudaErrorMemoryAllocation|CU(BLAS|DNN)_STATUS_ALLOC_FAILED"
    r"|Your GPU ran out of memory"
)
"""As torch, CUDA itself, its libraries, bitsandbytes, vLLM as it warms up, and Unsloth say it."""
TRIED = re.compile(r"Tried to allocate ([\d.]+ \w+)")
VLLM = {
    "No available memory for the cache blocks": "higher",
    "KV cache is needed, which is larger than the available": "higher",
    "is less than desired GPU memory utilization": "lower",
}
"""What vLLM says that can't start, and which share of the GPU would help."""
CPU_ALLOCATOR = re.compile(r"DefaultCPUAllocator: [^\n]*allocate (\d+) bytes")


def line(error: BaseException, stage: str, config: dict[str, Any]) -> str | None:
    """The line for an error of a stage with that config slice; None where the error is another."""
    found = next((known for each in _chain(error) if (known := _known(each))), None)
    if found is None:
        return None
    device, wanted, share = found
    size = machine.capacity(device)
    name = "the GPU" if device == "cuda" else "this machine"
    return (
        f"out of memory: {wanted} did not fit ({name} has {size / machine.GIB:.1f} GiB, others may use some); "
        f"change first: {'; then '.join(_first(stage, config, device, share))}; or lay "
        f"{advice.tier(size / machine.GIB)} over the config"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it came of: Unsloth raises what vLLM said as a RuntimeError with its text alone."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _known(error: BaseException) -> tuple[str, str, str | None] | None:
    """Device, what did not fit, and which share would help vLLM where it is vLLM that failed; None: another error.

    By its text, whatever its type, as wrappers keep no more.
    """
    text = str(error)
    if share := next((VLLM[part] for part in VLLM if part in text), None):
        return _present(), "vLLM with its cache", share
    if (type(error).__name__ == "OutOfMemoryError" and type(error).__module__.startswith("torch")) or CUDA.search(text):
        tried = TRIED.search(text)
        return _present(), tried[1] if tried else "more memory", None
    if found := CPU_ALLOCATOR.search(text):
        return "cpu", f"{int(found[1]) / 2**20:.0f} MiB", None
    return ("cpu", "more memory", None) if isinstance(error, MemoryError) else None


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
