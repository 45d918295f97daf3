"""Dynamic choice of prompts: groups without spread are replaced, and nothing else changes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from datasets import Dataset
from test_stages import Killed, equal, run_grpo, weights_of
from trl import GRPOConfig
from trl.trainer.utils import pad

from conftest import MICRO
from rlvr import config as experiment_config
from rlvr import slices, tables
from rlvr.engines import checkpoints, dynamic, models, sampling
from rlvr.engines.dynamic import Draws, DynamicTrainer, Round, can_teach, choose, merge
from rlvr.errors import RlvrError

REWARDS = """
from rlvr_plugins import Reward, hookimpl

def sometimes(sample):
    'Spread for half of the prompts.'
    if sum(sample.example.key.encode()) % 2:
        return 0.0
    return float(sum(sample.completion.encode()) % 2)

def chance(sample):
    'Spread for each prompt.'
    return sample.draw / 2**63

@hookimpl
def rlvr_rewards():
    yield Reward("sometimes", sometimes)
    yield Reward("chance", chance)
"""
OPTIONS = {
    "per_device_train_batch_size": 16,
    "num_generations": 4,
    "max_completion_length": 6,
    "gradient_checkpointing": False,
    "learning_rate": 1e-2,
    "max_steps": 4,
    "save_steps": 2,
}
ON = {"max_rounds": 8, "rest": 0}


@pytest.fixture
def rewards(installed):
    installed(REWARDS)


def run(made, folder: Path, **changes) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    settings = {"rewards": {"sometimes": 1.0}, "trainer": OPTIONS, "dynamic": ON} | changes
    policy = run_grpo(made, folder, None, **settings)
    return weights_of(policy), pd.read_parquet(folder / "m.parquet")


def trainer_of(made, folder: Path, seed: int = 0, max_rounds: int = 8, **options) -> DynamicTrainer:
    """A trainer whose rewards are those of `sometimes`, and which keeps its rounds."""
    torch.manual_seed(seed)
    rows = tables.read(made.train)

    def sometimes(completions, key, **_):
        return [
            float(sum(c[0]["content"].encode()) % 2) * (sum(k.encode()) % 2)
            for c, k in zip(completions, key, strict=True)
        ]

    class Kept(DynamicTrainer):
        def _sample(self, rows):
            self.rounds.append(super()._sample(rows))
            return self.rounds[-1]

    cpu = {"use_cpu": True, "bf16": False, "report_to": "none", "output_dir": str(folder), "seed": seed}
    made_trainer = Kept(
        model=models.load_model(made.base, torch.device("cpu"), torch.float32),
        args=GRPOConfig(**{**OPTIONS, **cpu, **options}),
        reward_funcs=[sometimes],
        train_dataset=Dataset.from_list(rows),
        processing_class=models.load_tokenizer(made.base),
        draws=Draws(rows, seed),
        max_rounds=max_rounds,
    )
    made_trainer.rounds = []
    made_trainer.model.train()
    made_trainer.current_gradient_accumulation_steps = made_trainer.args.gradient_accumulation_steps
    return made_trainer


def batch_of(trainer: DynamicTrainer) -> tuple[list, dict]:
    """TRL's first batch, and what the trainer made of it."""
    inputs = next(iter(trainer.get_train_dataloader()))
    return inputs, trainer._generate_and_score_completions(inputs)


def pieces(tensors: dict[str, torch.Tensor]) -> list[dict]:
    """Each completion of a batch without padding."""
    found = []
    for i in range(len(tensors["advantages"])):
        prompt, completion = tensors["prompt_mask"][i].bool(), tensors["completion_mask"][i].bool()
        piece = {key: tensors[key][i][prompt].tolist() for key in ("prompt_ids",)}
        for key in ("completion_ids", "old_per_token_logps", "ref_per_token_logps"):
            if key in tensors:
                piece[key] = tensors[key][i][completion].tolist()
        found.append({**piece, "advantages": tensors["advantages"][i].item()})
    return found


def test_each_step_has_the_wanted_number_of_groups_with_spread(made, tmp_path, rewards):
    _, metrics = run(made, tmp_path / "on")
    _, plain = run(made, tmp_path / "off", dynamic=None)
    assert (metrics["dynamic/useful_groups"] == 1).all()
    assert (metrics["dynamic/sampled_groups"] > 1).any() and (metrics["dynamic/rounds"] >= 1).any()
    assert (plain["frac_reward_zero_std"] > 0).any() and not [c for c in plain if c.startswith("dynamic/")]
    sampled = tables.read(tmp_path / "on" / "c.parquet")
    assert len(sampled) == metrics["dynamic/sampled_groups"].sum() * 16
    by_step = pd.DataFrame(sampled).groupby("step")["rewards/sometimes"].mean()
    assert by_step.tolist() == pytest.approx(metrics["reward"].tolist()), "metrics are over all that was sampled"


def test_the_time_of_sampling_is_that_of_all_rounds():
    assert dynamic._joined(sampling.SECONDS, [(1, [1.5]), (3, [0.5])]) == 2.0


def test_where_rounds_run_out_the_batch_is_filled_with_groups_without_spread(made, tmp_path, rewards):
    _, metrics = run(made, tmp_path, rewards={"correctness": 1.0}, dynamic={"max_rounds": 2, "rest": 0})
    assert (metrics["dynamic/useful_groups"] == 0).all()
    assert (metrics["dynamic/sampled_groups"] == 3).all() and (metrics["dynamic/rounds"] == 2).all()
    assert (metrics["grad_norm"] == 0).all()


def test_nothing_changes_where_every_group_has_spread(made, tmp_path, rewards):
    with_it, metrics = run(made, tmp_path / "on", rewards={"chance": 1.0})
    without, plain = run(made, tmp_path / "off", rewards={"chance": 1.0}, dynamic=None)
    assert equal(with_it, without)
    assert (metrics["dynamic/sampled_groups"] == 1).all() and (metrics["dynamic/rounds"] == 0).all()
    timed = [name for name in plain if "time" in name]
    pd.testing.assert_frame_equal(metrics[plain.columns].drop(columns=timed), plain.drop(columns=timed))


@pytest.mark.parametrize("rest", [0, 2])
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(made, tmp_path, monkeypatch, rewards, rest):
    settings = {"dynamic": {"max_rounds": 3, "rest": rest}}
    whole, metrics = run(made, tmp_path / "whole", **settings)
    assert (metrics["dynamic/rounds"].iloc[:2] >= 1).any(), "the stream has moved before the kill"

    def kill(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoints.Sealer, "on_step_begin", kill)
        run(made, tmp_path / "killed", **settings)
    [seal] = (tmp_path / "killed").rglob(f"checkpoint-2/{checkpoints.SEAL}")
    assert "draws.json" in json.loads(seal.read_text())
    assert equal(run(made, tmp_path / "killed", **settings)[0], whole)
    rows = [tables.read(tmp_path / folder / "c.parquet") for folder in ("whole", "killed")]
    assert rows[0] == rows[1]


def test_batches_for_several_steps_and_iterations_are_replaced_as_a_whole(made, tmp_path, rewards):
    options = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "steps_per_generation": 4}
    _, metrics = run(made, tmp_path, trainer={**OPTIONS, **options, "num_iterations": 2, "max_steps": 5})
    sampled = metrics["dynamic/sampled_groups"].dropna()
    assert sampled.index.tolist() == [0, 4], "a batch of 4 groups serves 2 steps, twice"
    assert (metrics["dynamic/useful_groups"].dropna() == 1).all()
    assert len(tables.read(tmp_path / "c.parquet")) == sampled.sum() * 16


@pytest.mark.parametrize("options", [{}, {"beta": 0.1, "num_iterations": 2}], ids=["plain", "KL and old log-probs"])
def test_a_merged_batch_keeps_each_completion_with_what_belongs_to_it(made, tmp_path, options):
    trainer = trainer_of(made, tmp_path, **options)
    _, merged = batch_of(trainer)
    assert len(trainer.rounds) > 1
    assert ("old_per_token_logps" in merged) == ("ref_per_token_logps" in merged) == bool(options)
    groups = []
    for each in trainer.rounds:
        found = pieces(each.tensors)
        groups += [found[4 * i : 4 * i + 4] for i, useful in enumerate(each.useful) if useful]
    assert pieces(merged) == [piece for group in groups[:4] for piece in group]
    assert merged["num_items_in_batch"] == merged["completion_mask"].sum()
    assert all(any(piece["advantages"] for piece in group) for group in groups)


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "vespo", "luspo"])
def test_the_loss_of_a_merged_batch_is_that_of_its_groups_batched_directly(made, tmp_path, loss):
    trainer = trainer_of(made, tmp_path, loss_type=loss, beta=0.1, num_iterations=2)
    batch_of(trainer)
    first, second = (each.tensors for each in trainer.rounds[:2])
    narrow = {k: v[:, :3] if v.dim() == 2 and not k.startswith("prompt") else v for k, v in second.items()}
    trainer.rounds[1] = Round(narrow, trainer.rounds[1].useful, {})
    groups = choose(trainer.rounds[:2], 4)
    merged = merge([first, narrow], groups, 4, trainer._tokenizer.pad_token_id)

    every = pieces(first) + pieces(narrow)
    kept = [every[4 * group + i] for group in groups for i in range(4)]
    assert {len(piece["completion_ids"]) for piece in kept} >= {3, 6}
    direct = {"advantages": torch.tensor([piece["advantages"] for piece in kept])}
    for key, side in (("prompt_ids", "left"), ("completion_ids", "right")):
        ids = [torch.tensor(piece[key]) for piece in kept]
        direct[key] = pad(ids, padding_value=trainer._tokenizer.pad_token_id, padding_side=side)
        direct[key.replace("ids", "mask")] = pad([torch.ones_like(each) for each in ids], 0, side)
    for key in ("old_per_token_logps", "ref_per_token_logps"):
        direct[key] = pad([torch.tensor(piece[key]) for piece in kept], 0.0, "right")
    direct["num_items_in_batch"] = direct["completion_mask"].sum()
    with torch.no_grad():
        for weights in trainer.model.parameters():
            weights += 0.05 * torch.randn_like(weights)
    losses = [trainer._compute_loss(trainer.model, batch) for batch in (merged, direct)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5) and abs(losses[0]) > 1e-3


def test_evaluation_is_left_to_trl(made, tmp_path):
    trainer = trainer_of(made, tmp_path, num_generations_eval=4)
    trainer.model.eval()
    batch_of(trainer)
    assert not trainer.rounds and not trainer._metrics["train"]


def batch(width: int, completions: int = 2, start: int = 0) -> dict[str, torch.Tensor]:
    ids = torch.arange(start, start + completions).unsqueeze(1).repeat(1, width)
    return {
        "prompt_ids": ids,
        "prompt_mask": torch.ones_like(ids),
        "completion_ids": ids,
        "completion_mask": torch.ones_like(ids),
        "tool_mask": torch.ones_like(ids),
        "importance_sampling_ratio": torch.full(ids.shape, 0.5),
        "sampling_per_token_logps": torch.full(ids.shape, -1.0),
        "advantages": torch.arange(start, start + completions).float(),
        "num_items_in_batch": torch.tensor(999),
    }


def test_a_merged_batch_is_padded_as_trl_pads():
    merged = merge([batch(3), batch(1, start=10)], [1, 0], 2, pad_token=7)
    assert merged["prompt_ids"].tolist() == [[7, 7, 10], [7, 7, 11], [0, 0, 0], [1, 1, 1]]
    assert merged["prompt_mask"].tolist() == [[0, 0, 1]] * 2 + [[1, 1, 1]] * 2
    assert merged["completion_ids"].tolist() == [[10, 7, 7], [11, 7, 7], [0, 0, 0], [1, 1, 1]]
    assert merged["completion_mask"].tolist() == [[1, 0, 0]] * 2 + [[1, 1, 1]] * 2
    assert merged["importance_sampling_ratio"].tolist() == [[0.5, 1, 1]] * 2 + [[0.5] * 3] * 2
    assert merged["sampling_per_token_logps"].tolist() == [[-1, 0, 0]] * 2 + [[-1] * 3] * 2
    assert merged["advantages"].tolist() == [10, 11, 0, 1]
    assert merged["num_items_in_batch"] == 8


def test_a_ratio_of_whole_sequences_keeps_its_shape():
    ratio = {"importance_sampling_ratio": torch.ones(2, 1)}
    merged = merge([batch(3) | ratio, batch(1) | ratio], [0, 1], 2, 7)
    assert merged["importance_sampling_ratio"].shape == (4, 1)


def test_an_unknown_tensor_of_trl_is_named():
    with pytest.raises(RlvrError, match=r"grpo.dynamic: TRL's batch holds 'pixel_values'; allowed: prompt_ids, "):
        merge([batch(3) | {"pixel_values": torch.ones(2)}], [0], 2, 7)


@pytest.mark.parametrize(
    ("rewards", "mask", "expected"),
    [
        ([[0.0], [1.0], [0.0], [1.0]], 1, True),
        ([[1.2]] * 4, 1, False),
        ([[0.1, 0.2], [0.3, 0.0], [0.0, 0.3], [0.2, 0.1]], 1, False),
        ([[math.nan]] * 4, 1, False),
        ([[math.nan], [1.0], [math.nan], [math.nan]], 1, False),
        ([[math.nan], [1.0], [0.5], [math.nan]], 1, True),
        ([[1000.0], [1000.1], [1000.0], [1000.0]], 1, True),
        ([[0.0], [1.0], [0.0], [1.0]], 0, False),
    ],
    ids=["differ", "equal", "equal sums", "none applies", "one applies", "two apply", "high", "all truncated"],
)
def test_a_group_teaches_when_its_summed_rewards_differ(rewards, mask, expected):
    rewards = torch.tensor(rewards)
    advantages = rewards.nansum(1) - rewards.nansum(1).mean()
    tensors = {"advantages": advantages, "completion_mask": torch.full((4, 3), mask)}
    assert can_teach(rewards, tensors, 4).tolist() == [expected]


def rows(number: int) -> list[dict[str, str]]:
    return [{"task": "t", "key": str(i)} for i in range(number)]


def test_draws_go_through_all_rows_in_an_order_of_their_own_and_repeat_with_the_seed():
    def passes(seed: int) -> list[list[int]]:
        draws = Draws(rows(20), seed)
        return [draws.take(10, 0, set()) for _ in range(4)]

    first, again, other = passes(0), passes(0), passes(1)
    assert first == again != other
    assert sorted(first[0] + first[1]) == sorted(first[2] + first[3]) == list(range(20))
    assert first[0] + first[1] != first[2] + first[3]


def test_draws_leave_out_what_the_step_has_and_what_rests_until_all_does():
    draws = Draws(rows(6), 0, rest=2)
    draws.count(["t 0", "t 1", "t 2"], [False, False, True], step=5)
    for step in (6, 7):
        assert sorted(draws.take(3, step, {"t 3"})) == [2, 4, 5]
    assert {0, 1} <= set(draws.take(6, 8, set())), "rested"
    assert len(draws.take(9, 8, {f"t {i}" for i in range(6)})) == 9, "where nothing is left, anything is taken"


def test_draws_are_as_many_as_the_share_with_spread_asks_for():
    draws = Draws(rows(6), 0)
    assert draws.needed(2, most=16) == 16, "nothing had spread yet"
    draws.count(["t 0", "t 1", "t 2", "t 3"], [True, False, False, False], 0)
    assert draws.needed(2, most=16) == 8
    assert draws.needed(8, most=16) == 16


def test_draws_go_on_where_they_were_saved(tmp_path):
    draws = Draws(rows(9), 3, rest=4)
    draws.take(5, 0, set())
    draws.count(["t 1", "t 2", "t 3"], [False, True, True], 0)
    draws.save(tmp_path / "draws.json")
    again = Draws(rows(9), 3, rest=4)
    again.load(tmp_path / "draws.json")
    for _ in range(4):
        assert again.take(3, 1, set()) == draws.take(3, 1, set())
        assert again.needed(1, 99) == draws.needed(1, 99)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("reward", 1.75),
        ("failures/r/nan", 3.0),
        ("completions/max_length", 2.0),
        ("completions/min_length", 1.0),
        ("num_tokens", 2.0),
    ],
)
def test_metrics_of_rounds_become_one_value(key, expected):
    assert dynamic._joined(key, [(4, [1.0]), (12, [2.0]), (8, [math.nan])]) == expected
    assert math.isnan(dynamic._joined(key, [(4, [math.nan])]))


def load(folder: Path, grpo: dict):
    file = folder / "experiment.yaml"
    file.write_text(json.dumps({**MICRO, "grpo": {**MICRO["grpo"], **grpo}}))
    return experiment_config.load([file])


def test_a_variant_takes_the_section_of_grpo_replaces_it_or_switches_it_off(tmp_path):
    variants = {
        "as": {},
        "own": {"dynamic": {"rest": 5}},
        "off": {"dynamic": False},
        "zero": {"dynamic": {"max_rounds": 0}},
    }
    loaded = load(tmp_path, {"dynamic": {"max_rounds": 2}, "variants": variants})
    cut = {name: slices.grpo_variant(loaded, name)["dynamic"] for name in variants}
    assert cut == {"as": {"max_rounds": 2, "rest": 0}, "own": {"max_rounds": 3, "rest": 5}, "off": None, "zero": None}
    assert slices.grpo_variant(load(tmp_path, {}), "dapo")["dynamic"] is None


@pytest.mark.parametrize(
    ("grpo", "expected"),
    [
        ({"dynamic": {"rounds": 3}}, "grpo.dynamic.rounds: unknown key; did you mean 'max_rounds'?"),
        ({"dynamic": {"max_rounds": -1}}, "grpo.dynamic.max_rounds: -1 is not possible"),
        (
            {"dynamic": {}, "trainer": {**MICRO["grpo"]["trainer"], "scale_rewards": "batch"}},
            "grpo.dynamic: goes without trainer.scale_rewards: batch only; allowed there: group, none",
        ),
        (
            {"variants": {"x": {"dynamic": {}, "trainer": {"multi_objective_aggregation": "normalize_then_sum"}}}},
            "grpo.variants.x.dynamic: goes without trainer.multi_objective_aggregation: normalize_then_sum only",
        ),
    ],
)
def test_what_can_not_work_is_refused_in_one_line(tmp_path, grpo, expected):
    with pytest.raises(RlvrError) as raised:
        load(tmp_path, grpo)
    assert f"experiment.yaml: {expected}" in str(raised.value) and "\n" not in str(raised.value)


def test_a_batch_setting_is_fine_where_dynamic_is_off(tmp_path):
    trainer = {**MICRO["grpo"]["trainer"], "scale_rewards": "batch"}
    assert load(tmp_path, {"dynamic": {}, "trainer": trainer, "variants": {"x": {"dynamic": False}}})


def test_several_processes_are_refused(made, tmp_path, monkeypatch):
    from accelerate import Accelerator

    monkeypatch.setattr(Accelerator, "num_processes", property(lambda self: 2))
    with pytest.raises(
        RlvrError, match=r"grpo.dynamic: is not possible with 2 processes; allowed: 1, or dynamic: false"
    ):
        trainer_of(made, tmp_path)
