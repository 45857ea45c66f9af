"""One trailer's frames to the vectors of several sets, without Ray or files."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.engine.pipeline import TrailerEmbedder, TrailerResult, TrailerTask
from orchestrator.specs import BackboneSpec, ClipSpec, EmbeddingSpec

IMAGE = BackboneSpec("shufflenet_2d", "random")
VIDEO = BackboneSpec("x3d_s_3d", "random")
SHOTS = np.array([[0, 24], [24, 30]], np.int32)


def embed(specs: dict[str, EmbeddingSpec], n: int = 30) -> TrailerResult:
    frames = np.random.default_rng(0).integers(0, 256, (n, 224, 224, 3), dtype=np.uint8)
    task = TrailerTask("tr0", "tr0.mp4", tuple(specs), {"digest": SHOTS})
    result = TrailerResult(task, digest="digest", n_frames=n)
    return TrailerEmbedder(specs).embed(result, frames, np.zeros((n, 27, 48, 3), np.uint8))


@pytest.fixture(scope="module")
def beside() -> TrailerResult:
    return embed(
        {
            "seq": EmbeddingSpec(ClipSpec("seq", 24, 4), VIDEO),
            "shot": EmbeddingSpec(ClipSpec("shot", 24, 4), VIDEO),
            "even": EmbeddingSpec(ClipSpec("even", 8), IMAGE),
            "stills": EmbeddingSpec(ClipSpec("seq", 24), IMAGE),
            "pixels": EmbeddingSpec(ClipSpec("even", 8), BackboneSpec("frames", "random")),
        }
    )


def test_clips_that_two_strategies_cut_alike_are_embedded_once(beside: TrailerResult) -> None:
    """Of seq's and shot's two clips each, both are the same: the trailer's shots end where its clips do."""
    assert beside.failures == []
    assert np.array_equal(beside.vectors["seq"], beside.vectors["shot"])
    assert beside.units["embed x3d_s_3d"] == 2 * 4, "two clips of four frames, not twice as many"
    assert beside.shared >= 2


def test_a_set_s_vectors_do_not_depend_on_what_is_embedded_beside_it(beside: TrailerResult) -> None:
    for name, spec in (
        ("shot", EmbeddingSpec(ClipSpec("shot", 24, 4), VIDEO)),
        ("even", EmbeddingSpec(ClipSpec("even", 8), IMAGE)),
        ("stills", EmbeddingSpec(ClipSpec("seq", 24), IMAGE)),
    ):
        assert np.array_equal(embed({name: spec}).vectors[name], beside.vectors[name])


def test_the_frame_cache_holds_the_pixels_of_evenly_spaced_frames(beside: TrailerResult) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (30, 224, 224, 3), dtype=np.uint8)
    chosen = [30 * (2 * i + 1) // 16 for i in range(8)]
    assert beside.vectors["pixels"].dtype == np.uint8
    assert np.array_equal(beside.vectors["pixels"], frames[chosen].reshape(8, -1))
