from __future__ import annotations

import numpy as np
import pytest
import torch

from orchestrator.training.seeding import seeded

CPU = torch.device("cpu")


def drawn(*numbers: int) -> tuple[float, float]:
    with seeded(CPU, *numbers) as rng:
        return rng.random(), torch.rand(()).item()


def test_the_three_numbers_decide_what_is_drawn():
    first = drawn(5, 1, 2)
    torch.rand(3), np.random.rand(3)
    assert drawn(5, 1, 2) == first
    others = [drawn(*numbers) for numbers in ((5, 2, 1), (6, 1, 2), (5, 1, 3), (1, 5, 2), (2**40, 1, 2))]
    assert len({first, *others}) == 6
    assert len({value for pair in (first, *others) for value in pair}) == 12


def test_what_is_drawn_stays_the_same_from_release_to_release():
    """Trials resumed under a newer numpy or torch go on with the same numbers."""
    assert drawn(0, 0, 0) == pytest.approx((0.6027619159910471, 0.08040118217468262), abs=1e-7)


def test_torchs_generator_is_restored_also_after_an_error():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with pytest.raises(KeyError), seeded(CPU, 0, 0, 0):
        torch.rand(3)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)
