"""What a backbone costs: parameters and multiply-adds a clip, counted on the network itself.

Counted by torch on its meta device, where tensors have shapes but no memory and products are not computed: convolutions
and products of matrices, attention's included. Not counted is what does about one operation an element: biases, norms,
activations, softmax, pooling, interpolation, additions. Padding is counted as it is computed (Video Swin's windows of 8
moments). These are the numbers that torchvision gives for its networks.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from orchestrator.backbones.networks import build_without_memory
from orchestrator.backbones.random_weights import seeded
from orchestrator.backbones.records import BackboneEntry
from orchestrator.backbones.registry import entry


@dataclass(frozen=True)
class Cost:
    """`parameters` without the classifier; `multiply_adds` of one clip, of which `attention` multiply two activations.

    Published counts often leave attention's products (queries · keys, shares · values) out: subtract them to compare.
    """

    parameters: int
    multiply_adds: int
    attention: int = 0


def backbone_cost(name: str, frames: int) -> Cost:
    """The cost of one clip of `frames` frames at the row's input side; Cost(0, 0) for the row `frames`.

    An image backbone sees one frame of it, a video backbone with `preprocessing.frames` that many. Takes a second at
    most and is kept for the process; needs no weights and leaves torch's generators alone. Raises InputError (unknown
    backbone).
    """
    row = entry(name)
    if row.kind == "frames":
        return Cost(0, 0)
    return _count(row.name, row.preprocessing.frames or frames if row.kind == "video" else 1)


@cache
def _count(name: str, frames: int) -> Cost:
    row = entry(name)
    with warnings.catch_warnings(), seeded(0), torch.no_grad():
        warnings.simplefilter("ignore")
        network = build_without_memory(row).eval().requires_grad_(False)
        counter = FlopCounterMode(display=False)
        with counter:
            features = network(torch.empty(_shape(row, frames), device="meta"))
    if features.shape != (1, row.width):
        raise RuntimeError(f"{name} gave {tuple(features.shape)} for {frames} frames, not (1, {row.width})")
    counts = counter.get_flop_counts()["Global"]
    return Cost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        multiply_adds=sum(counts.values()) // 2,  # torch counts a multiplication and an addition as two
        attention=sum(count for operation, count in counts.items() if _of_activations(operation)) // 2,
    )


def _shape(row: BackboneEntry, frames: int) -> tuple[int, ...]:
    side = row.preprocessing.side
    return (1, 3, frames, side, side) if row.kind == "video" else (1, 3, side, side)


def _of_activations(operation: Any) -> bool:
    """True for products of two batches of matrices; layers with weights multiply by one matrix."""
    return any(part in str(operation) for part in ("bmm", "scaled_dot_product"))
