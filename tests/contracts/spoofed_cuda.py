"""Makes torch's build for a CPU answer like one with a GPU, for what Unsloth asks before it patches TRL.

Nothing can be computed on that GPU. To be called in a process of its own, before `import unsloth`.
"""

from __future__ import annotations

import os
from types import SimpleNamespace

GIB = 2**30
TOTAL, FREE = 24 * GIB, 23 * GIB
"""Memory of the GPU, bytes."""


def spoof() -> None:
    os.environ["TORCHDYNAMO_DISABLE"] = "1"  # compiled code would be for that GPU
    os.geteuid = lambda: 1000  # as root, Unsloth runs ldconfig where it misses CUDA's libraries
    # What chooses its code by the GPU as it is imported comes first, and chooses that for a CPU.
    import bitsandbytes  # noqa: F401
    import torch
    import torch._dynamo
    import torch._inductor.utils

    properties = SimpleNamespace(
        name="NVIDIA A10G",
        major=8,
        minor=6,
        total_memory=TOTAL,
        multi_processor_count=80,
        warp_size=32,
        max_threads_per_multi_processor=1536,
        shared_memory_per_block_optin=101376,
        L2_cache_size=6 * 2**20,
        gcnArchName="",
        is_integrated=False,
        is_multi_gpu_board=False,
    )
    answers = {
        "is_available": True,
        "is_initialized": False,
        "device_count": 1,
        "current_device": 0,
        "get_device_properties": properties,
        "get_device_capability": (properties.major, properties.minor),
        "get_device_name": properties.name,
        "get_arch_list": ["sm_86"],
        "mem_get_info": (FREE, TOTAL),
        "memory_stats": {},
        "current_stream": SimpleNamespace(cuda_stream=0),
        "set_device": None,
        "synchronize": None,
        "empty_cache": None,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *args, _answer=answer, **kwargs: _answer)
    torch.cuda.is_bf16_supported = lambda including_emulation=True: True
    torch.version.cuda = "13.0"
    torch._C._cuda_getDeviceCount = lambda: 1
    torch._C._cuda_getCurrentRawStream = lambda device: 0
