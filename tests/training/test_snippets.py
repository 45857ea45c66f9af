from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.store.embeddings import ClipVectors
from orchestrator.training.snippets import SnippetSource, consecutive_snippets, draw_starts


def numbered(counts, width=2, *, read_only=False) -> ClipVectors:
    """Clip k of trailer i is the vector (100 i + k + 1, …), so that padding alone is zero."""
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ids = np.concatenate([100 * i + 1 + np.arange(n) for i, n in enumerate(counts)])
    vectors = np.repeat(ids[:, None], width, axis=1).astype(np.float32)
    vectors.flags.writeable = offsets.flags.writeable = not read_only
    return ClipVectors(vectors, offsets)


def test_a_random_snippet_starts_anywhere_that_it_fits_with_equal_chance():
    counts = np.repeat([2, 5, 7], 6000)
    starts = draw_starts(counts, 5, np.random.default_rng(0)).reshape(3, 6000)
    assert (starts[:2] == 0).all()
    assert np.bincount(starts[2]).tolist() == pytest.approx([2000] * 3, rel=0.06)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 12))
@settings(deadline=None)
def test_evaluation_sees_every_clip_once_in_order_and_pads_the_last_snippet(counts, clips):
    source = SnippetSource([numbered(counts)])
    of, starts, first = consecutive_snippets(source.counts, clips)
    batch = source.gather(of, starts, clips)[0].numpy()
    assert np.bincount(of).tolist() == [math.ceil(n / clips) for n in counts]
    for i, count in enumerate(counts):
        snippets = batch[of == i]
        assert (np.flatnonzero(of == i)[0]) == first[i]
        ids = snippets[:, :, 0].ravel()
        assert ids[:count].tolist() == [100 * i + 1 + k for k in range(count)]
        assert (ids[count:] == 0).all() and len(ids) - count < clips


def test_a_snippet_never_reaches_into_the_next_trailer():
    source = SnippetSource([numbered([2, 3, 9])])
    x = source.gather(np.array([1, 0, 2]), np.array([0, 0, 4]), 4)[0]
    assert x[:, :, 0].tolist() == [[101, 102, 103, 0], [1, 2, 0, 0], [205, 206, 207, 208]]


def test_streams_get_the_same_clips():
    source = SnippetSource([numbered([4, 6], 2), numbered([4, 6], 3)])
    assert source.widths == (2, 3)
    a, b = source.gather(np.array([1]), np.array([2]), 3)
    assert a.shape == (1, 3, 2) and b.shape == (1, 3, 3)
    assert a[0, :, 0].tolist() == b[0, :, 0].tolist() == [103, 104, 105]


def test_vectors_copied_to_the_device_give_the_same_snippets_as_those_left_in_place():
    streams = [numbered([2, 3, 9])]
    trailers, starts = np.array([1, 0, 2, 2]), np.array([0, 0, 4, 8])
    here, there = (SnippetSource(streams, resident=r).gather(trailers, starts, 4)[0] for r in (False, True))
    assert torch.equal(here, there)
    assert torch.equal(SnippetSource(streams, resident=True).gather(trailers[:1], starts[:1], 2)[0], here[:1, :2])


@pytest.mark.parametrize("resident", [False, True])
def test_read_only_vectors_are_read_without_a_warning_and_never_written(resident):
    stream = numbered([2, 3], read_only=True)
    before = stream.vectors.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = SnippetSource([stream], resident=resident).gather(np.array([0, 1]), np.array([0, 0]), 3)[0]
    x += 1
    assert np.array_equal(stream.vectors, before)


def test_half_precision_vectors_are_handed_out_as_float32():
    stream = numbered([2, 3])
    half = ClipVectors(stream.vectors.astype(np.float16), stream.offsets)
    assert SnippetSource([half]).gather(np.array([1]), np.array([0]), 4)[0].dtype == torch.float32


@pytest.mark.parametrize("resident", [False, True])
def test_pixels_are_handed_out_as_float32_and_padded_with_black(resident):
    stream = numbered([2, 3, 9])
    pixels = ClipVectors((stream.vectors % 256).astype(np.uint8), stream.offsets)
    source = SnippetSource([pixels], resident=resident)
    x = source.gather(np.array([1, 0, 2]), np.array([0, 0, 4]), 4)[0]
    assert x.dtype == torch.float32
    expected = [[101, 102, 103, 0], [1, 2, 0, 0], [205, 206, 207, 208]]
    assert x[:, :, 0].tolist() == expected


def test_streams_that_differ_in_their_clips_are_refused():
    with pytest.raises(ValueError, match="streams 0 and 1 differ"):
        SnippetSource([numbered([2, 3]), numbered([3, 2])])
    with pytest.raises(ValueError, match="stream 0 has 4 vectors, its offsets 5"):
        SnippetSource([ClipVectors(np.zeros((4, 2), np.float32), np.array([0, 2, 5]))])
    with pytest.raises(ValueError, match="at least one stream"):
        SnippetSource([])
