from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InputError
from orchestrator.tracking.client import TrackingUnavailable, artifact_folder, sqlite_path
from orchestrator.tracking.ui import free_port, running_ui, serve_ui, ui_command
from orchestrator.tracking.view import MlflowView

SERVE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run where it is ignored, as in the background
from orchestrator.tracking.ui import serve_ui
serve_ui(sys.argv[1], int(sys.argv[2]), lambda text: print(text, flush=True))
"""


def fetch(url: str, body: Any = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


def kill_within_a_run(server: subprocess.Popen[bytes], shown: Any, experiment: str) -> None:
    """SIGKILL as soon as a parent and a child of it are begun and not ended."""
    begun = (
        "SELECT count(*) FROM runs JOIN experiments USING (experiment_id) "
        "WHERE status = 'RUNNING' AND experiments.name = ?"
    )
    with contextlib.closing(sqlite3.connect(sqlite_path(shown.uri) or "", timeout=30)) as database:
        while database.execute(begun, (experiment,)).fetchone() != (2,):
            time.sleep(0.001)
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def test_the_command_serves_the_store_on_loopback_without_telemetry(tmp_path: Path) -> None:
    command = ui_command(f"sqlite:///{tmp_path}/mlflow.db", 5123)
    text = " ".join(command.arguments)
    assert f"--backend-store-uri sqlite:///{tmp_path}/mlflow.db" in text
    assert "--host 127.0.0.1 --port 5123" in text and command.url == "http://127.0.0.1:5123"
    assert f"--default-artifact-root {(tmp_path / 'mlartifacts').as_uri()}" in text
    assert command.environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert command.environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_another_port_is_taken_where_the_wanted_one_is_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port


def test_a_workspace_without_a_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mlflow\.db: no such MLflow database; `divita demo`"):
        serve_ui(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_a_tracking_server_is_only_named() -> None:
    said: list[str] = []
    serve_ui("https://me:secret@mlflow.example:5000", say=said.append)
    assert said == ["MLflow is at https://***@mlflow.example:5000"]


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database" * 100)
    with pytest.raises(TrackingUnavailable, match="not a database"):
        serve_ui(f"sqlite:///{tmp_path}/mlflow.db")


def test_what_a_server_says_when_it_does_not_start_carries_no_secret() -> None:
    with pytest.raises(TrackingUnavailable) as caught:
        serve_ui("nothing://me:secret@host/db")
    assert "nothing://***@host/db" in str(caught.value) and "secret" not in str(caught.value)


def test_the_ui_shows_the_runs_and_a_view_catches_up_when_the_server_returns(shown, made) -> None:
    """One real server: runs and files by HTTP; killed while it writes a run; started again, nothing is missing."""
    made.add("swin_3d")
    seen = type(shown)(shown.uri, f"{shown.experiment}-http")
    shown.sync(made)
    with running_ui(shown.uri, free_port(0)) as (url, server):
        assert b"<title>MLflow</title>" in fetch(url)
        found = json.loads(fetch(f"{url}/api/2.0/mlflow/experiments/get-by-name?experiment_name={shown.experiment}"))
        number = found["experiment"]["experiment_id"]
        runs = json.loads(fetch(f"{url}/api/2.0/mlflow/runs/search", {"experiment_ids": [number]}))["runs"]
        assert sorted(r["info"]["run_name"] for r in runs)[:3] == ["split 0", "split 1", "split 2"] and len(runs) == 4
        child = next(r["info"]["run_id"] for r in runs if r["info"]["run_name"] == "split 0")
        assert fetch(f"{url}/get-artifact?path=precision_recall.png&run_uuid={child}").startswith(b"\x89PNG")

        over_http = MlflowView(url, f"{shown.experiment}-http")
        over_http.sync(made.configs, made.records(), made.workspace.ledger.predictions)
        made.add("swin_2d")
        killer = threading.Thread(target=kill_within_a_run, args=(server, shown, over_http.experiment))
        killer.start()
        with pytest.raises(TrackingUnavailable):
            over_http.sync(made.configs, made.records(), made.workspace.ledger.predictions)
        killer.join()
        torn = [r for r in seen.runs() if "divita.written" not in r.data.tags]
        assert {r.info.status for r in torn} == {"RUNNING"} and len(torn) == 2, "a parent and a child, half written"

    # Again by the command's own way, on the same port, until Ctrl-C.
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, shown.uri, url.rsplit(":", 1)[1]], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == f"MLflow UI: {url}  (Ctrl-C ends it)\n"
        report = over_http.sync(made.configs, made.records(), made.workspace.ledger.predictions)
        assert (report.written, report.unchanged) == (4, 4)
        assert over_http.sync(made.configs, made.records(), made.workspace.ledger.predictions).written == 0
        program.send_signal(signal.SIGINT)
        assert program.stdout.readline() == "MLflow UI ended\n"
        assert program.wait(timeout=20) == 0
    with pytest.raises(OSError):
        fetch(f"{url}/health")
    shown.sync(made)
    assert seen.content(files=False) == shown.content(files=False), "no duplicate, nothing missing"
    names = {r.info.run_id for r in seen.children()}
    files = [p for p in (artifact_folder(shown.uri) or Path()).rglob("predictions.csv") if p.parts[-3] in names]
    assert len(files) == 6, "a server that keeps artifacts puts them where the UI of the workspace finds them"
