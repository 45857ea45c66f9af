"""Tars become groups whole or not at all, and never reach outside their folder."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from orchestrator.data import unpack
from orchestrator.data.unpack import unpack_group
from orchestrator.errors import InputError, StoreError
from orchestrator.progress import Progress


def tar_of(archive: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return archive


@pytest.mark.parametrize("prefix", ["g.zarr/", "./", "deep/er/"])
def test_the_group_is_found_wherever_the_tar_keeps_it(tmp_path: Path, prefix: str) -> None:
    archive = tar_of(tmp_path / "g.zarr.tar.gz", {f"{prefix}.zgroup": b"{}", f"{prefix}tt1/0.0": b"data"})
    unpack_group(archive, tmp_path / "g.zarr", Progress())
    assert (tmp_path / "g.zarr" / "tt1" / "0.0").read_bytes() == b"data"
    assert sorted(os.listdir(tmp_path)) == ["g.zarr", "g.zarr.tar.gz"]


@pytest.mark.parametrize(
    ("files", "message"),
    [({"readme": b""}, "holds no Zarr v2 group"), ({"../evil": b"", ".zgroup": b""}, "can't be unpacked: .*outside")],
)
def test_a_tar_that_is_no_group_leaves_nothing(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    archive = tar_of(folder / "g.zarr.tar.gz", files)
    with pytest.raises(InputError, match=message):
        unpack_group(archive, folder / "g.zarr", Progress())
    assert os.listdir(folder) == ["g.zarr.tar.gz"] and os.listdir(tmp_path) == ["inner"]


def test_a_damaged_tar_is_told(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "g.zarr.tar.gz", {".zgroup": b"{}", "tt1/0.0": os.urandom(100_000)})
    archive.write_bytes(archive.read_bytes()[:50_000])
    with pytest.raises(InputError, match=r"can't be unpacked: .*`divita trailers12k download` checks it"):
        unpack_group(archive, tmp_path / "g.zarr", Progress())
    assert os.listdir(tmp_path) == ["g.zarr.tar.gz"]


def test_what_does_not_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tar_of(tmp_path / "g.zarr.tar.gz", {".zgroup": b"{}"})
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match=r"unpacking takes about .* and 10 bytes is free"):
        unpack_group(archive, tmp_path / "g.zarr", Progress())
    assert os.listdir(tmp_path) == ["g.zarr.tar.gz"]


def test_a_tar_that_unpacks_to_far_more_than_it_is_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {".zgroup": b"{}", "tt1/0.0": bytes(100_000), "tt1/0.1": bytes(400_000)}
    archive = tar_of(tmp_path / "g.zarr.tar.gz", files)
    unpack_group(archive, tmp_path / "first.zarr", Progress())  # so little harms nobody
    monkeypatch.setattr(unpack, "ALLOWANCE", 300_000)
    with pytest.raises(
        InputError, match=r"unpacks to more than \d+\.\d kB, far more than .*`divita trailers12k download"
    ):
        unpack_group(archive, tmp_path / "g.zarr", Progress())
    assert sorted(os.listdir(tmp_path)) == ["first.zarr", "g.zarr.tar.gz"]


def test_unpacking_stops_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tar_of(tmp_path / "g.zarr.tar.gz", {".zgroup": b"{}", "tt1/0.0": bytes(1_000_000), "tt1/0.1": b"x"})
    asked: list[Path] = []

    def usage(path: Path) -> object:
        asked.append(path)
        return real(path)._replace(free=unpack.MARGIN + 900_000)

    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", usage)
    message = r"free disk: 2 bytes are unpacked, 1\.0 MB come next and 64\.9 MB is free, of which 64\.0 MB are left"
    with pytest.raises(StoreError, match=message):
        unpack_group(archive, tmp_path / "g.zarr", Progress())
    assert os.listdir(tmp_path) == ["g.zarr.tar.gz"] and len(asked) == 3
