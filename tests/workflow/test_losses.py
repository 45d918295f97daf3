"""Every loss that the config may name, and the terms beside it, train for real."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from test_stages import GRPO, equal, run_grpo, weights_of

from conftest import MICRO
from rlvr import config
from rlvr.errors import RlvrError
from rlvr.trainer_values import CHOICES

NEEDED = {"cispo": {"epsilon_high": 5.0}, "luspo": {"importance_sampling_level": "sequence"}}


@pytest.mark.slow
@pytest.mark.parametrize("loss", CHOICES["grpo"]["loss_type"])
def test_every_loss_moves_the_policy(made, tmp_path, loss):
    """Half a minute for all eight."""
    trainer = {**GRPO["trainer"], "loss_type": loss, **NEEDED.get(loss, {})}
    policy = run_grpo(made, tmp_path, None, trainer=trainer, rewards={"random": 1.0})
    metrics = pd.read_parquet(tmp_path / "m.parquet")
    assert len(metrics) == 2 and np.isfinite(metrics["loss"]).all() and (metrics["grad_norm"] > 0).all()
    assert not equal(weights_of(policy), weights_of(made.base))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"entropy_coef": 0.1},
        {"use_adaptive_entropy": True, "entropy_coef": 0.1, "entropy_target": 9.0},
        {"epsilon": 0.2, "epsilon_high": 0.28, "num_iterations": 2},
        {"scale_rewards": "batch"},
        {"scale_rewards": "none"},
        {"top_entropy_quantile": 0.2},
        {"beta": 0.1},
    ],
    ids=lambda options: " ".join(options),
)
def test_the_terms_beside_the_loss_change_the_policy(made, tmp_path, options):
    """Half a minute for all."""
    trainer = {**GRPO["trainer"], "max_steps": 3}
    rewards = {"random": 1.0}
    plain = run_grpo(made, tmp_path / "plain", None, trainer=trainer, rewards=rewards)
    changed = run_grpo(made, tmp_path / "changed", None, trainer={**trainer, **options}, rewards=rewards)
    assert not equal(weights_of(plain), weights_of(changed))
    metrics = pd.read_parquet(tmp_path / "changed" / "m.parquet")
    assert ("entropy_coef" in metrics) == ("entropy_coef" in options)


@pytest.mark.slow
def test_truncated_completions_can_be_left_out_of_the_loss(made, tmp_path):
    """With a limit that none keeps, nothing is left to learn from."""
    trainer = {**GRPO["trainer"], "max_completion_length": 2, "mask_truncated_completions": True}
    policy = run_grpo(made, tmp_path, None, trainer=trainer, rewards={"random": 1.0})
    assert equal(weights_of(policy), weights_of(made.base))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"epsilon": 0.3, "epsilon_high": 0.2},
            "grpo.trainer.epsilon_high: 0.2 is not possible; allowed: epsilon (0.3)",
        ),
        ({"epsilon_high": 0.1}, "grpo.trainer.epsilon_high: 0.1 is not possible; allowed: epsilon (0.2) or more"),
        ({"loss_type": "cispo"}, "grpo.trainer.epsilon_high: null is not possible with loss_type: cispo"),
        ({"epsilon": 1.5}, "grpo.trainer.epsilon: 1.5 is not possible; allowed: above 0, below 1"),
        ({"top_entropy_quantile": -0.1}, "grpo.trainer.top_entropy_quantile: -0.1 is not possible; allowed: 0 to 1"),
        ({"entropy_coef": -1}, "grpo.trainer.entropy_coef: -1 is not possible; allowed: 0 or more"),
        (
            {"entropy_coef_min": 2.0},
            "grpo.trainer.entropy_coef_min: 2.0 is not possible; allowed: up to entropy_coef_max",
        ),
        ({"use_adaptive_entropy": True, "entropy_coef": 3.0}, "allowed with use_adaptive_entropy: entropy_coef_min to"),
        ({"beta": -0.1}, "grpo.trainer.beta: -0.1 is not possible; allowed: 0 or more"),
        ({"report_to": "mlflow"}, "trainer.report_to: 'mlflow' is not possible; allowed: none, or one or more of"),
        ({"report_to": ["none", "wandb"]}, "trainer.report_to: 'none' is not possible; allowed: none, or one or more"),
        ({"report_to": ["wandb", "wandb"]}, "trainer.report_to: each tracker once"),
    ],
)
def test_what_trl_would_pass_over_in_silence_is_refused(tmp_path, options, line):
    grpo = {**MICRO["grpo"], "trainer": {**MICRO["grpo"]["trainer"], **options}}
    file = tmp_path / "experiment.yaml"
    file.write_text(json.dumps({**MICRO, "grpo": grpo}))
    with pytest.raises(RlvrError) as raised:
        config.load([file])
    assert line in str(raised.value)
