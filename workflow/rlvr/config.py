"""What an experiment may say: the only definition of the config.

`load` reads YAML files into a `Config`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from rlvr import filters, plugin_options, problems, yaml_files
from rlvr.errors import RlvrError
from rlvr.trainer_options import check_by_group, check_groups, check_options
from rlvr_plugins.manager import PluginError, catalogue

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=-1000, le=1000)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Tiny(Section):
    """Shape of the embedded model."""

    hidden_size: Count = Field(128, description="Width of the residual stream; a multiple of `heads`.")
    layers: Count = Field(3, description="Transformer blocks.")
    heads: Count = Field(4, description="Attention heads.")
    vocabulary: int = Field(512, ge=300, description="Size of the byte-level BPE vocabulary, tokens.")
    max_positions: Count = Field(256, description="Longest sequence, tokens.")

    @model_validator(mode="after")
    def _divisible(self) -> Tiny:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"hidden_size: {self.hidden_size} is not possible; allowed: multiples of twice heads ({2 * self.heads})"
            )
        return self


class Base(Section):
    """The model that training starts from."""

    model: str = Field(
        "tiny", description="`tiny` (made from the seed), a folder, or a hub id such as `Qwen/Qwen2.5-0.5B-Instruct`."
    )
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] | None = Field(
        None, description="Commit of the hub model, 40 hex digits; required for a hub id."
    )
    tiny: Tiny | None = Field(None, description="Shape of the embedded model; only with `model: tiny`.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @property
    def kind(self) -> Literal["tiny", "folder", "hub"]:
        if self.model == "tiny":
            return "tiny"
        return "folder" if self.model.startswith((".", "/", "~")) else "hub"

    @model_validator(mode="after")
    def _consistent(self) -> Base:
        if self.kind == "hub" and not self.revision:
            raise ValueError(f"revision: is missing; a hub model ({self.model}) needs its commit")
        if self.kind != "hub" and self.revision:
            raise ValueError("revision: goes with a hub id only")
        if self.kind != "tiny" and self.tiny:
            raise ValueError("tiny: goes with model: tiny only")
        if self.kind == "folder" and not (Path(self.model).expanduser() / "config.json").is_file():
            raise ValueError(f"model: no config.json in folder {self.model!r}; allowed: a saved model")
        return self


class TaskConfig(Section):
    """One task: how many items, and its own options."""

    train: int | None = Field(None, ge=0, description="Training items for GRPO; null: all; 0: evaluate only.")
    sft: int | None = Field(None, ge=0, description="Training items that get a demonstration for SFT; null: all.")
    eval: int | None = Field(None, ge=0, description="Held-out items; null: all; 0: train only.")
    system_prompt: str | None = Field(None, description='Replaces the task\'s own; "" leaves it out.')
    options: dict[str, Any] = Field({}, description="The task's own options; `rlvr plugins show TASK` lists them.")
    filters: list[Any] | None = Field(None, description="Replaces the common `filters` for this task.")


class Adapter(Section):
    """A LoRA adapter; both SFT and GRPO train it."""

    r: Count = Field(32, description="Rank.")
    alpha: Annotated[float, Field(gt=0)] = Field(32, description="Scale is alpha / r.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Dropout on the adapter's input.")
    target_modules: str | list[str] = Field("all-linear", description="Layers that get an adapter, PEFT's names.")


class Sft(Section):
    """Supervised warm-start on the tasks' demonstrations."""

    trainer: dict[str, Any] = Field({}, description="Options of TRL's SFTConfig by their own names.")

    @model_validator(mode="after")
    def _known_options(self) -> Sft:
        check_options("sft", self.trainer)
        return self


Order = Literal["shuffled", "easy_first", "hard_first"]


class Dynamic(Section):
    """Replacing prompts whose completions all earn the same; `false` is short for `max_rounds: 0`."""

    max_rounds: int = Field(
        3, ge=0, description="Most further rounds of sampling for one batch, after which it stays short; 0: off."
    )
    rest: int = Field(
        0, ge=0, description="Steps for which a prompt without spread is left out of the further rounds; 0: none."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"max_rounds": 0} if value is False else value


class Variant(Section):
    """What one GRPO variant changes."""

    rewards: dict[str, Weight] | None = Field(None, description="Replaces `grpo.rewards`.", min_length=1)
    trainer: dict[str, Any] = Field({}, description="Laid over `grpo.trainer`.")
    order: Order | None = Field(None, description="Replaces `grpo.order`.")
    dynamic: Dynamic | None = Field(None, description="Replaces `grpo.dynamic`; null: as there; `false`: off.")

    @model_validator(mode="after")
    def _known_options(self) -> Variant:
        check_options("grpo", self.trainer)
        return self


class Grpo(Variant):
    """Reinforcement learning with the rewards as only teacher."""

    rewards: dict[str, Weight] = Field(description="Weight of each reward, by plugin name.", min_length=1)
    max_failures: float = Field(
        0.1, ge=0, le=1, description="Share of completions a reward or verifier may fail on; above it training stops."
    )
    max_epochs: float = Field(
        10, gt=0, description="Warns before training that would sample a prompt more often than this, on average."
    )
    order: Order = Field("shuffled", description="Order of the prompts; by pass rate with the filter `pass_rate`.")
    trainer: dict[str, Any] = Field({}, description="Options of TRL's GRPOConfig by their own names.")
    dynamic: Dynamic | None = Field(
        None, description="Replace prompts whose completions all earn the same by others; null or `false`: off."
    )
    variants: dict[Name, Variant] = Field(
        {"grpo": Variant()}, description="Variants to compare; each shares data, base and SFT.", min_length=1
    )

    @model_validator(mode="after")
    def _whole_groups(self) -> Grpo:
        for name, variant in self.variants.items():
            where = f"variants.{name}.trainer" if variant.trainer else "trainer"
            check_groups({**self.trainer, **variant.trainer}, where)
        return self

    @model_validator(mode="after")
    def _dynamic_by_group(self) -> Grpo:
        for name, variant in self.variants.items():
            if self.dynamic_of(name):
                where = "" if variant.dynamic is None else f"variants.{name}."
                check_by_group({**self.trainer, **variant.trainer}, f"{where}dynamic")
        return self

    def dynamic_of(self, variant: str) -> Dynamic | None:
        """The section that holds for a variant; None where it is off."""
        chosen = self.variants[variant].dynamic or self.dynamic
        return chosen if chosen and chosen.max_rounds else None


class Export(Section):
    """The merged model."""

    dtype: Literal["bfloat16", "float16"] = Field("bfloat16", description="Type of the stored weights.")


class Evaluation(Section):
    """How the held-out items are answered: greedy, one completion an item."""

    max_completion_tokens: Count = Field(512, description="Longest completion, tokens.")
    batch_size: Count = Field(32, description="Prompts generated at once.")


class Report(Section):
    """The report."""

    samples: int = Field(20, ge=0, description="Completions shown for each arm and task.")


class Config(Section):
    """One experiment."""

    experiment: Name = Field(description="Name of the experiment and of its folder under `results/`.")
    base: Base = Field(Base(), description="The model that training starts from; a bare id is short for `model:`.")
    tasks: dict[str, TaskConfig] = Field(description="Tasks to train and evaluate, by plugin name.", min_length=1)
    filters: list[Any] = Field(
        [], description="Filters by name with their options, applied in this order to training and SFT rows."
    )
    adapter: Adapter | None = Field(None, description="LoRA adapter; null: all weights are trained.")
    sft: Sft | None = Field(None, description="SFT warm-start; null: GRPO starts from the base model.")
    grpo: Grpo = Field(description="GRPO and its variants.")
    export: Export = Field(Export(), description="The merged model.")
    evaluation: Evaluation = Field(Evaluation(), description="Evaluation.")
    report: Report = Field(Report(), description="The report.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of what all runs share: data, tiny base model, SFT.")
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field([0], description="GRPO runs, one a seed.", min_length=1)
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto`: CUDA where there is one, else the CPU.")
    threads: Count = Field(1, description="CPU threads of a stage; another number may change the last digits.")

    @model_validator(mode="after")
    def _distinct_seeds(self) -> Config:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: each seed once")
        return self

    @model_validator(mode="after")
    def _plugins(self) -> Config:
        for name, task in self.tasks.items():
            _in(f"tasks.{name}", lambda name=name, task=task: _check_task(name, task, self.sft is not None))
        if not any(task.train != 0 for task in self.tasks.values()):
            raise ValueError("tasks: every task has train: 0; at least one must train")
        if not any(task.eval != 0 for task in self.tasks.values()):
            raise ValueError("tasks: every task has eval: 0; at least one must be evaluated")
        if self.sft and not any(task.sft != 0 for task in self.tasks.values()):
            raise ValueError("tasks: every task has sft: 0; set sft: null to go without a warm-start")
        for name in self.tasks:
            self.steps(name)
        self._orders()
        for path, rewards in self._reward_tables():
            for name in rewards:
                _in(f"{path}.{name}", lambda name=name: catalogue().reward(name))
        return self

    def steps(self, task: str) -> list[filters.Step]:
        """The filters of a task, in their order. Raises ValueError naming the key."""
        own = self.tasks[task].filters
        path, entries = ("filters", self.filters) if own is None else (f"tasks.{task}.filters", own)
        try:
            found = filters.steps(entries, catalogue().task(task))
        except (PluginError, RlvrError) as error:
            raise ValueError(problems.line(path, str(error))) from None
        return [step for step in found if self.tasks[task].train != 0 or not step.sampled]

    def _orders(self) -> None:
        """Raises ValueError where an order asks for pass rates that no filter samples."""
        for name, variant in self.grpo.variants.items():
            order = variant.order or self.grpo.order
            if order == "shuffled":
                continue
            where = f"grpo.variants.{name}.order" if variant.order else "grpo.order"
            if self.grpo.dynamic_of(name):
                raise ValueError(f"{where}: {order} goes without dynamic, whose further prompts are shuffled")
            missing = [
                task
                for task, settings in self.tasks.items()
                if settings.train != 0 and not any(step.sampled for step in self.steps(task))
            ]
            if missing:
                raise ValueError(f"{where}: {order} needs pass rates; add the filter pass_rate for {missing[0]!r}")
            if {**self.grpo.trainer, **variant.trainer}.get("shuffle_dataset"):
                raise ValueError(f"{where}: {order} goes without shuffle_dataset: true")

    def _reward_tables(self) -> list[tuple[str, dict[str, Weight]]]:
        variants = self.grpo.variants.items()
        return [("grpo.rewards", self.grpo.rewards)] + [
            (f"grpo.variants.{name}.rewards", variant.rewards) for name, variant in variants if variant.rewards
        ]


def _in(path: str, check) -> None:
    try:
        check()
    except (PluginError, RlvrError, ValueError) as error:
        raise ValueError(problems.line(path, str(error))) from None


def _check_task(name: str, config: TaskConfig, with_sft: bool) -> None:
    task = catalogue().task(name)
    options = task_options(name, config.options)
    sft = config.sft if with_sft else 0
    if sft != 0 and task.demonstrate is None:
        raise ValueError("sft: this task has no demonstrations; set sft: 0")
    if task.check:
        pool = None if config.train is None or sft is None else max(config.train, sft)
        task.check(options, pool, config.eval)


def task_options(name: str, values: dict[str, Any]) -> Any:
    """The task's own options dataclass, checked. Raises RlvrError naming the key."""
    try:
        return plugin_options.load("task", name, values)
    except RlvrError as error:
        raise RlvrError(problems.line("options", str(error))) from None


def load(files: list[Path], overrides: dict[str, Any] | None = None) -> Config:
    """Reads config files, later ones laid over earlier ones, then overrides.

    Raises RlvrError, one line for each problem, naming file, key, value and what is allowed.
    """
    try:
        catalogue()
    except PluginError as error:
        raise RlvrError(str(error)) from None
    raw: dict[str, Any] = {}
    for file in files:
        raw = yaml_files.merge(raw, yaml_files.load_mapping(Path(file)))
    raw = yaml_files.merge(raw, yaml_files.parse_strings(overrides or {}, ""))
    source = ", ".join(str(file) for file in files)
    try:
        return Config.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise RlvrError(
            "\n".join(f"{source}: {line}" for line in problems.lines(error, Config.model_json_schema()))
        ) from None
