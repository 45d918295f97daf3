# Requires: base model and a trained policy, held-out rows. Makes: one 16-bit model with tokenizer and stop tokens, how
# far it is from its policy, and its GGUF file.


rule export:
    input:
        config="results/{experiment}/config/export.json",
        base=ancient(rules.base.output.weights),
        base_manifest=rules.base.output.manifest,
        policy=ancient("results/{experiment}/{arm}/policy"),
        policy_manifest="results/{experiment}/{arm}/manifest.json",
    output:
        weights=directory("results/{experiment}/model/{arm}/weights"),
        manifest="results/{experiment}/model/{arm}/manifest.json",
    log:
        "results/{experiment}/logs/export/{arm}.log",
    wildcard_constraints:
        arm="|".join(map(re.escape, arms[1:])),
    cache: True
    threads: config_.threads
    params:
        code=digests.stage("export"),
        versions=versions,
    shell:
        "rlvr export --config {input.config} --base {input.base} --policy {input.policy}"
        " --weights {output.weights} --manifest {output.manifest} --log {log}"


rule gate:
    input:
        config="results/{experiment}/config/gate.json",
        base=ancient(rules.base.output.weights),
        base_manifest=rules.base.output.manifest,
        policy=ancient("results/{experiment}/{arm}/policy"),
        policy_manifest="results/{experiment}/{arm}/manifest.json",
        weights=ancient(rules.export.output.weights),
        weights_manifest=rules.export.output.manifest,
        data=held_out,
    output:
        measures="results/{experiment}/model/{arm}/gate/gate.json",
        manifest="results/{experiment}/model/{arm}/gate/manifest.json",
    log:
        "results/{experiment}/logs/gate/{arm}.log",
    wildcard_constraints:
        arm="|".join(map(re.escape, arms[1:])),
    threads: config_.threads
    resources:
        gpu=1,
    params:
        code=digests.stage("gate"),
        versions=versions,
    shell:
        "rlvr gate --config {input.config} --base {input.base} --policy {input.policy} --weights {input.weights}"
        " --data {input.data} --measures {output.measures} --manifest {output.manifest} --log {log}"


rule gguf:
    input:
        config="results/{experiment}/config/gguf.json",
        model=ancient(rules.export.output.weights),
        model_manifest=rules.export.output.manifest,
    output:
        file="results/{experiment}/model/{arm}/gguf/model.{type}.gguf",
        manifest="results/{experiment}/model/{arm}/gguf/{type}.manifest.json",
    log:
        "results/{experiment}/logs/gguf/{arm}.{type}.log",
    wildcard_constraints:
        arm="|".join(map(re.escape, arms[1:])),
        type="f16|bf16|q8_0",
    params:
        code=digests.stage("gguf"),
    shell:
        "rlvr gguf --config {input.config} --model {input.model} --file {output.file}"
        " --manifest {output.manifest} --log {log}"


gguf_files = expand(
    rules.gguf.output,
    experiment=config_.experiment,
    arm=arms[1:],
    type=[config_.export.gguf] if config_.export.gguf else [],
)
