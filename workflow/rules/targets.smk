# Milestones: one target for each stage of dvc.yaml.


rule all_config:
    input:
        expand("results/{experiment}/config/{slice}.json", experiment=config_.experiment, slice=slices),


rule all_data:
    input:
        rules.base.output.manifest.format(experiment=config_.experiment),
        rules.preflight.output.manifest.format(experiment=config_.experiment),
        expand(rules.data.output.manifest, experiment=config_.experiment, task=tasks),
        second_data,
        [
            f"{folder_of(task, step)}/manifest.json"
            for task in tasks
            for step in steps[task]
            if not step.sampled
        ],


rule all_sft:
    input:
        expand(
            "results/{experiment}/{arm}/manifest.json",
            experiment=config_.experiment,
            arm=[arm for arm in arms if arm.startswith("sft")],
        ),


rule all_datasets:
    input:
        expand(rules.dataset.output.manifest, experiment=config_.experiment, task=tasks),


rule all_grpo:
    input:
        expand(
            "results/{experiment}/{arm}/manifest.json",
            experiment=config_.experiment,
            arm=[arm for arm in arms if arm.startswith("grpo/")],
        ),


rule all_models:
    input:
        expand(rules.export.output.manifest, experiment=config_.experiment, arm=arms[1:]),
        expand(rules.gate.output.manifest, experiment=config_.experiment, arm=arms[1:]),
        gguf_files,


rule all_scores:
    input:
        expand(in_cells("scores.manifest.json"), experiment=config_.experiment),
        second_opinions,


rule all:
    input:
        expand(rules.report.output, experiment=config_.experiment),
        gguf_files,
