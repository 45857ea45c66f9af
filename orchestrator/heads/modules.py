"""The heads of DIViTA §5: BatchNorm, a clip aggregator, a linear classifier; streams fuse by averaging logits.

Shapes: B snippets, c clips a snippet, D features a clip, H features of the aggregate, g genres. Every aggregator, those
of other modules too, is built from D, its record and c, whether it needs them or not, and says H as `out_features`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orchestrator.specs import ConvSpec, GRUSpec, MeanSpec, TransformerSpec


class Transformer(nn.Module):
    """Clip Aggregation Transformer (paper §5, Fig. 7): clips projected to H, one post-norm block, mean over clips.

    No positional encoding, no bias in the attention's projections and no dropout on its weights, as the authors' code.
    """

    def __init__(self, width: int, spec: TransformerSpec, clips: int) -> None:
        super().__init__()
        self.out_features = spec.width
        self.heads, self.dropout = spec.heads, spec.dropout
        self.project = nn.Linear(width, spec.width)
        self.qkv = nn.Linear(spec.width, 3 * spec.width, bias=False)  # q, k and v side by side: one product, not three
        self.out = nn.Linear(spec.width, spec.width, bias=False)
        self.norm1 = nn.LayerNorm(spec.width)
        self.up = nn.Linear(spec.width, spec.feedforward)
        self.down = nn.Linear(spec.feedforward, spec.width)
        self.norm2 = nn.LayerNorm(spec.width)

    def forward(self, x: Tensor) -> Tensor:
        # (B, c, H) <- (B, c, D)
        x = self.project(x)
        x = self._drop(self.norm1(self._attend(x) + x))
        # (B, c, H) <- (B, c, feedforward) <- (B, c, H)
        x = self._drop(self.norm2(self.down(F.relu(self.up(x))) + x))
        # (B, H) <- (B, c, H)
        return x.mean(1)

    def _attend(self, x: Tensor) -> Tensor:
        # 3 × (B, heads, c, H / heads) <- (B, c, 3 H) <- (B, c, H)
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # (B, c, H) <- (B, heads, c, H / heads)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class GRU(nn.Module):
    """One recurrent layer, ReLU on its outputs, mean over clips (Table 9)."""

    def __init__(self, width: int, spec: GRUSpec, clips: int) -> None:
        super().__init__()
        self.out_features = spec.units
        self.gru = nn.GRU(width, spec.units, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        # (B, c, H) <- (B, c, D)
        x, _ = self.gru(x)
        # (B, H) <- (B, c, H)
        return F.relu(x).mean(1)


class Conv(nn.Module):
    """One Conv1d through the clips, ReLU, mean over clips (Table 9)."""

    def __init__(self, width: int, spec: ConvSpec, clips: int) -> None:
        super().__init__()
        self.out_features = spec.filters
        self.conv = nn.Conv1d(width, spec.filters, spec.kernel, padding=spec.kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        # (B, H, c) <- (B, D, c) <- (B, c, D)
        x = self.conv(x.transpose(1, 2))
        # (B, H) <- (B, H, c)
        return F.relu(x).mean(2)


class Mean(nn.Module):
    """Average of the clips, then ReLU; nothing to learn."""

    def __init__(self, width: int, spec: MeanSpec, clips: int) -> None:
        super().__init__()
        self.out_features = width

    def forward(self, x: Tensor) -> Tensor:
        # (B, D) <- (B, c, D)
        return F.relu(x.mean(1))


class StreamHead(nn.Module):
    """BatchNorm over the features of one stream, its aggregator, and a linear classifier.

    The BatchNorm is DIViTA's; baselines, whose own architectures have none there, do without.
    """

    def __init__(self, width: int, aggregator: nn.Module, genres: int, *, batchnorm: bool = True) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width) if batchnorm else nn.Identity()
        self.aggregator = aggregator
        self.classify = nn.Linear(aggregator.out_features, genres)

    def forward(self, x: Tensor) -> Tensor:
        # Every clip is a row: statistics over B × c, as over (B, D, c), and four times as fast on the CPU.
        # (B, c, D) <- (B × c, D) <- (B, c, D)
        x = self.norm(x.flatten(0, 1)).view_as(x)
        # (B, g) <- (B, H) <- (B, c, D)
        return self.classify(self.aggregator(x))


class FusedHead(nn.Module):
    """One head a stream, their logits averaged and trained jointly; with one stream, just that head."""

    def __init__(self, streams: Sequence[StreamHead]) -> None:
        super().__init__()
        self.streams = nn.ModuleList(streams)

    def forward(self, clips: Sequence[Tensor]) -> Tensor:
        """Logits (B, g) from the same clips seen by each stream, (B, c, D_i) each."""
        # (B, g) <- (streams, B, g)
        return torch.stack([head(x) for head, x in zip(self.streams, clips, strict=True)]).mean(0)
