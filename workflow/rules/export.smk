# Requires: base model and a trained policy. Makes: one 16-bit model with tokenizer and model card.


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
        arm="sft|grpo/.+",
    cache: True
    threads: config_.threads
    resources:
        gpu=1,
    params:
        code=digests.stage("export"),
        versions=versions,
    shell:
        "rlvr export --config {input.config} --base {input.base} --policy {input.policy}"
        " --weights {output.weights} --manifest {output.manifest} --log {log}"
