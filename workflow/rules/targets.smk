# Milestones: one target for each stage of dvc.yaml.


rule all_config:
    input:
        expand("results/{experiment}/config/{slice}.json", experiment=config_.experiment, slice=slices),


rule all_data:
    input:
        rules.base.output.manifest.format(experiment=config_.experiment),
        rules.preflight.output.manifest.format(experiment=config_.experiment),
        expand(rules.data.output.manifest, experiment=config_.experiment, task=tasks),
        [
            f"{folder_of(task, step)}/manifest.json"
            for task in tasks
            for step in steps[task]
            if not step.sampled
        ],


rule all_sft:
    input:
        expand(
            "results/{experiment}/{arm}/manifest.json", experiment=config_.experiment, arm=config_.sft_arms()
        ),


rule all_datasets:
    input:
        expand(rules.dataset.output.manifest, experiment=config_.experiment, task=tasks),


rule all_grpo:
    input:
        expand(
            rules.grpo.output.manifest,
            experiment=config_.experiment,
            variant=config_.grpo.variants,
            seed=config_.seeds,
        ),


rule all_models:
    input:
        expand(rules.export.output.manifest, experiment=config_.experiment, arm=arms[1:]),
        gguf_files,


rule all_scores:
    input:
        expand(
            rules.score.output.manifest,
            experiment=config_.experiment,
            arm=arms,
            task=eval_tasks,
            decoding=experiment_slices.decodings(config_),
        ),


rule all:
    input:
        expand(rules.report.output, experiment=config_.experiment),
        gguf_files,
