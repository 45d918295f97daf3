"""The main job's training as a plain TRL script: one process, no workflow, no manifests.

Reads the base model and the rows that a finished run of the workflow left, trains with the same
options, evaluates greedily, and prints one JSON object with the seconds of each phase.

    python benchmarks/plain_trl.py results/tiny config/config.yaml
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset, concatenate_datasets
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from rlvr.yaml_files import load_mapping
from rlvr_plugins import Example
from rlvr_plugins.manager import catalogue


def rows(results: Path, config: dict, split: str) -> Dataset:
    return concatenate_datasets(
        [
            Dataset.from_parquet(str(results / "dataset" / task / f"{split}.parquet"), keep_in_memory=True)
            for task in config["tasks"]
        ]
    )


def verdicts(tasks, keys, examples, texts):
    tables = zip(tasks, keys, examples, texts, strict=True)
    return [catalogue().task(t).verify(text, Example(k, json.loads(e))) for t, k, e, text in tables]


def correctness(completions, task, key, example, **kwargs):
    return [float(v.strict) for v in verdicts(task, key, example, [c[-1]["content"] for c in completions])]


def well_formed(completions, task, key, example, **kwargs):
    return [float(v.well_formed) for v in verdicts(task, key, example, [c[-1]["content"] for c in completions])]


def accuracy(model, tokenizer, data: Dataset, config: dict) -> dict[str, float]:
    model.eval()
    size, limit = config["evaluation"]["batch_size"], config["evaluation"]["max_completion_tokens"]
    right: dict[str, list[bool]] = {}
    for start in range(0, len(data), size):
        part = data[start : start + size]
        prompts = [tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in part["prompt"]]
        batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        with torch.inference_mode():
            ids, mask = batch["input_ids"], batch["attention_mask"]
            output = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=limit, do_sample=False)
        texts = tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)
        for task, verdict in zip(
            part["task"], verdicts(part["task"], part["key"], part["example"], texts), strict=True
        ):
            right.setdefault(task, []).append(verdict.strict)
    return {task: sum(values) / len(values) for task, values in right.items()}


def main(results: Path, config: dict) -> dict:
    seed = config.get("seed", 0)
    common = {
        "output_dir": tempfile.mkdtemp(),
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
    }
    common |= {"dataloader_pin_memory": False, "save_strategy": "no", "logging_steps": 1, "seed": seed}
    weights = results / "model" / "base" / "weights"
    tokenizer = AutoTokenizer.from_pretrained(weights)
    tokenizer.padding_side = "left"
    model = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32)
    held_out = rows(results, config, "eval")
    report: dict = {"seconds": {}, "strict": {}}

    def timed(name: str, work):
        start = time.perf_counter()
        value = work()
        report["seconds"][name] = round(time.perf_counter() - start, 2)
        return value

    report["strict"]["base"] = timed("generate base", lambda: accuracy(model, tokenizer, held_out, config))
    sft = timed(
        "sft setup",
        lambda: SFTTrainer(
            model,
            SFTConfig(**{**config["sft"]["trainer"], **common}),
            train_dataset=rows(results, config, "sft").select_columns(["prompt", "completion"]),
            processing_class=tokenizer,
        ),
    )
    timed("sft", sft.train)
    report["strict"]["sft"] = timed("generate sft", lambda: accuracy(model, tokenizer, held_out, config))
    grpo = timed(
        "grpo setup",
        lambda: GRPOTrainer(
            model,
            args=GRPOConfig(**{**config["grpo"]["trainer"], **common}, reward_weights=[2.0, 0.2]),
            reward_funcs=[correctness, well_formed],
            train_dataset=rows(results, config, "train"),
            processing_class=tokenizer,
        ),
    )
    timed("grpo", grpo.train)
    report["strict"]["grpo"] = timed("generate grpo", lambda: accuracy(model, tokenizer, held_out, config))
    return report


if __name__ == "__main__":
    started = time.perf_counter()
    found = main(Path(sys.argv[1]), load_mapping(Path(sys.argv[2])))
    found["seconds"]["whole"] = round(time.perf_counter() - started, 2)
    print(json.dumps(found))
