from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from orchestrator.heads.modules import Conv, StreamHead, Transformer
from orchestrator.specs import ConvSpec, CTTSpec, FastVideoSpec, GRUSpec, MeanSpec, TransformerSpec

SPECS = [TransformerSpec(), GRUSpec(), ConvSpec(), MeanSpec(), CTTSpec(kernel=1), FastVideoSpec(attention=True)]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
@pytest.mark.parametrize("widths", [(6,), (6, 4)])
@pytest.mark.parametrize(("batch", "clips"), [(3, 5), (1, 5), (3, 1)])
def test_a_head_maps_snippets_of_every_stream_to_logits_and_learns(build, spec, widths, batch, clips):
    head = build(spec, widths, genres=7, clips=clips)
    logits = head([torch.randn(batch, clips, width) for width in widths])
    assert logits.shape == (batch, 7)
    logits.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_streams_fuse_by_averaging_their_logits(build, spec):
    head = build(spec, (6, 4), genres=3).eval()
    x, y = torch.randn(2, 5, 6), torch.randn(2, 5, 4)
    apart = [stream(clips) for stream, clips in zip(head.streams, (x, y), strict=True)]
    torch.testing.assert_close(head([x, y]), (apart[0] + apart[1]) / 2)
    with pytest.raises(ValueError, match="argument"):
        head([x])


def test_batchnorm_takes_each_feature_over_all_clips_of_the_batch():
    class Keep(nn.Module):
        out_features = 4

        def forward(self, x):
            self.seen = x
            return x.mean(1)

    keep = Keep()
    x = torch.randn(3, 5, 4) * 2 + 1
    StreamHead(4, keep, 2).train()(x)
    # PyTorch's own (B, D, c) form of it
    expected = nn.BatchNorm1d(4)(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(keep.seen, expected)


def test_the_transformer_block_is_the_papers():
    """Written out clip by clip and head by head, as FIDELITY has it: x = LN(attn(x) + x); x = LN(ff(x) + x)."""
    block = Transformer(6, TransformerSpec(width=8, heads=2, feedforward=12), 5).eval()
    clips = torch.randn(2, 5, 6)
    expected = []
    for snippet in clips:
        x = F.linear(snippet, block.project.weight, block.project.bias)
        q, k, v = (F.linear(x, w) for w in block.qkv.weight.split(8))
        attended = []
        for h in (slice(0, 4), slice(4, 8)):
            weights = torch.softmax(q[:, h] @ k[:, h].T / math.sqrt(4), -1)
            attended.append(weights @ v[:, h])
        x = block.norm1(F.linear(torch.cat(attended, 1), block.out.weight) + x)
        x = block.norm2(block.down(F.relu(block.up(x))) + x)
        expected.append(x.mean(0))
    torch.testing.assert_close(block(clips), torch.stack(expected))
    assert block.qkv.bias is None
    assert block.out.bias is None


@pytest.mark.parametrize("spec", [TransformerSpec(), MeanSpec()], ids=lambda s: s.name)
def test_an_aggregator_without_positions_does_not_see_the_order_of_clips(build, spec):
    head = build(spec, (6,), 3).eval()
    x = torch.randn(2, 5, 6)
    torch.testing.assert_close(head([x]), head([x.flip(1)]))


@pytest.mark.parametrize("spec", [GRUSpec(), ConvSpec()], ids=lambda s: s.name)
def test_an_aggregator_through_time_sees_the_order_of_clips(build, spec):
    head = build(spec, (6,), 3).eval()
    x = torch.randn(2, 5, 6)
    assert not torch.allclose(head([x]), head([x.flip(1)]), atol=1e-4)


def test_dropout_follows_both_norms_but_not_the_attention_and_is_off_in_evaluation():
    block = Transformer(6, TransformerSpec(width=8, heads=2, feedforward=12, dropout=0.25), 1)
    nn.init.zeros_(block.down.weight)
    nn.init.zeros_(block.down.bias)  # the second norm now sees what the first dropout let through
    seen: dict[str, list[torch.Tensor]] = {"norm1": [], "norm2": []}
    for name, inputs in seen.items():
        getattr(block, name).register_forward_pre_hook(lambda _, x, inputs=inputs: inputs.append(x[0].detach()))
    x = torch.randn(200, 1, 6)  # one clip, so the mean over clips is the block's output
    outputs = [block.train()(x) for _ in range(2)]
    assert torch.equal(*seen["norm1"])
    for dropped in (*seen["norm2"], *outputs):
        assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert not torch.equal(*outputs)
    assert torch.equal(block.eval()(x), block(x))


def test_a_convolution_keeps_one_position_a_clip_at_any_odd_kernel():
    for kernel in (1, 3, 5):
        conv = Conv(6, ConvSpec(filters=4, kernel=kernel), 7)
        x = torch.randn(2, 7, 6)
        expected = F.relu(F.conv1d(x.transpose(1, 2), conv.conv.weight, conv.conv.bias, padding=kernel // 2))
        assert expected.shape == (2, 4, 7)
        torch.testing.assert_close(conv(x), expected.mean(2))


def test_the_mean_head_averages_before_its_relu(build):
    head = build(MeanSpec(), (2,), 2)
    clips = torch.tensor([[[3.0, -3.0], [-1.0, 1.0]]])
    # (3 - 1) / 2 and (-3 + 1) / 2; a ReLU first would give 1.5 and 0.5
    torch.testing.assert_close(head.streams[0].aggregator(clips), torch.tensor([[1.0, 0.0]]))
