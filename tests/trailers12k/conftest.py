"""A small record as the authors publish it: labels, and Zarr v2 groups of the right names and widths."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import zarr
from numcodecs import Blosc

from orchestrator.backbones.registry import entry
from orchestrator.data.trailers12k import PUBLISHED

GENRES = ["action", "adventure", "comedy", "crime", "drama", "fantasy", "horror", "romance", "sci-fi", "thriller"]
MIDS = tuple(f"tt{i:07d}" for i in range(20))


class Record:
    """A folder with published files of 20 trailers of 3 to 9 clips; `vectors` by backbone and trailer."""

    def __init__(self, folder: Path, made: Path) -> None:
        self.folder, self._made = folder, made
        self.vectors: dict[str, dict[str, np.ndarray]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            ",".join([mid, *(str((i + g) % 2) for g in range(10)), *(str(_part(i, s)) for s in range(3))])
            for i, mid in enumerate(MIDS)
        ]
        self.labels.write_text("\n".join([",".join(["mid", *GENRES, "split0", "split1", "split2"]), *rows]) + "\n")

    @property
    def labels(self) -> Path:
        return self.folder / "mtgc.csv"

    def group(self, backbone: str) -> Path:
        return self.folder / next(f.name for f in PUBLISHED if f.backbone == backbone)

    def add(self, backbone: str) -> Path:
        """A group of two chunks down and two across, as zarr-python 2 chooses for such arrays; each is made once."""
        width, seed = entry(backbone).width, sum(map(ord, backbone))
        self.vectors[backbone] = {
            mid: np.random.default_rng((seed, i)).standard_normal((3 + i % 7, width)).astype(np.float32)
            for i, mid in enumerate(MIDS)
        }
        if not (self._made / backbone).exists():
            group = zarr.open_group(str(self._made / backbone), mode="w", zarr_format=2)
            group.attrs["num_features"] = width
            for mid, values in self.vectors[backbone].items():
                self.put(group, mid, values)
        return Path(shutil.copytree(self._made / backbone, self.group(backbone)))

    def put(self, group: zarr.Group, mid: str, values: np.ndarray) -> None:
        chunks = (-(-len(values) // 2), -(-values.shape[1] // 2)) if values.ndim == 2 and len(values) else "auto"
        codec = Blosc("lz4", 5, Blosc.SHUFFLE)
        group.create_array(mid, data=values, chunks=chunks, compressors=codec, overwrite=True)

    def change(self, backbone: str, mid: str, values: np.ndarray | None) -> None:
        """Another array in the place of one, or none."""
        group = zarr.open_group(str(self.group(backbone)), mode="a", zarr_format=2)
        if values is None:
            del group[mid]
        else:
            self.put(group, mid, values)

    def pack(self, backbone: str, suffix: str = ".zarr.tar.gz") -> Path:
        """The group as the tar that is published, and no longer as a folder."""
        folder = self.group(backbone)
        archive = folder.with_name(folder.name.removesuffix(".zarr") + suffix)
        with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
            tar.add(folder, folder.name)
        shutil.rmtree(folder)
        return archive


def _part(trailer: int, split: int) -> int:
    place = (trailer + 2 * split) % 5
    return 2 if place in (0, 1) else int(place == 2)


@pytest.fixture(scope="session")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("groups")


@pytest.fixture
def record(tmp_path: Path, groups: Path) -> Callable[[Sequence[str]], Record]:
    """Makes a record with the groups of some backbones."""

    def make(backbones: Sequence[str], name: str = "trailers12k") -> Record:
        made = Record(tmp_path / name, groups)
        for backbone in backbones:
            made.add(backbone)
        return made

    return make
