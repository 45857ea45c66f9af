"""3D ShuffleNetV2 1.0× (Köpüklü et al., Resource Efficient 3D Convolutional Neural Networks, 2019), the shufflenet_3d.

No library has it. Modules are named as in the published checkpoint (`banch1` included), so that it loads as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEM = 24
STAGES = ((4, 116), (8, 232), (4, 464))
"""Units and channels of each stage; the first unit of a stage halves time, height and width."""

FEATURES = 1024


class Unit(nn.Module):
    """Half of the channels pass one branch, half pass by (or, where size is halved, both branches take all)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.halves_size = inputs != outputs
        stride = 2 if self.halves_size else 1
        if self.halves_size:
            self.banch1 = nn.Sequential(*_depthwise(inputs, stride), *_pointwise(inputs, half))
        self.banch2 = nn.Sequential(
            *_pointwise(inputs if self.halves_size else half, half),
            *_depthwise(half, stride),
            *_pointwise(half, half),
        )

    def forward(self, clips: Tensor) -> Tensor:
        """(B, outputs, T', H', W') <- (B, inputs, T, H, W)"""
        if self.halves_size:
            pair = self.banch1(clips), self.banch2(clips)
        else:
            passed, changed = clips.chunk(2, dim=1)
            pair = passed, self.banch2(changed)
        # Shuffle: channels of the two halves take turns. (B, C/2, 2, T, H, W) -> (B, C, T, H, W)
        return torch.stack(pair, dim=2).flatten(1, 2)


class ShuffleNet3D(nn.Module):
    """(B, classes) <- (B, 3, T, H, W), any T from 1; the 1024 features enter `classifier.1`."""

    def __init__(self, classes: int = 600) -> None:
        super().__init__()
        stem = nn.Conv3d(3, STEM, 3, stride=(1, 2, 2), padding=1, bias=False)
        self.conv1 = nn.Sequential(stem, nn.BatchNorm3d(STEM), nn.ReLU(inplace=True))
        self.maxpool = nn.MaxPool3d(3, stride=2, padding=1)
        units, inputs = [], STEM
        for count, outputs in STAGES:
            for _ in range(count):
                units.append(Unit(inputs, outputs))
                inputs = outputs
        self.features = nn.Sequential(*units)
        self.conv_last = nn.Sequential(*_pointwise(inputs, FEATURES))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(FEATURES, classes))

    def forward(self, clips: Tensor) -> Tensor:
        clips = self.conv_last(self.features(self.maxpool(self.conv1(clips))))
        # (B, 1024) <- (B, 1024, T/16, H/32, W/32)
        classes: Tensor = self.classifier(clips.mean((2, 3, 4)))
        return classes


def _pointwise(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv3d(inputs, outputs, 1, bias=False), nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)


def _depthwise(channels: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv3d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
    return convolution, nn.BatchNorm3d(channels)
