"""The baselines that classify frozen frame features (Table 11), each the architecture of its own authors.

Shapes: B snippets, c frames a snippet, D features a frame, H features of the aggregate. What makes a snippet of evenly
spaced frames out of a trailer is `clip_strategy: even-<count>`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from orchestrator.specs import CTTSpec, FastVideoSpec


class CTT(nn.Module):
    """CTT-MMC-A: convolution through time, BatchNorm, ReLU, maximum over time, dropout (Wehrmann & Barros 2017).

    As the authors' demo (`keras_demo.ipynb` of their LMTD repository) has it: no padding, so that c frames leave
    c - kernel + 1 positions, and the BatchNorm over the features that the demo defines is not connected to anything.
    """

    def __init__(self, width: int, spec: CTTSpec, clips: int) -> None:
        super().__init__()
        self.out_features = spec.filters
        self.conv = nn.Conv1d(width, spec.filters, spec.kernel)
        self.norm = nn.BatchNorm1d(spec.filters)
        self.dropout = spec.dropout

    def forward(self, x: Tensor) -> Tensor:
        # (B, H, c - kernel + 1) <- (B, D, c) <- (B, c, D)
        x = F.relu(self.norm(self.conv(x.transpose(1, 2))))
        # (B, H) <- (B, H, c - kernel + 1)
        return F.dropout(x.amax(2), self.dropout, self.training)


class FastVideo(nn.Module):
    """fastVideo: fastText with frames for words: linear projection, average (Cascante-Bonilla et al. 2019).

    With `attention` a learnt score a frame, softmax over the snippet's frames, weighs them in the place of the average.
    """

    def __init__(self, width: int, spec: FastVideoSpec, clips: int) -> None:
        super().__init__()
        self.out_features = spec.units
        self.project = nn.Linear(width, spec.units)
        # No bias, for softmax is blind to it.
        self.score = nn.Linear(spec.units, 1, bias=False) if spec.attention else None

    def forward(self, x: Tensor) -> Tensor:
        # (B, c, H) <- (B, c, D)
        x = self.project(x)
        if self.score is None:
            # (B, H) <- (B, c, H)
            return x.mean(1)
        # (B, c, 1) <- (B, c, H)
        weights = self.score(x).softmax(1)
        # (B, H) <- (B, c, 1) × (B, c, H)
        return (weights * x).sum(1)
