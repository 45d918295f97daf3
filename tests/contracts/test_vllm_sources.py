"""What the engines rely on in vLLM, read in its sources: a release that changes it fails here."""

from __future__ import annotations

import ast

import pytest
from package_sources import definition, source, text

from rlvr.memory import oom

pytestmark = pytest.mark.vllm


def sampler(*names: str) -> str:
    return text(definition(source("vllm", "v1/sample/ops/topk_topp_sampler.py"), *names))


def test_flashinfers_sampler_is_on_unless_the_variable_says_no():
    variables = text(source("vllm", "envs.py"))
    assert "bool(int(os.environ['VLLM_USE_FLASHINFER_SAMPLER']))" in variables
    assert "if 'VLLM_USE_FLASHINFER_SAMPLER' in os.environ else True" in variables, "engines/generate_vllm.py sets it"
    assert "if not envs.VLLM_USE_FLASHINFER_SAMPLER:" in sampler("flashinfer_sampler_supported")


def test_it_is_left_out_where_logprobs_are_processed():
    """As in GRPO, under TRL and Unsloth; evaluation asks for raw ones."""
    made = sampler("TopKTopPSampler", "__init__")
    assert "logprobs_mode not in PROCESSED_LOGPROBS_MODES and flashinfer_sampler_supported()" in made


def test_requests_with_a_seed_or_without_top_p_do_not_use_it():
    step = definition(source("vllm", "v1/sample/ops/topk_topp_sampler.py"), "TopKTopPSampler", "forward_cuda")
    (first,) = [each for each in step.body if isinstance(each, ast.If) and "generators" in text(each.test)]
    assert text(first.test) == "k is None and p is None or generators"
    assert "self.forward_native(" in text(first.body[-1]), "so switching it off changes no sample of ours"


def test_it_is_compiled_as_the_engine_warms_up_all_the_same():
    warm = text(definition(source("vllm", "v1/worker/gpu_model_runner.py"), "GPUModelRunner", "_dummy_sampler_run"))
    assert "top_p=dummy_tensors(0.9)" in warm
    assert "generators={}" in warm, "rlvr doctor says that nvcc is missed at the start, whatever is sampled"


def test_flashinfer_looks_for_nvcc_in_four_places():
    """Installed on GPUs only."""
    found = text(definition(source("flashinfer", "jit/cpp_ext.py"), "get_cuda_path"))
    places = ["os.environ.get('CUDA_HOME')", "os.environ.get('CUDA_PATH')", "'which', 'nvcc'", "'/usr/local/cuda'"]
    assert [found.index(each) for each in places] == sorted(found.index(each) for each in places)


def test_what_vllm_says_when_memory_is_short():
    caches, workers = source("vllm", "v1/core/kv_cache_utils.py"), source("vllm", "v1/worker/utils.py")
    said = text(definition(caches, "_check_enough_kv_cache_memory")) + text(definition(workers, "request_memory"))
    assert [each for each in oom.VLLM if each not in said] == [], "memory/oom.py knows it by that"
    assert "No available memory for the cache blocks" in oom.VLLM


def test_how_many_sequences_fit_is_on_the_config_of_the_engine():
    started = text(source("vllm", "v1/engine/core.py"))
    for name in ("num_gpu_blocks", "kv_cache_size_tokens", "kv_cache_max_concurrency"):
        assert f"vllm_config.cache_config.{name} = " in started, "llm.llm_engine.vllm_config.cache_config has it"
    assert "max_num_seqs" in text(definition(source("vllm", "config/scheduler.py"), "SchedulerConfig"))


def test_the_engine_is_shut_down_by_way_of_its_core():
    engine = source("vllm", "v1/engine/llm_engine.py")
    assert "self.engine_core = EngineCoreClient.make_client(" in text(definition(engine, "LLMEngine", "__init__"))
    assert "self.vllm_config" in text(definition(engine, "LLMEngine", "__init__"))
    assert "self.llm_engine = LLMEngine.from_engine_args(" in text(source("vllm", "entrypoints/llm.py"))
    closed = text(definition(source("vllm", "v1/engine/core_client.py"), "InprocClient", "shutdown"))
    assert "self.engine_core.shutdown()" in closed, "VllmEngine.close (engines/generate_vllm.py)"


def test_raw_logprobs_can_be_asked_for():
    modes = text(source("vllm", "config/model.py"))
    assert "LogprobsMode = Literal['raw_logits', 'raw_logprobs', 'processed_logits', 'processed_logprobs']" in modes
