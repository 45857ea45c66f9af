"""The MLflow UI on a workspace: starts MLflow's own server on this machine and waits until it is stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from orchestrator.errors import InputError
from orchestrator.tracking.client import (
    ENVIRONMENT,
    TrackingUnavailable,
    artifact_folder,
    hide_secrets,
    hide_secrets_in,
    sqlite_path,
)

HOST = "127.0.0.1"
DEFAULT_PORT = 5000
READY_S = 120.0


@dataclass(frozen=True)
class UiCommand:
    """How the server is started and where it answers."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    url: str


def ui_command(tracking_uri: str, port: int = DEFAULT_PORT) -> UiCommand:
    """MLflow's server on the store, on loopback only, without telemetry and without its job runner."""
    arguments = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri]
    arguments += ["--host", HOST, "--port", str(port), "--workers", "1"]
    folder = artifact_folder(tracking_uri)
    if folder is not None:
        arguments += ["--default-artifact-root", folder.as_uri(), "--artifacts-destination", folder.as_uri()]
    environment = ENVIRONMENT | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return UiCommand(tuple(arguments), environment, f"http://{HOST}:{port}")


def serve_ui(tracking_uri: str, port: int = DEFAULT_PORT, say: Callable[[str], None] = print) -> None:
    """Serve the UI until Ctrl-C; another port is taken where `port` is in use.

    A tracking URI that is a server already is only named. Raises InputError when there is no database yet,
    TrackingUnavailable when the server does not come up.
    """
    if tracking_uri.startswith(("http://", "https://")):
        say(f"MLflow is at {hide_secrets(tracking_uri)}")
        return
    try:
        with running_ui(tracking_uri, port) as (url, server):
            say(f"MLflow UI: {url}  (Ctrl-C ends it)")
            server.wait()
    except KeyboardInterrupt:
        say("MLflow UI ended")
        return
    raise TrackingUnavailable(f"MLflow UI: the server ended by itself with code {server.returncode}")


@contextmanager
def running_ui(tracking_uri: str, port: int = DEFAULT_PORT) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The server, ready to answer, for as long as the block runs: `with running_ui(uri) as (url, process)`."""
    path = sqlite_path(tracking_uri)
    if path is not None and not path.exists():
        raise InputError(f"{path}: no such MLflow database; `divita demo` or `divita run` makes it")
    command = ui_command(tracking_uri, free_port(port))
    with tempfile.TemporaryFile() as output, _terminated_like_ctrl_c():
        # A session of its own: Ctrl-C reaches this process alone, which then ends the server and its workers.
        server = subprocess.Popen(
            command.arguments,
            env=os.environ | command.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_ready(server, command.url, lambda: hide_secrets_in(_tail(output), tracking_uri))
            yield command.url, server
        finally:
            _end(server)


def free_port(preferred: int) -> int:
    """`preferred`, or where it is in use the next one above that is free, or any."""
    for port in (*range(preferred, min(preferred + 20, 65536)), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except (OSError, OverflowError):
                continue
            return int(probe.getsockname()[1])
    raise TrackingUnavailable(f"MLflow UI: no free port on {HOST}")


def _wait_ready(server: subprocess.Popen[bytes], url: str, read_tail: Callable[[], str]) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise TrackingUnavailable(f"MLflow UI: the server ended with code {server.returncode}:\n{read_tail()}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TrackingUnavailable(f"MLflow UI: no answer at {url} after {READY_S:.0f} s:\n{read_tail()}")


def _tail(output: IO[bytes], lines: int = 15) -> str:
    output.seek(0)
    return "\n".join(output.read().decode(errors="replace").splitlines()[-lines:])


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, by force where they linger."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
        except ProcessLookupError:
            break
        try:
            server.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
    server.wait()


@contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    """A closed terminal or a `kill` ends the server, too."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        earlier = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    except ValueError:  # not the main thread: whoever owns it decides
        earlier = {}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
