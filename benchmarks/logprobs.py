"""What keeping log-probabilities costs: tokens a CPU second with and without, on the default's model and items.

python benchmarks/logprobs.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from rlvr import config, slices, tables
from rlvr.engines.decoding import Decoding
from rlvr.engines.generation import Generator
from rlvr.stages import base, data

RUNS = 4


def main() -> None:
    experiment = config.load([Path("config/config.yaml")])
    cut, answered = slices.of(experiment), experiment.evaluation
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.parquet" for name in ("train", "eval", "sft", "stats")}
        data.run(cut["data/countdown"], **files)
        base.run(cut["base"], data=[files["sft"]], weights=Path(folder) / "weights")
        prompts = [row["prompt"] for row in tables.read(files["eval"])]
        for run in range(RUNS):
            for logprobs in (False, True):
                decoding = Decoding(answered.max_completion_tokens, answered.batch_size, logprobs=logprobs)
                with Generator.open("transformers", Path(folder) / "weights", torch.device("cpu"), decoding) as model:
                    began = time.process_time()
                    found = model.complete(prompts, seed=0)
                    seconds = time.process_time() - began
                tokens = sum(each["tokens"] for group in found for each in group)
                kept = "with" if logprobs else "without"
                print(f"run {run} {kept}: {tokens:,} tokens, {tokens / seconds:,.0f} a CPU second")


if __name__ == "__main__":
    main()
