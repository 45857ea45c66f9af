"""A publisher on loopback that can drop connections, ignore ranges, lie about sizes and send wrong bytes."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest


@dataclass
class Publisher:
    """`files` by name. `faults` by name are used up one an answer; probes for the size (bytes=0-0) cost none."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    busy: bool = False
    """True where probes, too, meet faults."""

    @property
    def fetched(self) -> list[tuple[str, str | None]]:
        return [(name, span) for name, span in self.asked if span != "bytes=0-0"]


def _handler(publisher: Publisher) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, span = urlsplit(self.path).path.strip("/"), self.headers.get("Range")
            publisher.asked.append((name, span))
            if name.startswith("moved/"):
                self.send_response(302)
                self.send_header("Location", self.path.replace("/moved", ""))
                self.end_headers()
                return
            data = publisher.files.get(name)
            faults = publisher.faults.get(name, [])
            fault = faults.pop(0) if faults and (span != "bytes=0-0" or publisher.busy) else ""
            if data is None or fault.isdigit():
                self.send_error(int(fault or 404))
                return
            if fault == "wrong bytes":
                data = bytes(len(data))
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", span or "")
            start = int(match[1]) if match and fault != "ignore range" else 0
            if start and start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.end_headers()
                return
            stop = int(match[2]) + 1 if match and match[2] else len(data)
            body = data[start:stop]
            self.send_response(206 if match and fault != "ignore range" else 200)
            if match and fault != "ignore range":
                shift = 1 if fault == "other range" else 0
                self.send_header("Content-Range", f"bytes {start + shift}-{stop - 1}/{len(data)}")
            if fault != "no length":
                self.send_header("Content-Length", str(len(body) + (10 if fault == "too long a length" else 0)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if fault == "drop" else body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(publisher)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        publisher.url = f"http://127.0.0.1:{server.server_port}"
        yield publisher
        server.shutdown()
