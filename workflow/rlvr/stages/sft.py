"""SFT warm-start on the tasks' demonstrations, with TRL's SFTTrainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from rlvr import provenance, tables
from rlvr.engines import checkpoints, device, models, sft_data, training


def run(config: dict[str, Any], *, base: Path, data: list[Path], policy: Path, metrics: Path) -> dict[str, Any]:
    """Trains on prompt and completion, with loss on the completion only.

    `policy` gets the adapter, or all weights without one; `metrics` one row a logged step.
    """
    chosen = device.choose(config["device"])
    key = checkpoints.key("sft", config=config, inputs=[provenance.identity(path) for path in (base, *data)])
    with checkpoints.kept(policy, key) as folder:
        tokenizer = models.load_tokenizer(base)
        model, fresh_adapter = models.load_for_training(base, None, config["adapter"], chosen)
        rows = [{key: row[key] for key in ("prompt", "completion")} for row in tables.read_all(data)]
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(**training.arguments(config, chosen, folder)),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=fresh_adapter,
        )
        sft_data.require_apart(trainer)
        tokens, with_loss = sft_data.count_loss(trainer, len(rows))
        training.train(trainer, folder, training.Progress("sft", {"loss": "loss", "mean_token_accuracy": "accuracy"}))
        models.save_policy(trainer.model, tokenizer, policy)
        training.write_metrics(trainer, metrics)
    return {
        "device": str(chosen),
        "examples": len(rows),
        "tokens": tokens,
        "tokens_with_loss": with_loss,
        "steps": trainer.state.global_step,
    }
