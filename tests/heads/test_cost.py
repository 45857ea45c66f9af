from __future__ import annotations

import warnings

import pytest
import torch

from orchestrator.errors import InputError
from orchestrator.heads.cost import head_multiply_adds
from orchestrator.heads.timesformer import PIXELS
from orchestrator.specs import ConvSpec, CTTSpec, FastVideoSpec, GRUSpec, MeanSpec, TimeSformerSpec, TransformerSpec


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        # projection, q k v, output, feed-forward; queries by keys and weights by values
        (TransformerSpec(), 30 * (768 * 128 + 4 * 128 * 128 + 2 * 128 * 768) + 2 * 30 * 30 * 128 + 128 * 10),
        (GRUSpec(), 30 * 3 * (768 * 115 + 115 * 115) + 115 * 10),
        (ConvSpec(), 30 * 768 * 128 * 3 + 128 * 10),
        (MeanSpec(), 768 * 10),
        (CTTSpec(), 28 * 768 * 384 * 3 + 384 * 10),
        (FastVideoSpec(), 30 * 768 * 300 + 300 * 10),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_multiply_adds_are_those_of_the_products_of_a_snippet(make_config, spec, expected):
    assert head_multiply_adds(make_config(spec, clips=30), (768,), 10) == expected


def test_timesformer_has_the_published_multiply_adds(make_config):
    """0.59 TFLOPs for three crops of 8 frames, multiply-adds as such figures are (Bertasius et al. 2021, Table 2)."""
    counted = head_multiply_adds(make_config(TimeSformerSpec(), clips=8), (PIXELS,), 10)
    assert counted == pytest.approx(590e9 / 3, rel=0.01)


def test_streams_add_up(make_config):
    one = [head_multiply_adds(make_config(TransformerSpec()), (width,), 10) for width in (2048, 512)]
    assert head_multiply_adds(make_config(TransformerSpec(), streams=2), (2048, 512), 10) == sum(one)


def test_counting_is_silent_and_draws_nothing(make_config, capfd):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for spec in (TransformerSpec(width=32), GRUSpec(7), TimeSformerSpec(1, 8, 2, 112)):
            width = PIXELS if isinstance(spec, TimeSformerSpec) else 64
            head_multiply_adds(make_config(spec), (width,), 10)
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")


def test_a_head_that_cannot_be_built_has_no_cost(make_config):
    with pytest.raises(InputError, match="does not divide"):
        head_multiply_adds(make_config(TransformerSpec(heads=3)), (768,), 10)
