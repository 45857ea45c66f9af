from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import InputError, StoreError
from orchestrator.store.embeddings import EmbeddingRow
from orchestrator.store.rates import Work
from orchestrator.store.workspace import Workspace


def test_opening_a_workspace_makes_nothing(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "space")
    assert space.embeddings.keys() == space.shots.keys() == space.sweeps.names() == space.failures.load() == []
    assert space.ledger.keys() == frozenset() and space.rates.load() == {}
    assert not (tmp_path / "space").exists()


def test_everything_has_its_place(uri: str) -> None:
    space = Workspace(uri)
    space.check_writable()
    space.embeddings.write_part("key", [EmbeddingRow("t1", "d", np.ones((2, 4), np.float32))])
    space.rates.record({"decode": Work(1.0, 2)})
    space.digests.record("a.mp4", {"size": 1}, "d")
    space.digests.save()
    again = pickle.loads(pickle.dumps(space))
    assert again.embeddings.digests("key") == {"t1": {"d"}}
    assert again.digests.lookup("a.mp4", {"size": 1}) == "d"
    assert again.root.names() == ["rates.json", "video_digests.json", "workspace.json"]
    assert again.root.folders() == ["embeddings"]


def test_a_relative_workspace_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space = Workspace("space")
    assert space.uri == str(tmp_path / "space")
    assert space.local == tmp_path / "space"
    assert space.mlflow_uri == f"sqlite:///{tmp_path}/space/mlflow.db"
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert pickle.loads(pickle.dumps(space)).uri == space.uri
    space.check_writable()
    assert (tmp_path / "space" / "workspace.json").exists()


def test_a_remote_workspace_needs_a_tracking_server() -> None:
    space = Workspace("memory://bucket/space")
    with pytest.raises(InputError, match=r"memory://bucket/space is not on this machine .* give --tracking-uri"):
        _ = space.mlflow_uri
    with pytest.raises(InputError, match="needs a local folder"):
        _ = space.local


def test_a_workspace_of_another_layout_is_refused(uri: str) -> None:
    space = Workspace(uri)
    space.check_writable()
    space.root.write_bytes("workspace.json", json.dumps({"format": 3}).encode())
    with pytest.raises(StoreError, match=r"workspace\.json: format: 3 is not 2"):
        Workspace(uri)


def test_a_folder_with_other_things_in_it_may_become_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    Workspace(tmp_path).check_writable()
    Workspace(tmp_path).check_writable()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_closed_workspace_is_found_out_before_work_is_done(
    shared_folder: Path, stranger: Callable[[], AbstractContextManager[None]]
) -> None:
    Workspace(shared_folder).check_writable()
    shared_folder.chmod(0o555)
    with stranger(), pytest.raises(StoreError, match=rf"{shared_folder}.*: can't write: permission denied"):
        Workspace(shared_folder).check_writable()


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        Workspace(tmp_path / "file")


def test_old_leftovers_are_removed(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    space.embeddings.write_spec("key", {})
    space.check_writable()
    names = [
        "embeddings/key/.part-1.parquet.7-ab.tmp",
        ".rates.json.7-ab.tmp",
        "ledger/.k.npz.7-ab.tmp",
        "ledger/failed/.k.json.7-ab.tmp",
        "ledger/pruned/s0/.k.json.7-ab.tmp",
        "checkpoints/.c.ckpt.7-ab.tmp",
        "sweeps/demo/.manifest-0123.csv.7-ab.tmp",
        "sweeps/demo/searches/heads/s0/.000001-c.json.7-ab.tmp",
        "checkpoints/c.ckpt.torn",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - 7200,) * 2)
    (tmp_path / "mlflow.tmp").write_text("not ours")
    os.utime(tmp_path / "mlflow.tmp", (time.time() - 7200,) * 2)
    space.check_writable()
    assert not any((tmp_path / name).exists() for name in names)
    assert (tmp_path / "mlflow.tmp").exists()


def test_planning_with_a_workspace_loads_nothing_heavy(tmp_path: Path) -> None:
    script = """
import sys
from orchestrator.store.workspace import Workspace
Workspace(sys.argv[1]).check_writable()
print([name for name in ("torch", "ray", "mlflow", "pandas", "decord", "av") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
