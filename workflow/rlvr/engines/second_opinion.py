"""lm-eval with its own model class, filters and metric, on our prompts and end tokens.

From its task `gsm8k` only the data set, the prompt and the stop texts are replaced; nothing is read from a hub.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lm_eval
import torch
import yaml
from datasets import Dataset
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import GenerationConfig

from rlvr.chat_template import Prefixes
from rlvr.engines import generation, models
from rlvr.engines.device import half
from rlvr.errors import RlvrError

TASK = "gsm8k"
FILTERS = {
    "strict-match": ("strict_match", "strict_answer"),
    "flexible-extract": ("flexible_extract", "flexible_answer"),
}


class Harness:
    """A model in a folder, loaded by lm-eval."""

    def __init__(self, folder: Path, device: torch.device, batch_size: int) -> None:
        dtype = half(device) if device.type == "cuda" else "float32"
        self._lm = HFLM(pretrained=str(folder), device=str(device), dtype=dtype, batch_size=batch_size)
        self._tokenizer = models.load_tokenizer(folder)
        self.prefixes = Prefixes(self._tokenizer)
        # Our end tokens, and none of the model's own defaults, such as a repetition penalty.
        self._lm.model.generation_config = GenerationConfig(
            eos_token_id=models.ends_of(folder, self._tokenizer), pad_token_id=self._tokenizer.pad_token_id
        )
        self._settings = self._task_settings()

    def prompts(self, conversations: list[generation.Messages]) -> list[str]:
        """Each prompt under the chat template, by lm-eval. Raises RlvrError where its tokens are not ours."""
        ours = generation.encode(self._tokenizer, conversations)
        texts = [self._lm.apply_chat_template(messages) for messages in conversations]
        for place, (text, ids) in enumerate(zip(texts, ours, strict=True)):
            theirs = self._lm.tok_batch_encode([text])[0][0].tolist()
            if theirs != ids:
                where = next((i for i, (a, b) in enumerate(zip(theirs, ids, strict=False)) if a != b), len(ids))
                raise RlvrError(
                    f"lm_eval: makes other tokens of prompt {place + 1} than we do, from token {where + 1} on "
                    f"({len(theirs)} against {len(ids)}); allowed: a model whose chat template lm-eval applies alike"
                )
        return texts

    def judged(self, prompts: list[str], golds: list[str], max_completion_tokens: int) -> Iterator[dict[str, Any]]:
        """For each prompt the completion, and by each filter what it extracts and whether that is the gold."""
        docs = [{"prompt": prompt, "answer": f"#### {gold}"} for prompt, gold in zip(prompts, golds, strict=True)]
        task = {
            **self._settings,
            "custom_dataset": lambda **_: {"test": Dataset.from_list(docs)},
            "test_split": "test",
            "num_fewshot": 0,
            "doc_to_text": "{{prompt}}",
            "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": max_completion_tokens},
        }
        result = lm_eval.simple_evaluate(
            model=self._lm,
            tasks=[task],
            task_manager=TaskManager(include_defaults=False),
            bootstrap_iters=0,
            log_samples=True,
        )
        rows: list[dict[str, Any]] = [{} for _ in docs]
        for sample in result["samples"][TASK]:
            right, answer = FILTERS[sample["filter"]]
            rows[sample["doc_id"]] |= {
                "completion": sample["resps"][0][0],
                right: bool(sample["exact_match"]),
                answer: sample["filtered_resps"][0],
            }
        yield from rows

    def facts(self) -> dict[str, Any]:
        return {"lm_eval": version("lm_eval"), "task": TASK, "task_version": self._version}

    def _task_settings(self) -> dict[str, Any]:
        file = Path(lm_eval.__file__).parent / "tasks" / TASK / f"{TASK}.yaml"
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
        self._version = found["metadata"]["version"]
        left_out = ("tag", "dataset_path", "dataset_name", "training_split", "fewshot_split")
        return {key: value for key, value in found.items() if key not in left_out}
