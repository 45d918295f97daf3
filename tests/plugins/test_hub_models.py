"""Base models from the hub: the real client against a server that speaks as much of the hub's protocol as it takes."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub
import pytest
import test_hub
import yaml

from conftest import MICRO
from rlvr import config, slices
from rlvr.errors import RlvrError
from rlvr.stages import base

MODEL = "acme/Tiny-Instruct"
REVISION = "7ae557604adf67be50417f59c2c2f167def9a775"
SAID = f"base: {MODEL} at {REVISION[:12]}"


class ModelHub(test_hub.Hub):
    """One model. `server.refuses`: status and error code of every file; `server.sizes`: replace the true ones."""

    def answer(self, body: bool) -> None:
        path, server = self.path.partition("?")[0], self.server
        if path == "/":
            return self.send(200, {}, b"")
        if not path.removeprefix("/api/models").startswith(f"/{MODEL}/"):
            return self.send(404, {"X-Error-Code": "RepoNotFound"}, b"")
        kind, revision, *rest = path.partition(f"/{MODEL}/")[2].split("/")
        if revision != REVISION:
            return self.send(404, {"X-Error-Code": "RevisionNotFound"}, b"")
        if kind == "revision":
            return self.send(200, {}, json.dumps(self.listing()).encode(), body)
        if server.refuses:
            status, code = server.refuses
            return self.send(status, {"X-Error-Code": code} if code else {}, b"")
        name = "/".join(rest)
        if name not in server.files:
            return self.send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": REVISION}, b"")
        content, digest = server.files[name], hashlib.sha256(server.files[name]).hexdigest()
        server.fetched += [name] if body else []
        if name in server.damaged:
            content = bytes([content[0] ^ 1]) + content[1:]
        self.send(200, {"ETag": f'"{digest}"', "X-Repo-Commit": REVISION}, content, body)

    def listing(self) -> dict:
        sizes = {name: len(content) for name, content in self.server.files.items()} | self.server.sizes
        siblings = [{"rfilename": name, "size": size, "blobId": "0" * 40} for name, size in sizes.items()]
        return {"id": MODEL, "sha": REVISION, "siblings": siblings}


@pytest.fixture
def hub(made, tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), ModelHub)
    server.files = {file.name: file.read_bytes() for file in made.base.iterdir()}
    server.cut, server.refuses, server.sizes, server.damaged, server.fetched = 0, None, {}, set(), []
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    settings = {
        "ENDPOINT": test_hub.url(server),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_TOKEN_PATH": str(tmp_path / "token"),
        "HUGGINGFACE_CO_URL_TEMPLATE": f"http://127.0.0.1:{server.server_port}"
        + "/{repo_id}/resolve/{revision}/{filename}",
    }
    for name, value in settings.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield server
    server.shutdown()
    server.server_close()


def fetch(folder: Path, model: str = MODEL, revision: str | None = REVISION) -> Path:
    file = folder / "experiment.yaml"
    named = {"model": model, **({"revision": revision} if revision else {})}
    file.write_text(yaml.safe_dump({**MICRO, "base": named}))
    weights = folder / "model" / "base" / "weights"
    base.run(slices.of(config.load([file]))["base"], data=[], weights=weights)
    return weights


def refused(folder: Path, **named: str | None) -> str:
    with pytest.raises(RlvrError) as raised:
        fetch(folder, **named)
    said = str(raised.value)
    assert "\n" not in said and said.startswith("base: ")
    assert not list((folder / "model").rglob("*.*")), "something half written"
    return said


def test_a_model_is_fetched_once_and_only_what_is_read(hub, made, tmp_path):
    hub.files |= {"pytorch_model.bin": b"pickle", "original/params.json": b"{}", "consolidated.safetensors": b"no"}
    weights = fetch(tmp_path)
    assert {file.name for file in weights.iterdir()} == {file.name for file in made.base.iterdir()}
    assert all((weights / file.name).read_bytes() == file.read_bytes() for file in made.base.iterdir())
    assert sorted(hub.fetched) == sorted({file.name for file in made.base.iterdir()})
    shutil.rmtree(weights)
    hub.refuses = (503, "")
    assert (fetch(tmp_path) / "model.safetensors").is_file(), "from the cache"


@pytest.mark.parametrize(
    ("refuses", "token", "expected"),
    [
        ((401, "GatedRepo"), "", "it is gated, and no token is set; accept its terms at http://127.0.0.1"),
        ((403, "GatedRepo"), "hf_x", "it is gated, and this account has no access to it yet; accept its terms at"),
        ((403, ""), "hf_x", "the hub refuses the token (403); give `hf auth login`"),
        ((410, ""), "", "the hub answers 410; run again to go on"),
    ],
    ids=["no token", "no access", "forbidden", "out of order"],
)
def test_a_model_that_may_not_be_read_is_said_with_what_to_do(hub, tmp_path, refuses, token, expected):
    hub.refuses = refuses
    if token:
        (tmp_path / "token").write_text(token)
    assert f"{SAID}: {expected}" in refused(tmp_path)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"model": "acme/Gone"}, "base: acme/Gone at 7ae557604adf: the hub has no such model, or it is private"),
        ({"revision": "0" * 40}, f"base: {MODEL} at 000000000000: the hub has no such revision; allowed: a commit"),
        ({"model": "a/b/c"}, "allowed: OWNER/NAME"),
    ],
    ids=["model", "revision", "name"],
)
def test_what_the_hub_does_not_have_is_said(hub, tmp_path, named, expected):
    assert expected in refused(tmp_path, **named)


def test_a_hub_out_of_reach_is_said(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert f"{SAID}: the hub can't be reached" in refused(tmp_path)


def changed(content: bytes, **values: object) -> bytes:
    return json.dumps({**json.loads(content), **values}).encode()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda files: {
                "config.json": changed(files["config.json"], model_type="own", auto_map={"AutoConfig": "x.Y"})
            },
            "needs code from its own repository (auto_map in config.json), which is never run",
        ),
        (
            lambda files: {"config.json": changed(files["config.json"], quantization_config={"quant_method": "fp8"})},
            "is stored quantised (fp8)",
        ),
        (
            lambda files: {
                "tokenizer.json": None,
                "tokenizer_config.json": b'{"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["x.Y", null]}}',
            },
            "its tokenizer needs code from its own repository (auto_map in tokenizer_config.json)",
        ),
        (lambda files: {"chat_template.jinja": None}, "has no chat template (chat_template in tokenizer_config.json)"),
        (
            lambda files: {"model.safetensors": None, "pytorch_model.bin": b"pickle"},
            "has no *.safetensors file, only pytorch_model.bin; other formats may hold code",
        ),
        (
            lambda files: {"config.json": None, "adapter_config.json": b"{}", "adapter_model.safetensors": b""},
            "is an adapter; allowed: a whole model",
        ),
    ],
    ids=["code", "quantised", "code of the tokenizer", "no template", "pickle", "adapter"],
)
def test_a_model_that_can_not_be_used_is_refused_before_its_weights_are_fetched(hub, tmp_path, change, expected):
    for name, content in change(hub.files).items():
        hub.files[name] = content
        if content is None:
            del hub.files[name]
    assert f"{SAID} {expected}" in refused(tmp_path) or f"{SAID}: {expected}" in refused(tmp_path)
    assert "model.safetensors" not in hub.fetched


def test_a_model_larger_than_the_disk_is_refused_before_its_weights_are_fetched(hub, tmp_path):
    hub.sizes["model.safetensors"] = 10**15
    assert f"{SAID} needs 1862645." in refused(tmp_path)
    assert "model.safetensors" not in hub.fetched


def test_a_file_with_another_digest_than_the_hub_says_is_refused(hub, tmp_path):
    hub.damaged.add("model.safetensors")
    said = refused(tmp_path)
    assert f"base: {MODEL}: model.safetensors is damaged: its digest is not the hub's; delete {tmp_path}" in said
    Path(said.partition("delete ")[2].partition(" and run")[0]).unlink()
    hub.damaged.clear()
    assert (fetch(tmp_path) / "model.safetensors").is_file()


def test_a_connection_that_breaks_leaves_nothing(hub, tmp_path, monkeypatch):
    hub.cut = 10_000
    assert "run again to go on" in refused(tmp_path)
    hub.cut = 0
    assert (fetch(tmp_path) / "model.safetensors").is_file()


@pytest.mark.parametrize("kept", [4, 200, -1], ids=["in the length", "in the header", "in the weights"])
def test_a_local_model_that_is_cut_off_is_refused(made, tmp_path, kept):
    source = Path(shutil.copytree(made.base, tmp_path / "source"))
    file = source / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert f"{source}: model.safetensors is cut off or damaged (" in refused(tmp_path, model=str(source), revision=None)


def test_a_local_model_without_one_of_its_shards_is_refused(made, tmp_path):
    source = Path(shutil.copytree(made.base, tmp_path / "source"))
    names = {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    said = refused(tmp_path, model=str(source), revision=None)
    assert "model-00002-of-00002.safetensors is missing, which model.safetensors.index.json names" in said


def test_a_copy_that_does_not_fit_is_refused(made, tmp_path):
    source = Path(shutil.copytree(made.base, tmp_path / "source"))
    size = shutil.disk_usage(tmp_path).free + 2**30
    header = json.dumps({"x": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    with (source / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    assert f"base: the copy of {source} needs " in refused(tmp_path, model=str(source), revision=None)
