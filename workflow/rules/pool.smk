# Requires: filtered rows, the model that GRPO starts from. Makes: rows chosen by how often that model is right, and
# each task's rows with their records and a data card.


rule rollouts:
    input:
        config="results/{experiment}/config/rollouts/{task}/{step}.json",
        base=ancient(rules.base.output.weights),
        base_manifest=rules.base.output.manifest,
        sft=ancient(warm_started("policy")),
        sft_manifest=warm_started("manifest.json"),
        rows=lambda w: rows(w.task, "train", before=w.step),
    output:
        rollouts="results/{experiment}/dataset/{task}/{step}/rollouts.parquet",
        manifest="results/{experiment}/dataset/{task}/{step}/rollouts.manifest.json",
    log:
        "results/{experiment}/logs/rollouts/{task}/{step}.log",
    cache: True
    threads: config_.threads
    resources:
        gpu=1,
    params:
        code=lambda w: code_of_rollouts(w),
        versions=versions_of_generation,
        sft="--sft" if config_.sft else "",
    shell:
        "rlvr rollouts --config {input.config} --base {input.base} {params.sft} {input.sft} --rows {input.rows}"
        " --rollouts {output.rollouts} --manifest {output.manifest} --log {log}"


rule select:
    input:
        config="results/{experiment}/config/filter/{task}/{step}.json",
        rows=lambda w: rows(w.task, "train", before=w.step),
        rollouts=rules.rollouts.output.rollouts,
    output:
        train="results/{experiment}/dataset/{task}/{step}/train.parquet",
        dropped="results/{experiment}/dataset/{task}/{step}/dropped.parquet",
        rates="results/{experiment}/dataset/{task}/{step}/rates.parquet",
        stats="results/{experiment}/dataset/{task}/{step}/stats.json",
        manifest="results/{experiment}/dataset/{task}/{step}/manifest.json",
    log:
        "results/{experiment}/logs/select/{task}/{step}.log",
    params:
        code=lambda w: code_of_filter(w, "select"),
    shell:
        "rlvr select --config {input.config} --rows {input.rows} --rollouts {input.rollouts}"
        " --train {output.train} --dropped {output.dropped} --rates {output.rates} --stats {output.stats}"
        " --manifest {output.manifest} --log {log}"


rule dataset:
    input:
        config="results/{experiment}/config/dataset/{task}.json",
        base=ancient(rules.base.output.weights),
        base_manifest=rules.base.output.manifest,
        pool=lambda w: [rows(task, "train") for task in training_tasks if w.task in training_tasks],
        raw_train=rules.data.output.train,
        raw_sft=rules.data.output.sft,
        raw_stats=rules.data.output.stats,
        from_train=lambda w: rows(w.task, "train"),
        from_sft=lambda w: rows(w.task, "sft"),
        from_eval=rules.data.output.eval,
        step_stats=lambda w: records(w.task, "stats.json"),
        step_dropped=lambda w: records(w.task, "dropped.parquet"),
        rates=lambda w: records(w.task, "rates.parquet", sampled=True),
    output:
        train="results/{experiment}/dataset/{task}/train.parquet",
        sft="results/{experiment}/dataset/{task}/sft.parquet",
        eval="results/{experiment}/dataset/{task}/eval.parquet",
        card="results/{experiment}/dataset/{task}/README.md",
        stats=report(
            "results/{experiment}/dataset/{task}/stats.json", caption="../report/data.rst", category="Data"
        ),
        dropped="results/{experiment}/dataset/{task}/dropped.html",
        figures=report(
            directory("results/{experiment}/dataset/{task}/figures"),
            patterns=["{figure}.png"],
            caption="../report/lengths.rst",
            category="Data",
            labels={"task": "{task}", "figure": "{figure}"},
        ),
        manifest="results/{experiment}/dataset/{task}/manifest.json",
    log:
        "results/{experiment}/logs/dataset/{task}.log",
    # Before training, which may take hours: it says where the pool is too small.
    priority: 1
    params:
        code=digests.stage("dataset"),
        pool=lambda w, input: f"--pool {input.pool}" if input.pool else "",
        rates=lambda w, input: f"--rates {input.rates}" if input.rates else "",
        stats=lambda w, input: f"--step-stats {input.step_stats}" if input.step_stats else "",
        dropped=lambda w, input: f"--step-dropped {input.step_dropped}" if input.step_dropped else "",
    shell:
        "rlvr dataset --config {input.config} --base {input.base} {params.pool}"
        " --raw-train {input.raw_train} --raw-sft {input.raw_sft} --raw-stats {input.raw_stats}"
        " --from-train {input.from_train} --from-sft {input.from_sft} --from-eval {input.from_eval}"
        " {params.stats} {params.dropped} {params.rates}"
        " --train {output.train} --sft {output.sft} --eval {output.eval} --card {output.card}"
        " --stats {output.stats} --dropped {output.dropped} --figures {output.figures}"
        " --manifest {output.manifest} --log {log}"
