# The config, and what rules look up in it; no rules.
import json
import os
import re
import sys
from pathlib import Path

# The code that runs is that of this checkout, whatever is installed.
_sources = [str(Path(workflow.current_basedir).parent), str(Path(workflow.current_basedir).parents[1])]
sys.path[:0] = _sources
_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
os.environ.update(PYTHONPATH=os.pathsep.join(dict.fromkeys(p for p in [*_sources, *_path] if p)))

from rlvr import config as experiment_config
from rlvr import digests, dvc_settings, file_digests, provenance
from rlvr import slices as experiment_slices
from rlvr.errors import RlvrError
from rlvr_plugins.manager import catalogue

try:
    dvc_settings.check(Path("."))
    _files = workflow.config_settings.configfiles or [Path("config/config.yaml")]
    config_ = experiment_config.load(_files, workflow.config_settings.config)
    slices = experiment_slices.of(config_)
except RlvrError as error:
    sys.exit(str(error))
for _provider, _problem in catalogue().broken.items():
    print(f"plugin {_provider} is broken and left out: {_problem}", file=sys.stderr)

arms = experiment_slices.arms(config_)
versions = provenance.versions(provenance.DECISIVE)
tasks = list(config_.tasks)
training_tasks = [name for name, task in config_.tasks.items() if task.train != 0]
eval_tasks = [name for name, task in config_.tasks.items() if task.eval != 0]
sft_tasks = [name for name, task in config_.tasks.items() if task.sft != 0]

steps = {task: config_.steps(task) for task in tasks}
held_out = [f"results/{config_.experiment}/data/{task}/raw/eval.parquet" for task in eval_tasks]


def rows(task, split, before=None):
    """File with a split's rows after all filters, or before one of them."""
    names = [step.name for step in steps[task]]
    done = steps[task][: names.index(before) if before else None]
    passed = [step for step in done if split == "train" or not step.sampled]
    return f"{folder_of(task, passed[-1] if passed else None)}/{split}.parquet"


def folder_of(task, step):
    """Folder of a filter's rows, or of those of the source."""
    part = "dataset" if step and step.sampled else "data"
    return f"results/{config_.experiment}/{part}/{task}/{step.name if step else 'raw'}"


def records(task, name, sampled=False):
    """Files of that name, of every filter of a task or of the one that samples."""
    return [f"{folder_of(task, step)}/{name}" for step in steps[task] if step.sampled or not sampled]


def step_of(wildcards):
    return next(step for step in steps[wildcards.task] if step.name == wildcards.step)


def needs(wildcards):
    return step_of(wildcards).plugin.needs


def code_of_filter(wildcards, stage):
    step = step_of(wildcards)
    judges = step.sampled or "verifier" in step.plugin.needs
    return [
        digests.stage(stage),
        digests.filter(step.filter),
        *([digests.verifier(wildcards.task)] if judges else []),
        *map(digests.source, [wildcards.task, *(eval_tasks if "evaluation" in step.plugin.needs else [])]),
    ]


def code_of_rollouts(wildcards):
    """With a target, sampling stops by what the verifier and the filter say."""
    step = step_of(wildcards)
    stops = step.sampling.target is not None
    judged = [digests.filter(step.filter), digests.verifier(wildcards.task)] if stops else []
    return [digests.stage("rollouts"), *judged]


def code_of_grpo(wildcards):
    rewards = experiment_slices.grpo_variant(config_, wildcards.variant)["rewards"]
    return [
        digests.stage("grpo"),
        *(digests.reward(name) for name in sorted(rewards)),
        *(digests.verifier(name) for name in training_tasks),
    ]


def weights_of(wildcards):
    """Folder with the model of an arm."""
    return f"results/{wildcards.experiment}/model/{wildcards.arm}/weights"


def print_summary():
    summary = Path(f"results/{config_.experiment}/report/summary.txt")
    if summary.is_file():
        print(f"\n{summary.read_text()}", end="")
