# Requires: base model, demonstrations. Makes: the warm-started policy, shared by all GRPO variants.


rule sft:
    input:
        config="results/{experiment}/config/sft.json",
        base=ancient(rules.base.output.weights),
        base_manifest=rules.base.output.manifest,
        data=[rows(task, "sft") for task in sft_tasks],
    output:
        policy=directory("results/{experiment}/sft/policy"),
        metrics="results/{experiment}/sft/metrics.parquet",
        manifest="results/{experiment}/sft/manifest.json",
    log:
        "results/{experiment}/logs/sft.log",
    cache: True
    threads: config_.threads
    resources:
        gpu=1,
    params:
        code=digests.stage("sft"),
        versions=versions,
    shell:
        "rlvr sft --config {input.config} --base {input.base} --data {input.data}"
        " --policy {output.policy} --metrics {output.metrics}"
        " --manifest {output.manifest} --log {log}"
