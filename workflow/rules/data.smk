# Requires: nothing. Makes: each stage's config slice, the tasks' items, the base model, rows after each filter.


rule config_slice:
    output:
        "results/{experiment}/config/{slice}.json",
    log:
        "results/{experiment}/logs/config/{slice}.log",
    localrule: True
    params:
        slice=lambda w: json.dumps(slices[w.slice], indent=1, sort_keys=True),
    shell:
        "printf '%s\n' {params.slice:q} > {output:q} 2> {log:q}"


rule data:
    input:
        config="results/{experiment}/config/data/{task}.json",
        source=lambda w: experiment_slices.source_files(config_, w.task),
    output:
        train="results/{experiment}/data/{task}/raw/train.parquet",
        eval="results/{experiment}/data/{task}/raw/eval.parquet",
        sft="results/{experiment}/data/{task}/raw/sft.parquet",
        stats="results/{experiment}/data/{task}/raw/stats.json",
        manifest="results/{experiment}/data/{task}/raw/manifest.json",
    log:
        "results/{experiment}/logs/data/{task}.log",
    params:
        code=lambda w: [
            digests.stage("data"),
            digests.source(w.task),
            *([digests.verifier(w.task)] if experiment_slices.reads_answers(config_, w.task) else []),
            *map(file_digests.file, experiment_slices.source_files(config_, w.task)),
        ],
    shell:
        "rlvr data --config {input.config} --train {output.train} --eval {output.eval} --sft {output.sft}"
        " --stats {output.stats} --manifest {output.manifest} --log {log}"


rule base:
    input:
        config="results/{experiment}/config/base.json",
        source=experiment_slices.base_files(config_),
        data=expand(
            "results/{{experiment}}/data/{task}/raw/{split}.parquet", task=tasks, split=["train", "sft"]
        ),
    output:
        weights=directory("results/{experiment}/model/base/weights"),
        manifest="results/{experiment}/model/base/manifest.json",
    log:
        "results/{experiment}/logs/base.log",
    params:
        code=digests.stage("base"),
        versions=versions,
    shell:
        "rlvr base --config {input.config} --data {input.data} --weights {output.weights}"
        " --manifest {output.manifest} --log {log}"


rule filter:
    input:
        config="results/{experiment}/config/filter/{task}/{step}.json",
        from_train=lambda w: rows(w.task, "train", before=w.step),
        from_sft=lambda w: rows(w.task, "sft", before=w.step),
        base=lambda w: ancient(rules.base.output.weights) if "tokenizer" in needs(w) else [],
        base_manifest=lambda w: rules.base.output.manifest if "tokenizer" in needs(w) else [],
        evaluation=lambda w: held_out if "evaluation" in needs(w) else [],
    output:
        train="results/{experiment}/data/{task}/{step}/train.parquet",
        sft="results/{experiment}/data/{task}/{step}/sft.parquet",
        dropped="results/{experiment}/data/{task}/{step}/dropped.parquet",
        stats="results/{experiment}/data/{task}/{step}/stats.json",
        manifest="results/{experiment}/data/{task}/{step}/manifest.json",
    log:
        "results/{experiment}/logs/filter/{task}/{step}.log",
    threads: config_.threads
    params:
        code=lambda w: code_of_filter(w, "filter"),
        base=lambda w: "--base" if "tokenizer" in needs(w) else "",
        evaluation=lambda w: "--evaluation" if "evaluation" in needs(w) else "",
    shell:
        "rlvr filter --config {input.config} {params.base} {input.base} {params.evaluation} {input.evaluation}"
        " --from-train {input.from_train} --from-sft {input.from_sft}"
        " --train {output.train} --sft {output.sft} --dropped {output.dropped} --stats {output.stats}"
        " --manifest {output.manifest} --log {log}"
