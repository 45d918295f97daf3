"""A sampler that leaves tokens out makes TRL's importance ratio too small, which is said before training."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from conftest import MICRO
from rlvr.cli import main
from rlvr.engines import rollouts
from rlvr.memory import estimate

VLLM = {"use_vllm": True}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top_p": 0.9}, "top_p: 0.9 biases .*set top_p: 1 or vllm_importance_sampling_correction: false"),
        ({"top_k": 20}, "set top_k: 0 or"),
        ({"min_p": 0.1}, "set min_p: 0 or"),
        ({"repetition_penalty": 1.1}, "set repetition_penalty: 1 or"),
        ({"generation_kwargs": '{"top_p": 0.8}'}, "top_p: 0.8 biases"),
        ({"generation_kwargs": {"top_p": 0.8}, "top_p": 1.0}, "top_p: 0.8 biases"),
        (
            {"top_p": 0.9, "vllm_importance_sampling_correction": False, "off_policy_mask_threshold": 0.1},
            "set top_p: 1$",
        ),
    ],
)
def test_what_biases_the_ratio_is_said_with_what_to_set(options, said):
    assert re.search(said, rollouts.biased({**VLLM, **options}))


@pytest.mark.parametrize(
    "options",
    [
        {"use_vllm": False, "top_p": 0.9},
        {"top_p": 0.9, "vllm_importance_sampling_correction": False},
        {"top_p": 1.0, "top_k": 0, "min_p": None},
        {"top_k": -1},
        {"generation_kwargs": {"top_p": 1.0}, "top_p": 0.9},
    ],
)
def test_where_nothing_reads_the_ratio_or_nothing_is_cut_off_nothing_is_said(options):
    assert rollouts.biased({**VLLM, **options}) is None


def test_trl_still_compares_the_two_distributions():
    """Once TRL takes both over the same tokens, the warning goes."""
    folder = Path(importlib.util.find_spec("trl").origin).parent
    assert 'logprobs_mode="processed_logprobs"' in (folder / "generation" / "vllm_generation.py").read_text()
    trainer = (folder / "trainer" / "grpo_trainer.py").read_text()
    scored = trainer.partition("def _full_logits_logps")[2].partition("\n    def ")[0]
    assert "temperature" in scored and not re.search(r"top_p|top_k|min_p", scored)
    assert "per_token_logps_diff = (old_per_token_logps - sampling_per_token_logps)" in trainer


def test_preflight_says_it_for_the_variant_that_does_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(estimate, "of", lambda *_, **__: [estimate.Estimate("evaluation", {"weights": 2**20})])
    variants = {"plain": {}, "nucleus": {"trainer": {"top_p": 0.9}}}
    engines = {"rollouts": "vllm_colocate", "generation": "transformers", "training": "transformers"}
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump({**MICRO, "grpo": {**MICRO["grpo"], "variants": variants}, "engines": engines}))
    main(["preflight", "--configfile", str(file), "--memory", "24GB"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "biases" in line]
    assert len(lines) == 1 and lines[0].startswith("grpo/nucleus: grpo.trainer.top_p: 0.9 biases")
