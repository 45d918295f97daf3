"""The hub's client against a real server that speaks as much of the hub's protocol as a download takes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import ROOT

REVISION = "408f70d177020686d34a56bba5952feb45aaaee4"
REPOSITORY = "Jiayi-Pan/Countdown-Tasks-3to4"
FILE = "data/train-00000-of-00001.parquet"


def parquet() -> bytes:
    rows = [{"nums": [n, 3, 5], "target": n + 8} for n in range(10, 60)]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


class Hub(BaseHTTPRequestHandler):
    """One data set with one file.

    `server.cut`: how many answers are cut off in the middle. `server.asked`: how many questions came. The client waits
    longer and longer before it asks again, so that few questions mean a quick end on any machine.
    """

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        server = self.server
        server.asked += 1
        if path == "/":
            return self.send(200, {}, b"")
        if not path.startswith("/datasets/"):
            return self.send(404, {}, b"")
        owner, name, kind, revision, *rest = path.removeprefix("/datasets/").split("/")
        if f"{owner}/{name}" != REPOSITORY:
            return self.send(404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b"")
        if revision != REVISION:
            return self.send(404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"}, b"")
        if kind != "resolve" or "/".join(rest) != FILE:
            headers = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found", "X-Repo-Commit": REVISION}
            return self.send(404, headers, b"")
        etag = hashlib.sha256(server.content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": REVISION, "Accept-Ranges": "bytes"}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        content = server.content[start:]
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
        if body:
            server.gets.append(start)
        self.send(206 if start else 200, headers, content, body)

    def send(self, status: int, headers: dict[str, str], content: bytes, body: bool = True) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and content and self.server.cut:
            self.server.cut -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        if body:
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.content, server.cut, server.gets, server.asked = parquet(), 0, [], 0
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def data(folder: Path, endpoint: str, **options) -> subprocess.CompletedProcess:
    """`rlvr data` in a process of its own, with a cache of its own."""
    config = {
        "task": "countdown",
        "train": 10,
        "sft": 0,
        "eval": 5,
        "system_prompt": None,
        "user_prompt": None,
        "options": {"source": "hub", **options},
        "with_sft": False,
        "seed": 0,
    }
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    files = [("train", "parquet"), ("eval", "parquet"), ("sft", "parquet"), ("stats", "json"), ("manifest", "json")]
    files += [("config", "json"), ("log", "txt")]
    arguments = [part for name, end in files for part in (f"--{name}", str(folder / f"{name}.{end}"))]
    return subprocess.run(
        [sys.executable, "-m", "rlvr", "data", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'workflow'}:{ROOT}",
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "cache"),
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
        },
        capture_output=True,
        text=True,
    )


def url(hub: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{hub.server_port}"


def test_a_file_is_downloaded_once(hub, tmp_path):
    done = data(tmp_path / "a", url(hub))
    assert done.returncode == 0, done.stderr
    assert pq.read_metadata(tmp_path / "a" / "train.parquet").num_rows == 10
    (tmp_path / "a" / "manifest.json").unlink()
    done = data(tmp_path / "a", "http://127.0.0.1:9")
    assert done.returncode == 0 and hub.gets == [0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"revision": "0" * 40}, "at 000000000000: the hub has no such revision; allowed: a commit, branch"),
        ({"repository": "Jiayi-Pan/Gone"}, "the hub has no such data set, or it is private"),
        ({"repository": "a/b/c"}, "allowed: the name of a data set"),
    ],
    ids=["revision", "repository", "name"],
)
def test_what_the_hub_does_not_have_is_said_in_one_line(hub, tmp_path, options, expected):
    done = data(tmp_path / "a", url(hub), **options)
    assert_refused(done, tmp_path / "a", expected)
    assert hub.asked <= 4


def test_a_file_that_is_not_in_the_repository_is_named(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "FILE", "data/other.parquet")
    done = data(tmp_path / "a", url(hub))
    assert_refused(done, tmp_path / "a", f"it has no file {'data/train-00000-of-00001.parquet'}; allowed: a commit")


def test_the_hub_out_of_reach_is_said_at_once(tmp_path):
    """At the first connection that is closed without an answer; the client itself would try for nearly a minute."""
    connections = []

    def hang_up() -> None:
        with suppress(OSError):  # once the listener is closed
            while True:
                connections.append(listener.accept()[0])
                connections[-1].close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=hang_up, daemon=True).start()
        done = data(tmp_path / "a", f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert_refused(done, tmp_path / "a", f"{REPOSITORY} at {REVISION[:12]}: the hub can't be reached")
    assert 1 <= len(connections) <= 3


def test_a_hub_that_refuses_connections_is_out_of_reach(tmp_path):
    done = data(tmp_path / "a", "http://127.0.0.1:9")
    assert_refused(done, tmp_path / "a", f"{REPOSITORY} at {REVISION[:12]}: the hub can't be reached")


def test_a_connection_lost_for_good_leaves_nothing_that_is_used_later(hub, tmp_path):
    hub.cut = 1000
    done = data(tmp_path / "a", url(hub))
    assert_refused(done, tmp_path / "a", f"{FILE} could not be downloaded (")
    assert hub.asked <= 12
    hub.cut = 0
    done = data(tmp_path / "a", url(hub))
    assert done.returncode == 0, done.stderr
    [file] = (tmp_path / "a" / "cache").rglob("snapshots/*/data/*.parquet")
    assert file.read_bytes() == hub.content


def assert_refused(done: subprocess.CompletedProcess, folder: Path, expected: str) -> None:
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("rlvr data:")]
    assert len(said) == 1 and expected in said[0], done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "manifest.json").exists() and not (folder / "train.parquet").exists()
