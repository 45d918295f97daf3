# Requires: base model, rows after filters, held-out rows. Makes: what each stage will take in memory, and what two
# steps of it take; fails where it would not fit, or a prompt leaves no room for a completion.


rule preflight:
    input:
        config="results/{experiment}/config/preflight.json",
        base=ancient(rules.base.output.weights),
        base_manifest=rules.base.output.manifest,
        train=[filtered(task, "train") for task in training_tasks],
        sft=[filtered(task, "sft") for task in sft_tasks] if config_.sft else [],
        held_out=held_out,
        work=ancient("results/{experiment}/config/hours.json"),
        # Those of training stand in the data; a later change of another arm's is met by `generate`.
        prompts=ancient("results/{experiment}/config/prompts.json"),
        # What decides memory stands in the preflight's own slice.
        slices=ancient(
            expand(
                "results/{{experiment}}/config/{name}.json",
                name=[name for _, name in slices["preflight"]["probes"]],
            )
        ),
    output:
        estimate="results/{experiment}/preflight/estimate.json",
        probe="results/{experiment}/preflight/probe.json",
        passed="results/{experiment}/preflight/passed",
        manifest="results/{experiment}/preflight/manifest.json",
    log:
        "results/{experiment}/logs/preflight.log",
    threads: config_.threads
    # On the device that trains.
    resources:
        gpu=1,
    params:
        code=digests.stage("memory"),
        slices=lambda w, input: f"--slices {input.slices}" if input.slices else "",
        sft=lambda w, input: f"--sft {input.sft}" if input.sft else "",
    shell:
        "rlvr memory --config {input.config} --base {input.base} --train {input.train} {params.sft}"
        " --held-out {input.held_out} {params.slices} --work {input.work} --prompts {input.prompts}"
        " --estimate {output.estimate}"
        " --probe {output.probe} --passed {output.passed} --manifest {output.manifest} --log {log}"
