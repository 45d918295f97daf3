"""SFT warm-start on the tasks' demonstrations, with TRL's SFTTrainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from rlvr import chat_template, folders, protocol, protocol_lock, provenance, tables, unfinished
from rlvr.engines import checkpoints, lengths, models, reporting, sft_data, training
from rlvr.engines.frozen import Frozen
from rlvr.engines.loading import Engine, Request, load

COUNT = "tokens.json"


def train(
    config: dict[str, Any],
    engine: Engine,
    device: torch.device,
    *,
    base: Path,
    start: Path | None,
    data: list[Path],
    policy: Path,
    metrics: Path,
    tracking: Path | None,
) -> dict[str, Any]:
    """Trains what `engine` loads; returns facts for the manifest. For the files see `stages.sft`."""
    inputs = [provenance.contents(path) for path in (base, *([start] if start else []), *data)]
    key = checkpoints.key("sft", config=config, inputs=inputs, engine=engine.__name__)
    folders.require_replaceable(policy)
    with unfinished.kept(policy, key) as folder, reporting.to(tracking, policy, key) as reported:
        tokenizer = models.load_tokenizer(base)
        options = training.arguments(config, device, folder) | reported
        arguments = training.on_one_device(SFTConfig(**engine.arguments("sft", options)))
        longest = lengths.within(base, arguments.max_length)
        checkpointing = arguments.gradient_checkpointing
        request = Request(base, start, config["adapter"], device, longest, config["seed"], checkpointing)
        model, fresh_adapter = load(engine, request)
        read = tables.read_all(data)
        rows, template = sft_data.rows(tokenizer, read)
        with training.float32_adapter(model), chat_template.replaced(tokenizer, template):
            trainer = SFTTrainer(
                model=model,
                args=arguments,
                train_dataset=Dataset.from_list(rows),
                processing_class=tokenizer,
                peft_config=fresh_adapter,
            )
        models.require_ends_of(base, trainer.model, trainer.processing_class)
        met = protocol_lock.meet(
            read,
            files=data,
            models=[base, *([start] if start else [])],
            tokenizer=trainer.processing_class,
            ends=models.end_tokens(trainer.model, trainer.processing_class),
            max_prompt_tokens=longest,
        )
        sft_data.require_apart(trainer)
        tokens, with_loss = sft_data.count_loss(trainer, len(rows))
        shown = {"loss": "loss", "mean_token_accuracy": "accuracy"}
        held = training.train(
            trainer,
            folder,
            training.Progress("sft", shown),
            Frozen(trainer.model, base),
            save=lambda checkpoint: _save_count(trainer, checkpoint / COUNT),
            load=lambda checkpoint: _load_count(trainer, checkpoint / COUNT),
        )
        models.save_policy(trainer.model, tokenizer, policy)
        training.write_metrics(trainer, metrics)
    return {
        "examples": len(rows),
        "tokens": tokens,
        "tokens_with_loss": with_loss,
        "protocol": protocol.facts(met),
        **training.facts(trainer),
        **held,
    }


def _save_count(trainer: SFTTrainer, file: Path) -> None:
    """Of the tokens trained on so far, the metric `num_tokens`, which TRL begins anew when a run is resumed."""
    file.write_text(json.dumps(trainer._total_train_tokens), encoding="utf-8")


def _load_count(trainer: SFTTrainer, file: Path) -> None:
    trainer._total_train_tokens = json.loads(file.read_text(encoding="utf-8"))
