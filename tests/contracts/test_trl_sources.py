"""What the engines rely on in TRL, read in its sources: a release that changes it fails here."""

from __future__ import annotations

import ast

import pytest
from package_sources import definition, parameters, source, text

METHODS = {
    "_generate_and_score_completions": ["self", "inputs"],
    "_generate_single_turn": [
        *("self", "prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"),
    ],
    "_get_train_sampler": ["self", "dataset"],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_get_per_token_logps_and_entropies": ["self", "model", "batch_size", "compute_aux_loss", "args", "kwargs"],
    "compute_loss": ["self", "model", "inputs", "return_outputs", "num_items_in_batch"],
    "log": ["self", "logs", "start_time"],
}


def grpo(*names: str) -> ast.AST:
    return definition(source("trl", "trainer/grpo_trainer.py"), "GRPOTrainer", *names)


def vllm_generation(*names: str) -> ast.AST:
    return definition(source("trl", "generation/vllm_generation.py"), "VLLMGeneration", *names)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_that_our_trainers_override_or_call_takes_what_it_took(name):
    assert parameters(grpo(name)) == METHODS[name], "engines/sampling.py and dynamic.py override or call it"


def test_a_turn_gives_completions_and_their_logprobs():
    returned = [text(each) for each in ast.walk(grpo("_generate_single_turn")) if isinstance(each, ast.Return)]
    assert returned == ["return (completion_ids, logprobs)"], "WatchedTrainer (engines/sampling.py) takes them apart"


def test_the_difference_to_the_sampler_is_logged_as_completions_are_scored():
    scoring = grpo("_generate_and_score_completions")
    (block,) = [
        each for each in ast.walk(scoring) if isinstance(each, ast.If) and "sampling_logp_difference/mean" in text(each)
    ]
    assert text(block.test) == "self.use_vllm and self.vllm_importance_sampling_correction", (
        "grpo.max_logp_difference (engines/sampling.py) has nothing to hold where TRL does not measure"
    )
    assert "self._metrics[mode]['sampling/sampling_logp_difference/mean'].append" in text(block)


def test_metrics_are_cleared_as_they_are_logged():
    body = text(grpo("log"))
    assert body.index("self._metrics[mode].items()") < body.index("self._metrics[mode].clear()"), (
        "engines/sampling.py reads a step's metrics before `log` has cleared them"
    )


def test_the_entropy_is_logged_in_the_loss():
    logging = [name for name in ("compute_loss", "_compute_loss", "log") if "['entropy'].append" in text(grpo(name))]
    assert logging == ["_compute_loss"]
    assert "self._compute_loss(" in text(grpo("compute_loss"))


def test_end_tokens_are_read_once_from_the_generation_config_as_the_trainer_is_made():
    made = text(grpo("__init__"))
    assert "eos_token_ids = model.generation_config.eos_token_id" in made, (
        "end tokens have to be on the model's generation_config before the trainer is made (engines/grpo.py)"
    )
    for name in METHODS:
        assert "generation_config.eos_token_id" not in text(grpo(name))


def test_an_earlier_adapter_is_copied_as_the_reference_of_the_kl_term():
    assert "model.add_adapter('ref', default_config)" in text(grpo("__init__"))
    scoring = text(grpo("_generate_and_score_completions"))
    assert "use_adapter(model, adapter_name='ref' if 'ref' in model.peft_config else None)" in scoring, (
        "engines/refusals.py keeps beta after a warm-start for this trainer"
    )


def test_weights_are_handed_to_vllm_once_a_step_before_it_samples():
    turn = text(grpo("_generate_single_turn"))
    synced = turn.index("self.vllm_generation.sync_weights()")
    assert turn.index("self.state.global_step != self._last_loaded_step") < synced
    assert synced < turn.index("self.vllm_generation.generate("), "an evaluator on this engine has to do it too"
    assert "self._last_loaded_step = self.state.global_step" in turn


def test_the_colocated_engine_is_an_attribute_of_the_trainer():
    assert "self.vllm_generation = VLLMGeneration(" in text(grpo("__init__"))
    assert "self.llm = LLM(" in text(vllm_generation("_init_vllm"))
    assert "self.llm.generate(" in text(vllm_generation("generate"))


def test_an_adapter_is_merged_into_the_base_and_taken_out_again_at_each_sync():
    walked = text(vllm_generation("_iter_named_params"))
    assert walked.index("model.merge_adapter()") < walked.index("model.unmerge_adapter()"), (
        "engines/refusals.py, load_transformers.py and frozen.py treat a synced base as one that is rounded"
    )


def test_the_colocated_engine_gives_the_logprobs_after_top_p():
    """So TRL's importance ratio is biased where top_p, top_k or min_p cut the distribution (TRL #6789)."""
    made = text(vllm_generation("_init_vllm"))
    assert "logprobs_mode='processed_logprobs'" in made
    trained = text(grpo("_full_logits_logps")) + text(grpo("_chunked_logps"))
    assert not [name for name in ("top_p", "top_k", "min_p") if name in trained]


def test_vllm_samples_at_most_the_completions_of_a_batch_at_once():
    made = text(grpo("__init__"))
    assert "max_num_seqs=args.per_device_train_batch_size * args.vllm_tensor_parallel_size * args.steps_per_gen" in made
    assert "gpu_memory_utilization=args.vllm_gpu_memory_utilization" in made
    assert "max_model_length=args.vllm_max_model_length" in made, "engines/grpo.py sets it on the config"


def test_several_visible_gpus_make_the_batch_larger_in_silence():
    trainer = text(source("transformers", "trainer.py"))
    assert "nn.DataParallel(model)" in trainer, "one process uses one device (engines/device.py)"
    arguments = source("transformers", "training_args.py")
    size = text(definition(arguments, "TrainingArguments", "train_batch_size"))
    assert "self.per_device_train_batch_size * max(1, self.n_gpu)" in size
    assert "return self._n_gpu" in text(definition(arguments, "TrainingArguments", "n_gpu"))


def test_an_epoch_is_run_by_one_method_after_which_the_trainer_looks_whether_to_stop():
    """Unsloth executes the source of this loop anew, with its own greeting."""
    loop = definition(source("transformers", "trainer.py"), "Trainer", "_inner_training_loop")
    (epochs,) = [each for each in ast.walk(loop) if isinstance(each, ast.For) and "epoch" in text(each.target)]
    calls = [each for each in ast.walk(epochs) if isinstance(each, ast.Call) and text(each.func) == "self._run_epoch"]
    assert [len(call.args) for call in calls] == [0] and "if self.control.should_training_stop:" in text(epochs), (
        "training._require_no_step_beyond replaces it where a checkpoint is of the last step"
    )
