"""GRPO with the configured rewards, with TRL's GRPOTrainer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from rlvr import (
    chat_template,
    console,
    digests,
    folders,
    protocol,
    protocol_lock,
    provenance,
    resuming,
    tables,
    unfinished,
)
from rlvr.engines import checkpoints, evaluation, generate_loaded_vllm, lengths, models, reporting, room, training
from rlvr.engines import rollouts as rollout_options
from rlvr.engines.dynamic import Draws, DynamicTrainer
from rlvr.engines.frozen import Frozen
from rlvr.engines.loading import Engine, Request, load
from rlvr.engines.sampling import WatchedTrainer
from rlvr.errors import RlvrError
from rlvr.growing import Growing
from rlvr.memory import machine, vllm_share
from rlvr.protocol import Decoding
from rlvr.rewards import Scorer, schema
from rlvr.variance import Variance


def train(
    config: dict[str, Any],
    engine: Engine,
    rollouts: str,
    device: torch.device,
    *,
    base: Path,
    data: list[Path],
    held_out: list[Path],
    policy: Path,
    metrics: Path,
    completions: Path,
    evaluated: Path,
    sft: Path | None,
    tracking: Path | None,
) -> dict[str, Any]:
    """Trains what `engine` loads, sampling by `rollouts`; returns facts for the manifest.

    For the files see `stages.grpo`.
    """
    rows = _ordered(tables.read_all(data), config["order"])
    rewards = {name: digests.reward(name) for name in config["rewards"]}
    items = tables.read_all(held_out) if config["evaluate"] else []
    verifiers = {name: digests.verifier(name) for name in sorted({row["task"] for row in [*rows, *items]})}
    inputs = [provenance.contents(path) for path in (base, *([sft] if sft else []), *data, *held_out)]
    bounds = ("max_failures", "max_logp_difference", "max_zero_variance_steps")
    decisive = {name: value for name, value in config.items() if name not in bounds}
    engines = [engine.__name__, rollouts, *([digests.part("evaluation")] if config["evaluate"] else [])]
    key = checkpoints.key("grpo", config=decisive, inputs=inputs, rewards=rewards, verifiers=verifiers, engines=engines)
    folders.require_replaceable(policy)
    with unfinished.kept(policy, key) as folder, reporting.to(tracking, policy, key) as reported:
        tokenizer = models.load_tokenizer(base)
        sampled_by = rollout_options.arguments(rollouts, config["engines"]["server"])
        options = training.arguments(config, device, folder, defaults=rollout_options.DEFAULTS) | sampled_by | reported
        if config["order"] != "shuffled":
            options["shuffle_dataset"] = False
        if bias := rollout_options.biased(options):
            console.say(f"grpo: grpo.trainer.{bias}")
        options = engine.arguments("grpo", options)
        arguments = training.on_one_device(GRPOConfig(**options, reward_weights=list(config["rewards"].values())))
        _require_a_batch(len(rows), arguments)
        longest = room.require(
            base, rows, arguments.max_completion_length, "grpo.trainer.max_completion_length", room.TRAIN
        )
        if config["evaluate"]:
            most = config["evaluate"]["max_completion_tokens"]
            bound = "grpo.evaluate.max_completion_tokens"
            longest = max(longest, room.require(base, items, most, bound, room.HELD_OUT))
        arguments.vllm_max_model_length = arguments.vllm_max_model_length or longest
        if arguments.use_vllm and config["max_logp_difference"] and not arguments.vllm_importance_sampling_correction:
            console.say(
                "grpo.max_logp_difference: is not checked, as nothing measures it with "
                "trainer.vllm_importance_sampling_correction: false"
            )
        vllm = _vllm(base, config, options, engine, longest) if rollouts == "vllm_colocate" else {}
        arguments.vllm_gpu_memory_utilization = vllm.get("vllm", arguments.vllm_gpu_memory_utilization)
        synced = rollouts != "transformers" and engine.MERGES_TO_SYNC
        request = Request(
            base,
            sft,
            config["adapter"],
            device,
            longest,
            config["seed"],
            checkpointing=arguments.gradient_checkpointing,
            synced=synced,
            scratch=folder,
            **vllm,
        )
        model, fresh_adapter = load(engine, request)
        ends = set(models.end_tokens(model, tokenizer))
        log = Growing(folder / "sampled", schema(list(config["rewards"])))
        variance = Variance(config["rewards"], arguments.num_generations, config["max_zero_variance_steps"])
        keeping = {"log": log, "keep": config["keep_completions"], "group": arguments.num_generations}
        keeping["prefix"] = chat_template.Prefixes(tokenizer).of
        keeping["variance"] = variance
        scorer = Scorer(list(config["rewards"]), ends, config["max_failures"], config["seed"], **keeping)
        dynamic = config["dynamic"]
        draws = Draws(rows, config["seed"], dynamic["rest"]) if dynamic else None
        kind = partial(DynamicTrainer, draws=draws, max_rounds=dynamic["max_rounds"]) if dynamic else WatchedTrainer
        with training.float32_adapter(model):
            trainer = kind(
                model=model,
                args=arguments,
                reward_funcs=scorer.functions(),
                train_dataset=Dataset.from_list(rows),
                processing_class=tokenizer,
                peft_config=fresh_adapter,
                max_logp_difference=config["max_logp_difference"],
            )
        if capacity := generate_loaded_vllm.capacity(trainer):
            fitting = capacity.get("completions_at_once", "an unknown number of")
            console.say(f"grpo: vLLM started with {capacity['share']:g} of the GPU: {fitting} completions at once")
        if arguments.use_vllm:
            # A colocated engine sets it to 0 as it starts, and draws by the same RNG state.
            set_seed(config["seed"], device_specific=True)
        models.require_ends_of(base, trainer.model, trainer.processing_class)
        met = protocol_lock.meet(
            [*rows, *items],
            files=[*data, *held_out],
            models=[base, *([sft] if sft else [])],
            tokenizer=trainer.processing_class,
            ends=models.end_tokens(trainer.model, trainer.processing_class),
            **_limits(base, arguments, config["seed"]),
        )
        answers = Growing(folder / "evaluated", evaluation.SCHEMA)
        evaluator = evaluation.Evaluator(items, config["evaluate"], answers) if config["evaluate"] else None
        if evaluator:
            evaluator.attach(trainer, tokenizer)
        shown = {"reward": "reward", "accuracy/strict": "strict", "completions/mean_length": "tokens"}
        kept = [(scorer, "sampled.json"), *([(draws, "draws.json")] if draws else [])]
        kept += [(evaluator, "evaluated.json")] if evaluator else []
        try:
            held = training.train(
                trainer,
                folder,
                training.Progress("grpo", shown),
                Frozen(trainer.model, base, synced),
                resumable=_resumable(trainer, sft),
                save=lambda checkpoint: [part.save(checkpoint / name) for part, name in kept],
                load=lambda checkpoint: [part.load(checkpoint / name) for part, name in kept],
                resume=partial(_resume, trainer, len(rows)),
            )
            variance.finish(trainer.state.global_step)
        except RlvrError as error:
            sampled = folder / completions.name
            scorer.write(sampled)
            raise RlvrError(f"{error}; what was sampled: {sampled}") from None
        finally:
            scorer.close()
            if evaluator:
                evaluator.close()
        models.save_policy(trainer.model, tokenizer, policy)
        training.write_metrics(trainer, metrics)
        scorer.write(completions)
        answers.write(evaluated)
    return {
        **training.facts(trainer),
        **held,
        "completions": scorer.sampled,
        "vllm": capacity,
        "rewards": rewards,
        "failures": scorer.failures,
        "protocol": protocol.facts(met),
    }


def _vllm(base: Path, config: dict[str, Any], options: dict[str, Any], engine: Engine, longest: int) -> dict[str, Any]:
    """vLLM's share of the GPU, and the completions that it works on at once; says what fits."""
    kind = "unsloth" if engine.__name__.endswith("unsloth") else "transformers"
    share = vllm_share.of(models.load_config(base), options, config["adapter"], kind, longest, machine.capacity("cuda"))
    console.say(f"grpo: {share.line()}")
    return {"vllm": share.share, "at_once": share.at_once}


def _limits(base: Path, arguments: GRPOConfig, seed: int) -> dict[str, Any]:
    """Limits and decoding of the protocol under which completions are sampled."""
    most, sampled = lengths.limit(base), (arguments.num_generations, arguments.temperature, arguments.top_p, seed)
    return {
        "max_prompt_tokens": most and most - arguments.max_completion_length,
        "max_completion_tokens": arguments.max_completion_length,
        "decoding": Decoding("sampled", *sampled),
    }


def _require_a_batch(rows: int, arguments: GRPOConfig) -> None:
    """Raises RlvrError where the rows do not fill one batch, which TRL would pass over in silence."""
    needed = arguments.generation_batch_size // arguments.num_generations
    if rows < needed:
        raise RlvrError(
            f"grpo: {rows} training rows are left, but one batch takes {needed} prompts; loosen the filters, or lower "
            "grpo.trainer.per_device_train_batch_size"
        )


def _resume(trainer: WatchedTrainer, rows: int, step: int) -> bool:
    """Prepares a trainer to go on after a step; returns whether it does so exactly. rows: those of the training set."""
    arguments = trainer.args
    every = arguments.steps_per_generation * arguments.num_iterations
    batches = rows // (arguments.generation_batch_size // arguments.num_generations) * every
    trainer.passes = step // resuming.steps(batches, arguments.gradient_accumulation_steps)
    return resuming.exact(step, arguments.gradient_accumulation_steps, every, batches)


def _ordered(rows: list[dict[str, Any]], order: str) -> list[dict[str, Any]]:
    """The rows of all tasks by their pass rates, in the order of the data where these are equal."""
    if order == "shuffled":
        return rows
    return sorted(rows, key=lambda row: row["pass_rate"], reverse=order == "easy_first")


def _resumable(trainer: GRPOTrainer, sft: Path | None) -> bool:
    """Whether TRL can go on from a checkpoint of this run.

    With a KL term on top of an earlier adapter it would silently restart from that adapter.
    """
    if trainer.args.beta and sft and models.is_adapter(sft):
        console.note("beta > 0 on an SFT adapter: a killed run starts over, TRL can't resume it")
        return False
    return True
