"""Probabilities of whole trailers: all their snippets in turn, averaged (paper §5, inference)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orchestrator.training.snippets import SnippetSource, consecutive_snippets

EVALUATION_BATCH = 64
"""Snippets a batch in evaluation; a constant, so that a result depends on nothing but its config and data."""


@torch.no_grad()
def predict(
    head: nn.Module, source: SnippetSource, labels: Tensor, trailers: np.ndarray, clips: int
) -> tuple[np.ndarray, float]:
    """Probabilities float32 (n, g) of `trailers` (n,), averaged over all their snippets, and the mean loss of those."""
    of, starts, first = consecutive_snippets(source.counts[trailers], clips)
    head.eval()
    probabilities, total = [], torch.zeros((), dtype=torch.float64, device=source.device)
    for begin in range(0, len(of), EVALUATION_BATCH):
        rows = trailers[of[begin : begin + EVALUATION_BATCH]]
        # (S, g) <- streams × (S, c, D)
        logits = head(source.gather(rows, starts[begin : begin + EVALUATION_BATCH], clips))
        total += F.binary_cross_entropy_with_logits(logits, labels[rows], reduction="sum")
        probabilities.append(torch.sigmoid(logits))
    # (n, g) <- (S, g), in float64 so that the order of the sum does not show
    summed = np.add.reduceat(torch.cat(probabilities).cpu().numpy().astype(np.float64), first)
    averaged = summed / np.diff(first, append=len(of))[:, None]
    return averaged.astype(np.float32), total.item() / (len(of) * labels.shape[1])
