# Requires: all scores and metrics. Makes: the tables, figures and pages people read.


rule report:
    input:
        config="results/{experiment}/config/report.json",
        datasets=expand(rules.dataset.output.manifest, task=tasks, allow_missing=True),
        scores=in_cells("scores.parquet"),
        second=second_opinions,
        metrics=expand("results/{{experiment}}/{arm}/metrics.parquet", arm=arms[1:]),
        models=expand(rules.export.output.manifest, arm=arms[1:], allow_missing=True),
        gates=expand(rules.gate.output.manifest, arm=arms[1:], allow_missing=True),
    output:
        page="results/{experiment}/report/index.html",
        table=report(
            "results/{experiment}/report/pass_at_1.csv",
            caption="../report/pass_at_1.rst",
            category="Accuracy",
        ),
        markdown="results/{experiment}/report/pass_at_1.md",
        latex="results/{experiment}/report/pass_at_1.tex",
        pass_at_k=report(
            pass_at_k(["csv"]),
            caption="../report/pass_at_k.rst",
            category="Accuracy",
        ),
        pass_at_k_to_read=pass_at_k(["md", "tex"]),
        protocols="results/{experiment}/report/protocols.csv",
        crossed=cross_protocol(["csv"]),
        comparisons=report(
            "results/{experiment}/report/comparisons.csv",
            caption="../report/comparisons.rst",
            category="Accuracy",
        ),
        seeds=report(
            "results/{experiment}/report/seeds.csv",
            caption="../report/seeds.rst",
            category="Accuracy",
        ),
        moved=report(
            "results/{experiment}/report/moved.csv",
            caption="../report/moved.rst",
            category="Accuracy",
        ),
        to_read=expand(
            "results/{{experiment}}/report/{table}.{ending}",
            table=["comparisons", "seeds", "moved"],
            ending=["md", "tex"],
        ),
        moved_items=directory("results/{experiment}/report/moved"),
        metrics="results/{experiment}/report/metrics.json",
        stages=report(
            "results/{experiment}/report/stages.csv",
            caption="../report/stages.rst",
            category="Time and memory",
        ),
        learning="results/{experiment}/report/learning_curves.csv",
        curves=report(
            directory("results/{experiment}/report/curves"),
            patterns=["{run}.png"],
            caption="../report/curves.rst",
            category="Learning curves",
            labels={"run": "{run}"},
        ),
        samples=directory("results/{experiment}/report/samples"),
        cells=directory("results/{experiment}/report/cells"),
        cards=directory("results/{experiment}/report/models"),
        summary="results/{experiment}/report/summary.txt",
        manifest="results/{experiment}/report/manifest.json",
    log:
        "results/{experiment}/logs/report.log",
    params:
        code=digests.stage("report"),
        results=lambda w, output: Path(output.page).parents[1],
        folder=lambda w, output: Path(output.page).parent,
    shell:
        "rlvr report --config {input.config} --results {params.results}"
        " --report {params.folder} --manifest {output.manifest} --log {log}"
