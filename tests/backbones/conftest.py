from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from orchestrator.backbones.load import Backbone, load_backbone
from orchestrator.specs import BackboneSpec

SIDE = 224


@pytest.fixture(autouse=True)
def no_network_and_empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Tests neither download nor see what this machine happens to have cached; those about downloading say so."""
    monkeypatch.setenv("DIVITA_OFFLINE", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf-cache"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def canonical_frame(picture: np.ndarray) -> np.ndarray:
    """(224, 224, 3) uint8 as the decoder makes it: shorter side 224, centre crop."""
    image = Image.fromarray(picture)
    scale = SIDE / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))


@pytest.fixture(scope="session")
def random_backbone() -> Callable[[str], Backbone]:
    """A table row with random weights, built once for all tests."""
    return cache(lambda name: load_backbone(BackboneSpec(name, "random")))


@pytest.fixture(scope="session")
def frames() -> np.ndarray:
    """(8, 224, 224, 3): sklearn's two photographs, whole, mirrored, shifted; read-only as from Ray's object store."""
    temple, flower = load_sample_images().images
    pictures = [
        temple,
        flower,
        temple[:, ::-1],
        flower[:, ::-1],
        temple[::-1],
        flower[::-1],
        temple[:300, :400],
        flower[100:, 200:],
    ]
    stack = np.stack([canonical_frame(np.ascontiguousarray(p)) for p in pictures])
    stack.setflags(write=False)
    return stack
