# Requires: nothing. Makes: each stage's config slice, the tasks' items, the base model, filtered rows.


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
        manifest="results/{experiment}/data/{task}/raw/manifest.json",
    log:
        "results/{experiment}/logs/data/{task}.log",
    params:
        code=lambda w: [digests.stage("data"), digests.source(w.task)],
    shell:
        "rlvr data --config {input.config} --train {output.train} --eval {output.eval} --sft {output.sft}"
        " --manifest {output.manifest} --log {log}"


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
        config="results/{experiment}/config/filter/{task}.json",
        base=ancient(rules.base.output.weights),
        base_manifest=rules.base.output.manifest,
        train=rules.data.output.train,
        eval=rules.data.output.eval,
        sft=rules.data.output.sft,
    output:
        train="results/{experiment}/data/{task}/train.parquet",
        eval="results/{experiment}/data/{task}/eval.parquet",
        sft="results/{experiment}/data/{task}/sft.parquet",
        stats=report(
            "results/{experiment}/data/{task}/stats.json", caption="../report/data.rst", category="Data"
        ),
        manifest="results/{experiment}/data/{task}/manifest.json",
    log:
        "results/{experiment}/logs/filter/{task}.log",
    params:
        code=digests.stage("filter"),
    shell:
        "rlvr filter --config {input.config} --base {input.base}"
        " --raw-train {input.train} --raw-eval {input.eval} --raw-sft {input.sft}"
        " --train {output.train} --eval {output.eval} --sft {output.sft} --stats {output.stats}"
        " --manifest {output.manifest} --log {log}"
