"""What a head costs, in parameters and multiply-adds, counted by torch on tensors without content."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from orchestrator.heads.registry import assemble, count_parameters
from orchestrator.specs import Config


@lru_cache(maxsize=256)
def head_multiply_adds(config: Config, widths: tuple[int, ...], genres: int) -> int:
    """Multiply-adds of one snippet of `clips_per_snippet` clips through the head, `widths` those of its streams.

    Matrix products and convolutions, those of attention and recurrence among them; not what is done by element
    (BatchNorm, ReLU, softmax), as such figures are commonly given. Raises InputError as `build_head` does.
    """
    with torch.device("meta"):
        head = assemble(config, widths, genres).eval()
        clips = [torch.empty(1, config.clips_per_snippet, width) for width in widths]
    # On the CPU attention may run as one fused kernel, which this counter does not see into.
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        head(clips)
    # It counts a multiplication and an addition as two.
    return int(counter.get_total_flops()) // 2


@lru_cache(maxsize=256)
def head_parameters(config: Config, widths: tuple[int, ...], genres: int) -> int:
    """Trainable parameters of the head on streams of these widths. Raises InputError as `build_head` does."""
    with torch.device("meta"):
        return count_parameters(assemble(config, widths, genres))
