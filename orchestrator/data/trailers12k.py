"""What the authors of Trailers12k published: files, checksums, names, and how rows that came from them are known.

Six representations of every trailer and the labels, in Zenodo record 5716410. Each representation is a tar of a Zarr
v2 group with one float32 array (clips, features) a trailer; all were cut into shots of 24 frames at 24 frames a second.
Sizes are asked of the server. Source of names and MD5: the record, and `files.py` of the authors' code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ZENODO = "https://zenodo.org/record/5716410/files"

LABELS_FILE = "mtgc.csv"
"""Ids, genres and splits: a manifest without videos."""

PUBLISHED_PREFIX = "trailers12k-"
"""How the digest of a row starts whose vectors the authors published; that of other rows is of a video's bytes."""

OWN_EXPORT_PREFIX = "imported-"
"""The same for vectors that `divita trailers12k export` wrote elsewhere: imported, but not published."""


@dataclass(frozen=True)
class PublishedFile:
    """A file of the record; `backbone` is None for the labels. `name` is also the name of the Zarr group."""

    name: str
    md5: str
    backbone: str | None = None

    @property
    def file(self) -> str:
        """Its name on the server and in the download folder."""
        return f"{self.name}.tar.gz" if self.backbone else self.name

    def url(self, base: str = ZENODO) -> str:
        return f"{base.rstrip('/')}/{self.file}?download=1"

    @property
    def names(self) -> tuple[str, ...]:
        """What `--files` may call it, the backbone first."""
        if self.backbone is None:
            return (self.name, self.name.removesuffix(".csv"))
        stem = self.name.removesuffix(".zarr")
        return (self.backbone, self.name, stem, self.file, f"{stem}.tar.gz")


PUBLISHED = (
    PublishedFile(LABELS_FILE, "d730579950345b2c0f9c4a9779bd9d44"),
    PublishedFile("trailers_i_shufflenet_fpc24.zarr", "15eac938134322e8e6c611f844ef3d32", "shufflenet_2d"),
    PublishedFile("trailers_k_shufflenet_fps24_fpc24.zarr", "cbf2016ad294c50b75baaf8e25c7aaaf", "shufflenet_3d"),
    PublishedFile("trailers_i_resnet_fpc24.zarr", "ed284507adcd04d067ba48a1ceab1b3d", "resnet_2d"),
    PublishedFile("trailers_k_r2plus1d_fps24_fpc24.zarr", "90897c9508790e67aab3c3b8c69ce668", "r2plus1d_3d"),
    PublishedFile("trailers_i_swin_fpc24.zarr", "d544acb04179bc723d46c88adfa43aa0", "swin_2d"),
    PublishedFile("trailers_ik_swin_fps24_fpc24.zarr", "e4f57101c465b6426bc3d9909ba36bdb", "swin_3d"),
)


def choose_files(names: Iterable[str]) -> tuple[PublishedFile, ...]:
    """The published files of those names, all where none is given. Raises InputError with what is allowed.

    A file goes by its name, with or without `.tar.gz` and `.zarr`, or by the name of its backbone here. A text of
    several is split at commas; one that names nothing, such as an unset variable of a shell, does not mean all.
    """
    texts = [[name.strip() for name in text.split(",")] for text in names]
    wanted = [name for text in texts for name in text if name]
    known = {name: file for file in PUBLISHED for name in file.names}
    allowed = ", ".join(f"{f.backbone} ({f.file})" if f.backbone else f.file for f in PUBLISHED)
    if not all(map(any, texts)):
        raise InputError(f"--files: names nothing; leave it out for all {len(PUBLISHED)}, or name some of {allowed}")
    if unknown := [name for name in wanted if name not in known]:
        raise InputError([f"--files: {name!r} is not one of {allowed}" for name in unknown])
    chosen = {known[name] for name in wanted}
    return tuple(f for f in PUBLISHED if f in chosen or not wanted)


def is_published(digest: str) -> bool:
    """Whether a row with that digest holds vectors that the authors published."""
    return digest.startswith(PUBLISHED_PREFIX)


def vectors_digest(vectors: npt.NDArray[np.float32], prefix: str = PUBLISHED_PREFIX) -> str:
    """Where vectors (clips, width) come from and what they hold: the prefix and 32 hex digits of their SHA-256."""
    data = vectors.astype("<f4", order="C", copy=False)
    found = hashlib.sha256(f"{data.shape[0]} {data.shape[1]} ".encode())
    found.update(data.data)
    return prefix + found.hexdigest()[:32]


def size_text(count: float) -> str:
    """Bytes for people: 12.3 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"


def nearest_folder(path: Path) -> Path:
    """The path, or the nearest folder above it that is there: where free disk can be asked."""
    path = path.absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path
