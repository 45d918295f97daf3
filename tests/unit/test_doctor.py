"""`rlvr doctor`: what it finds, what it says to do, and when a config can't run."""

from __future__ import annotations

import json

import pytest
import torch
import yaml

from conftest import MICRO
from rlvr import availability, cli, nvidia, tiny
from rlvr.doctor import diagnosis, machine, needs, packages, probe, trials
from rlvr.doctor.findings import WIDTH, Finding, render
from rlvr.memory import machine as limits

TOKEN = "hf_" + "s" * 34
CPU = {"build": "CPU", "devices": [], "cuda": False}
H200 = {"name": "NVIDIA H200", "memory": 140 * 2**30, "free": 139 * 2**30, "capability": "9.0"}
GPU = {"build": "13.0", "devices": [H200], "cuda": True}
IMPORTS = {"seconds": 1.0}


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.build_tokenizer([tiny.render([{"role": "user", "content": "2 + 3"}])], 300)


def saved(tokenizer, folder, rows: int = 512, **changes):
    """A model folder without weights; `changes` go to its tokenizer_config.json, or are left out there."""
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3", "vocab_size": rows, "eos_token_id": 2}))
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))
    if "chat_template" in changes:
        (folder / "chat_template.jinja").unlink(missing_ok=True)
    return folder


def doctor(capsys, *arguments: object) -> tuple[int, str]:
    code = cli.main(["doctor", *map(str, arguments)])
    return code, capsys.readouterr().out


def test_a_config_that_needs_what_is_lacking_gets_exit_status_1_and_no_token_is_printed(
    tmp_path, capsys, monkeypatch, tokenizer
):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(trials, "SECONDS", 1800.0)
    base = saved(tokenizer, tmp_path / "base", chat_template="")
    config = {**MICRO, "base": str(base), "device": "cuda"}
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(config))
    code, out = doctor(capsys, "--json", "--configfile", file)
    facts = json.loads(out)
    assert code == 1
    assert facts["lacking"] == ([] if torch.cuda.is_available() else ["cuda"]) + ["model"]
    findings = {each["part"]: each for each in facts["findings"]}
    assert findings["transformers"]["mark"] == "ok"
    assert findings["model"]["text"] == "no chat template"
    assert findings["hub"]["mark"] == "lack" and "a token is there" in findings["hub"]["text"]
    assert TOKEN not in out and TOKEN[5:] not in out
    assert facts["versions"]["torch"] == torch.__version__
    assert all(each["cure"] for each in facts["findings"] if each["mark"] != "ok")


def test_a_bad_config_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(trials, "run", lambda probes: {name: {"problem": "left out"} for name in probes})
    file = tmp_path / "experiment.yaml"
    file.write_text("experiment: x\n")
    code, out = doctor(capsys, "--configfile", file)
    assert code == 1
    assert f"lack config {file}: tasks: is missing" in " ".join(out.split())
    assert out.splitlines()[-1] == f"{file}: lacks transformers, config"
    assert max(map(len, out.splitlines())) <= max(WIDTH, len(str(file)) + 40)


def test_what_configs_need():
    assert needs.of({}) == {"config", "transformers", "model", "disk", "dvc"}
    auto = {"training": "auto", "generation": "auto", "rollouts": "auto"}
    assert needs.of({"engines": auto, "device": "auto", "adapter": None, "sft": None}) == needs.of({})
    config = {
        "base": {"model": "smollm2-135m-instruct"},
        "engines": {"training": "unsloth", "generation": "vllm", "rollouts": "transformers"},
        "evaluation": {"lm_eval": True},
        "adapter": {"load_in_4bit": True},
        "sft": {"trainer": {"report_to": "tensorboard"}},
        "grpo": {"trainer": {}, "variants": {"a": {"trainer": {"report_to": ["wandb"]}}}},
    }
    assert needs.of(config) - needs.of({}) == {"unsloth", "vllm", "4-bit", "smollm2", "tensorboard", "wandb", "lm-eval"}
    assert needs.of({"engines": {"rollouts": "vllm_colocate"}}) - needs.of({}) == {"vllm", "cuda"}
    assert set(needs.INSTALL) <= set(availability.PARTS)


def test_a_folder_that_a_run_left_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "trackio").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert "trackio" in availability.missing("trackio") or packages.installed("trackio")
    (tmp_path / "trackio" / "__init__.py").touch()
    assert availability.missing("trackio") == []


@pytest.mark.parametrize(
    ("trial", "trl", "cuda", "mark", "said"),
    [
        (IMPORTS, "1.14.2", CPU, "ok", "training, generation"),
        (IMPORTS, "1.15.0", CPU, "lack", "TRL 1.15.0 does not train on a CPU"),
        (IMPORTS, "1.15.0", GPU, "ok", "training, generation"),
        ({"problem": "ImportError: x"}, "1.14.2", CPU, "lack", "does not import: ImportError: x"),
    ],
)
def test_training_with_trl(trial, trl, cuda, mark, said):
    found = diagnosis.engines({"torch": cuda, "transformers": trial}, trl)[0]
    assert (found.part, found.mark) == ("transformers", mark) and said in found.text


def test_engines_that_are_broken_or_built_for_another_device():
    answers = {"torch": GPU, "transformers": IMPORTS, "vllm": {**IMPORTS, "device": "cpu"}, "unsloth": {"problem": "x"}}
    found = {each.part: each for each in diagnosis.engines(answers, "1.14.2")}
    assert "its build is for cpu, but there is a GPU" in found["vllm"].text
    assert found["unsloth"].text == "does not run: x" and ".[gpu]" in found["unsloth"].cure
    answers = {"torch": CPU, "transformers": IMPORTS, "4-bit": {**IMPORTS, "error": 0.9}}
    answers["torch"] = CPU | {"torchvision": "RuntimeError: operator torchvision::nms does not exist"}
    found = {each.part: each for each in diagnosis.engines(answers, "1.14.2")}
    assert found["4-bit"].mark == "lack" and "off by 0.90" in found["4-bit"].text
    assert "nms" in found["torchvision"].text and "pip uninstall torchvision" in found["torchvision"].cure


def test_an_xformers_for_another_torch_explains_unsloths_notice(tmp_path, monkeypatch):
    (tmp_path / "xformers").mkdir()
    (tmp_path / "xformers-0.0.35.dist-info").mkdir()
    (tmp_path / "xformers-0.0.35.dist-info" / "METADATA").write_text("Name: xformers\nVersion: 0.0.35\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert diagnosis._xformers() == []
    for torch_of_build, number in (("2.10.0+cu128", 1), (torch.__version__, 0)):
        built = {"version": {"torch": torch_of_build}}
        (tmp_path / "xformers" / "cpp_lib.json").write_text(json.dumps(built))
        assert len(diagnosis._xformers()) == number
    (tmp_path / "xformers" / "cpp_lib.json").write_text('{"version": {"torch": "2.10.0+cu128"}}')
    assert "built for torch 2.10.0+cu128" in diagnosis._xformers()[0].text


@pytest.mark.parametrize(
    ("facts", "listed", "mark", "said"),
    [
        (GPU, [], "ok", "NVIDIA H200, 140.0 GiB, 139.0 GiB free; capability 9.0"),
        (CPU, [], "lack", "no GPU"),
        (CPU, ["GPU 0: NVIDIA H200"], "lack", "but torch 2.13.0+cpu is built for the CPU"),
        (CPU | {"build": "13.0", "why": "driver too old"}, ["GPU 0: X"], "lack", "can't use it: driver too old"),
    ],
)
def test_gpus(facts, listed, mark, said, monkeypatch):
    monkeypatch.setattr(nvidia, "gpus", lambda: listed)
    found = {each.part: each for each in diagnosis.computer(facts, "2.13.0+cpu")}["cuda"]
    assert found.mark == mark and said in found.text


def test_missing_tools_little_shared_memory_and_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "shared_memory", lambda: 64 * 2**20)
    found = {each.part: each for each in diagnosis.computer(GPU, "2.13.0")}
    assert [found[part].mark for part in ("compiler", "git", "ninja", "/dev/shm")] == ["lack"] * 3 + ["warn"]
    assert "flashinfer" in found["ninja"].text
    assert "ninja" not in {each.part for each in diagnosis.computer(CPU, "2.13.0")}
    monkeypatch.setattr(machine, "free", lambda path: 2**29 if path == tmp_path else 2**40)
    full = diagnosis.disk(tmp_path.parent, tmp_path)
    assert full.mark == "lack" and "make room for the hub's cache" in full.cure


def test_a_cache_of_hard_links_is_a_lack(tmp_path):
    (tmp_path / ".dvc").mkdir()
    assert diagnosis.dvc(tmp_path) == []
    (tmp_path / ".dvc" / "config").write_text("[cache]\n    type = hardlink\n")
    assert diagnosis.dvc(tmp_path)[0].mark == "lack"


def test_the_memory_limit_of_a_group_above_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "CGROUPS", tmp_path)
    own = next(
        (
            line.split(":", 2)
            for line in limits.Path("/proc/self/cgroup").read_text().splitlines()
            if line.split(":")[1] in ("", "memory")
        ),
        None,
    )
    if own is None:
        pytest.skip("this process is in no memory group")
    root, name = (tmp_path, "memory.max") if not own[1] else (tmp_path / "memory", "memory.limit_in_bytes")
    folder = root / own[2].lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("1073741824\n")
    assert machine.memory()["limit"] == limits.capacity("cpu") == 2**30
    (root / name).write_text("max\n")
    assert "limit" not in machine.memory()


def test_versions_are_held_against_the_pins(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "REQUIREMENTS", tmp_path)
    (tmp_path / "base.txt").write_text(f"# x\ntorch=={torch.__version__.partition('+')[0]}\nno-such==1\npluggy==0.1\n")
    (tmp_path / "gpu.txt").write_text("no-such-engine==1\n")
    versions, differing = packages.compare("cuda")
    assert differing == {"no-such": (None, "1"), "pluggy": (versions["pluggy"], "0.1")}
    found = {each.part: each for each in diagnosis.installed(versions, differing)}
    assert (found["no-such"].mark, found["pluggy"].mark) == ("lack", "warn")
    assert found["pluggy"].cure == "pip install pluggy==0.1"


def test_the_pins_of_this_checkout_are_read():
    for device in packages.DEVICE.values():
        assert {"bitsandbytes", "unsloth"} <= set(packages.pins(device))
    assert set(packages.TOLD) <= set(packages.pins("base.txt"))


@pytest.mark.parametrize(
    ("changes", "mark", "said"),
    [
        ({}, "ok", "chat template, padding and end tokens are there"),
        ({"chat_template": ""}, "lack", "no chat template"),
        ({"pad_token": None}, "warn", "no pad token"),
        ({"chat_template": tiny.CHAT_TEMPLATE.partition("{% if add")[0]}, "lack", "no generation prompt"),
        ({"chat_template": tiny.CHAT_TEMPLATE.replace("im_end", "im_start")}, "warn", "ends a turn with '<"),
        (
            {"chat_template": "{% if messages[0].role == 'system' %}{{ raise_exception('none') }}{% endif %}"
            + tiny.CHAT_TEMPLATE},
            "lack",
            "refuses a system prompt (TemplateError: none)",
        ),
        ({"rows": 10}, "lack", "tokens, its embedding 10 rows"),
    ],
)  # fmt: skip
def test_what_a_base_model_lacks(tokenizer, tmp_path, changes, mark, said):
    found = diagnosis.model(probe.model(str(saved(tokenizer, tmp_path, **changes))), "its folder")
    assert [each.mark for each in found] == [mark] and said in found[0].text


def test_a_model_without_an_end_token(tokenizer, tmp_path):
    folder = saved(tokenizer, tmp_path, eos_token=None)
    (folder / "config.json").write_text("{}")
    assert "no end token" in diagnosis.model(probe.model(str(folder)), "")[0].text


@pytest.mark.parametrize(
    ("program", "seconds", "problem"),
    [
        ("import os; os.kill(os.getpid(), 4)", 120, "it crashed (SIGILL)"),
        ("import time; time.sleep(600)", 1, "no answer within 1 s"),
        ("raise SystemExit(3)", 120, "it ended with exit status 3 and without an answer"),
        ("import os; os.write(2, b'noise'); print('{\"problem\": \"p\"}')", 120, "p"),
    ],
)
def test_a_probe_that_breaks_is_a_finding(tmp_path, monkeypatch, program, seconds, problem):
    file = tmp_path / "probe.py"
    file.write_text(program)
    monkeypatch.setattr(trials, "PROBE", file)
    assert trials.run({"x": []}, seconds)["x"]["problem"] == problem


def test_findings_are_aligned():
    found = [
        Finding("a", "one", "ok", "word " * 40),
        Finding("a", "other", "lack", "t", "do it"),
        Finding("b", "c", "ok", "x"),
    ]
    lines = render(found).splitlines()
    assert lines[0] == "a" and lines[1].startswith("  ok    one             word")
    assert {line.index("word") for line in lines[1:3]} == {24}
    assert "  lack  other           t" in lines and " " * 24 + "→ do it" in lines
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.unsloth
@pytest.mark.vllm
def test_the_engines_of_the_engine_set_run_here(capsys):
    """35 s of CPU time: imports Unsloth and vLLM, quantises with bitsandbytes."""
    _, out = doctor(capsys, "--json")
    found = {each["part"]: each for each in json.loads(out)["findings"]}
    assert {part: found[part]["mark"] for part in ("transformers", "unsloth", "vllm", "4-bit")} == dict.fromkeys(
        ("transformers", "unsloth", "vllm", "4-bit"), "ok"
    )
    assert found["pins"]["mark"] == "ok", [each["text"] for each in found.values()]
