import random

import numpy as np
import pytest

from orchestrator.data.manifest import TEST, TRAIN, VALIDATION
from orchestrator.data.stratify import deviations, stratify
from orchestrator.errors import InputError


def some_labels(n, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((n, 10)) < np.linspace(0.12, 0.5, 10)).astype(np.uint8)


def test_parts_have_70_10_20_percent():
    for n in (40, 101, 500):
        parts = stratify(some_labels(n), splits=2, seed=3)
        assert parts.shape == (n, 2) and parts.dtype == np.int8
        for column in parts.T:
            sizes = np.bincount(column, minlength=3)
            assert np.abs(sizes - n * np.array([0.7, 0.1, 0.2])).max() <= 1 + 0.03 * n


def test_genres_and_pairs_of_genres_keep_their_shares():
    labels = some_labels(800)
    pairs = np.stack([labels[:, a] & labels[:, b] for a in range(10) for b in range(a + 1)], axis=1)
    (column,) = stratify(labels, splits=1).T
    # 0.6 here; 1.2 or more when pairs are left out of account, or by a shuffle
    assert np.abs(deviations(pairs, column)[TEST]).mean() < 0.9


def test_the_same_seed_gives_the_same_splits_and_another_seed_others():
    labels = some_labels(60)
    assert (stratify(labels, seed=1) == stratify(labels, seed=1)).all()
    assert (stratify(labels, seed=1) != stratify(labels, seed=2)).any()
    assert (stratify(labels, splits=2, seed=1) == stratify(labels, splits=3, seed=1)[:, :2]).all()


def test_splits_differ_from_each_other():
    parts = stratify(some_labels(40), splits=5)
    assert len({column.tobytes() for column in parts.T}) == 5


def test_global_random_state_is_neither_used_nor_changed():
    labels = some_labels(30)
    np.random.seed(5)
    random.seed(5)
    before, first = np.random.get_state()[1].copy(), stratify(labels, seed=1)
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(6)
    assert (stratify(labels, seed=1) == first).all()


@pytest.mark.parametrize("seed", range(8))
def test_two_positives_are_one_for_train_and_one_for_test(seed):
    labels = some_labels(24, seed)
    labels[:, 0] = 0
    labels[[3, 17], 0] = 1
    for column in stratify(labels[:, [0, 4, 8, 9]], seed=seed).T:
        # all genres of a small set: none is left out where it has two trailers
        for part in (TRAIN, TEST):
            assert labels[column == part][:, [0, 4, 8, 9]].any(axis=0).all()
        assert (column == VALIDATION).any()


def test_unlabelled_trailers_are_spread_as_well():
    labels = some_labels(100)
    labels[50:] = 0
    sizes = np.bincount(stratify(labels)[50:, 0], minlength=3)
    assert (sizes > 0).all()


def test_a_genre_with_one_positive_is_named():
    labels = some_labels(40)
    labels[:, 2] = 0
    labels[0, 2] = 1
    with pytest.raises(InputError, match=r"^opera: 1 trailer\(s\) have this genre"):
        stratify(labels, genres=[*"ab", "opera", *"defghij"])


def test_genres_that_stand_in_each_others_way_are_named():
    # three trailers, three genres, each shared by two: no way to have all three on both sides
    labels = np.zeros((30, 3), np.uint8)
    labels[[0, 1], 0] = labels[[1, 2], 1] = labels[[0, 2], 2] = 1
    with pytest.raises(InputError, match="2 positives could not be spread over train and test"):
        stratify(labels)


def test_too_few_trailers():
    with pytest.raises(InputError, match="4 trailers can't be split"):
        stratify(np.ones((4, 1), np.uint8))
    with pytest.raises(InputError, match="too few for 99 different splits"):
        stratify(np.ones((5, 1), np.uint8), splits=99)
