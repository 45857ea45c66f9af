"""A backbone ready to embed: weights loaded once, then clips of frames in and one vector a clip out.

On the CPU everything is float32, in batches of one fixed size (the last filled up with black) and on one thread, so
that a clip's vector has the same bits whatever else is embedded and however many workers share the machine. On a GPU
the batch follows the free memory and half precision is used where it proves good enough: last digits may differ there.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orchestrator.backbones.networks import BUILDERS
from orchestrator.backbones.preprocess import gather, normalise, resample
from orchestrator.backbones.random_weights import one_thread, seeded, settle
from orchestrator.backbones.records import BackboneEntry
from orchestrator.backbones.registry import RANDOM_SEED, ensure_weights, entry, is_random
from orchestrator.errors import TrailerError
from orchestrator.specs import BackboneSpec

CPU_BATCH = {"image": 4, "video": 1}
"""Clips a batch on the CPU. Larger ones were no faster on 2 cores, and a short last batch wastes less."""

GPU_BATCH = {"image": 512, "video": 64}
"""Clips a batch on a GPU at most, however much memory is free."""

GPU_MEMORY_SHARE = 0.5
"""Part of the free GPU memory that a batch may be expected to take; the rest is for estimates that were too low."""

SAME_ENOUGH = 0.999
"""Least cosine between half-precision and float32 vectors for half precision to be used."""

_logger = logging.getLogger(__name__)


def load_backbone(spec: BackboneSpec, device: str = "cpu") -> Backbone:
    """Builds the network and loads what `spec.weights` names; the global random state is left as it was.

    Raises InputError (unknown backbone, checkpoint that doesn't fit), MissingWeights, never falls back to random, and
    ValueError for the backbone `frames`, which has no network.
    """
    row = entry(spec.name)
    if row.kind == "frames":
        raise ValueError(f"backbone {row.name} has no network to load: its clips are stored as pixels, not embedded")
    checkpoint = ensure_weights(spec)
    with seeded(RANDOM_SEED):
        network = BUILDERS[row.builder](row, checkpoint)
    if is_random(spec):
        settle(network, row, RANDOM_SEED)
    return Backbone(spec, row, network, device)


class Backbone:
    """A frozen network with its preprocessing. `kind` is image or video, `width` the length of a vector."""

    def __init__(self, spec: BackboneSpec, row: BackboneEntry, network: nn.Module, device: str = "cpu") -> None:
        self.spec, self.row = spec, row
        self.kind, self.width = row.kind, row.width
        self.device = torch.device(device)
        # channels_last was 5 to 40% faster for images on the CPU and made no difference for clips.
        self._layout = torch.channels_last if self.kind == "image" else torch.contiguous_format
        self.network = network.eval().requires_grad_(False).to(self.device).to(memory_format=self._layout)
        self.half: torch.dtype | None = None
        self._batches: dict[int, int] = {}

    def embed(self, frames: np.ndarray, index: np.ndarray) -> np.ndarray:
        """float32 (C, D), a vector a clip.

        frames: uint8 (N, 224, 224, 3) RGB grid frames, may be read-only; only a batch at a time becomes float.
        index: int (C,) for an image backbone, (C, T) for a video backbone: rows of `frames`, -1 for a black frame. Any
        T will do: networks that take one number of frames get the clip resampled to it.
        Raises TrailerError(embed) if a vector is not finite, ValueError for arrays of another form.
        """
        index = self._check(frames, index)
        vectors = np.empty((len(index), self.width), np.float32)
        with one_thread() if self.device.type == "cpu" else nullcontext():
            if len(index) and index.shape[1] not in self._batches:
                self._batches[index.shape[1]] = self._first_batch(frames, index)
            start = 0
            while start < len(index):
                size = self._batches[index.shape[1]]
                rows = index[start : start + size]
                done = self._attempt(frames, rows, size)
                if done is None:
                    self._batches[index.shape[1]] = max(1, size // 2)
                    _logger.warning(
                        "%s: out of memory with %d clips a batch, trying %d", self.row.name, size, size // 2
                    )
                    continue
                vectors[start : start + len(rows)] = done
                start += len(rows)
        if not np.isfinite(vectors).all():
            raise TrailerError("embed", f"{self.row.name} gave vectors that are not finite numbers")
        return vectors

    def _attempt(self, frames: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray | None:
        """Vectors of one batch, or None if it did not fit into memory and a smaller one may."""
        try:
            return self._run(self._inputs(frames, rows, size), self.half)[: len(rows)].cpu().numpy()
        except RuntimeError as error:
            if size == 1 or not _out_of_memory(error):
                raise
        # Only here, after the traceback has let go of the batch's tensors, can their memory be given back.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _inputs(self, frames: np.ndarray, rows: np.ndarray, size: int) -> Tensor:
        """(B, 3, [T,] side, side) on the device; on the CPU filled up to `size` clips with black ones."""
        if self.device.type == "cpu" and len(rows) < size:
            rows = np.concatenate([rows, np.full((size - len(rows), rows.shape[1]), -1, rows.dtype)])
        clips = torch.from_numpy(gather(frames, rows)).to(self.device)
        inputs = normalise(clips, self.row.preprocessing)
        return inputs if self.kind == "video" else inputs[:, :, 0].contiguous(memory_format=self._layout)

    def _run(self, inputs: Tensor, half: torch.dtype | None) -> Tensor:
        """float32 (B, D). In half precision first if asked, again in float32 if that overflowed."""
        context: AbstractContextManager[object] = nullcontext()
        if half is not None:
            context = torch.autocast(self.device.type, dtype=half)
        with torch.inference_mode(), context:
            vectors: Tensor = self.network(inputs).float()
        if half is not None and not bool(torch.isfinite(vectors).all()):
            return self._run(inputs, None)
        if vectors.shape != (len(inputs), self.width):
            raise RuntimeError(f"{self.row.name} gave {tuple(vectors.shape)}, not ({len(inputs)}, {self.width})")
        return vectors

    def _first_batch(self, frames: np.ndarray, index: np.ndarray) -> int:
        """Clips a batch for clips of this length; on a GPU found by running some, which also settles the precision."""
        if self.device.type != "cuda":
            return CPU_BATCH[self.kind]
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        try:
            inputs = self._inputs(frames, index[:2], 2)
            self._run(inputs, None)
            clip_bytes = (torch.cuda.max_memory_allocated(self.device) - before) / len(inputs)
            if not self._batches:
                self.half = self.choose_precision(inputs, torch.float16)
            del inputs
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            return 1
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self.device)
        return batch_that_fits(free, clip_bytes, GPU_BATCH[self.kind])

    def choose_precision(self, inputs: Tensor, half: torch.dtype) -> torch.dtype | None:
        """`half` if it changes none of these clips' vectors beyond SAME_ENOUGH, else None for float32.

        Measured on the device and weights at hand, because it depends on both.
        """
        exact, rough = self._run(inputs, None), self._run(inputs, half)
        least = float(F.cosine_similarity(exact, rough).min())
        if least >= SAME_ENOUGH:
            return half
        _logger.warning("%s: half precision gives a cosine of %.4f only; float32 is used", self.row.name, least)
        return None

    def _check(self, frames: np.ndarray, index: np.ndarray) -> np.ndarray:
        """The index as (C, T): T = 1 for images, the number of frames that the network takes for videos."""
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.shape[1] != frames.shape[2] or frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 (N, S, S, 3), but got {frames.dtype} {frames.shape}")
        wanted = 2 if self.kind == "video" else 1
        if index.ndim != wanted or not np.issubdtype(index.dtype, np.integer):
            form = "(C, T)" if self.kind == "video" else "(C,)"
            raise ValueError(f"index of a {self.kind} backbone must be int {form}, but got {index.dtype} {index.shape}")
        if index.size and (index.min() < -1 or index.max() >= len(frames)):
            raise ValueError(f"index must lie in -1..{len(frames) - 1}, but spans {index.min()}..{index.max()}")
        return resample(index, self.row.preprocessing.frames) if self.kind == "video" else index[:, None]


def batch_that_fits(free_bytes: float, clip_bytes: float, most: int) -> int:
    """Clips a batch for that much free memory: a power of two, so that few shapes occur, from 1 to `most`."""
    fits = free_bytes * GPU_MEMORY_SHARE / max(clip_bytes, 1.0)
    return int(min(most, 2 ** int(np.log2(max(fits, 1.0)))))


def _out_of_memory(error: Exception) -> bool:
    """Libraries below torch report it in their own ways (cuBLAS, cuDNN: ALLOC_FAILED)."""
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(error)
