# Requires: base model, demonstrations. Makes: the warm-started policy, or one a variant, shared by GRPO's variants;
# and the control that goes on from it.


rule sft:
    input:
        config=f"results/{{experiment}}/config/{warm_start}.json",
        tracking=ancient(f"results/{{experiment}}/config/tracking/{warm_start}.json"),
        base=ancient(rules.base.output.weights),
        base_manifest=rules.base.output.manifest,
        fits=ancient(rules.preflight.output.passed),
        data=[rows(task, "sft") for task in sft_tasks],
    output:
        policy=directory(f"results/{{experiment}}/{warm_start}/policy"),
        metrics=f"results/{{experiment}}/{warm_start}/metrics.parquet",
        manifest=f"results/{{experiment}}/{warm_start}/manifest.json",
    log:
        f"results/{{experiment}}/logs/{warm_start}.log",
    cache: True
    threads: config_.threads
    resources:
        gpu=1,
    params:
        code=digests.stage("sft"),
        versions=versions_of_training,
    shell:
        "rlvr sft --config {input.config} --base {input.base} --data {input.data}"
        " --policy {output.policy} --metrics {output.metrics}"
        " --tracking {input.tracking} --manifest {output.manifest} --log {log}"


rule sft_longer:
    input:
        config="results/{experiment}/config/sft/longer.json",
        tracking=ancient("results/{experiment}/config/tracking/sft/longer.json"),
        base=ancient(rules.base.output.weights),
        base_manifest=rules.base.output.manifest,
        start=ancient(warm_started("policy")),
        start_manifest=warm_started("manifest.json"),
        data=[rows(task, "sft") for task in sft_tasks],
    output:
        policy=directory("results/{experiment}/sft/longer/policy"),
        metrics="results/{experiment}/sft/longer/metrics.parquet",
        manifest="results/{experiment}/sft/longer/manifest.json",
    log:
        "results/{experiment}/logs/sft/longer.log",
    cache: True
    threads: config_.threads
    resources:
        gpu=1,
    params:
        code=digests.stage("sft"),
        versions=versions_of_training,
    shell:
        "rlvr sft --config {input.config} --base {input.base} --start {input.start} --data {input.data}"
        " --policy {output.policy} --metrics {output.metrics}"
        " --tracking {input.tracking} --manifest {output.manifest} --log {log}"
