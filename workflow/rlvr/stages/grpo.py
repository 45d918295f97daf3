"""GRPO with the configured rewards, with TRL's GRPOTrainer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from rlvr import console, digests, provenance, tables
from rlvr.engines import checkpoints, device, models, training
from rlvr.engines.dynamic import Draws, DynamicTrainer
from rlvr.errors import RlvrError
from rlvr.rewards import Scorer


def run(
    config: dict[str, Any],
    *,
    base: Path,
    data: list[Path],
    policy: Path,
    metrics: Path,
    completions: Path,
    sft: Path | None = None,
) -> dict[str, Any]:
    """Trains from `sft`, or from `base` without one.

    `policy` gets the adapter, or all weights without one; `metrics` one row a logged step, each reward
    with its mean and standard deviation; `completions` one row a sampled completion.
    """
    chosen = device.choose(config["device"])
    rows = _ordered(tables.read_all(data), config["order"])
    rewards = {name: digests.reward(name) for name in config["rewards"]}
    verifiers = {name: digests.verifier(name) for name in sorted({row["task"] for row in rows})}
    inputs = [provenance.identity(path) for path in (base, *([sft] if sft else []), *data)]
    decisive = {name: value for name, value in config.items() if name != "max_failures"}
    key = checkpoints.key("grpo", config=decisive, inputs=inputs, rewards=rewards, verifiers=verifiers)
    with checkpoints.kept(policy, key) as folder:
        tokenizer = models.load_tokenizer(base)
        model, fresh_adapter = models.load_for_training(base, sft, config["adapter"], chosen)
        ends = set(models.end_tokens(model, tokenizer))
        scorer = Scorer(list(config["rewards"]), ends, config["max_failures"], config["seed"])
        options = training.arguments(config, chosen, folder)
        if config["order"] != "shuffled":
            options["shuffle_dataset"] = False
        dynamic = config["dynamic"]
        draws = Draws(rows, config["seed"], dynamic["rest"]) if dynamic else None
        kind = partial(DynamicTrainer, draws=draws, max_rounds=dynamic["max_rounds"]) if dynamic else GRPOTrainer
        arguments = GRPOConfig(**options, reward_weights=list(config["rewards"].values()))
        _require_a_batch(len(rows), arguments)
        trainer = kind(
            model=model,
            args=arguments,
            reward_funcs=scorer.functions(),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=fresh_adapter,
        )
        shown = {"reward": "reward", "accuracy/strict": "strict", "completions/mean_length": "tokens"}
        kept = [(scorer, completions.name), *([(draws, "draws.json")] if draws else [])]
        try:
            training.train(
                trainer,
                folder,
                training.Progress("grpo", shown),
                resumable=_resumable(trainer, sft),
                save=lambda checkpoint: [part.save(checkpoint / name) for part, name in kept],
                load=lambda checkpoint: [part.load(checkpoint / name) for part, name in kept],
            )
        except RlvrError as error:
            sampled = folder / completions.name
            scorer.save(sampled)
            raise RlvrError(f"{error}; what was sampled: {sampled}") from None
        finally:
            scorer.close()
        models.save_policy(trainer.model, tokenizer, policy)
        training.write_metrics(trainer, metrics)
        scorer.save(completions)
    return {
        "device": str(chosen),
        "steps": trainer.state.global_step,
        "rewards": rewards,
        "failures": scorer.failures,
    }


def _require_a_batch(rows: int, arguments: GRPOConfig) -> None:
    """Raises RlvrError where the rows do not fill one batch, which TRL would pass over in silence."""
    needed = arguments.generation_batch_size // arguments.num_generations
    if rows < needed:
        raise RlvrError(
            f"grpo: {rows} training rows are left, but one batch takes {needed} prompts; loosen the filters, or lower "
            "grpo.trainer.per_device_train_batch_size"
        )


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
