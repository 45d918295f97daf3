# Requires: completions, the models that made them. Makes, where the config asks for it: lm-eval's own completions and
# figures, scores by another task's labels, how far the engine repeats itself.


rule lm_eval:
    input:
        config="results/{experiment}/config/lm_eval/{task}.json",
        model=ancient(weights_of),
        model_manifest="results/{experiment}/model/{arm}/manifest.json",
        data=rules.data.output.eval,
        completions="results/{experiment}/eval/{arm}/{task}/greedy/completions.parquet",
    output:
        figures="results/{experiment}/eval/{arm}/{task}/lm_eval/lm_eval.json",
        samples="results/{experiment}/eval/{arm}/{task}/lm_eval/samples.parquet",
        manifest="results/{experiment}/eval/{arm}/{task}/lm_eval/manifest.json",
    log:
        "results/{experiment}/logs/lm_eval/{arm}/{task}.log",
    threads: config_.threads
    resources:
        gpu=1,
    params:
        code=digests.stage("lm_eval"),
        versions=versions | provenance.versions(("lm_eval",)),
    shell:
        "rlvr lm_eval --config {input.config} --model {input.model} --data {input.data}"
        " --completions {input.completions} --figures {output.figures} --samples {output.samples}"
        " --manifest {output.manifest} --log {log}"


rule second_data:
    input:
        config="results/{experiment}/config/data/{task}/second.json",
        source=lambda w: experiment_slices.second_files(config_, w.task),
    output:
        train="results/{experiment}/data/{task}/second/train.parquet",
        eval="results/{experiment}/data/{task}/second/eval.parquet",
        sft="results/{experiment}/data/{task}/second/sft.parquet",
        stats="results/{experiment}/data/{task}/second/stats.json",
        manifest="results/{experiment}/data/{task}/second/manifest.json",
    log:
        "results/{experiment}/logs/data/{task}.second.log",
    params:
        code=lambda w: [
            digests.stage("data"),
            *map(digests.source, second_of(w.task)),
            *map(digests.verifier, second_of(w.task)),
            *map(file_digests.file, experiment_slices.second_files(config_, w.task)),
        ],
    shell:
        "rlvr data --config {input.config} --train {output.train} --eval {output.eval} --sft {output.sft}"
        " --stats {output.stats} --manifest {output.manifest} --log {log}"


rule relabel:
    input:
        config="results/{experiment}/config/relabel/{task}.json",
        data=rules.data.output.eval,
        second=rules.second_data.output.eval,
        completions=rules.generate.output.completions,
    output:
        scores="results/{experiment}/eval/{arm}/{task}/{decoding}/second_scores.parquet",
        manifest="results/{experiment}/eval/{arm}/{task}/{decoding}/second_scores.manifest.json",
    log:
        "results/{experiment}/logs/relabel/{arm}/{task}/{decoding}.log",
    params:
        code=lambda w: [
            digests.stage("relabel"),
            *map(digests.source, [w.task, *second_of(w.task)]),
            *map(digests.verifier, second_of(w.task)),
        ],
    shell:
        "rlvr relabel --config {input.config} --data {input.data} --second {input.second}"
        " --completions {input.completions} --scores {output.scores} --manifest {output.manifest} --log {log}"


rule repeat:
    input:
        config="results/{experiment}/config/repeat/{task}.json",
        model=ancient(weights_of),
        model_manifest="results/{experiment}/model/{arm}/manifest.json",
        data=rules.data.output.eval,
        completions="results/{experiment}/eval/{arm}/{task}/greedy/completions.parquet",
    output:
        measured="results/{experiment}/eval/{arm}/{task}/repeat/repeat.json",
        manifest="results/{experiment}/eval/{arm}/{task}/repeat/manifest.json",
    log:
        "results/{experiment}/logs/repeat/{arm}/{task}.log",
    threads: config_.threads
    resources:
        gpu=1,
    params:
        code=lambda w: [digests.stage("repeat"), digests.verifier(w.task)],
        versions=versions_of_generation,
    shell:
        "rlvr repeat --config {input.config} --model {input.model} --data {input.data}"
        " --completions {input.completions} --measured {output.measured} --manifest {output.manifest} --log {log}"


_second = slices["report"]["second"]
second_data = expand(rules.second_data.output.manifest, experiment=config_.experiment, task=_second["labels"])
second_opinions = [
    *expand(rules.lm_eval.output.manifest, experiment=config_.experiment, arm=arms, task=_second["lm_eval"]),
    *expand(
        rules.relabel.output.manifest,
        experiment=config_.experiment,
        arm=arms,
        task=_second["labels"],
        decoding="greedy",
    ),
    *expand(
        rules.repeat.output.manifest,
        experiment=config_.experiment,
        arm=_second["repeat"]["arm"],
        task=_second["repeat"]["tasks"],
    ),
]
