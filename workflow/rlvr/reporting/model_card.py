"""The model card of an exported arm, in the format of the hub; whatever enters it is escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, StrictUndefined

from rlvr import provenance, tables
from rlvr.reporting.chain import below_results
from rlvr.reporting.results import Arm, Results

TEMPLATE = Path(__file__).with_suffix(".md.j2")
WHAT = {"sft": "Supervised fine-tuning, the warm-start of GRPO", "grpo": "GRPO with rewards that a program gives"}
EXAMPLE = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = {folder}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
messages = {messages}
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
output = model.generate(**inputs, max_new_tokens={most})
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
"""


def render(
    found: Results,
    arm: Arm,
    tidy: pd.DataFrame,
    tables: str,
    manifests: Mapping[str, Mapping[str, Any]],
    config: Mapping[str, Any],
) -> str:
    """The card of a trained arm.

    tidy: greedy accuracies of all arms. tables: those of the report, Markdown. manifests: by path below the
    experiment's folder. config: the report's.
    """
    weights = found.folder / "model" / arm.path / "weights"
    training, export = manifests[f"{arm.path}/manifest.json"], manifests[f"model/{arm.path}/manifest.json"]
    rows = _training_rows(found, arm)
    prompts = {task: _first_prompt(path) for task, path in rows.items()}
    task, evaluated = next(iter(prompts)), manifests[f"eval/{arm.path}/{found.tasks[0]}/greedy/manifest.json"]
    example = EXAMPLE.format(
        folder=json.dumps(str(weights)),
        messages=json.dumps(prompts[task], indent=1),
        most=evaluated["config"]["max_completion_tokens"],
    )
    steps = {"Warm-start": _warm_start(found, arm, training), "GRPO": arm.path if arm.kind == "grpo" else None}
    steps["Export"] = f"model/{arm.path}"
    made = {name: manifests[f"{path}/manifest.json"]["config"] for name, path in steps.items() if path}
    environment = Environment(autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    body = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=f"{config['experiment']}: {arm.path}",
        what=WHAT[arm.kind],
        base=inline(config["base"]["model"]) + _revision(config["base"]["revision"]),
        dtype=export["config"]["dtype"],
        tasks=map(inline, found.tasks),
        arm=arm.path,
        tables=tables,
        sampled=config["sampled"],
        trained=_trained(rows, training),
        prompts="\n\n".join(f"{inline(task)}:\n\n{fenced(prompt, 'json')}" for task, prompt in prompts.items()),
        example=fenced(example, "python"),
        ends=[inline(token) for token in _end_tokens(weights)],
        configs={name: fenced(config, "json") for name, config in made.items()},
        versions=", ".join(f"{package} {inline(release)}" for package, release in training["versions"].items()),
        finished=training["finished"],
        policy=provenance.identity(found.folder / arm.path / "policy"),
    )
    return f"---\n{_head(arm, tidy, config).to_yaml()}\n---\n{body}"


def _warm_start(found: Results, arm: Arm, training: Mapping[str, Any]) -> str | None:
    """The folder of the warm-start that an arm is or starts from, below that of the experiment."""
    if arm.kind == "sft":
        return arm.path
    policies = [path for path in training["inputs"] if path.endswith("/policy")]
    return below_results(policies[0]).removesuffix("/policy") if policies else None


def inline(text: str) -> str:
    """The text as inline code, whatever it holds, on one line."""
    text = " ".join(text.split())
    fence = "`" * (_longest_run(text) + 1)
    gap = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{fence}{gap}{text}{gap}{fence}"


def fenced(content: Any, language: str) -> str:
    """A code block that its content can't end; what is no text is written as JSON."""
    text = content if isinstance(content, str) else json.dumps(content, indent=1, ensure_ascii=False)
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _head(arm: Arm, tidy: pd.DataFrame, config: Mapping[str, Any]) -> ModelCardData:
    own = tidy[(tidy["cell"].str.rsplit("/", n=2).str[0] == arm.path) & (tidy["n"] > 0)]
    base = config["base"]
    return ModelCardData(
        base_model=base["model"] if base["revision"] else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        license="unknown",
        tags=["rlvr", "trl", arm.kind],
        model_name=f"{config['experiment']}-{arm.slug}",
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type=row.task,
                dataset_name=f"{row.task}, {row.n} held-out items",
                metric_type="accuracy",
                metric_name="greedy pass@1, strict, %",
                metric_value=round(100 * row.strict, 1),
            )
            for row in own.itertuples()
        ],
    )


def _revision(revision: str | None) -> str:
    return f" at revision `{revision}`" if revision else ""


def _training_rows(found: Results, arm: Arm) -> dict[str, Path]:
    """The rows that an arm was trained on, by task; those without any are left out."""
    split = "train" if arm.kind == "grpo" else "sft"
    files = {task: found.folder / "dataset" / task / f"{split}.parquet" for task in found.steps}
    return {task: file for task, file in files.items() if tables.count(file)}


def _first_prompt(file: Path) -> list[dict[str, str]]:
    with tables.opened(file) as rows:
        return next(rows.iter_batches(batch_size=1, columns=["prompt"])).to_pylist()[0]["prompt"]


def _trained(rows: Mapping[str, Path], training: Mapping[str, Any]) -> list[str]:
    kind = "prompts" if training["stage"] == "grpo" else "demonstrations"
    lines = [f"{inline(task)}: {tables.count(file):,} {kind}" for task, file in rows.items()]
    rewards = training["config"].get("rewards", {})
    lines += [f"reward {inline(name)}, weight {weight:g}" for name, weight in rewards.items()]
    return [*lines, f"{training['steps']:,} optimiser steps"]


def _end_tokens(weights: Path) -> list[str]:
    """The text of the tokens that end a completion."""
    ends = json.loads((weights / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    added = json.loads((weights / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    names = {token["id"]: token["content"] for token in added}
    return [names.get(end, f"token {end}") for end in (ends if isinstance(ends, list) else [ends])]
