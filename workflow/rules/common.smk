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

from rlvr import utf8

utf8.ensure()

from rlvr import (
    availability,
    circumstances,
    comparison,
    digests,
    dvc_settings,
    file_digests,
    gguf,
    gpu_lock,
    interrupts,
    output_cache,
    provenance,
    revisions,
    snakemake_dag,
    supervision,
    trackers,
)
from rlvr import config as experiment_config
from rlvr import second_opinions as opinions
from rlvr import slices as experiment_slices
from rlvr.errors import RlvrError
from rlvr_plugins.manager import catalogue

snakemake_dag.correct()
interrupts.end_workflow()

# One order of sets in every stage, whatever a plugin does with it.
os.environ.setdefault("PYTHONHASHSEED", "0")

try:
    dvc_settings.check(Path("."))
    _files = workflow.config_settings.configfiles or [Path("config/config.yaml")]
    _overrides = list(workflow.config_settings.config_args or [])
    if workflow.is_main_process:
        supervision.require_config(_files, _overrides)
    _named = experiment_config.read(_files, _overrides)
    if (
        workflow.is_main_process
        and not workflow.output_settings.dryrun
        and not revisions.runs_nothing(sys.argv)
    ):
        _commits = revisions.required(_named)
    else:
        _commits = revisions.known(_named)
        for _line in revisions.unlocked(_named):
            print(_line, file=sys.stderr)
    config_ = revisions.with_commits(_named, _commits)
    output_cache.check(Path("results") / config_.experiment)
    slices = experiment_slices.of(config_)
    os.environ[circumstances.ASKED] = circumstances.asked(_files, _overrides, _commits)
    if config_.export.gguf:
        gguf.converter()
    if config_.evaluation.lm_eval:
        opinions.require_lm_eval()
    for _name, _slice in slices.items():
        if _name.startswith("tracking/"):
            trackers.require(_slice["report_to"])
except RlvrError as error:
    sys.exit(str(error))
for _provider, _problem in catalogue().broken.items():
    print(f"plugin {_provider} is broken and left out: {_problem}", file=sys.stderr)

arms = comparison.arms(config_)
# The arm of the warm-start: one, or one a variant.
warm_start = "sft/{start}" if config_.sft and config_.sft.variants else "sft"
versions = provenance.versions(provenance.DECISIVE)
_engines = config_.engines
_in_4bit = bool(config_.adapter and config_.adapter.load_in_4bit)
versions_of_training = versions | availability.engine_releases("training", _engines.training, _in_4bit)
versions_of_grpo = versions_of_training | availability.engine_releases("rollouts", _engines.rollouts)
versions_of_generation = versions | availability.engine_releases("generation", _engines.generation)
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


def filtered(task, split):
    """File with a split's rows after the filters that need no sampling."""
    return rows(task, split, before=next((step.name for step in steps[task] if step.sampled), None))


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
        *(digests.verifier(name) for name in eval_tasks if config_.grpo.evaluate),
        *([digests.part("evaluation")] if config_.grpo.evaluate else []),
    ]


def warm_started(file, variant=None):
    """A file of the warm-start that a GRPO variant starts from, or all of them, where there is one."""
    start = config_.start_of(variant or next(iter(config_.grpo.variants)))
    return f"results/{config_.experiment}/{start}/{file}" if start else []


def pass_at_k(endings):
    """The table of pass@k, where the config asks for samples."""
    return [
        f"results/{{experiment}}/report/pass_at_k.{ending}"
        for ending in endings
        if config_.evaluation.sampled
    ]


def cross_protocol(endings):
    """The table of arms under each other's prompts, where there is one."""
    crossed = any(cell.crossed for cell in comparison.cells(config_))
    return [f"results/{{experiment}}/report/cross_protocol.{ending}" for ending in endings if crossed]


def in_cells(file):
    """A file of each cell."""
    return [f"results/{{experiment}}/{cell.folder}/{file}" for cell in comparison.cells(config_)]


def slice_of_generate(wildcards):
    name = experiment_slices.generate_slice(config_, wildcards.arm, wildcards.task, wildcards.decoding)
    return f"results/{wildcards.experiment}/config/{name}.json"


def code_of_generate(wildcards):
    """A prompt that is not that of training is made by the task's code."""
    whose = comparison.prompt_of(config_, wildcards.arm, wildcards.task, wildcards.decoding)
    return [digests.stage("generate"), *([digests.source(wildcards.task)] if whose != "training" else [])]


def second_of(task):
    """The task whose labels judge a task's completions too; none or one."""
    section = config_.tasks[task].second_labels
    return [section.task] if section else []


def weights_of(wildcards):
    """Folder with the model of an arm."""
    return f"results/{wildcards.experiment}/model/{wildcards.arm}/weights"


def gate_of(wildcards):
    """What says that a merged model is the one that was trained; nothing is merged into the base."""
    folder = f"results/{wildcards.experiment}/model/{wildcards.arm}/gate"
    return [] if wildcards.arm == "base" else f"{folder}/gate.json"


def require_gpus():
    """Jobs that run elsewhere use the GPUs there."""
    asked = workflow.global_resources.get("gpu")
    if workflow.local_exec and asked is not None:
        try:
            gpu_lock.require(asked.value, config_.device)
        except RlvrError as error:
            sys.exit(str(error))


def print_summary():
    """The tables, where this run brought them up to date; otherwise a line that they may be of older results."""
    summary = Path(f"results/{config_.experiment}/report/summary.txt")
    if not summary.is_file():
        return
    if snakemake_dag.holds(workflow.dag, str(summary)):
        print(f"\n{summary.read_text(encoding='utf-8')}", end="")
    else:
        print(
            f"{summary.parent} is no part of this run and may be of older results; `snakemake` brings it up to date"
        )
