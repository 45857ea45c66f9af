from __future__ import annotations

import errno
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from orchestrator.errors import StoreError
from orchestrator.store.files import FileTree, map_files

Stranger = Callable[[], AbstractContextManager[None]]


def test_what_is_written_is_read_back_wherever_it_lies(tree: FileTree) -> None:
    tree.write_bytes("a/b/c.bin", b"one")
    tree.write_bytes("a/b/c.bin", b"two")
    tree.write_bytes("a/d.bin", b"")
    assert tree.read_bytes("a/b/c.bin") == b"two"
    assert tree.size("a/b/c.bin") == 3
    with tree.open("a/b/c.bin") as file:
        file.seek(1)
        assert file.read() == b"wo"
    assert (tree.names("a"), tree.folders("a"), tree.names("a/b")) == (["d.bin"], ["b"], ["c.bin"])
    assert tree.exists("a/d.bin") and not tree.exists("a/e.bin")


def test_nothing_is_made_before_the_first_write(tree: FileTree, tmp_path: Path) -> None:
    assert tree.names() == tree.folders() == tree.names("deep/er") == []
    with pytest.raises(FileNotFoundError):
        tree.read_bytes("x")
    with pytest.raises(FileNotFoundError):
        tree.open("x")
    tree.remove("x")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tree: FileTree) -> None:
    tree.write_bytes("x", b"old")
    with pytest.raises(RuntimeError), tree.create("x") as file:
        file.write(b"new, but only ha")
        raise RuntimeError
    assert tree.read_bytes("x") == b"old"
    assert tree.names() == ["x"]
    if tree.local:
        assert os.listdir(tree.local) == ["x"]


def test_leftovers_are_not_listed_and_only_old_ones_are_removed(disk: FileTree) -> None:
    disk.write_bytes("a/data.json", b"{}")
    assert disk.local
    for name in (".data.json.1-2.tmp", ".data.json.3-4.tmp", "part.tmp", ".hidden"):
        (disk.local / "a" / name).write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(disk.local / "a" / ".data.json.1-2.tmp", (two_hours_ago, two_hours_ago))
    os.utime(disk.local / "a" / ".hidden", (two_hours_ago, two_hours_ago))
    assert disk.names("a") == ["data.json"]
    assert disk.clean("a") == 1
    assert sorted(os.listdir(disk.local / "a")) == [".data.json.3-4.tmp", ".hidden", "data.json", "part.tmp"]
    assert disk.clean("nowhere") == 0


def test_a_folder_that_is_closed_to_the_user_says_what_to_do(shared_folder: Path, stranger: Stranger) -> None:
    shared_folder.chmod(0o555)
    tree = FileTree(shared_folder)
    with stranger(), pytest.raises(StoreError, match=rf"{shared_folder}/.*: can't write: permission denied; .*--work"):
        tree.check_writable()
    with stranger(), pytest.raises(StoreError, match=rf"{shared_folder}/a/b: can't write: permission denied"):
        tree.write_bytes("a/b", b"")


@pytest.mark.parametrize(
    ("options", "message"), [("size=64k", "the disk is full; free some space"), ("ro", "on a read-only filesystem")]
)
def test_a_full_or_read_only_disk_says_what_to_do_and_keeps_what_is_there(
    tmp_path: Path, options: str, message: str
) -> None:
    if not shutil.which("unshare"):
        pytest.skip("this system lets no test mount a filesystem")
    (tmp_path / "disk").mkdir()
    script = f"""
import os
import numpy as np
from orchestrator.errors import StoreError
from orchestrator.store.embeddings import EmbeddingRow, EmbeddingStore
from orchestrator.store.files import FileTree
tree = FileTree({str(tmp_path / "disk")!r})
for write in (
    lambda: tree.write_bytes("small", b"kept"),
    lambda: tree.write_bytes("large", b"0" * 200_000),
    lambda: EmbeddingStore(tree).write_part("k", [EmbeddingRow("t1", "d", np.ones((200, 512), np.float32))]),
):
    try:
        write()
    except StoreError as error:
        print(error)
print([name for _, _, names in os.walk(tree.local) for name in names])
"""
    mount = f"mount -t tmpfs -o {options} tmpfs {tmp_path / 'disk'}"
    # A namespace of its own: the mount is gone when the process ends, and needs no rights on most systems.
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$0" -c "$1"', sys.executable, script],
        capture_output=True,
        text=True,
    )
    if "unshare" in run.stderr or "mount" in run.stderr:
        pytest.skip("this system lets no test mount a filesystem")
    *errors, left = run.stdout.splitlines()
    assert len(errors) == (2 if "size" in options else 3), run.stderr
    assert all(message in error for error in errors)
    assert left == ("['small']" if "size" in options else "[]")


def test_a_refused_write_is_explained(disk: FileTree) -> None:
    """The limit on file sizes stands in for a full disk where no filesystem can be mounted."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"place/large: can't write: the file is larger than"):
            disk.write_bytes("large", b"0" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert disk.local and os.listdir(disk.local) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_every_refusal_of_the_system_names_the_file(disk: FileTree, code: int) -> None:
    with pytest.raises(StoreError, match=r"place/x: can't write: ..."), disk.create("x"):
        raise OSError(code, os.strerror(code))


def test_a_file_in_place_of_a_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        FileTree(tmp_path / "file").write_bytes("x", b"")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        FileTree(tmp_path / "file").read_bytes("x")


def test_a_check_leaves_nothing_behind(tree: FileTree) -> None:
    tree.check_writable()
    assert tree.names() == []
    if tree.local:
        assert os.listdir(tree.local) == []


@pytest.mark.parametrize("durable", [True, False])
def test_only_a_durable_file_is_flushed_to_the_disk(
    disk: FileTree, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    flushed: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (flushed.append(handle), real(handle)))
    disk.write_bytes("a/x", b"1", durable=durable)
    assert disk.read_bytes("a/x") == b"1"
    assert len(flushed) == (2 if durable else 0), "the file, and the folder for its name"


def test_the_start_of_a_file_can_be_read_alone(tree: FileTree) -> None:
    tree.write_bytes("x", b"0123456789")
    assert (tree.read_bytes("x", 4), tree.read_bytes("x", 100)) == (b"0123", b"0123456789")


def test_free_space_is_told_before_anything_is_made(tmp_path: Path) -> None:
    free = FileTree(tmp_path / "not" / "there").free_bytes()
    assert free is not None and free > 0
    assert FileTree("memory://bucket").free_bytes() is None


def test_a_folder_that_is_removed_during_a_write_is_explained(disk: FileTree) -> None:
    with pytest.raises(StoreError, match=r"place/a/x: can't write: its folder was removed"), disk.create("a/x"):
        shutil.rmtree(disk.where("a"))


def test_a_clock_that_goes_back_removes_no_file_that_is_being_written(
    disk: FileTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with disk.create("x") as file:
        file.write(b"1")
        monkeypatch.setattr(time, "time", lambda: now - 7200)
        assert disk.clean() == 0
    assert disk.read_bytes("x") == b"1"


def test_a_tree_travels_to_another_process(tree: FileTree) -> None:
    tree.write_bytes("x", b"1")
    other = pickle.loads(pickle.dumps(tree))
    assert other.read_bytes("x") == b"1"
    assert other.where("x") == tree.where("x")


def test_a_relative_path_does_not_move_with_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = FileTree("place")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    tree.write_bytes("x", b"1")
    assert (tmp_path / "place" / "x").exists()
    assert FileTree(f"file://{tmp_path}/place").read_bytes("x") == b"1"


def test_a_subtree_is_the_same_place(tree: FileTree) -> None:
    tree.subtree("a").write_bytes("b/x", b"1")
    assert tree.read_bytes("a/b/x") == b"1"
    assert tree.subtree("a").where("b/x") == tree.where("a/b/x")


def test_an_object_store_keeps_its_options_in_every_subtree() -> None:
    tree = FileTree("s3://bucket/place?region=eu-west-1")
    assert tree.root == "bucket/place"
    assert tree.subtree("a").where("b") == "s3://bucket/place/a/b?region=eu-west-1"
    assert tree.subtree("a").root == "bucket/place/a"


def test_a_torn_file_is_renamed(tree: FileTree) -> None:
    tree.write_bytes("a/x", b"1")
    assert tree.set_aside("a/x") == "a/x.torn"
    assert tree.names("a") == ["x.torn"]
    assert tree.set_aside("a/x") is None


def test_reading_many_files_keeps_their_order() -> None:
    assert map_files(lambda i: i * i, range(100)) == [i * i for i in range(100)]
    assert map_files(str, []) == []
