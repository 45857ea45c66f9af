from __future__ import annotations

import pytest

from orchestrator.errors import InputError
from orchestrator.store.files import FileTree
from orchestrator.store.filesystems import open_filesystem


def test_an_address_that_nothing_opens_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"nosuch://x: can't open this kind of address"):
        FileTree("nosuch://x")


def test_a_path_is_opened_without_a_driver_and_an_address_with_one() -> None:
    assert open_filesystem("place/deep") == (None, "place/deep", "file")
    filesystem, root, protocol = open_filesystem("memory://bucket/place")
    assert (filesystem.protocol, root, protocol) == ("memory", "/bucket/place", "memory")


def test_an_address_with_options_is_opened_by_pyarrow() -> None:
    filesystem, root, _ = open_filesystem("s3://bucket/place?region=eu-west-1")
    assert (type(filesystem).__name__, root) == ("ArrowFSWrapper", "bucket/place")
