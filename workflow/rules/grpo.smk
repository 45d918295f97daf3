# Requires: base model, SFT policy if there is one, training rows. Makes: a policy a variant and seed.


rule grpo:
    input:
        config="results/{experiment}/config/grpo/{variant}/seed{seed}.json",
        base=ancient(rules.base.output.weights),
        base_manifest=rules.base.output.manifest,
        sft=ancient(rules.sft.output.policy) if config_.sft else [],
        sft_manifest=rules.sft.output.manifest if config_.sft else [],
        data=[rows(task, "train") for task in training_tasks],
    output:
        policy=directory("results/{experiment}/grpo/{variant}/seed{seed}/policy"),
        metrics="results/{experiment}/grpo/{variant}/seed{seed}/metrics.parquet",
        completions="results/{experiment}/grpo/{variant}/seed{seed}/completions.parquet",
        manifest="results/{experiment}/grpo/{variant}/seed{seed}/manifest.json",
    log:
        "results/{experiment}/logs/grpo/{variant}/seed{seed}.log",
    cache: True
    threads: config_.threads
    resources:
        gpu=1,
    params:
        code=code_of_grpo,
        versions=versions,
        sft="--sft" if config_.sft else "",
    shell:
        "rlvr grpo --config {input.config} --base {input.base} {params.sft} {input.sft} --data {input.data}"
        " --policy {output.policy} --metrics {output.metrics} --completions {output.completions}"
        " --manifest {output.manifest} --log {log}"
