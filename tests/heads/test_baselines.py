from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from orchestrator.heads.baselines import CTT, FastVideo
from orchestrator.heads.registry import count_parameters
from orchestrator.specs import CTTSpec, FastVideoSpec, TransformerSpec


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_ctt_is_convolution_batchnorm_relu_and_the_maximum_over_time_without_padding():
    ctt = CTT(6, CTTSpec(filters=4, kernel=3), 7)
    x = torch.randn(5, 7, 6)
    positions = [F.linear(x[:, t : t + 3].transpose(1, 2).flatten(1), ctt.conv.weight.flatten(1)) for t in range(5)]
    y = torch.stack(positions) + ctt.conv.bias
    y = (y - y.mean((0, 1))) / (y.var((0, 1), correction=0) + 1e-5).sqrt()
    ctt.dropout = 0.0
    torch.testing.assert_close(ctt.train()(x), F.relu(y).amax(0))


def test_ctt_drops_half_of_what_it_found_in_training_only():
    ctt = CTT(6, CTTSpec(), 4)
    x = torch.randn(50, 4, 6)
    trained, evaluated = ctt.train()(x), ctt.eval()(x)
    assert (trained == 0).float().mean().item() - (evaluated == 0).float().mean().item() == pytest.approx(0.5, abs=0.2)
    assert torch.equal(ctt(x), evaluated)


def test_fastvideo_averages_projected_frames():
    fast = FastVideo(6, FastVideoSpec(units=4), 5)
    x = torch.randn(3, 5, 6)
    torch.testing.assert_close(fast(x), F.linear(x.mean(1), fast.project.weight, fast.project.bias))


def test_fastvideo_with_attention_weighs_frames_by_a_learnt_score():
    fast = FastVideo(6, FastVideoSpec(units=4, attention=True), 5)
    x = torch.randn(3, 5, 6)
    expected = []
    for frames in fast.project(x):
        weights = torch.softmax(frames @ fast.score.weight[0], 0)
        expected.append(sum(w * f for w, f in zip(weights, frames, strict=True)))
    torch.testing.assert_close(fast(x), torch.stack(expected))
    nn.init.zeros_(fast.score.weight)
    torch.testing.assert_close(fast(x), fast.project(x).mean(1))


@pytest.mark.parametrize("attention", [False, True])
def test_fastvideo_does_not_see_the_order_of_frames(build, attention):
    head = build(FastVideoSpec(attention=attention), (6,), 3).eval()
    x = torch.randn(2, 5, 6)
    torch.testing.assert_close(head([x]), head([x.flip(1)]))


@pytest.mark.parametrize("spec", [CTTSpec(kernel=2), FastVideoSpec()], ids=lambda s: s.name)
def test_baselines_take_features_as_they_are_and_divitas_heads_through_batchnorm(build, spec):
    assert isinstance(build(TransformerSpec(), (6,), 3).streams[0].norm, nn.BatchNorm1d)
    stream = build(spec, (6,), 3).streams[0].eval()
    x = torch.randn(2, 3, 6)
    torch.testing.assert_close(stream(x), stream.classify(stream.aggregator(x)))
    assert not any(isinstance(m, nn.BatchNorm1d) and m.num_features == 6 for m in stream.modules())


def test_parameter_counts_are_those_of_the_layers(build):
    assert count_parameters(build(CTTSpec(), (2048,), 10)) == 384 * 2048 * 3 + 384 + 2 * 384 + 384 * 10 + 10
    assert count_parameters(build(FastVideoSpec(), (4096,), 10)) == 4096 * 300 + 300 + 300 * 10 + 10
    attending = count_parameters(build(FastVideoSpec(attention=True), (4096,), 10))
    assert attending == count_parameters(build(FastVideoSpec(), (4096,), 10)) + 300
