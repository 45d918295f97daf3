"""Branches and tags of the hub, from the config to the lock to the data, against a server that speaks its protocol."""

from __future__ import annotations

import io
import json
import re
import socket
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import test_hub
import yaml
from huggingface_hub import constants

from conftest import MICRO, ROOT, copy_checkout, snakemake
from rlvr import cli, config, revisions, slices, tables
from rlvr.errors import RlvrError
from rlvr.stages import base, data
from rlvr_plugins.tasks import hub as client
from rlvr_plugins.tasks import openmath

MODEL, DATA = "acme/Tiny-Instruct", openmath.REPOSITORY
OLD, NEW, OTHER = "a1" * 20, "b2" * 20, "c3" * 20
PRESET = "config/presets/qwen2.5-0.5b-instruct-gsm8k.yaml"
KEY = "tasks.openmath.options.revision"


class BranchHub(test_hub.Hub):
    """`server.branches`: commits by `models/OWNER/NAME@REVISION`; `server.says`: status, code and body instead."""

    def answer(self, body: bool) -> None:
        server, path = self.server, self.path.partition("?")[0]
        if path == "/":
            return self.send(200, {}, b"")
        if found := re.fullmatch(r"/api/(\w+/[\w-]+/[\w-]+)/revision/(.+)", path):
            repository, revision = found[1], found[2].replace("%2F", "/")
            server.asked.append(f"{repository}@{revision}")
            if server.says:
                status, code, content = server.says
                return self.send(status, {"X-Error-Code": code} if code else {}, content, body)
            if not any(name.startswith(f"{repository}@") for name in server.branches):
                return self.send(404, {"X-Error-Code": "RepoNotFound"}, b"")
            if f"{repository}@{revision}" not in server.branches:
                return self.send(404, {"X-Error-Code": "RevisionNotFound"}, b"")
            told = {"id": repository.partition("/")[2], "sha": server.branches[f"{repository}@{revision}"]}
            return self.send(200, {}, json.dumps(told).encode(), body)
        found = re.fullmatch(rf"/datasets/{DATA}/resolve/({OLD}|{NEW})/{openmath.FILE}", path)
        if not found:
            return self.send(404, {"X-Error-Code": "EntryNotFound"}, b"")
        headers = {"ETag": f'"{found[1]}"', "X-Repo-Commit": found[1]}
        self.send(200, headers, server.content, body)


def rows(start: int = 0) -> bytes:
    columns = {"problem": "What is {0} + 1?", "expected_answer": "{1}", "generated_solution": "It is {1}."}
    made = [
        {**{column: text.format(n, n + 1) for column, text in columns.items()}, "problem_source": "x"}
        for n in range(start, start + 9)
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(made), buffer)
    return buffer.getvalue()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), BranchHub)
    server.branches = {f"models/{MODEL}@main": OLD, f"datasets/{DATA}@main": OLD, f"models/{MODEL}@pr/1": OTHER}
    server.cut, server.says, server.asked, server.content = 0, None, [], rows()
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", test_hub.url(server))
    template = f"{test_hub.url(server)}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    yield server
    server.shutdown()
    server.server_close()


def written(**changes) -> Path:
    """An experiment that leaves out the commits of its base and of its demonstrations."""
    tasks = {**MICRO["tasks"], "openmath": {"train": 0, "sft": None, "eval": 0, "options": {"source": "hub"}}}
    file = Path("experiment.yaml")
    file.write_text(yaml.safe_dump({**MICRO, "base": MODEL, "tasks": tasks, **changes}))
    return file


def required(file: Path) -> dict[str, str]:
    return revisions.required(config.read([file]))


def refused(file: Path) -> list[str]:
    """The lines that a run ends with; nothing is written."""
    with pytest.raises(RlvrError) as raised:
        required(file)
    assert not revisions.LOCK.exists()
    return str(raised.value).split("\n")


def lock(capsys, *arguments: str) -> str:
    """What `rlvr lock` prints, or ends with."""
    status = cli.main(["lock", "--configfile", "experiment.yaml", *arguments])
    said = capsys.readouterr()
    return said.err if status else said.out


def test_what_is_left_out_is_looked_up_once_and_kept_until_asked(hub, capsys):
    file, names = written(), [f"models/{MODEL}@main", f"datasets/{DATA}@main"]
    assert required(file) == dict.fromkeys(names, OLD) and hub.asked == names
    before = revisions.LOCK.read_text()
    hub.branches |= dict.fromkeys(names, NEW)
    assert required(file) == dict.fromkeys(names, OLD) and hub.asked == names
    assert f"{names[0]}: {OLD}, kept since 20" in lock(capsys) and revisions.LOCK.read_text() == before
    said = lock(capsys, "--update", DATA)
    assert f"{names[0]}: {OLD}, kept" in said and f"{names[1]}: {OLD} -> {NEW}; the next run makes anew" in said
    assert required(file) == {names[0]: OLD, names[1]: NEW}
    assert f"{names[1]}: {NEW}, has not moved" in lock(capsys, "--update-all")
    assert required(file) == dict.fromkeys(names, NEW)


def test_branches_tags_and_other_entries_lie_side_by_side_in_the_lock(hub, capsys):
    required(written())
    file = written(base={"model": MODEL, "revision": "pr/1"})
    assert f"models/{MODEL}@pr/1: {OTHER}, new" in lock(capsys)
    assert list(revisions.read()) == [f"datasets/{DATA}@main", f"models/{MODEL}@main", f"models/{MODEL}@pr/1"]
    assert slices.of(config.load([file]))["base"]["base"]["revision"] == OTHER
    assert "allowed: models/acme/Tiny-Instruct@pr/1, datasets/unsloth" in lock(capsys, "--update", "acme/Other")
    written(base="tiny", tasks=MICRO["tasks"])
    assert lock(capsys) == "no branch or tag of the hub is named: nothing to lock\n"


def test_stages_see_the_commit_and_not_how_it_was_named(hub):
    """So that a commit written into the config, once locked, makes nothing anew."""
    second = {"task": "gsm8k_platinum", "options": {"source": "hub", "repository": DATA, "revision": "main"}}
    gsm8k = {"train": 4, "sft": 0, "eval": 4, "second_labels": second, "options": {"source": "synthetic"}}
    tasks = {**MICRO["tasks"], "gsm8k": gsm8k}
    file = written(tasks=tasks)
    required(file)
    cut = slices.of(config.load([file]))
    given = {**second, "options": {**second["options"], "revision": OLD}}
    tasks = {**tasks, "gsm8k": {**gsm8k, "second_labels": given}}
    assert cut == slices.of(config.load([written(tasks=tasks, base={"model": MODEL, "revision": OLD})]))
    assert cut["data/gsm8k/second"]["options"]["revision"] == OLD


def test_a_data_set_whose_commit_is_the_tasks_own_is_not_looked_up(hub):
    gsm8k = {"train": 4, "sft": 0, "options": {"source": "hub"}}
    assert required(written(base="tiny", tasks={**MICRO["tasks"], "gsm8k": gsm8k})) == {}
    assert hub.asked == [] and not revisions.LOCK.exists()


@pytest.mark.parametrize("away", ["offline", "refused", "silent"])
def test_what_can_not_be_looked_up_is_a_line_with_key_repository_and_what_to_do(hub, monkeypatch, away):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        address = {"refused": "127.0.0.1:9", "silent": f"127.0.0.1:{silent.getsockname()[1]}"}.get(away)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", away == "offline")
        if address:
            monkeypatch.setattr(constants, "ENDPOINT", f"http://{address}")
        monkeypatch.setattr(client, "CONNECT_SECONDS", 0.1)
        lines = refused(written())
    why = "HF_HUB_OFFLINE is set" if away == "offline" else "the hub can't be reached ("
    for line, key, repository in zip(lines, ("base.revision", KEY), (MODEL, DATA), strict=True):
        assert line.startswith(f"{key}: {repository} at main can't be looked up, as {why}")
        assert f"; connect and give `rlvr lock` or run again, or set {key} to a commit (40 hex digits), or" in line


def test_offline_what_was_fetched_before_is_taken_but_for_an_update(hub, capsys, monkeypatch):
    for folder, commit in ((f"models--{MODEL}", OLD), (f"datasets--{DATA}", NEW)):
        folder = Path("cache", folder.replace("/", "--"))
        (folder / "snapshots" / commit).mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert list(required(written()).values()) == [OLD, NEW]
    said = f"{KEY}: HF_HUB_OFFLINE is set; {DATA} at main is taken from the local cache"
    assert said in capsys.readouterr().err
    before = revisions.LOCK.read_text()
    assert f"rlvr lock: {KEY}: {DATA} at main can't be looked up, as HF_HUB_OFFLINE" in lock(capsys, "--update", DATA)
    assert revisions.LOCK.read_text() == before


@pytest.mark.parametrize(
    ("base", "says", "expected"),
    [
        ("acme/Gone", None, "acme/Gone at main: the hub has no such model, or it is private; allowed: its name"),
        ("a/b/c", None, "a/b/c at main: Repo id must be"),
        (
            {"model": MODEL, "revision": "no-such"},
            None,
            f"{MODEL} at no-such: the hub has no such revision; allowed: a commit, branch or tag of this model",
        ),
        (MODEL, (401, "GatedRepo", b""), f"{MODEL} at main: it is gated, and no token is set; accept its terms"),
        (MODEL, (403, "", b""), f"{MODEL} at main: the hub refuses the token (403); give `hf auth login`"),
        (MODEL, (503, "", b""), f"{MODEL} at main: the hub answers 503; run again"),
        (MODEL, (200, "", b"<html>Sign in</html>"), "answers, but not as the hub does; is it the page of a proxy or"),
        (MODEL, (200, "", b"[1]"), "answers, but not as the hub does"),
        (MODEL, (200, "", b'{"id": "acme/Tiny-Instruct"}'), f"{MODEL} at main: the hub names no commit, but None"),
    ],
    ids=["model", "name", "revision", "gated", "token", "out of order", "a page", "other JSON", "no commit"],
)
def test_what_the_hub_says_otherwise_is_one_line(hub, base, says, expected):
    hub.says = says
    [line] = refused(written(base=base, tasks=MICRO["tasks"]))
    assert line.startswith("base.revision: ") and expected in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a\n", "holds a list; allowed: a mapping"),
        ("<<<<<<< ours\n", "holds a str; allowed: a mapping"),
        ("a: [\n", ", line 2: "),
        (f"{MODEL}: {{commit: '{OLD}', resolved: '2026-11-30'}}\n", f"'{MODEL}' is not possible; allowed: such as"),
        ("models/a/b@main: {commit: 5ea611a, resolved: '2026-11-30'}\n", "@main: commit: '5ea611a' is not possible"),
        ("models/a/b@main: {commit: 1234, resolved: '2026-11-30'}\n", "commit: 1234 is not possible; allowed: 40 hex"),
        (f"models/a/b@main: {{commit: '{OLD}', resolved: yesterday}}\n", "resolved: 'yesterday' is not possible"),
        (f"models/a/b@main: {OLD}\n", "models/a/b@main: allowed: commit and resolved, and nothing else"),
        (f"models/a/b@main: {{commit: '{OLD}', resolved: '2026-11-30', by: me}}\n", "and nothing else"),
        ("models/a/b@main: 1\nmodels/a/b@main: 2\n", "line 2: key 'models/a/b@main' is given twice"),
        ("\0", "config/revisions.lock.yaml: "),
    ],
)
def test_a_lock_that_can_not_be_used_is_one_line(hub, capsys, text, expected):
    written()
    revisions.LOCK.parent.mkdir()
    revisions.LOCK.write_text(text)
    for said in (lock(capsys), lock(capsys, "--update-all")):
        assert said.count("\n") == 1 and str(revisions.LOCK) in said and expected in said
        assert said.endswith("; take it from git, or delete it and give `rlvr lock`\n")
    assert revisions.LOCK.read_text() == text and hub.asked == []
    written(base="tiny", tasks=MICRO["tasks"])
    assert config.load([Path("experiment.yaml")]), "what names no revision does not need it"


def test_what_another_process_locked_meanwhile_is_kept(hub, monkeypatch):
    entries = {f"models/{MODEL}@main": revisions.Entry(OTHER, "2026-01-01")}

    def acquire(file, how) -> None:
        revisions._write(revisions.LOCK, entries)

    monkeypatch.setattr(revisions.fcntl, "flock", acquire)
    assert required(written()) == {f"models/{MODEL}@main": OTHER, f"datasets/{DATA}@main": OLD}
    assert hub.asked == [f"datasets/{DATA}@main"]


def test_a_lock_that_can_not_be_written_is_one_line(hub):
    Path("config/.revisions.lock.yaml.flock").mkdir(parents=True)
    assert refused(written()) == ["config/revisions.lock.yaml: can't be written (Is a directory)"]


def test_a_stage_reads_nothing_at_a_name(hub, tmp_path):
    cut = slices.of(config.load([written()]))
    with pytest.raises(RlvrError, match=f"^base: {MODEL}: revision 'main' is not locked to a commit; give `rlvr lock`"):
        base.run(cut["base"], data=[], weights=tmp_path / "weights")
    files = {name: tmp_path / name for name in ("train", "eval", "sft", "stats")}
    with pytest.raises(RlvrError, match=f"^tasks.openmath: {DATA}: revision 'main' is not locked to a commit"):
        data.run(cut["data/openmath"], **files)
    assert not any(path.exists() for path in files.values())


def fetched() -> list[str]:
    """The commit that the preset's demonstrations are read at now, and their questions."""
    asked = config.read([ROOT / PRESET])
    revisions.required(asked)
    cut = slices.of(config.load([ROOT / PRESET]))["data/openmath"]
    made = {name: Path(name) for name in ("train", "eval", "sft", "stats")}
    data.run({**cut, "sft": 4}, **made)
    return [cut["options"]["revision"], *sorted(row["key"] for row in tables.read(made["sft"]))]


def test_the_preset_goes_from_a_branch_to_data_and_stays_there_until_asked(hub, monkeypatch, capsys):
    first = fetched()
    assert first[0] == OLD and len(first) == 5
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetched() == first
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.branches[f"datasets/{DATA}@main"], hub.content = NEW, rows(100)
    assert fetched() == first
    assert cli.main(["lock", "--update-all", "--configfile", str(ROOT / PRESET)]) == 0
    assert f"datasets/{DATA}@main: {OLD} -> {NEW}" in capsys.readouterr().out
    second = fetched()
    assert second[0] == NEW and not set(first) & set(second)


@pytest.mark.slow
def test_the_workflow_looks_up_what_the_preset_leaves_out_and_makes_anew_what_an_update_moves(hub, tmp_path):
    """With the command in the preset's header, up to the data that it leaves to be found."""
    checkout = copy_checkout(tmp_path / "checkout")
    target = "results/qwen2_5-0_5b-instruct-gsm8k/data/openmath/raw/manifest.json"
    lock, manifest = checkout / revisions.LOCK, checkout / target
    tier = "config/memory/8gb.yaml"
    assert f"snakemake --cores 1 --resources gpu=1 --configfile {PRESET} {tier}\n" in (ROOT / PRESET).read_text()
    env = {"HF_ENDPOINT": test_hub.url(hub), "HF_HOME": str(tmp_path / "home")}

    def run(*words: str, check: bool = True, offline: str = "1") -> str:
        words = (target, *words, "--resources", "gpu=1", "--configfile", PRESET, tier)
        return snakemake(checkout, *words, check=check, **env, HF_HUB_OFFLINE=offline).stdout

    shipped = lock.read_text()
    assert f"{KEY}: {DATA} at main is not locked to a commit yet; the first run" in run("--dry-run")
    said = run(check=False)
    assert f"{KEY}: {DATA} at main can't be looked up, as HF_HUB_OFFLINE is set" in said and "rule " not in said
    assert lock.read_text() == shipped and hub.asked == []
    said = run(offline="0")
    assert f"{revisions.LOCK}: datasets/{DATA}@main is locked to {OLD}" in said and OLD in lock.read_text()
    made = json.loads(manifest.read_text())
    assert made["config"]["options"] == {"source": "hub", "revision": OLD} and made["rows"]["sft"] == 9
    assert made["asked"]["revisions"] == {f"datasets/{DATA}@main": OLD}
    hub.branches[f"datasets/{DATA}@main"] = NEW
    assert "Nothing to be done" in run(offline="0") and hub.asked == [f"datasets/{DATA}@main"]
    lock.write_text(lock.read_text().replace(OLD, NEW))
    assert re.search(r"^data +1$", run("--dry-run"), re.MULTILINE)
    lock.write_text(shipped)
    run("--summary")
    assert lock.read_text() == shipped, "nothing is looked up where no job runs"


def test_commands_that_run_no_job_look_nothing_up():
    assert revisions.runs_nothing(["snakemake", "--summary"]) and revisions.runs_nothing(["snakemake", "--unlock"])
    assert not revisions.runs_nothing(["snakemake", "--cores", "1", "--resources", "gpu=1"])
