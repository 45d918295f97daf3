# Requires: the model of an arm, held-out rows. Makes: completions, and apart from them their scores.


rule generate:
    input:
        config="results/{experiment}/config/generate.json",
        model=ancient(weights_of),
        model_manifest="results/{experiment}/model/{arm}/manifest.json",
        data=rules.data.output.eval,
    output:
        completions="results/{experiment}/eval/{arm}/{task}/greedy/completions.parquet",
        manifest="results/{experiment}/eval/{arm}/{task}/greedy/manifest.json",
    log:
        "results/{experiment}/logs/generate/{arm}/{task}.log",
    threads: config_.threads
    resources:
        gpu=1,
    params:
        code=digests.stage("generate"),
        versions=versions,
    shell:
        "rlvr generate --config {input.config} --model {input.model} --data {input.data}"
        " --completions {output.completions} --manifest {output.manifest} --log {log}"


rule score:
    input:
        config="results/{experiment}/config/score/{task}.json",
        data=rules.data.output.eval,
        completions=rules.generate.output.completions,
    output:
        scores="results/{experiment}/eval/{arm}/{task}/greedy/scores.parquet",
        manifest="results/{experiment}/eval/{arm}/{task}/greedy/scores.manifest.json",
    log:
        "results/{experiment}/logs/score/{arm}/{task}.log",
    params:
        code=lambda w: [digests.stage("score"), digests.verifier(w.task)],
    shell:
        "rlvr score --config {input.config} --data {input.data} --completions {input.completions}"
        " --scores {output.scores} --manifest {output.manifest} --log {log}"
