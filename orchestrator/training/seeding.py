"""Random numbers that depend on seed, split and epoch alone, whatever else the process has drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(device: torch.device, seed: int, split: int, epoch: int) -> Iterator[np.random.Generator]:
    """Seeds torch's generator of the device from the three numbers, yields numpy's, and restores torch's afterwards."""
    for_numpy, for_torch = np.random.SeedSequence(seed, spawn_key=(split, epoch)).spawn(2)
    cuda = device.type == "cuda"
    index = torch.cuda.current_device() if cuda and device.index is None else device.index
    with torch.random.fork_rng([index] if cuda else []):
        # Not torch.manual_seed, which seeds every device there is.
        generator = torch.cuda.default_generators[index] if cuda else torch.default_generator
        generator.manual_seed(int(for_torch.generate_state(1, np.uint64)[0]))
        yield np.random.default_rng(for_numpy)
