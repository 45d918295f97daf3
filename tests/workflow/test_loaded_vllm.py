"""pass@k while GRPO trains with vLLM: by the engine that samples, with the step's weights and evaluation's decoding."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import GenerationConfig
from trl.generation import vllm_generation

from rlvr import tiny
from rlvr.engines import models
from rlvr.engines.decoding import Decoding
from rlvr.engines.generate_loaded_vllm import capacity
from rlvr.engines.generation import Generator

CPU = torch.device("cpu")
OF_TRAINING = {"temperature": 0.3, "top_p": 0.5, "top_k": 7, "min_p": 0.1, "repetition_penalty": 1.5}
PROMPTS = [[{"role": "user", "content": text}] for text in ("1 + 2", "3", "4 - 1 + 2")]


def trainer_with(llm: Any, model: torch.nn.Module, calls: list[str]) -> SimpleNamespace:
    """What the evaluator sees of a GRPOTrainer that samples with a colocated engine; TRL's own VLLMGeneration."""
    generation = object.__new__(vllm_generation.VLLMGeneration)
    vars(generation).update(
        **OF_TRAINING,
        mode="colocate",
        model=model,
        accelerator=None,
        llm=llm,
        logprobs=0,
        tensor_parallel_size=1,
        enable_sleep_mode=False,
        max_completion_length=99,
        generation_kwargs={"min_tokens": 9},
        structured_outputs_regex=None,
        sync_weights=lambda: calls.append("sync"),
    )
    return SimpleNamespace(
        use_vllm=True,
        vllm_generation=generation,
        model=model,
        accelerator=SimpleNamespace(unwrap_model=lambda each: each),
        state=SimpleNamespace(global_step=5),
        _last_loaded_step=4,
    )


class FakeEngine:
    """Answers each prompt with the prompt's length and an end token."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[list[int]], dict[str, Any]]] = []

    def generate(self, prompts: list[dict], sampling_params: SimpleNamespace, use_tqdm: bool) -> list[SimpleNamespace]:
        ids = [prompt["prompt_token_ids"] for prompt in prompts]
        self.asked.append((ids, vars(sampling_params)))
        answers = [SimpleNamespace(token_ids=(len(each), 2), logprobs=None) for each in ids]
        return [SimpleNamespace(prompt_token_ids=i, outputs=[a]) for i, a in zip(ids, answers, strict=True)]


@pytest.fixture
def evaluated(made) -> Callable[[Any, Decoding], tuple]:
    tokenizer = models.load_tokenizer(made.base)
    model = models.load_model(made.base, CPU, torch.float32)
    model.generation_config = GenerationConfig(eos_token_id=[2, 40])

    def evaluate(llm: Any, decoding: Decoding) -> tuple[SimpleNamespace, list[str], list[list[dict]]]:
        calls: list[str] = []
        trainer = trainer_with(llm, model, calls)
        with Generator.in_training(trainer, tokenizer, decoding) as generator:
            found = generator.complete(PROMPTS, seed=3)
            generator.complete(PROMPTS[:1], seed=3)
        return trainer, calls, found

    return evaluate


def test_it_takes_the_engine_with_the_steps_weights_and_leaves_the_trainers_decoding(evaluated, monkeypatch):
    monkeypatch.setattr(vllm_generation, "SamplingParams", SimpleNamespace, raising=False)
    llm = FakeEngine()
    trainer, calls, found = evaluated(llm, Decoding(12, 32, samples=2, temperature=0.8, top_p=0.9))
    ids, settings = llm.asked[0]
    assert ids[0] == ids[1] != ids[2] == ids[3] and len(ids) == 6
    wanted = {"temperature": 0.8, "top_p": 0.9, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "max_tokens": 12}
    assert {name: settings[name] for name in wanted} == wanted
    assert settings["n"] == 1 and settings["stop_token_ids"] == [2, 40] and "min_tokens" not in settings
    assert [len(group) for group in found] == [2, 2, 2] and found[0][0]["finish"] == "stop"
    assert calls == ["sync"] and trainer._last_loaded_step == 5, "once a step, as the trainer counts it"
    assert capacity(SimpleNamespace()) == {}
    left = vars(trainer.vllm_generation)
    assert {name: left[name] for name in OF_TRAINING} == OF_TRAINING
    assert left["max_completion_length"] == 99 and left["generation_kwargs"] == {"min_tokens": 9}


@pytest.mark.vllm
def test_a_real_engine_takes_what_it_is_asked_and_samples_by_the_rng_state(evaluated, made, tmp_path):
    """Most of its time is vLLM's start. vLLM's attention on a CPU wants heads of 32 numbers or more."""
    from rlvr.engines.generate_vllm import LLM

    tokenizer = models.load_tokenizer(made.base)
    shape = {"hidden_size": 64, "layers": 1, "heads": 2, "max_positions": 256}
    tiny.build_model(tokenizer, 0, **shape).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    memory = {"enforce_eager": True, "max_model_len": 128, "max_num_seqs": 8}
    torch.manual_seed(7)
    llm = LLM(model=str(tmp_path), dtype="float32", logprobs_mode="processed_logprobs", seed=0, **memory)
    assert torch.initial_seed() == 0, "engines/grpo.py sets the run's own seed again"
    try:
        decoding = Decoding(8, 32, samples=4, temperature=1.0)
        first, again = (evaluated(llm, decoding)[2] for _ in range(2))
        assert first == again
        found = capacity(SimpleNamespace(vllm_generation=SimpleNamespace(llm=llm)))
        assert found["completions_at_once"] == 8 and 0 < found["share"] <= 1
        texts = {each["completion"] for group in first for each in group}
        assert len(texts) > 6 and all(0 < each["tokens"] <= 8 for group in first for each in group)
    finally:
        llm.llm_engine.engine_core.shutdown()
