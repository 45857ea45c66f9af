from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from pathlib import Path

import fsspec
import pytest
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from orchestrator.errors import TrailerError
from orchestrator.video.files import local_copy, local_path, video_digest, video_stat


def test_digest_is_of_the_bytes_alone(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b.mkv").write_bytes(b"x" * 3_000_000)
    digest = video_digest(str(tmp_path / "a.mp4"))
    assert digest == video_digest(str(tmp_path / "b.mkv")) == video_digest((tmp_path / "a.mp4").as_uri())
    assert digest == hashlib.blake2b(b"x" * 3_000_000, digest_size=16).hexdigest()
    (tmp_path / "b.mkv").write_bytes(b"x" * 2_999_999 + b"y")
    assert digest != video_digest(str(tmp_path / "b.mkv"))


def test_a_remote_file_has_the_digest_of_its_local_copy(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/d/a.mp4", b"some bytes")
    (tmp_path / "a.mp4").write_bytes(b"some bytes")
    assert video_digest("memory://d/a.mp4") == video_digest(str(tmp_path / "a.mp4"))
    assert video_stat("memory://d/a.mp4")["size"] == 10


def test_stat_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"1234")
    before = video_stat(str(path))
    assert before == {"size": 4, "mtime_ns": path.stat().st_mtime_ns}
    os.utime(path, ns=(1, 1))
    assert video_stat(str(path)) == {"size": 4, "mtime_ns": 1}


@pytest.mark.parametrize("read", [video_digest, video_stat])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nowhere/a.mp4", "there is no such file: /nowhere/a.mp4"),
        ("memory://nowhere/a.mp4", "there is no such file: memory://nowhere/a.mp4"),
        ("nosuchstore://bucket/a.mp4", "the file can't be read: ValueError: Protocol not known: nosuchstore"),
    ],
)
def test_what_cannot_be_read_says_why(read, path: str, reason: str) -> None:
    with pytest.raises(TrailerError, match=reason) as caught:
        read(path)
    assert caught.value.stage == "read"


def test_a_directory_or_a_pipe_has_no_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TrailerError, match="read: this is a directory"):
        video_digest(str(tmp_path))
    with pytest.raises(TrailerError, match="read: this is a pipe"):
        video_digest(str(tmp_path / "pipe"))


def test_a_file_that_this_user_may_not_read_says_so() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "secret.mp4")
        path.write_bytes(b"secret")
        path.chmod(0)
        os.chmod(folder, 0o755)
        root = os.geteuid() == 0
        try:
            if root:  # root may read everything, so stand aside for a moment
                os.seteuid(65534)
            with pytest.raises(TrailerError, match="read: this user may not read the file"):
                video_digest(str(path))
        finally:
            if root:
                os.seteuid(0)


@pytest.mark.parametrize(
    ("path", "local"),
    [
        ("/a/b c.mp4", "/a/b c.mp4"),
        ("file:///a/b%20c.mp4", "/a/b c.mp4"),
        ("s3://bucket/a.mp4", None),
        ("https://example.org/a.mp4", None),
        ("/odd:name/x://y.mp4", "/odd:name/x:/y.mp4"),
    ],
)
def test_only_uris_of_other_places_are_remote(path: str, local: str | None) -> None:
    assert local_path(path) == local


def test_a_local_file_is_used_where_it_lies(tmp_path: Path) -> None:
    with local_copy(str(tmp_path / "a.mp4"), stall_s=1) as path:
        assert path == str(tmp_path / "a.mp4")


def test_a_remote_file_over_the_limit_is_refused_and_leaves_no_copy(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fsspec.filesystem("memory").pipe_file("/d/big.mp4", bytes(3_000_000))
    with (
        pytest.raises(TrailerError, match=r"read: the file has more than 0\.002 GB"),
        local_copy("memory://d/big.mp4", stall_s=5, max_bytes=2_000_000),
    ):
        pass
    assert not list(tmp_path.iterdir())


class DeadServer(AbstractFileSystem):
    """A store that takes the connection and never sends a byte."""

    protocol = "deadserver"
    closed = threading.Event()

    def _open(self, path, mode="rb", **options):
        return DeadFile(self, path, size=10_000)


class DeadFile(AbstractBufferedFile):
    def _fetch_range(self, start, end):
        DeadServer.closed.wait(60)
        return b""


def test_a_server_that_stops_sending_is_given_up() -> None:
    fsspec.register_implementation("deadserver", DeadServer, clobber=True)
    try:
        with (
            pytest.raises(TrailerError, match=r"read: no byte came from deadserver://a\.mp4 for 0\.2 s"),
            local_copy("deadserver://a.mp4", stall_s=0.2),
        ):
            pass
    finally:
        DeadServer.closed.set()
