from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.store.digests import VideoDigests
from orchestrator.store.files import FileTree

STAT = {"size": 10, "mtime_ns": 1_700_000_000_123_456_789}


def test_a_digest_is_known_as_long_as_the_file_is_the_same(tree: FileTree) -> None:
    cache = VideoDigests(tree)
    assert cache.lookup("a.mp4", STAT) is None
    cache.record("a.mp4", STAT, "d1")
    assert cache.lookup("a.mp4", STAT) == "d1"
    cache.save()
    again = VideoDigests(tree)
    assert again.lookup("a.mp4", STAT) == "d1"
    assert again.lookup("b.mp4", STAT) is None
    assert again.lookup("a.mp4", STAT | {"size": 11}) is None
    assert again.lookup("a.mp4", STAT | {"mtime_ns": 1_700_000_000_123_456_788}) is None
    assert again.lookup("a.mp4", {"size": 10, "etag": "x"}) is None


def test_what_was_not_saved_is_not_kept(tree: FileTree) -> None:
    VideoDigests(tree).record("a.mp4", STAT, "d1")
    assert VideoDigests(tree).lookup("a.mp4", STAT) is None


def test_two_processes_keep_what_both_found(tree: FileTree) -> None:
    one, two = VideoDigests(tree), VideoDigests(tree)
    for cache, path in ((one, "a.mp4"), (two, "b.mp4")):
        assert cache.lookup(path, STAT) is None
        cache.record(path, STAT, path)
    one.save()
    two.save()
    assert [VideoDigests(tree).lookup(p, STAT) for p in ("a.mp4", "b.mp4")] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("torn", [b'{"a.mp4": {', b"[]", b'{"a.mp4": 3, "b.mp4": {"stat": {}}}'])
def test_a_torn_cache_is_made_again(tree: FileTree, torn: bytes) -> None:
    tree.write_bytes("video_digests.json", torn)
    cache = VideoDigests(tree)
    assert cache.lookup("a.mp4", STAT) is None
    cache.record("a.mp4", STAT, "d1")
    cache.save()
    assert VideoDigests(tree).lookup("a.mp4", STAT) == "d1"


SAVE = """
import sys
from pathlib import Path
from orchestrator.store.digests import VideoDigests
from orchestrator.store.files import FileTree

(Path(sys.argv[1]) / f"{sys.argv[2]}.ready").touch()
while len([*Path(sys.argv[1]).glob("*.ready")]) < 2:
    pass
for i in range(100):
    digests = VideoDigests(FileTree(sys.argv[1]))
    digests.record(f"{sys.argv[2]}{i}.mp4", {"size": i}, "d")
    digests.save()
"""


def test_two_processes_that_save_at_once_keep_the_digests_of_both(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", SAVE, str(tmp_path), who]) for who in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    digests = VideoDigests(FileTree(tmp_path))
    assert {digests.lookup(f"{who}{i}.mp4", {"size": i}) for who in "ab" for i in range(100)} == {"d"}
