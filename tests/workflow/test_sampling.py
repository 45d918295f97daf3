"""What samples and what trains give a token the same probability, else training stops."""

from __future__ import annotations

import math
from collections import defaultdict
from types import SimpleNamespace

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
    seconds = metrics[sampling.SECONDS].dropna()
    assert list(seconds.index) == list(means.index), "and its time is part of that step's"
    assert ((seconds > 0) & (seconds < metrics["step_time"][seconds.index])).all()


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


@pytest.fixture
def logged_with_the_loss(monkeypatch):
    """The difference arrives as under Unsloth on a GPU: none while sampling, a value with each micro-batch's loss."""
    compute_loss = GRPOTrainer.compute_loss
    values = iter([0.1, 0.7, 0.5, 0.7, 0.0, 0.0])

    def loss(self, *given, **named):
        found = compute_loss(self, *given, **named)
        self._metrics["train"][sampling.MEAN].append(next(values))
        return found

    monkeypatch.setattr(sampling.WatchedTrainer, "_measures", lambda self: False)
    monkeypatch.setattr(GRPOTrainer, "compute_loss", loss)


@pytest.mark.parametrize("logging_steps", [1, 10])
def test_a_difference_that_is_logged_with_the_loss_stops_training(made, tmp_path, logged_with_the_loss, logging_steps):
    """As a mean over the step: 0.4 at the first, 0.6 at the second."""
    steps = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "logging_steps": logging_steps}
    with pytest.raises(RlvrError, match=r"differ by 0.6 on average .* at step 2; allowed: 0.5 or less"):
        run(made, tmp_path, trainer=steps)
    assert not (tmp_path / "policy").exists()


def test_steps_that_agree_do_not_excuse_a_later_one_under_dynamic_choice(made, tmp_path, monkeypatch):
    """Where the trainer logs every tenth step, and dynamic choice joins the metrics of its rounds."""
    compare, calls = sampling.WatchedTrainer._compare, []

    def later(self, *given):
        compare(self, *given)
        calls.append(self.state.global_step)
        self._metrics["train"][sampling.MEAN][-1] = 0.9 if self.state.global_step == 3 else 0.0

    monkeypatch.setattr(sampling.WatchedTrainer, "_compare", later)
    with pytest.raises(RlvrError, match=r"differ by 0.9 on average .* at step 4; allowed: 0.5 or less"):
        run(made, tmp_path, trainer={"max_steps": 5, "logging_steps": 10}, dynamic={"max_rounds": 1, "rest": 0})


def test_the_entropy_that_unsloth_does_not_log_is_estimated_from_what_vllm_sampled(monkeypatch):
    logprobs = [[-0.5, -1.5], [None, -1.0]]
    trainer = object.__new__(sampling.WatchedTrainer)
    trainer.args = SimpleNamespace(generation_kwargs=None)
    trainer.model, trainer.use_vllm, trainer.repetition_penalty = SimpleNamespace(training=True), True, 1.0
    trainer._metrics = {"train": defaultdict(list)}
    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", lambda *given: ([[1, 2], [3, 4]], logprobs))
    assert trainer._generate_single_turn([[1], [1]]) == ([[1, 2], [3, 4]], logprobs)
    assert "entropy" not in trainer._metrics["train"], "TRL logs it by itself"
    monkeypatch.setattr(sampling, "_patched", lambda: True)
    trainer._generate_single_turn([[1], [1]])
    assert trainer._metrics["train"]["entropy"] == [1.0]


def test_the_estimate_of_the_entropy_is_unbiased():
    probabilities = torch.tensor([0.5, 0.25, 0.125, 0.125])
    drawn = torch.multinomial(probabilities, 20_000, True, generator=torch.Generator().manual_seed(0))
    found = sampling.sampled_entropy([probabilities.log()[drawn].tolist()])
    assert found == pytest.approx(1.75 * math.log(2), abs=0.01)
    assert math.isnan(sampling.sampled_entropy([[], [None]]))
