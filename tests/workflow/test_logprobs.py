"""Log-probabilities recorded during generation are those of a plain forward."""

from __future__ import annotations

import pytest
import torch
from transformers import GenerationConfig

from rlvr.engines import generation, models
from rlvr.engines.decoding import Decoding
from rlvr.engines.generation import Generator
from rlvr.engines.logprobs import Recorder
from rlvr.stages import base

PROMPTS = [[40, 41, 42, 43, 44], [45], [46, 47]]
SAMPLING = {"do_sample": True, "temperature": 0.5, "top_p": 0.9, "top_k": 20, "num_return_sequences": 3}


@pytest.mark.parametrize("options", [{"do_sample": False}, SAMPLING])
def test_recorded_log_probabilities_are_those_of_each_sequence_alone(made, options):
    torch.manual_seed(0)
    model = models.load_model(made.base, torch.device("cpu"), torch.float32)
    tokenizer = models.load_tokenizer(made.base)
    batch = tokenizer.pad({"input_ids": PROMPTS}, return_tensors="pt", padding_side="left")
    config = GenerationConfig(max_new_tokens=7, eos_token_id=model.config.eos_token_id, pad_token_id=0, **options)
    recorder = Recorder()
    for _ in range(2):  # one recorder may serve several calls
        sequences = model.generate(**batch, generation_config=config, logits_processor=[recorder])
        found = recorder.of(sequences)
    copies = options.get("num_return_sequences", 1)
    assert found.shape == (len(PROMPTS) * copies, sequences.shape[1] - 5) and found.dtype == torch.float32
    for row, sequence in enumerate(sequences):
        prompt, answer = PROMPTS[row // copies], sequence[5:]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + answer.tolist()])).logits[0, len(prompt) - 1 : -1]
        ends = (answer == model.config.eos_token_id).nonzero()
        length = int(ends[0]) + 1 if len(ends) else len(answer)
        alone = logits.log_softmax(-1).gather(1, answer[:, None])[:length, 0]
        assert torch.allclose(found[row, :length], alone, atol=1e-5)


@pytest.mark.parametrize("engine", ["transformers", pytest.param("vllm", marks=pytest.mark.vllm)])
@pytest.mark.parametrize("samples", [0, 3])
def test_an_engine_gives_those_of_a_forward_whatever_the_temperature(made, tmp_path, engine, samples):
    weights = made.base
    if engine == "vllm":
        weights = tmp_path / "weights"
        wider = {**made.cut["base"]["base"]["tiny"], "hidden_size": 64}  # vLLM takes no head narrower than 32
        base.run({**made.cut["base"], "base": {"model": "tiny", "tiny": wider}}, data=[made.sft], weights=weights)
    decoding = Decoding(7, 2 * max(1, samples), samples, temperature=0.5, top_p=0.9, logprobs=True)
    cpu, messages = torch.device("cpu"), [[{"role": "user", "content": text}] for text in ("1", "2 + 2 + 5", "30")]
    with Generator.open(engine, weights, cpu, decoding) as generator:
        prompts = generation.encode(generator._tokenizer, messages)
        found = generator._engine.complete(prompts, 0, None)
    model = models.load_model(weights, cpu, torch.float32)
    for prompt, group in zip(prompts, found, strict=True):
        assert len(group) == max(1, samples)
        for each in group:
            with torch.no_grad():
                logits = model(torch.tensor([prompt + each.tokens])).logits[0, len(prompt) - 1 : -1]
            tokens = generation.completion_of(each, generator._ends, generator._tokenizer)["tokens"]
            alone = logits.log_softmax(-1).gather(1, torch.tensor(each.tokens)[:, None])[:tokens, 0]
            assert torch.allclose(torch.tensor(each.logprobs)[:tokens], alone, atol=1e-4)
