"""What samples and what trains give a token the same probability, else training stops."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from test_stages import GRPO, LORA, equal, run_grpo, weights_of
from trl import GRPOTrainer

from rlvr.engines import sampling
from rlvr.errors import RlvrError

EVERYTHING = {
    **{"temperature": 0.6, "top_p": 0.8, "top_k": 30, "mask_truncated_completions": True, "num_iterations": 2},
    **{"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "steps_per_generation": 4},
}


def run(made, folder, **changes) -> pd.DataFrame:
    trainer = {**GRPO["trainer"], "max_steps": 3, **changes.pop("trainer", {})}
    run_grpo(made, folder, None, trainer=trainer, rewards={"random": 1.0}, **changes)
    return pd.read_parquet(folder / "m.parquet")


def test_sampler_and_trainer_agree_to_the_last_digits(made, tmp_path):
    metrics = run(made, tmp_path, trainer=EVERYTHING, dynamic={"max_rounds": 2, "rest": 0})
    means, most = metrics[sampling.MEAN].dropna(), metrics[sampling.MAX].dropna()
    assert 0 < len(means) < len(metrics), "once for each batch that is sampled"
    assert (means <= most).all() and (most < 1e-4).all() and (most > 0).any()


@pytest.mark.slow
def test_measuring_changes_nothing_under_dropout(made, tmp_path, monkeypatch):
    options = {"adapter": {**LORA, "dropout": 0.2}}
    first = run(made, tmp_path / "with", **options)
    monkeypatch.setattr(sampling.WatchedTrainer, "_measures", lambda self: False)
    second = run(made, tmp_path / "without", **options)
    assert sampling.MEAN in first and sampling.MEAN not in second
    assert equal(weights_of(tmp_path / "with" / "policy"), weights_of(tmp_path / "without" / "policy"))


@pytest.mark.parametrize("most", [0.05, pytest.param(None, marks=pytest.mark.slow)])
def test_a_sampler_with_other_weights_stops_training(made, tmp_path, monkeypatch, most):
    """From the second step on, what samples has another head than what trains."""
    generate = GRPOTrainer._generate_single_turn

    def stale(self, *given, **named):
        head = self.model.get_output_embeddings().weight
        before = head.detach().clone()
        if self.state.global_step:
            head.data.add_(torch.randn(head.shape, generator=torch.Generator().manual_seed(0)) * 0.1)
        try:
            return generate(self, *given, **named)
        finally:
            head.data.copy_(before)

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", stale)
    if most is None:
        metrics = run(made, tmp_path, max_logp_difference=None)
        assert metrics[sampling.MEAN][0] < 1e-4 and (metrics[sampling.MEAN][1:] > 0.05).all()
        return
    said = r"max_logp_difference: .* differ by 0\.\d+ .* at step 2; allowed: 0.05 or less; .* stale or wrong weights"
    with pytest.raises(RlvrError, match=said):
        run(made, tmp_path, max_logp_difference=most)
    assert not (tmp_path / "policy").exists()
