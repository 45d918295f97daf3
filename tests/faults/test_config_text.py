"""Config files that no one means: bombs, deep nesting, endless numbers, numbers that YAML reads as others."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import yaml

from conftest import MICRO, copy_checkout, snakemake
from rlvr import config, yaml_bounds, yaml_files
from rlvr.errors import RlvrError

GOOD = yaml.safe_dump(MICRO, sort_keys=False)


def doubled(lines: int, first: str, each: str) -> str:
    return f"a0: &a0 {first}\n" + "".join(f"a{i}: &a{i} {each.replace('*', f'*a{i - 1}')}\n" for i in range(1, lines))


HOSTILE = {
    "a list that doubles 26 times": doubled(27, "[1, 1]", "[*, *]"),
    "a mapping that doubles 26 times": doubled(27, "{x: 1}", "{x: *, y: *}"),
    "merge keys that double 26 times": doubled(27, "{x: 1}", "{<<: [*, *]}"),
    "ten times each, nine times": doubled(10, "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", f"[{', '.join('*' * 10)}]"),
    "a mapping in itself": "a: &a {b: *a}",
    "a list in itself": "a: &a [1, [*a]]",
    "2,000 lists": f"a: {'[' * 2000}{']' * 2000}",
    "2,000 mappings": f"a: {'{a: ' * 2000}1{'}' * 2000}",
    "2,000 lists that never end": f"a: {'[' * 2000}",
    "400 levels of lines": "".join(" " * level + "a:\n" for level in range(400)),
    "2,000 lists on a line": f"a:\n  {'- ' * 2000}1",
    "JSON": json.dumps({"a": 1}).replace("1", "[" * 5000 + "]" * 5000),
    "an integer of 5,000 digits": f"seed: {'9' * 5000}",
    "a negative one": f"seed: -{'9' * 5000}",
    "an integer of 20 digits": f"seed: {'9' * 20}",
    "a number of 5,000 digits": f"seed: {'9' * 5000}.5",
    "5,000 decimals": f"seed: 0.{'3' * 5000}",
    "an endless exponent": "seed: 1e999999",
    "an exponent of 5,000 digits": f"seed: 1e{'9' * 5000}",
    "less than there is": "seed: 1e-999999",
    "hexadecimal": f"seed: 0x{'f' * 5000}",
    "octal": f"seed: 0{'7' * 5000}",
    "new octal": f"seed: 0o{'7' * 5000}",
    "binary": f"seed: 0b{'1' * 5000}",
    "sexagesimal": f"seed: 1{':59' * 3000}",
    "underscores": f"seed: 1{'_0' * 3000}",
    "a key of 100,000 characters": f"{'k' * 100_000}: 1",
    "a file of 1 MiB": f"experiment: {'x' * 2**20}",
    "100,000 values": f"seeds: [{'1, ' * 80_000}1]",
    "a tag": "seed: !!binary aGk=",
    "a tag of Python's": "seed: !!python/object/apply:os.system [id]",
    "a date that is none": "experiment: 2026-13-45",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("within", ["a file", "--config"])
def test_what_no_config_means_is_one_line_at_once(tmp_path, text, within):
    file, started = tmp_path / "x.yaml", time.process_time()
    file.write_text(text if within == "a file" else GOOD, encoding="utf-8")
    given = text if text.startswith("{") or "\n" in text else f"{{{text}}}"
    more = [] if within == "a file" else [f"export={given}"]
    with pytest.raises(RlvrError) as raised:
        config.read([file], more)
    line = str(raised.value)
    assert "\n" not in line and len(line) < 400 + len(str(file))
    assert line.startswith(str(file) if within == "a file" else "--config export")
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0256", "which YAML 1.1 reads as 174; allowed: 256, or '0256' in quotes where a text is meant"),
        ("-010", "which YAML 1.1 reads as -8; allowed: -10, or"),
        ("08", "YAML's releases differ on it; allowed: 8, or"),
        ("00", "allowed: 0, or"),
        ("1:30", "which YAML 1.1 reads as 90; allowed: 90, or '1:30' in quotes where a text is meant"),
        ("01:30", "which YAML 1.1 reads as 90; allowed: 90, or"),
        ("1:30:00", "which YAML 1.1 reads as 5400; allowed: 5400, or"),
        ("1:30.5", "which YAML 1.1 reads as 90.5; allowed: 90.5, or"),
        ("1_000", "YAML's releases differ on it; allowed: 1000, or"),
        ("1_000.5", "allowed: 1000.5, or"),
        ("0x10", "allowed: 16, or"),
        ("0o17", "allowed: 15, or"),
        ("0b11", "allowed: 3, or"),
        ("1_", "allowed: 1, or"),
        ("0_", "which YAML 1.1 reads as 0; allowed: 0, or"),
        ("0x_", "a number without digits; allowed: one with digits, or '0x_' in quotes"),
        ("-0b_", "a number without digits"),
        ("0x_1_f", "allowed: 31, or"),
        ("0_7", "which YAML 1.1 reads as 7; allowed: 7, or"),
    ],
)
def test_a_number_that_yaml_reads_as_another_is_refused_with_its_key(tmp_path, written, expected):
    file = tmp_path / "x.yaml"
    file.write_text(GOOD.replace("max_steps: 2", f"max_steps: {written}"), encoding="utf-8")
    number = file.read_text(encoding="utf-8").partition(f"max_steps: {written}")[0].count("\n") + 1
    with pytest.raises(RlvrError) as raised:
        config.read([file])
    assert str(raised.value).startswith(f"{file}, line {number}: grpo.trainer.max_steps: {written} is not possible, ")
    assert expected in str(raised.value)
    file.write_text(GOOD, encoding="utf-8")
    said = f"--config grpo, line 1: trainer.max_steps: {written} is not possible"
    with pytest.raises(RlvrError, match=re.escape(said)):
        config.read([file], [f"grpo={{trainer: {{max_steps: {written}}}}}"])


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *(("17", 17), ("+17", 17), ("-3", -3), ("0", 0), (".5", 0.5), ("1.", 1.0), ("1e-5", 1e-5), ("0.0", 0.0)),
        *(("yes", True), ("off", False), ("~", None), ("'0256'", "0256"), ('"1:30"', "1:30"), ("1.2.3", "1.2.3")),
        *(("-.5", -0.5), ("+.5", 0.5), ("-.5e3", -500.0), ("0x", "0x"), ("1_x", "1_x")),
        *(("12:99", "12:99"), ("2026-11-30", "2026-11-30"), ("0256abc", "0256abc"), ("10-4", "10-4")),
    ],
)
def test_what_every_reader_takes_alike_is_read(written, value):
    read = yaml_files.load_text(f"a: [{{b: {written}}}]", "x.yaml")["a"][0]["b"]
    assert read == value and type(read) is type(value)


def test_keys_are_text_as_they_stand():
    text = "{on: 1, 007: 2, 1e3: 3, ~: 4, 1:30: 5, 2026-01-01: 6}"
    assert list(yaml_files.load_text(text, "x.yaml")) == ["on", "007", "1e3", "~", "1:30", "2026-01-01"]


def test_few_aliases_and_merge_keys_are_read():
    text = "common: &c {r: 8}\nadapter: {<<: *c, alpha: 16}\nother: *c"
    assert yaml_files.load_text(text, "x.yaml") == {
        "common": {"r": 8},
        "adapter": {"r": 8, "alpha": 16},
        "other": {"r": 8},
    }


def test_quotes_on_the_command_line_are_kept(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(GOOD, encoding="utf-8")
    loaded = config.read([file], ["sft={trainer: {save_strategy: 'no'}}", "sft={trainer: {max_steps: 2}}", "seed=7"])
    assert loaded.sft.trainer["save_strategy"] == "no" and loaded.sft.trainer["max_steps"] == 2 and loaded.seed == 7


@pytest.mark.parametrize(
    "path", ["base.model", "experiment", "device", "grpo.trainer.loss_type", "tasks.countdown.user_prompt"]
)
def test_a_huge_value_is_shortened(tmp_path, path):
    content = yaml.safe_load(GOOD)
    *parents, last = path.split(".")
    node = content
    for parent in parents:
        node = node[parent]
    node[last] = "x\x1b[31m" * 20_000
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(RlvrError) as raised:
        config.read([file])
    assert f"x.yaml: {path}: " in str(raised.value) and len(str(raised.value)) < 700 and "\x1b" not in str(raised.value)


def test_thousands_of_mistakes_are_counted(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(GOOD + "".join(f'"\\e[31m{number}": 1\n' for number in range(3000)), encoding="utf-8")
    with pytest.raises(RlvrError) as raised:
        config.read([file])
    lines = str(raised.value).splitlines()
    assert len(lines) == 21 and lines[-1] == "… and 2980 more" and "\x1b" not in str(raised.value)


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("text") / "checkout")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--configfile", "bomb.yaml"], "bomb.yaml, line 12: more than 10000 values"),
        (["--config", "a=[[[[[" + "[" * 2000, "-n"], "--config a, line 1: more than 50 levels"),
        (["--config", "threads=1", "seed=0256"], "--config seed, line 1: 0256 is not possible"),
        (["--configfile=templated.yaml"], "templated.yaml: __use_yte__ is not possible"),
    ],
    ids=["bomb", "nested", "octal", "code"],
)
def test_snakemake_ends_before_it_reads_them_itself(bare, arguments, expected):
    (bare / "bomb.yaml").write_text(HOSTILE["a list that doubles 26 times"], encoding="utf-8")
    (bare / "templated.yaml").write_text(
        "__use_yte__: true\nexperiment: ?open('ran', 'w').write('x')\n", encoding="utf-8"
    )
    result = snakemake(bare, "--dry-run", *arguments, check=False)
    lines = [line for line in result.stdout.splitlines() if not line.startswith("Using workflow specific profile")]
    assert result.returncode != 0 and len(lines) == 1 and lines[0].startswith(expected)
    assert not (bare / "ran").exists()


def test_the_bounds_hold_without_the_package():
    source = Path(yaml_bounds.__file__).read_text(encoding="utf-8")
    assert "rlvr" not in re.sub(r'""".*?"""', "", source, flags=re.DOTALL), "the profile runs this file alone"
