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
from rlvr import digests, dvc_settings, provenance
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
sft_tasks = [name for name, task in config_.tasks.items() if task.sft != 0]


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
