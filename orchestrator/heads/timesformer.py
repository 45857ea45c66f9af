"""TimeSformer (Bertasius et al. 2021), the one baseline that learns its own features, from pixels.

Shapes: B snippets, c frames a snippet, H features. The network is transformers' port of the authors' code.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from orchestrator.backbones.checkpoint import read_checkpoint
from orchestrator.errors import InputError, some
from orchestrator.specs import TimeSformerSpec
from orchestrator.video.geometry import FRAME_SIDE

PIXELS = FRAME_SIDE * FRAME_SIDE * 3
"""Values of a frame, as a vector of the frame cache: height, width, RGB."""

MLP_RATIO = 4
"""Width of a block's hidden layer over the network's, as in every ViT."""

CLASSIFIER = ("head.", "pre_logits.")
"""What a ViT checkpoint holds beyond the network itself."""

SHOWN = 4


class TimeSformer(nn.Module):
    """Divided space-time attention over c frames; the class token's feature.

    In each block every patch attends to its own place in the other frames, then to the other patches of its frame.

    Starts as its authors' does. Time attention ends in a layer of zeros (`temporal_dense`) and time embeddings are
    zero, so that at first it is a ViT that sees each frame alone; `load_vit` fills that in. The rest is random, weights
    truncated normal with deviation 0.02, biases 0, drawn from torch's global generator.

    Activations are computed again in the backward pass, block by block, instead of kept: those of 32 snippets of 8
    frames fill 50 GB, what is kept of them 2. The results have the same bits.
    """

    def __init__(self, width: int, spec: TimeSformerSpec, clips: int) -> None:
        super().__init__()
        # Takes seconds, which the other heads' processes need not spend.
        from transformers import TimesformerConfig, TimesformerModel

        if width != PIXELS:
            raise InputError(f"widths: {spec.name} needs frames of {PIXELS} values, but got {width}")
        self.out_features = spec.width
        config = TimesformerConfig(
            image_size=FRAME_SIDE,
            patch_size=spec.patch,
            num_frames=clips,
            hidden_size=spec.width,
            num_hidden_layers=spec.layers,
            num_attention_heads=spec.heads,
            intermediate_size=MLP_RATIO * spec.width,
            attention_type="divided_space_time",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.network = TimesformerModel(config)
        for block in self.network.encoder.layer:
            nn.init.zeros_(block.temporal_dense.weight)
            nn.init.zeros_(block.temporal_dense.bias)
        self.network.activation_checkpointing_enable()

    def forward(self, x: Tensor) -> Tensor:
        # (B, c, 3, 224, 224) <- (B, c, 224, 224, 3) <- (B, c, 150528), from 0 … 255 to -1 … 1
        x = x.unflatten(2, (FRAME_SIDE, FRAME_SIDE, 3)).permute(0, 1, 4, 2, 3) / 127.5 - 1
        # (B, 1 + patches × c, H) <- (B, c, 3, 224, 224)
        x = self.network(x).last_hidden_state
        # (B, H) <- (B, 1 + patches × c, H)
        return x[:, 0]

    @torch.no_grad()
    def load_vit(self, path: Path) -> None:
        """Space from a ViT checkpoint in timm's layout; each time attention begins as a copy of its block's space one.

        The copies (of attention and of the norm before it) are what the authors' `load_pretrained` makes. Raises
        InputError naming the missing, unexpected and wrongly shaped tensors; nothing is resampled.
        """
        given = {k: v for k, v in read_checkpoint(path).items() if not k.startswith(CLASSIFIER)}
        own = dict(self.network.named_parameters())
        names = vit_names(len(self.network.encoder.layer))
        problems = [
            f"{name} is {tuple(given[name].shape)}, not {tuple(own[targets[0]].shape)}"
            for name, targets in names.items()
            if name in given and given[name].shape != own[targets[0]].shape
        ]
        problems += [f"missing {name}" for name in names if name not in given]
        problems += [f"unexpected {name}" for name in given if name not in names]
        if problems:
            raise InputError(f"weights: {path}: does not fit this timesformer: {some(problems, SHOWN, '; ')}")
        for name, targets in names.items():
            for target in targets:
                own[target].copy_(given[name])


def vit_names(layers: int) -> dict[str, tuple[str, ...]]:
    """timm's name of every tensor of a ViT -> the names that it goes to here."""
    names: dict[str, tuple[str, ...]] = {
        "cls_token": ("embeddings.cls_token",),
        "pos_embed": ("embeddings.position_embeddings",),
    }
    modules: dict[str, tuple[str, ...]] = {"patch_embed.proj": ("embeddings.patch_embeddings.projection",)}
    for i in range(layers):
        vit, here = f"blocks.{i}", f"encoder.layer.{i}"
        modules |= {
            f"{vit}.norm1": (f"{here}.layernorm_before", f"{here}.temporal_layernorm"),
            f"{vit}.attn.qkv": (f"{here}.attention.attention.qkv", f"{here}.temporal_attention.attention.qkv"),
            f"{vit}.attn.proj": (f"{here}.attention.output.dense", f"{here}.temporal_attention.output.dense"),
            f"{vit}.norm2": (f"{here}.layernorm_after",),
            f"{vit}.mlp.fc1": (f"{here}.intermediate.dense",),
            f"{vit}.mlp.fc2": (f"{here}.output.dense",),
        }
    modules["norm"] = ("layernorm",)
    for name, targets in modules.items():
        for kind in ("weight", "bias"):
            names[f"{name}.{kind}"] = tuple(f"{target}.{kind}" for target in targets)
    return names
