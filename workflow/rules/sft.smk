# Requires: base model, demonstrations. Makes: the warm-started policy, or one a variant, shared by GRPO's variants.


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
