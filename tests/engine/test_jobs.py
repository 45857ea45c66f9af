from __future__ import annotations

import numpy as np
import pytest

from orchestrator.engine.jobs import check_same_clips
from orchestrator.errors import InputError
from orchestrator.specs import BackboneSpec, ClipSpec, Config, EmbeddingSpec
from orchestrator.store.embeddings import ClipVectors

CLIP = ClipSpec("shot", 24)
FUSED = Config(tuple(EmbeddingSpec(CLIP, BackboneSpec(name)) for name in ("resnet_2d", "r2plus1d_3d")))


def stream(*clips: int) -> ClipVectors:
    return ClipVectors(np.zeros((sum(clips), 4), np.float32), np.cumsum([0, *clips]))


def test_streams_of_other_clips_are_refused_by_trailer_and_count() -> None:
    check_same_clips(FUSED, ("a", "b", "c"), (stream(2, 3, 4), stream(2, 3, 4)))
    with pytest.raises(InputError) as error:
        check_same_clips(FUSED, ("a", "b", "c"), (stream(2, 3, 4), stream(2, 4, 4)))
    assert "resnet_2d and r2plus1d_3d fuse clip by clip, but 1 trailers" in str(error.value)
    assert "(b: 3 and 4)" in str(error.value)
