"""What an experiment may say: the only definition of the config.

`read` reads YAML files into a `Config`, `load` with the commits that are locked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from rlvr import (
    adapter_targets,
    controls,
    file_names,
    filters,
    leakage,
    plugin_options,
    problems,
    revisions,
    second_opinions,
    trainer_options,
    yaml_files,
)
from rlvr.base_section import Base
from rlvr.engines import refusals
from rlvr.errors import RlvrError
from rlvr.sections import (
    Adapter,
    Control,
    Count,
    Engines,
    Evaluation,
    Export,
    Gate,
    Grpo,
    Leakage,
    Name,
    Preflight,
    Report,
    Section,
    Sft,
    TaskConfig,
    Weight,
)
from rlvr_plugins import Task, calls
from rlvr_plugins.manager import PluginError, catalogue
from rlvr_plugins.types import QUESTION


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
    engines: Engines = Field(Engines(), description="What trains, samples and answers.")
    controls: list[Control] = Field(
        [],
        description="Arms that must not gain, or gain for another reason, beside the first variant and under its first "
        "seed: `random_reward` and `format_only` are GRPO with that reward alone, `sft_longer` goes on with SFT for as "
        "many rows as GRPO samples (where GRPO counts epochs: as many epochs times `num_generations`).",
    )
    leakage: Leakage | None = Field(Leakage(), description="The check of rows against evaluation sets; null: none.")
    export: Export = Field(Export(), description="The merged model.")
    gate: Gate = Field(Gate(), description="The check of merged models.")
    evaluation: Evaluation = Field(Evaluation(), description="Evaluation.")
    report: Report = Field(Report(), description="The report.")
    preflight: Preflight = Field(Preflight(), description="The check of memory before training.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of what all runs share: data, tiny base model, SFT.")
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field([0], description="GRPO runs, one a seed.", min_length=1)
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto`: CUDA where there is one, else the CPU.")
    threads: Count = Field(1, description="CPU threads of a stage; another number may change the last digits.")
    micro_batch: Count | None = Field(
        None,
        description="Most rows that a training step computes at once; `per_device_train_batch_size` and "
        "`gradient_accumulation_steps` of every trainer are changed so that their product stays; null: as they are.",
    )

    @model_validator(mode="before")
    @classmethod
    def _controls_as_variants(cls, value: Any) -> Any:
        return controls.expanded(value)

    @model_validator(mode="after")
    def _distinct_seeds(self) -> Config:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: each seed once")
        if len(set(self.controls)) < len(self.controls):
            raise ValueError("controls: each control once")
        if "sft_longer" in self.controls and (self.sft is None or controls.LONGER in self.sft.variants):
            problem = "goes with sft only, which is null" if self.sft is None else "takes the name of an SFT variant"
            raise ValueError(f"controls: sft_longer {problem}")
        return self

    def runs(self) -> list[tuple[str, int]]:
        """GRPO's runs, by variant and seed: controls under the first seed only."""
        return [
            (name, seed)
            for name in self.grpo.variants
            for seed in (self.seeds[:1] if name in self.controls else self.seeds)
        ]

    @model_validator(mode="after")
    def _engines(self) -> Config:
        try:
            refusals.check(self.engines.training, self.engines.rollouts, self.adapter, self.device)
        except ValueError as error:
            raise ValueError(problems.line("engines", str(error))) from None
        if self.engines.training == "unsloth" and (obstacle := self.unsloth_obstacle()):
            raise ValueError(f"engines.training: unsloth is not possible here: {obstacle}; allowed: transformers")
        return self

    @model_validator(mode="after")
    def _untied(self) -> Config:
        targets = self.adapter.target_modules if self.adapter else "all-linear"
        if adapter_targets.embeddings(targets):
            _in(
                "",
                lambda: adapter_targets.require_untied(
                    targets, adapter_targets.known_to_be_tied(self.base), self.base.model
                ),
            )
        return self

    @model_validator(mode="after")
    def _whole_steps(self) -> Config:
        """Raises ValueError where a step in micro-batches would be another step."""
        for name, variant in self.grpo.variants.items():
            options = {**self.grpo.trainer, **variant.trainer}
            over_rows = {
                "loss_type: bnpo": trainer_options.value("grpo", options, "loss_type") == "bnpo",
                "top_entropy_quantile below 1": trainer_options.value("grpo", options, "top_entropy_quantile") < 1,
                "the entropy bonus": bool(options.get("entropy_coef") or options.get("use_adaptive_entropy")),
            }
            if self.micro_batch and any(over_rows.values()):
                found = next(text for text, there in over_rows.items() if there)
                raise ValueError(
                    f"micro_batch: {self.micro_batch} would change what {found} (variant {name!r}) computes, which is "
                    "over the rows computed at once; allowed: null"
                )
        return self

    def unsloth_obstacle(self) -> str | None:
        """Why `engines.training: auto` stays with transformers for the whole experiment, None where it need not."""
        variants = {
            name: {"trainer": {**self.grpo.trainer, **variant.trainer}, "dynamic": self.grpo.dynamic_of(name)}
            for name, variant in self.grpo.variants.items()
        }
        warm_starts = {"sft": self.sft, **self.sft.variants} if self.sft else {}
        sft = {name: {**self.sft.trainer, **each.trainer} for name, each in warm_starts.items()}
        return refusals.unsloth_obstacle(variants, self.sft is not None, sft)

    @model_validator(mode="after")
    def _plugins(self) -> Config:
        for name, task in self.tasks.items():
            _in(f"tasks.{name}", lambda name=name, task=task: _call_task(name, task, self.sft is not None))
        if not any(task.train != 0 for task in self.tasks.values()):
            raise ValueError("tasks: every task has train: 0; at least one must train")
        if not any(task.eval != 0 for task in self.tasks.values()):
            raise ValueError("tasks: every task has eval: 0; at least one must be evaluated")
        if self.sft and not any(task.sft != 0 for task in self.tasks.values()):
            raise ValueError("tasks: every task has sft: 0; set sft: null to go without a warm-start")
        for name in self.tasks:
            self.steps(name)
            if self.sft is None and "sft" in self.tasks[name].prompts:
                raise ValueError(f"tasks.{name}.prompts.sft: goes with sft only, which is null")
        second_opinions.judged_by_lm_eval(self)
        self._starts()
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
        found = [step for step in found if self.tasks[task].train != 0 or not step.sampled]
        if self.leakage is None or not self.has_rows(task):
            return found
        return leakage.checked(found, catalogue().task(task), self.leakage)

    def has_rows(self, task: str) -> bool:
        """Whether a task has training or SFT rows."""
        return self.tasks[task].train != 0 or (self.sft is not None and self.tasks[task].sft != 0)

    @model_validator(mode="after")
    def _micro_batches(self) -> Config:
        trainers = [("grpo", "trainer", self.grpo.trainer)]
        trainers += [
            ("grpo", f"variants.{name}.trainer", variant.trainer) for name, variant in self.grpo.variants.items()
        ]
        for section, where, trainer in trainers if self.micro_batch else []:
            for key in ("steps_per_generation", "generation_batch_size"):
                if trainer.get(key) is not None:
                    raise ValueError(f"{section}.{where}.{key}: goes without micro_batch, which decides it")
        return self

    def sft_arms(self) -> list[str]:
        """The warm-started arms: `sft`, or one a variant."""
        if self.sft is None:
            return []
        return [f"sft/{name}" for name in self.sft.variants] or ["sft"]

    def start_of(self, variant: str) -> str | None:
        """The arm that a GRPO variant starts from; None: the base model."""
        name = self.grpo.variants[variant].start or self.grpo.start
        return f"sft/{name}" if name else next(iter(self.sft_arms()), None)

    def _starts(self) -> None:
        """Raises ValueError where it is not said which SFT variant GRPO starts from, or that one is not there."""
        there = list(self.sft.variants) if self.sft else []
        named = {"grpo.start": self.grpo.start}
        named |= {f"grpo.variants.{name}.start": variant.start for name, variant in self.grpo.variants.items()}
        for where, name in named.items():
            if name is not None and name not in there:
                allowed = ", ".join(there) or "nothing, as there are no sft.variants"
                raise ValueError(f"{where}: {name!r} is not possible; allowed: {allowed}")
        for name, variant in self.grpo.variants.items():
            if len(there) > 1 and not (variant.start or self.grpo.start):
                raise ValueError(
                    f"grpo.variants.{name}.start: is missing, and grpo.start too; allowed: {', '.join(there)}"
                )
        starts = list(dict.fromkeys(self.start_of(name) for name in self.grpo.variants))
        sampled = [task for task in self.tasks if any(step.sampled for step in self.steps(task))]
        if len(starts) > 1 and sampled:
            raise ValueError(
                f"tasks.{sampled[0]}: a filter samples the model that GRPO starts from, but the variants start from "
                f"{' and '.join(starts)}; allowed: one start for all of them"
            )

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


def _call_task(name: str, config: TaskConfig, with_sft: bool) -> None:
    with calls.calling(f"checking task {name!r}", calls.LOADING_SECONDS):
        _check_task(name, config, with_sft)


def _check_task(name: str, config: TaskConfig, with_sft: bool) -> None:
    task = catalogue().task(name)
    options = task_options(name, config.options)
    _check_files(task, options)
    for where, prompt in {"": config, **{f"prompts.{arm}.": prompt for arm, prompt in config.prompts.items()}}.items():
        _check_user_prompt(f"{where}user_prompt", prompt.user_prompt, task)
    if config.second_labels:
        if config.eval == 0:
            raise ValueError("second_labels: goes with an evaluated task only, and eval is 0")
        _in("second_labels", lambda: second_opinions.check_labels(task, config.second_labels))
        other = config.second_labels.task
        second = task_options(other, config.second_labels.options)
        _in("second_labels", lambda: _check_files(catalogue().task(other), second))
    sft = config.sft if with_sft else 0
    if sft != 0 and task.demonstrate is None:
        raise ValueError("sft: this task has no demonstrations; set sft: 0")
    if task.check:
        pool = None if config.train is None or sft is None else max(config.train, sft)
        task.check(options, pool, config.eval)


def _check_files(task: Task, options: Any) -> None:
    for file in task.files(options) if task.files else []:
        where = next((field for field, value in vars(options).items() if str(value) == str(file)), "")
        _in(f"options.{where}" if where else "options", lambda file=file: file_names.check(str(file)))


def _check_user_prompt(where: str, template: str | None, task: Task) -> None:
    if template is not None and task.question is None:
        raise ValueError(f"{where}: is not possible, as this task has no question apart from its message")
    if template is not None and QUESTION not in template:
        shown = template if len(template) < 60 else f"{template[:57]}..."
        raise ValueError(f"{where}: {shown!r} is not possible; allowed: a text with {QUESTION}")


def task_options(name: str, values: dict[str, Any]) -> Any:
    """The task's own options dataclass, checked. Raises RlvrError naming the key."""
    try:
        return plugin_options.load("task", name, values)
    except RlvrError as error:
        raise RlvrError(problems.line("options", str(error))) from None


def load(files: list[Path], overrides: Sequence[str] | Mapping[str, Any] = ()) -> Config:
    """Reads a config as `read` does, with the commits of the branches and tags that are locked in their place."""
    found = read(files, overrides)
    return revisions.with_commits(found, revisions.known(found))


def read(files: list[Path], overrides: Sequence[str] | Mapping[str, Any] = ()) -> Config:
    """Reads config files, later ones laid over earlier ones, then overrides: `KEY=VALUE` texts, or a mapping.

    Raises RlvrError, one line for each problem, naming file, key, value and what is allowed.
    """
    try:
        catalogue()
    except PluginError as error:
        raise RlvrError(str(error)) from None
    raw: dict[str, Any] = {}
    for file in files:
        raw = yaml_files.merge(raw, yaml_files.load_mapping(Path(file)))
    raw = yaml_files.merge(raw, yaml_files.overrides(overrides))
    source = ", ".join(str(file) for file in files)
    try:
        return Config.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        found = [f"{source}: {line}" for line in problems.lines(error, Config.model_json_schema())]
        raise RlvrError(problems.printed(found)) from None
