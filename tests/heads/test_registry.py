from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch import nn

from orchestrator.errors import InputError
from orchestrator.heads.registry import HEADS, count_parameters
from orchestrator.specs import (
    AGGREGATORS,
    ConvSpec,
    CTTSpec,
    FastVideoSpec,
    GRUSpec,
    MeanSpec,
    TimeSformerSpec,
    TransformerSpec,
)

# Linear(a, b) has ab + b parameters, BatchNorm1d and LayerNorm 2a.


def transformer(d, h=128, ff=768):
    return (d * h + h) + 4 * h * h + 2 * h + (h * ff + ff) + (ff * h + h) + 2 * h


def gru(d, h=115):
    return 3 * h * d + 3 * h * h + 6 * h


def conv(d, h=128, k=3):
    return h * d * k + h


def total(aggregator: int, d: int, h: int, g: int = 10) -> int:
    return 2 * d + aggregator + h * g + g


def test_every_aggregator_that_can_be_named_can_be_built():
    assert set(HEADS) == set(AGGREGATORS.values())


@pytest.mark.parametrize("d", [512, 768, 1024, 1280, 2048])
def test_parameter_counts_are_those_of_the_papers_layers(build, d):
    assert count_parameters(build(TransformerSpec(), (d,), 10)) == total(transformer(d), d, 128)
    assert count_parameters(build(GRUSpec(), (d,), 10)) == total(gru(d), d, 115)
    assert count_parameters(build(ConvSpec(), (d,), 10)) == total(conv(d), d, 128)
    assert count_parameters(build(MeanSpec(), (d,), 10)) == total(0, d, d)


def test_the_default_head_has_364810_parameters(build):
    assert count_parameters(build(TransformerSpec(), (768,), 10)) == 364_810


def test_settings_other_than_the_defaults_are_the_ones_built(build):
    head = build(TransformerSpec(width=64, heads=8, feedforward=100), (20,), 3)
    assert count_parameters(head) == total(transformer(20, 64, 100), 20, 64, 3)
    assert head.streams[0].aggregator.heads == 8
    assert count_parameters(build(GRUSpec(units=7), (20,), 3)) == total(gru(20, 7), 20, 7, 3)
    assert count_parameters(build(ConvSpec(filters=7, kernel=5), (20,), 3)) == total(conv(20, 7, 5), 20, 7, 3)


def test_two_streams_have_the_parameters_of_two_heads(build):
    fused = count_parameters(build(TransformerSpec(), (2048, 512), 10))
    assert fused == sum(total(transformer(d), d, 128) for d in (2048, 512))


@pytest.mark.parametrize(
    ("network", "d", "published"),
    [
        ("swin_t", 768, 27.9),
        ("shufflenet_v2_x1_0", 1024, 1.7),
        # These two are printed 0.1 below and above what the layers give (24.0, 31.6).
        ("resnet50", 2048, 23.9),
        ("video.r2plus1d_18", 512, 31.7),
    ],
)
def test_backbone_and_head_have_the_published_totals(build, network, d, published):
    """Table 10's millions of parameters (`params_m`): backbone without its classifier, and head."""
    models = torchvision.models
    for name in network.split(".")[:-1]:
        models = getattr(models, name)
    with torch.device("meta"):
        backbone = getattr(models, network.split(".")[-1])(weights=None)
    for name in ("head", "fc"):
        if isinstance(getattr(backbone, name, None), nn.Linear):
            setattr(backbone, name, nn.Identity())
    millions = (count_parameters(backbone) + count_parameters(build(TransformerSpec(), (d,), 10))) / 1e6
    if network in ("swin_t", "shufflenet_v2_x1_0"):
        assert round(millions, 1) == published
    else:
        assert abs(millions - published) < 0.15


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (TransformerSpec(width=128, heads=3), "aggregator.heads: 3 does not divide aggregator.width 128"),
        (TransformerSpec(heads=0), "aggregator.heads: must be at least 1, but got 0"),
        (TransformerSpec(width=0), "aggregator.width: must be at least 1, but got 0"),
        (TransformerSpec(feedforward=-1), "aggregator.feedforward: must be at least 1, but got -1"),
        (TransformerSpec(dropout=1.0), "aggregator.dropout: must be at least 0 and below 1, but got 1.0"),
        (GRUSpec(units=0), "aggregator.units: must be at least 1, but got 0"),
        (ConvSpec(filters=0), "aggregator.filters: must be at least 1, but got 0"),
        (ConvSpec(kernel=4), "aggregator.kernel: must be odd and at least 1, but got 4"),
        (CTTSpec(filters=0), "aggregator.filters: must be at least 1, but got 0"),
        (CTTSpec(kernel=0), "aggregator.kernel: must be at least 1, but got 0"),
        (CTTSpec(kernel=4), "aggregator.kernel: 4 must be at most clips_per_snippet, but that is 3"),
        (CTTSpec(dropout=-0.5), "aggregator.dropout: must be at least 0 and below 1, but got -0.5"),
        (FastVideoSpec(units=0), "aggregator.units: must be at least 1, but got 0"),
        (TimeSformerSpec(layers=0), "aggregator.layers: must be at least 1, but got 0"),
        (TimeSformerSpec(width=-8), "aggregator.width: must be at least 1, but got -8"),
        (TimeSformerSpec(heads=0), "aggregator.heads: must be at least 1, but got 0"),
        (TimeSformerSpec(heads=7), "aggregator.heads: 7 does not divide aggregator.width 768"),
        (TimeSformerSpec(patch=15), "aggregator.patch: 15 does not divide a frame's side of 224"),
    ],
)
def test_settings_that_cannot_be_built_are_refused_by_name(build, spec, message):
    with pytest.raises(InputError) as error:
        build(spec, (8,), 10)
    assert error.value.problems == (message,)


def test_all_faults_are_reported_at_once(build):
    with pytest.raises(InputError) as error:
        build(TransformerSpec(heads=5, dropout=-1), (), 0)
    assert [p.split(":")[0] for p in error.value.problems] == [
        "aggregator.heads",
        "aggregator.dropout",
        "widths",
        "genres",
    ]


@pytest.mark.parametrize(
    "spec",
    [TransformerSpec(), GRUSpec(), ConvSpec(), MeanSpec(), CTTSpec(), FastVideoSpec(attention=True)],
    ids=lambda s: s.name,
)
def test_the_callers_seed_decides_the_parameters(build, spec):
    def parameters(seed):
        torch.manual_seed(seed)
        return [p.detach().clone() for p in build(spec, (16, 8), 4).parameters()]

    assert all(torch.equal(a, b) for a, b in zip(parameters(1), parameters(1), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(parameters(1), parameters(2), strict=True))


def test_layers_start_kaiming_uniform_and_norms_as_the_identity(build):
    torch.manual_seed(0)
    head = build(TransformerSpec(), (768,), 10)
    for module in head.modules():
        if isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            assert 0.95 * bound < module.weight.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
            assert module.bias is None or 0.5 * bound < module.bias.abs().max() <= bound
        elif isinstance(module, nn.LayerNorm | nn.BatchNorm1d):
            assert (module.weight == 1).all() and (module.bias == 0).all()
    conv = build(ConvSpec(), (64,), 10).streams[0].aggregator.conv
    assert 0.95 < conv.weight.abs().max() * math.sqrt(64 * 3) <= 1
    assert 0.5 < conv.bias.abs().max() * math.sqrt(64 * 3) <= 1
    gru = build(GRUSpec(), (64,), 10).streams[0].aggregator.gru
    assert all(0.9 < p.abs().max() * math.sqrt(115) <= 1 for p in gru.parameters())
