import numpy as np
import pytest

from orchestrator.data.synth_looks import LOOKS, TEXTURES, cut_out
from orchestrator.data.synth_shots import MOTIONS, Shot

GENRES = list(LOOKS)
SIZE, LENGTH = (160, 90), 24


def shot(look, motion, seed, size=SIZE, length=LENGTH, fps=24):
    made = Shot(look, motion, length, fps, size, np.random.default_rng(seed))
    return np.stack([made.frame(k) for k in range(length)])


def nearest_genre_rate(features):
    """Share of shots (genres, shots, features) whose nearest mean of the other shots is that of their own genre."""
    features = (features - features.mean((0, 1))) / (features.std((0, 1)) + 1e-9)
    right = []
    for g, n in np.ndindex(features.shape[:2]):
        others = np.delete(features, n, axis=1).mean(axis=1)
        right.append(np.linalg.norm(others - features[g, n], axis=1).argmin() == g)
    return np.mean(right)


def still_features(frames):
    first = frames[0].astype(float)
    edges = np.abs(np.diff(first.mean(2), axis=1)).mean(), np.abs(np.diff(first.mean(2), axis=0)).mean()
    return [*first.mean((0, 1)), *first.std((0, 1)), *edges]


def moving_features(frames):
    light = frames.astype(float).mean(3)
    steps, jerks = np.abs(np.diff(light, axis=0)), np.abs(np.diff(light, 2, axis=0))
    where = steps.mean(0)
    return [*np.percentile(steps.mean((1, 2)), (5, 50, 95)), jerks.mean() / steps.mean(), where.std() / where.mean()]


@pytest.mark.parametrize("genre", GENRES)
@pytest.mark.parametrize("size", [SIZE, (96, 128)])
def test_every_genre_gives_frames_that_move(genre, size):
    frames = shot(genre, genre, 0, size)
    assert frames.shape == (LENGTH, size[1], size[0], 3) and frames.dtype == np.uint8
    assert frames.std() > 5
    assert (frames[0] != frames[-1]).any()


def test_a_still_frame_tells_the_genre_by_its_look():
    features = np.array(
        [[still_features(shot(g, "drama", [i, n], length=1)) for n in range(8)] for i, g in enumerate(GENRES)]
    )
    assert nearest_genre_rate(features) > 0.5


def test_motion_alone_tells_the_genre_where_all_look_the_same():
    features = np.array([[moving_features(shot("romance", g, [i, n])) for n in range(8)] for i, g in enumerate(GENRES)])
    assert nearest_genre_rate(features) > 0.4


def test_the_same_generator_gives_the_same_pixels():
    assert (shot("sci-fi", "horror", 3) == shot("sci-fi", "horror", 3)).all()
    assert (shot("sci-fi", "horror", 3) != shot("sci-fi", "horror", 4)).any()


def test_speed_is_counted_in_seconds_whatever_the_frame_rate():
    slow = shot("thriller", "adventure", 1, length=24, fps=24).astype(int)
    fast = shot("thriller", "adventure", 1, length=48, fps=48).astype(int)
    assert np.abs(slow[12] - fast[24]).mean() < 0.5 * np.abs(slow[12] - fast[12]).mean()


def test_every_look_has_its_texture_shape_and_motion():
    assert set(MOTIONS) == set(LOOKS) and set(TEXTURES) == {look.texture for look in LOOKS.values()}
    for look in LOOKS.values():
        cover = cut_out(look.shape, 12)
        assert cover.shape == (25, 25) and cover.min() == 0 and cover.max() == 256
