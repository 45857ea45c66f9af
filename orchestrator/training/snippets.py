"""Snippets: c adjacent clips of a trailer, one at random in training, all of them in turn in evaluation.

A trailer's last snippet, or its only one when it has fewer clips than a snippet, is filled up with zero vectors (the
authors' evaluation does so; their training fails on such trailers).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from orchestrator.store.embeddings import ClipVectors


def draw_starts(counts: np.ndarray, clips: int, rng: np.random.Generator) -> np.ndarray:
    """First clip of one random snippet a trailer: int64 (n,), uniform over [0, T - c], 0 where T < c."""
    return rng.integers(0, np.maximum(counts - clips, 0), endpoint=True)


def consecutive_snippets(counts: np.ndarray, clips: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All snippets of trailers with `counts` clips, ⌈T / c⌉ each, in order.

    Returns `of` (S,), the position in `counts` of each snippet's trailer, `start` (S,), its first clip, and `first`
    (n,), the position of each trailer's first snippet; all int64.
    """
    snippets = -(-counts // clips)
    first = np.cumsum(snippets) - snippets
    of = np.repeat(np.arange(len(counts)), snippets)
    return of, (np.arange(len(of)) - first[of]) * clips, first


class SnippetSource:
    """Hands out snippets of the clip vectors of one or more streams that share their clips, on a device.

    The vectors are only ever read (they may be read-only views of a shared object store). On a GPU they are copied
    there once when they fit well (`_fits`), else each batch is gathered here and copied. Pixels stay
    uint8 until they are a batch on the device. One source serves any number of trainers.
    """

    def __init__(
        self, streams: Sequence[ClipVectors], device: str | torch.device = "cpu", *, resident: bool | None = None
    ) -> None:
        """`resident` forces (True) or forbids (False) the copy to the device; None decides by its free memory.

        Raises ValueError when the streams don't have the same trailers with the same clips.
        """
        if not streams:
            raise ValueError("at least one stream of clip vectors is needed")
        self.offsets = np.asarray(streams[0].offsets, np.int64)
        for i, stream in enumerate(streams):
            if not np.array_equal(stream.offsets, self.offsets):
                raise ValueError(f"streams fuse clip by clip, but streams 0 and {i} differ in their clip counts")
            if len(stream.vectors) != self.offsets[-1]:
                raise ValueError(f"stream {i} has {len(stream.vectors)} vectors, its offsets {self.offsets[-1]}")
        self.device = torch.device(device)
        self.counts = np.diff(self.offsets)
        self.widths = tuple(stream.vectors.shape[1] for stream in streams)
        self._arrays = [stream.vectors for stream in streams]
        if resident is None:
            resident = self.device.type == "cuda" and _fits(self._arrays, self.device)
        self._resident = [
            torch.tensor(a, dtype=torch.uint8 if a.dtype == np.uint8 else torch.float32, device=self.device)
            for a in self._arrays
            if resident
        ]

    def gather(self, trailers: np.ndarray, starts: np.ndarray, clips: int) -> list[Tensor]:
        """The snippets that begin at clip starts[i] of trailers[i]: float32 (B, c, D) for every stream."""
        # (B, c) <- (B, 1) + (c,)
        rows = (self.offsets[trailers] + starts)[:, None] + np.arange(clips)
        padding = rows >= self.offsets[trailers + 1][:, None]
        rows[padding] = 0
        if self._resident:
            index, empty = (torch.from_numpy(a.ravel()).to(self.device) for a in (rows, padding))
            batch = [vectors.index_select(0, index) for vectors in self._resident]
            if padding.any():
                batch = [x.masked_fill_(empty[:, None], 0) for x in batch]
        else:
            batch = [self._take(vectors, rows.ravel(), padding.ravel()) for vectors in self._arrays]
        # (B, c, D) <- (B × c, D)
        return [x.float().view(*rows.shape, -1) for x in batch]

    def _take(self, vectors: np.ndarray, rows: np.ndarray, padding: np.ndarray) -> Tensor:
        x = vectors.take(rows, axis=0)
        if x.dtype != np.uint8:
            x = x.astype(np.float32, copy=False)
        if padding.any():
            x[padding] = 0
        return torch.from_numpy(x).to(self.device)


def _fits(arrays: Sequence[np.ndarray], device: torch.device) -> bool:
    """At most half of what is free, and an eighth of the whole: four trials may share a GPU and look at once."""
    free, total = torch.cuda.mem_get_info(device)
    return sum(a.size * (1 if a.dtype == np.uint8 else 4) for a in arrays) <= min(free // 2, total // 8)
