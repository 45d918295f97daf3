# Requires: base model, SFT policy if there is one, training rows. Makes: a policy a variant and seed.


rule grpo:
    input:
        config="results/{experiment}/config/grpo/{variant}/seed{seed}.json",
        tracking=ancient("results/{experiment}/config/tracking/grpo/{variant}/seed{seed}.json"),
        base=ancient(rules.base.output.weights),
        base_manifest=rules.base.output.manifest,
        fits=ancient(rules.preflight.output.passed),
        sft=lambda w: ancient(warm_started("policy", w.variant)),
        sft_manifest=lambda w: warm_started("manifest.json", w.variant),
        data=[rows(task, "train") for task in training_tasks],
        held_out=held_out if config_.grpo.evaluate else [],
    output:
        policy=directory("results/{experiment}/grpo/{variant}/seed{seed}/policy"),
        metrics="results/{experiment}/grpo/{variant}/seed{seed}/metrics.parquet",
        completions="results/{experiment}/grpo/{variant}/seed{seed}/completions.parquet",
        evaluated="results/{experiment}/grpo/{variant}/seed{seed}/evaluated.parquet",
        manifest="results/{experiment}/grpo/{variant}/seed{seed}/manifest.json",
    log:
        "results/{experiment}/logs/grpo/{variant}/seed{seed}.log",
    cache: True
    threads: config_.threads
    resources:
        gpu=1,
    params:
        code=code_of_grpo,
        versions=versions_of_grpo,
        sft="--sft" if config_.sft else "",
        held_out="--held-out" if config_.grpo.evaluate else "",
    shell:
        "rlvr grpo --config {input.config} --base {input.base} {params.sft} {input.sft} --data {input.data}"
        " {params.held_out} {input.held_out}"
        " --policy {output.policy} --metrics {output.metrics} --completions {output.completions}"
        " --evaluated {output.evaluated}"
        " --tracking {input.tracking} --manifest {output.manifest} --log {log}"
