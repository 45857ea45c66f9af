from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.specs import FRAME_RATES, ClipSpec
from orchestrator.video.clips import PADDING, cut_clips, histograms, representative_frames

SPECS = st.builds(ClipSpec, st.sampled_from(["seq", "shot"]), st.integers(1, 40) | st.sampled_from([24, 32]))


@st.composite
def trailers(draw: st.DrawFn) -> tuple[int, np.ndarray]:
    """Frames of a trailer and its shots, half-open, with transition frames between them or none."""
    gaps_and_lengths = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 90)), max_size=8))
    shots, at = [], 0
    for gap, length in gaps_and_lengths:
        shots.append((at + gap, at + gap + length))
        at += gap + length
    return at + draw(st.integers(0, 5)), np.array(shots, np.int32).reshape(-1, 2)


def spans_of(n_frames: int, shots: np.ndarray, clip: ClipSpec) -> list[tuple[int, int]]:
    return [tuple(s) for s in shots.tolist()] if clip.strategy == "shot" else [(0, n_frames)]


@settings(deadline=None)
@given(trailers(), SPECS)
def test_every_content_frame_lies_in_exactly_one_clip_in_order(trailer: tuple[int, np.ndarray], clip: ClipSpec) -> None:
    content = [f for start, end in spans_of(*trailer, clip) for f in range(start, end)]
    clips = cut_clips(*trailer, clip)
    assert clips[clips != PADDING].tolist() == content


@settings(deadline=None)
@given(trailers(), SPECS)
def test_no_clip_crosses_a_shot_and_counts_follow_the_formula(trailer: tuple[int, np.ndarray], clip: ClipSpec) -> None:
    clips = iter(cut_clips(*trailer, clip))
    for start, end in spans_of(*trailer, clip):
        for _ in range(-(-(end - start) // clip.frames)):
            real = next(clips)
            real = real[real != PADDING]
            assert start <= real.min() and real.max() < end
    assert next(clips, None) is None


@settings(deadline=None)
@given(trailers(), SPECS)
def test_padding_stands_only_at_the_end_of_a_clip(trailer: tuple[int, np.ndarray], clip: ClipSpec) -> None:
    padded = cut_clips(*trailer, clip) == PADDING
    assert not (padded[:, :-1] & ~padded[:, 1:]).any()
    assert not padded[:, :1].any()


@settings(deadline=None)
@given(trailers(), SPECS, st.sampled_from(FRAME_RATES))
def test_a_lower_frame_rate_keeps_every_nth_frame_of_the_same_clips(
    trailer: tuple[int, np.ndarray], clip: ClipSpec, fps: int
) -> None:
    slower = ClipSpec(clip.strategy, clip.frames, fps)
    clips = cut_clips(*trailer, slower)
    np.testing.assert_array_equal(clips, cut_clips(*trailer, clip)[:, :: 24 // fps])
    assert clips.shape[1] == slower.kept and clips.dtype == np.int32


def test_shot_24_of_two_shots_by_hand() -> None:
    clips = cut_clips(60, np.array([[2, 28], [30, 54]]), ClipSpec("shot", 24, 4))
    assert clips.tolist() == [[2, 8, 14, 20], [26, PADDING, PADDING, PADDING], [30, 36, 42, 48]]


def test_seq_ignores_shots() -> None:
    clip = ClipSpec("seq", 32)
    np.testing.assert_array_equal(cut_clips(70, np.array([[5, 9]]), clip), cut_clips(70, None, clip))


def test_even_takes_the_middle_frame_of_equal_stretches_of_the_whole_trailer() -> None:
    assert cut_clips(80, None, ClipSpec("even", 8)).tolist() == [[5], [15], [25], [35], [45], [55], [65], [75]]
    assert cut_clips(3, None, ClipSpec("even", 6)).ravel().tolist() == [0, 0, 1, 1, 2, 2]
    assert cut_clips(0, None, ClipSpec("even", 6)).shape == (0, 1)


@given(st.integers(1, 5000), st.integers(1, 300))
def test_even_frames_lie_in_order_within_the_trailer_and_as_far_apart_as_can_be(frames: int, count: int) -> None:
    index = cut_clips(frames, None, ClipSpec("even", count))[:, 0]
    assert len(index) == count and index.min() >= 0 and index.max() < frames
    gaps = np.diff(index)
    assert not len(gaps) or (gaps.max() - gaps.min() <= 1 and gaps.min() >= frames // count)


def test_no_shots_and_no_frames_give_no_clips() -> None:
    assert cut_clips(50, np.empty((0, 2), np.int32), ClipSpec("shot", 24)).shape == (0, 24)
    assert cut_clips(0, None, ClipSpec("seq", 24, 12)).shape == (0, 12)


def test_shots_of_another_trailer_are_refused() -> None:
    with pytest.raises(ValueError, match="reach from 0 to 60, the trailer has 50"):
        cut_clips(50, np.array([[0, 60]]), ClipSpec("shot", 24))
    with pytest.raises(ValueError, match="need shots"):
        cut_clips(50, None, ClipSpec("shot", 24))


def test_histogram_counts_joint_colours_in_eight_bins_a_channel() -> None:
    frame = np.zeros((1, 2, 2, 3), np.uint8)
    frame[0, 0, 0] = (255, 0, 31)
    frame[0, 0, 1] = (32, 64, 96)
    counts = histograms(frame)
    assert counts.shape == (1, 512) and counts.dtype == np.uint16
    assert {int(b): int(counts[0, b]) for b in np.flatnonzero(counts[0])} == {0: 2, 7 * 64: 1, 1 * 64 + 2 * 8 + 3: 1}


def test_histogram_equals_numpys_own_of_whole_frames() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    for frame, counts in zip(frames, histograms(frames), strict=True):
        expected, _ = np.histogramdd(frame.reshape(-1, 3), bins=8, range=[(0, 256)] * 3)
        np.testing.assert_array_equal(counts, expected.ravel())


def test_a_frame_with_more_pixels_than_the_counts_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="overflow"):
        histograms(np.zeros((1, 300, 300, 3), np.uint8))


def test_representative_frame_is_the_one_most_like_the_mean_and_the_first_of_equals() -> None:
    frames = np.zeros((6, 4, 4, 3), np.uint8)
    frames[1:3] = 255  # frames 1 and 2 white, 0 and 3 black, 4 and 5 grey
    frames[4:] = 128
    clips = np.array([[0, 1, 2, PADDING], [3, 1, 4, 5], [0, 3, 1, 2]], np.int32)
    assert representative_frames(histograms(frames), clips).tolist() == [1, 4, 0]


def test_padding_does_not_pull_the_representative_frame_towards_black() -> None:
    frames = np.full((3, 4, 4, 3), 200, np.uint8)
    frames[0] = 0
    clips = np.array([[0, 1, 2, PADDING, PADDING, PADDING]], np.int32)
    assert representative_frames(histograms(frames), clips).tolist() == [1]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), trailers(), st.sampled_from(FRAME_RATES))
def test_representative_frame_follows_its_definition(seed: int, trailer: tuple[int, np.ndarray], fps: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 4, (trailer[0], 512)).astype(np.uint16)
    clips = cut_clips(*trailer, ClipSpec("shot", 24, fps))
    for clip, chosen in zip(clips, representative_frames(counts, clips), strict=True):
        real = clip[clip != PADDING]
        mean = counts[real].sum(0).astype(float) / len(real)
        similarity = np.minimum(counts[real], mean).sum(1)
        assert chosen in real and similarity[real.tolist().index(chosen)] >= similarity.max() - 1e-9
