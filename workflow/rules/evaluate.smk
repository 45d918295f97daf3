# Requires: the model of an arm, held-out rows. Makes: completions, and apart from them their scores.


rule generate:
    input:
        config=slice_of_generate,
        model=ancient(weights_of),
        model_manifest="results/{experiment}/model/{arm}/manifest.json",
        gate=lambda w: ancient(gate_of(w)),
        data=rules.data.output.eval,
    output:
        completions="results/{experiment}/eval/{arm}/{task}/{decoding}/completions.parquet",
        manifest="results/{experiment}/eval/{arm}/{task}/{decoding}/manifest.json",
    log:
        "results/{experiment}/logs/generate/{arm}/{task}/{decoding}.log",
    threads: config_.threads
    resources:
        gpu=1,
    params:
        code=code_of_generate,
        versions=versions_of_generation,
    shell:
        "rlvr generate --config {input.config} --model {input.model} --data {input.data}"
        " --completions {output.completions} --manifest {output.manifest} --log {log}"


rule score:
    input:
        config="results/{experiment}/config/score/{task}.json",
        data=rules.data.output.eval,
        completions=rules.generate.output.completions,
    output:
        scores="results/{experiment}/eval/{arm}/{task}/{decoding}/scores.parquet",
        manifest="results/{experiment}/eval/{arm}/{task}/{decoding}/scores.manifest.json",
    log:
        "results/{experiment}/logs/score/{arm}/{task}/{decoding}.log",
    params:
        code=lambda w: [digests.stage("score"), digests.verifier(w.task)],
    shell:
        "rlvr score --config {input.config} --data {input.data} --completions {input.completions}"
        " --scores {output.scores} --manifest {output.manifest} --log {log}"
