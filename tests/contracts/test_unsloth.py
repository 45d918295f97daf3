"""What the engines rely on in Unsloth, found out by running it as on a GPU (see `scenarios.py`).

Each message names the part of the project that depends on the fact: a release that changes it fails here.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from package_sources import definition, source, text
from test_trl_sources import METHODS

from rlvr.engines import unsloth_options
from rlvr.memory.vllm_share import MOST_AT_ONCE

pytestmark = pytest.mark.unsloth

HERE = Path(__file__).parent
CPU_SECONDS = 600
"""The process is ended after so many seconds of CPU time, twenty times what it takes."""


class Facts:
    """What each scenario found, by its name; one that failed fails the tests that ask for it."""

    def __init__(self, found: dict[str, Any], folder: Path) -> None:
        self._found = found
        self.folder = folder
        """Where the process ran; the trainers that Unsloth generated are below `cache`."""

    def __getitem__(self, scenario: str) -> Any:
        found = self._found[scenario]
        if isinstance(found, dict) and "failed" in found:
            pytest.fail(f"scenario {scenario!r} with {self._found['versions']}:\n{found['failed']}", pytrace=False)
        return found


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    folder = tmp_path_factory.mktemp("spoofed")
    (folder / "home").mkdir()
    ours = {
        "HOME": str(folder / "home"),
        "RLVR_CACHE": str(folder / "cache"),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    left_out = ("UNSLOTH_", "PYTORCH_", "VLLM_", "XDG_CACHE_HOME")
    env = {name: value for name, value in os.environ.items() if not name.startswith(left_out)} | ours
    log = folder / "log.txt"
    with log.open("w") as output:
        ended = subprocess.run(
            [sys.executable, str(HERE / "scenarios.py"), "facts.json"],
            cwd=folder,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS)),
        )
    assert ended.returncode == 0, log.read_text()[-4000:]
    return Facts(json.loads((folder / "facts.json").read_text()), folder)


# What the import does


def test_our_trainer_stands_on_the_one_that_unsloth_generates(facts: Facts):
    """Where it does not, Unsloth came too late or patched nothing, and every other test here is void."""
    found = facts["imported"]
    assert found["mro"][:3] == ["WatchedTrainer", "UnslothGRPOTrainer", "_UnslothGRPOTrainer"]
    assert found["sft"] == "UnslothSFTTrainer"
    files = {stage: Path(path).name for stage, path in found["configs"].items()}
    assert files == {"grpo": "UnslothGRPOTrainer.py", "sft": "UnslothSFTTrainer.py"}


def test_what_it_generates_lies_where_the_engine_says(facts: Facts):
    assert "UnslothGRPOTrainer.py" in facts["imported"]["generated"], "UNSLOTH_COMPILE_LOCATION (load_unsloth.py)"
    assert Path(facts["imported"]["environment"]["UNSLOTH_COMPILE_LOCATION"]).is_relative_to(facts.folder / "cache")
    assert not [path for path in facts.folder.iterdir() if "unsloth" in path.name], "nothing in the working directory"


def test_the_allocator_is_set_by_a_variable_that_torch_reads_later(facts: Facts):
    """So nothing may use CUDA before `import unsloth` (engines/device.py, stages)."""
    assert facts["imported"]["environment"]["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"


def test_an_adapter_is_not_folded_into_the_weights_that_vllm_shares(facts: Facts):
    """2026.10.9 does so for a rollout unless told not to, and takes it out again; to frozen.py not a bit may differ."""
    assert facts["imported"]["environment"]["UNSLOTH_VLLM_MERGED_ROLLOUT"] == "0", "load_unsloth.py sets it"
    mode = text(definition(source("unsloth_zoo", "vllm_utils.py"), "_merged_rollout_mode"))
    assert "os.environ.get('UNSLOTH_VLLM_MERGED_ROLLOUT'" in mode


@pytest.mark.parametrize("name", [name for name in METHODS if name != "_generate_and_score_completions"])
def test_the_generated_trainer_has_the_methods_that_ours_override(facts: Facts, name: str):
    ours = ["self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy"]
    expected = METHODS | {
        "_get_per_token_logps_and_entropies": [*ours, "compute_efficient", "args", "kwargs"],
    }
    assert facts["imported"]["signatures"][name] == expected[name], "engines/sampling.py, dynamic.py"


# Options

WITHOUT_EFFECT = {
    "_unsloth_gradient_checkpointing_explicit": "Unsloth's own",
    "context_parallel_backend": "Unsloth's own",
    "context_parallel_rotate_method": "Unsloth's own",
    "context_parallel_size": "Unsloth's own",
    "max_seq_length": "Unsloth's own",
    "unsloth_logit_chunk_multiplier": "Unsloth's own",
    "unsloth_num_chunks": "Unsloth's own",
    "vllm_sampling_params": "Unsloth's own",
    "bf16": "set as the trainer is made, by the GPU: see the test of precision",
    "mixed_precision": "with bf16",
    "dataset_num_proc": "how many processes tokenise",
    "eval_accumulation_steps": "nothing is evaluated by the trainer",
    "per_device_eval_batch_size": "nothing is evaluated by the trainer",
    "gradient_checkpointing_kwargs": "how activations are computed again",
    "generation_kwargs": "an empty dict for none",
    "logging_steps": "training.arguments sets it",
    "seed": "training.arguments sets it",
}
"""Options that differ between Unsloth's config and TRL's even as the engine passes them, and why that is no matter."""


@pytest.mark.parametrize("stage", ["grpo", "sft"])
def test_options_mean_under_unsloth_what_they_mean_to_trl(facts: Facts, stage: str):
    for options, differing in facts["configured"][stage]["through"]:
        left = {key: pair for key, pair in differing.items() if key not in WITHOUT_EFFECT}
        ours, trl = left.pop("epsilon_high", (None, None))
        assert trl is None and ours in (None, options.get("epsilon", 0.2)), "None is epsilon to TRL"
        assert left == {}, f"{options}: engines/unsloth_options.py has to give TRL's value, [Unsloth's, TRL's]"


@pytest.mark.parametrize("stage", ["grpo", "sft"])
def test_every_other_default_of_unsloth_is_given_trls_value(facts: Facts, stage: str):
    differing = set(facts["configured"][stage]["bare"]) - set(WITHOUT_EFFECT) - {"steps_per_generation"}
    assert differing <= set(unsloth_options.TRL[stage]), "engines/unsloth_options.py leaves these to Unsloth"


@pytest.mark.parametrize("stage", ["grpo", "sft"])
def test_the_values_given_are_trls_defaults(facts: Facts, stage: str):
    defaults = facts["configured"][stage]["defaults"]
    for key, value in unsloth_options.TRL[stage].items():
        found = defaults[key]
        assert found == value or f"'{value}'" in str(found), f"engines/unsloth_options.py: {key} is {found} to TRL"


def test_a_batch_that_groups_do_not_divide_is_changed_where_trl_refuses_it(facts: Facts):
    assert facts["configured"]["uneven"] == 4, "6 completions in groups of 4: Unsloth makes it 4, TRL raises"


def test_bf16_is_switched_on_whatever_is_asked_for(facts: Facts):
    assert facts["precision"] == {"True": True, "False": True}, "bf16: false means nothing under Unsloth"


def test_several_gpus_are_left_to_one(facts: Facts):
    assert facts["devices"]["of 2"] == 1, "engines/device.py need not hide GPUs from Unsloth, only from TRL alone"


# A step


def test_the_tokenizer_that_the_trainer_is_given_pads_on_the_right_afterwards(facts: Facts):
    assert facts["trained"]["padding_side"] == "right", "engines/generate_transformers.py pads by itself, on the left"


def test_a_batch_holds_what_dynamic_choice_does_not_know(facts: Facts):
    assert "max_left_pad" in facts["trained"]["sampled"]["batch"], "engines/refusals.py refuses grpo.dynamic for it"


def test_a_step_logs_no_entropy(facts: Facts):
    assert "entropy" not in facts["trained"]["logged"], "preset, doctor and report say that the curve is missing"
    assert {"kl", "completion_length", "clip_ratio/region_mean"} <= set(facts["trained"]["logged"])


def test_a_fixed_entropy_bonus_is_in_the_loss_and_an_adaptive_one_is_not(facts: Facts):
    found = facts["entropies"]
    assert found["adaptive"] == found["none"], "engines/refusals.py refuses use_adaptive_entropy for it"
    assert found["fixed"] < found["none"] - 1, "entropy_coef alone works"


def test_a_step_is_the_step_of_trls_own_trainer(facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Within a percent: Unsloth computes some of it in 16 bits. Every loss, and what changes its parts or its scale."""
    import steps  # which imports TRL

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")  # completions are given through `rollout_func`
    for options, (loss, gradient) in facts["compared"]:
        plain = steps.run(facts.folder / "base", lambda given: given, lambda model: None, **options)
        assert gradient == pytest.approx(plain[1], rel=0.01), f"{options}: another gradient, [Unsloth's, TRL's]"
        assert gradient > 0.01
        assert loss == pytest.approx(plain[0], rel=0.01, abs=1e-4), f"{options}: another loss"


def test_kl_after_a_warm_start_pulls_to_the_base(facts: Facts):
    found = facts["pulled"]
    assert found["adapters"] == ["default"], "TRL would add `ref`, a copy: engines/refusals.py refuses beta for it"
    assert found["kl"] > 0, "before the first update, the reference is already another policy"


def test_an_adapter_is_taken_from_the_model_alone(facts: Facts):
    """load_unsloth.load returns no config of a fresh adapter: the generated trainer would not apply one."""
    generated = (facts.folder / "cache" / "unsloth" / "UnslothGRPOTrainer.py").read_text()
    assert "if False:\n            if not is_peft_available():" in generated


# Models and engines of vLLM


def test_end_tokens_of_the_generation_config_are_lost_with_fast_inference(facts: Facts):
    """load_unsloth.py sets the base's generation config itself. Once this fails, it need not any more."""
    found = facts["rebuilt"]
    assert found["base"] == [2, 1] and found["config"] == 2
    for name in ("unnamed", "named"):
        assert found[name]["same_weights"]
        assert found[name]["ends"] == found["config"], "Unsloth copies the generation config now"


def test_the_difference_to_vllm_is_measured_in_the_loss(facts: Facts):
    found = facts["sampled_by_vllm"]
    name = "sampling/sampling_logp_difference/mean"
    assert name not in found["metrics"], "engines/sampling.py would read it too early after sampling"
    assert name in found["trained"] and found["logged"][name] > 1


def test_the_adapter_goes_with_each_request_to_an_engine_that_shares_the_weights(facts: Facts):
    found = facts["sampled_by_vllm"]
    assert found["same_engine"], "trainer.vllm_generation.llm and model.vllm_engine"
    assert [call["lora"] for call in found["calls"]] == ["adapter vllm_gen_lora_ {'load_tensors': True}"], (
        "an evaluator on this engine has to pass lora_request itself; without it, the base answers"
    )
    assert found["loader"], "trainer.vllm_generation._unsloth_load_lora decides where its folder lies"


def test_that_adapters_folder_is_in_the_working_directory(facts: Facts):
    assert facts["adapter_folder"] == {"vllm_gen_lora": ["adapter_config.json"]}, "engines/grpo.py moves and removes it"


def test_the_share_of_memory_decides_how_many_sequences_there_are(facts: Facts):
    """Of a 4B model in 16 bits on 24 GiB, of which 23 are free; weights that training uses too are in the share."""
    found = facts["asked"]
    assert found["0.4"]["max_num_seqs"] == 8 and found["0.6"]["max_num_seqs"] == 32
    assert found["0.6"]["gpu_memory_utilization"] == pytest.approx(0.6 * 23 / 24), "the share is of what is free"
    assert found["24 sequences"]["max_num_seqs"] == 24, "max_num_seqs is passed on"
    assert found["most"]["max_num_seqs"] == MOST_AT_ONCE, "256 would mean that nothing was asked"
    assert found["0.4"]["logprobs_mode"] == "processed_logprobs", "FlashInfer's sampler is not used in GRPO"


def test_an_engine_that_does_not_fit_is_tried_smaller_once_and_fails_as_a_runtime_error(facts: Facts):
    found = facts["refused"]
    assert len(found["shares"]) == 2 and found["shares"][1] == pytest.approx(0.85 * found["shares"][0])
    assert found["type"] == "RuntimeError" and "No available memory for the cache blocks" in found["text"], (
        "memory/oom.py has to know vLLM's words in any error"
    )


def test_options_for_vllm_reach_its_loader():
    loading = text(definition(source("unsloth", "models/llama.py"), "FastLlamaModel", "from_pretrained"))
    assert "allowed_args = inspect.getfullargspec(load_vllm).args" in loading
    assert "load_vllm_kwargs[allowed_arg] = kwargs[allowed_arg]" in loading, "load_unsloth.py passes max_num_seqs so"
    assert "model.vllm_engine = llm" in loading and "llm.shared_weights = True" in loading


def test_only_an_xformers_that_cannot_load_is_spoken_of():
    tree = source("unsloth", "models/_utils.py")
    said = "xformers is installed but cannot load with torch"
    (block,) = [each for each in tree.body if type(each).__name__ == "Try" and said in text(each)]
    absent, broken = block.handlers
    assert text(absent.type) == "ModuleNotFoundError" and "print(" not in text(absent), "where it is absent: silence"
    assert said in text(broken)


# Our engine on top of it


def test_a_sampler_with_other_weights_stops_the_run(facts: Facts):
    assert str(facts["watched"]["said"]).startswith("grpo.max_logp_difference: "), "it trains on in silence"


def test_our_engine_keeps_the_end_tokens_of_the_base_with_fast_inference(facts: Facts):
    found = facts["loaded"]
    assert found["base"] == [1, 2] and found["ends"] == found["base"]
    assert found["asked"]["gpu_memory_utilization"] == 0.4 and found["asked"]["max_seq_length"] == 128
