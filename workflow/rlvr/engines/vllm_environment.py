"""Environment variables for every vLLM engine in this process; to be imported before vLLM is."""

from __future__ import annotations

import os

os.environ.setdefault("VLLM_WORKER_MULTIPROCESSING_METHOD", "spawn")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # as many threads as the config says
# FlashInfer's sampler is compiled by nvcc when an engine warms up, and then not used: not for greedy requests, nor for
# ones with a seed, as evaluation sends, nor with processed log-probabilities, as TRL and Unsloth ask for (vllm#49497).
os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
