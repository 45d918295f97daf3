"""One step of GRPO on completions that are given, under whichever TRL is at hand: Unsloth's, or its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import trl
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from rlvr.engines import models

STEP = {
    "output_dir": "checkpoints",
    "max_steps": 1,
    "use_cpu": True,
    "bf16": False,
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "max_completion_length": 6,
    "gradient_checkpointing": False,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "seed": 1,
    "logging_steps": 1,
}
END = 2
COMPLETIONS = [
    *([5, 6, END], [7, 8, 9, 10, 11, 12], [20, END], [13, 14, 15, 16, END]),
    *([30, 31, END], [40, 41, 42, 43, 44, 45], [50, END], [60, 61, 62, 63, END]),
]
"""Of two prompts; two of them are as long as may be and have no end token."""


def run(base: Path, arguments: Callable[[dict], dict], prepare: Callable[[Any], None], **options: Any) -> list[float]:
    """Loss and norm of the gradient. arguments: the options for the config class. prepare: the adapted model."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base)
    model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    prepare(model)
    rows = [{"prompt": [{"role": "user", "content": f"What is {i} + 3?"}]} for i in range(8)]
    trainer = trl.GRPOTrainer(
        model=model,
        args=trl.GRPOConfig(**arguments(STEP | options)),
        reward_funcs=[_reward],
        train_dataset=Dataset.from_list(rows),
        processing_class=models.load_tokenizer(base),
        rollout_func=_given,
    )
    trainer.train()
    logged = trainer.state.log_history[0]
    return [logged["loss"], logged["grad_norm"]]


def _given(prompts: list, trainer: Any) -> dict[str, list]:
    number = len(prompts)
    start = getattr(trainer, "given", 0)
    trainer.given = start + number
    completions = [COMPLETIONS[(start + i) % len(COMPLETIONS)] for i in range(number)]
    return {
        "prompt_ids": [list(range(3, 8 + i % 2)) for i in range(number)],
        "completion_ids": completions,
        "logprobs": [[-5.0] * len(each) for each in completions],
    }


def _reward(completions: list, **columns: Any) -> list[float]:
    return [float(i * 7 % 5) for i in range(len(completions))]
