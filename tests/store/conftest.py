"""Places to store things: the local disk, memory, and a remote disk that can only move files into place."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from orchestrator.store.files import FileTree


class RemoteDisk(LocalFileSystem):
    """A real filesystem under a protocol that the store does not know, so that it must write aside and move."""

    protocol = "remotedisk"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(str(path).removeprefix("remotedisk://"))


fsspec.register_implementation("remotedisk", RemoteDisk, clobber=True)


@pytest.fixture(params=["local", "memory", "remotedisk"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {
        "local": str(tmp_path / "place"),
        "memory": f"memory://{uuid.uuid4().hex}/place",
        "remotedisk": f"remotedisk://{tmp_path}/place",
    }[request.param]


@pytest.fixture
def tree(uri: str) -> FileTree:
    return FileTree(uri)


@pytest.fixture
def disk(tmp_path: Path) -> FileTree:
    """A tree on the local disk, for tests that damage its files."""
    return FileTree(tmp_path / "place")


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike tmp_path."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def stranger() -> Callable[[], AbstractContextManager[None]]:
    """Within the block rights of files count, also when the tests run as root."""

    @contextmanager
    def block() -> Iterator[None]:
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)

    return block
