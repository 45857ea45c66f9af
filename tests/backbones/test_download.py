from __future__ import annotations

import http.server
import socket
import threading
import time

import pytest

from orchestrator.backbones import download as room
from orchestrator.backbones.download import download, require_reachable

CONTENT = bytes(range(256)) * 100


class Publisher(http.server.BaseHTTPRequestHandler):
    """/whole sends all it promises, /short stops halfway, everything else is not there."""

    def do_GET(self) -> None:
        if self.path not in ("/whole", "/short"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/whole" else CONTENT[: len(CONTENT) // 2])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Publisher) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def whole(_path):
    return None


def test_a_file_arrives_whole(address, tmp_path):
    target = tmp_path / "new" / "folder" / "file"
    assert download(f"{address}/whole", target, whole).read_bytes() == CONTENT


@pytest.mark.parametrize(("page", "reason"), [("short", "cut short: 12800 of 25600 bytes"), ("none", "404")])
def test_what_fails_leaves_nothing_behind(address, tmp_path, page, reason):
    with pytest.raises(OSError, match=reason):
        download(f"{address}/{page}", tmp_path / "file", whole)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_keeps_what_stood_there(address, tmp_path):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(OSError, match="not what was wanted"):
        download(f"{address}/whole", target, lambda part: f"{part} is not what was wanted")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_server_that_never_answers_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(room, "CONNECT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(OSError, match=r"timed out|did not answer"):
            require_reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/file")
        assert time.monotonic() - start < 5


def test_no_name_service_fails_within_seconds():
    start = time.monotonic()
    with pytest.raises(OSError, match=r"nowhere\.invalid"):
        require_reachable("https://nowhere.invalid/file")
    assert time.monotonic() - start < 10
