# Milestones: one target for each stage of dvc.yaml.


rule all_config:
    input:
        expand("results/{experiment}/config/{slice}.json", experiment=config_.experiment, slice=slices),


rule all_data:
    input:
        rules.base.output.manifest.format(experiment=config_.experiment),
        expand(rules.filter.output.manifest, experiment=config_.experiment, task=tasks),


rule all_sft:
    input:
        rules.sft.output.manifest.format(experiment=config_.experiment) if config_.sft else [],


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


rule all_scores:
    input:
        expand(rules.score.output.manifest, experiment=config_.experiment, arm=arms, task=tasks),


rule all:
    input:
        expand(rules.report.output, experiment=config_.experiment),
