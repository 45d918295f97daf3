"""A proxy, a login page or a broken hub that answers in the hub's place: one line says what came from where."""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants

from rlvr import hub_models
from rlvr.errors import RlvrError
from rlvr_plugins.tasks import hub

MODEL, DATA, COMMIT = "acme/Tiny", "acme/rows", "a1" * 20
PAGE = b"<!DOCTYPE html><html><title>\x1b[2JSign in</title>" + b" " * 300 + b"</html>"
FILES = {"config.json": b'{"model_type": "qwen2"}', "tokenizer_config.json": b"{}", "model.safetensors": b"x" * 100}


class Answers(BaseHTTPRequestHandler):
    """`server.says`: kind of question (api, head, get) to status, type and body in the hub's place."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer("head")

    def do_GET(self) -> None:
        self.answer("get")

    def answer(self, kind: str) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        kind = "api" if self.path.startswith("/api/") else kind
        self.server.asked.append(self.path)
        if self.path != "/" and kind in self.server.says:
            return self.send(*self.server.says[kind])
        if kind == "api":
            siblings = [{"rfilename": file, "size": len(content)} for file, content in FILES.items()]
            told = {"id": MODEL, "sha": COMMIT, "siblings": siblings}
            return self.send(200, "application/json", json.dumps(told).encode())
        content = FILES.get(name, b"{}")
        self.send(200, "text/plain", content, {"ETag": hashlib.sha256(content).hexdigest(), "X-Repo-Commit": COMMIT})

    def send(self, status: int, kind: str, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *message: object) -> None:
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.says, server.asked = {}, []
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    settings = {
        "ENDPOINT": here,
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_TOKEN_PATH": str(tmp_path / "token"),
        "HUGGINGFACE_CO_URL_TEMPLATE": here + "/{repo_id}/resolve/{revision}/{filename}",
    }
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.here = here
    yield server
    server.shutdown()
    server.server_close()


def model(folder: Path) -> object:
    return hub_models.fetch(MODEL, COMMIT, folder / "weights")


def data(folder: Path) -> object:
    return hub.download(DATA, "data/train.parquet", COMMIT)


def commit(folder: Path) -> object:
    return hub.commit_of("base.revision", "model", MODEL, "main")


ASKING = {"model": model, "data": data, "commit": commit}
HTML = (200, "text/html; charset=utf-8", PAGE)
EVERY = ("api", "head", "get")
FOREIGN = "answers, but not as the hub does; is it the page of a proxy or of a login? ("
CASES = {
    "a login page for all": (dict.fromkeys(EVERY, HTML), FOREIGN, "200, text/html"),
    "a login page for files": (dict.fromkeys(("head", "get"), HTML), FOREIGN, "200, text/html"),
    "a login page for what files hold": ({"get": HTML}, FOREIGN, "200, text/html"),
    "404 as a page": (dict.fromkeys(EVERY, (404, "text/html", PAGE)), FOREIGN, "404, text/html"),
    "407 as a page": (dict.fromkeys(EVERY, (407, "text/html", PAGE)), FOREIGN, "407, text/html"),
    "511": (
        dict.fromkeys(EVERY, (511, "text/html", PAGE)),
        "the hub answers 511; run again to go on (",
        "511, text/html",
    ),
    "503": ({"api": (503, "text/html", PAGE)}, "the hub answers 503; run again to go on (", "503, text/html"),
    "JSON cut off": ({"api": (200, "application/json", b'{"id": "acme/Ti')}, FOREIGN, "200, application/json"),
    "a list": ({"api": (200, "application/json", b"[]")}, FOREIGN, "200, application/json"),
    "an error as JSON": ({"api": (200, "application/json", b'{"error": "down"}')}, FOREIGN, "200, application/json"),
    "null": ({"api": (200, "application/json", b"null")}, FOREIGN, "200, application/json"),
    "a type with control characters": (
        dict.fromkeys(EVERY, (200, "text/html\x1b[2J", PAGE)),
        FOREIGN,
        "200, text/html",
    ),
}
UNASKED = {
    "data": ("503", "JSON cut off", "a list", "an error as JSON", "null"),
    "commit": [c for c in CASES if "files" in c],
}


@pytest.mark.parametrize(
    ("asked", "case"), [(asked, case) for asked in ASKING for case in CASES if case not in UNASKED.get(asked, ())]
)
def test_what_answers_instead_of_the_hub_is_named(server, tmp_path, asked, case):
    server.says, said, came = CASES[case]
    with pytest.raises((RlvrError, hub.HubError)) as raised:
        ASKING[asked](tmp_path)
    line = str(raised.value)
    assert said in line and f"({server.here}/" in line and came in line
    assert line.isprintable() and len(line) < 400
    server.says = {}
    if asked != "data":
        return
    assert data(tmp_path).read_bytes() == b"{}", "what came instead is not used later"


def test_neither_a_password_nor_a_token_in_an_address_is_printed(server, tmp_path, monkeypatch):
    server.says = dict.fromkeys(EVERY, HTML)
    monkeypatch.setattr(constants, "ENDPOINT", server.here.replace("http://", "http://name:secret@"))
    with pytest.raises(hub.HubError) as raised:
        commit(tmp_path)
    assert "secret" not in str(raised.value) and server.here in str(raised.value)
    assert "secret" not in hub._answer(f"{constants.ENDPOINT}/file?token=secret").said
