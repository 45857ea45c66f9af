from __future__ import annotations

import socket
import warnings

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from orchestrator.errors import InputError
from orchestrator.heads.registry import assemble, build_head, count_parameters
from orchestrator.heads.timesformer import PIXELS, TimeSformer, vit_names
from orchestrator.specs import TimeSformerSpec

SPEC = TimeSformerSpec(layers=2, width=48, heads=4, patch=16)
TINY = TimeSformerSpec(layers=2, width=8, heads=2, patch=112)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def vit():
    """A small ViT of timm with every parameter at random, norms and biases too."""
    torch.manual_seed(1)
    network = VisionTransformer(img_size=224, patch_size=16, embed_dim=48, depth=2, num_heads=4, num_classes=10)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.eval()


@pytest.fixture
def save(tmp_path, vit):
    """Writes the ViT's tensors, changed as asked (None leaves one out), and returns the path."""

    def write(**changes) -> str:
        state = {k: v for k, v in (vit.state_dict() | changes).items() if v is not None}
        torch.save(state, tmp_path / "vit.pth")
        return str(tmp_path / "vit.pth")

    return write


def test_at_the_start_it_is_the_vit_it_was_given(make_config, vit, save):
    """On equal frames, for with others the class token already averages what it saw in each of them."""
    head = build_head(make_config(SPEC, weights=save()), (PIXELS,), 10).eval()
    pixels = torch.randint(0, 256, (2, 224, 224, 3))
    with torch.no_grad():
        expected = vit.forward_features((pixels.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5)[:, 0]
        x = pixels.flatten(1)[:, None].expand(2, 3, PIXELS).float()
        feature = head.streams[0].aggregator(x)
    assert expected.std() > 0.1
    torch.testing.assert_close(feature, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("weights", ["random", "vit"])
def test_time_attention_adds_nothing_at_the_start_but_can_learn(make_config, save, weights):
    start = save() if weights == "vit" else "random"
    head = build_head(make_config(SPEC, weights=start), (PIXELS,), 10)
    network = head.streams[0].aggregator.network
    x = torch.randint(0, 256, (2, 3, PIXELS)).float()
    before = head([x])
    torch.testing.assert_close(before, head([x.flip(1)]), rtol=1e-4, atol=1e-4)
    before.square().sum().backward()
    for block in network.encoder.layer:
        assert not block.temporal_dense.weight.any() and not block.temporal_dense.bias.any()
        assert block.temporal_dense.weight.grad.any()
        nn.init.normal_(block.temporal_dense.weight)
    assert not network.embeddings.time_embeddings.any()
    assert not torch.allclose(before, head([x]), rtol=1e-3)


def test_time_attention_begins_as_a_copy_of_its_blocks_space_attention(make_config, save):
    network = build_head(make_config(SPEC, weights=save()), (PIXELS,), 10).streams[0].aggregator.network
    for block in network.encoder.layer:
        for a, b in ((block.temporal_attention, block.attention), (block.temporal_layernorm, block.layernorm_before)):
            for copy, original in zip(a.parameters(), b.parameters(), strict=True):
                assert torch.equal(copy, original) and copy.data_ptr() != original.data_ptr()


def test_every_parameter_but_those_of_time_comes_from_the_vit():
    network = TimeSformer(PIXELS, TINY, 3).network
    filled = {target for targets in vit_names(2).values() for target in targets}
    left = set(dict(network.named_parameters())) - filled
    assert {name.split(".")[-2] for name in left} == {"embeddings", "temporal_dense"}
    assert {name for name in left if "temporal_dense" not in name} == {"embeddings.time_embeddings"}


def test_the_rest_of_the_head_starts_as_every_other_does(make_config, save):
    classify = build_head(make_config(SPEC, weights=save()), (PIXELS,), 10).streams[0].classify
    assert 0.9 < classify.weight.abs().max() * 48**0.5 <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm.bias": None}, "missing norm.bias"),
        ({"blocks.0.attn.q_norm.weight": torch.zeros(3)}, "unexpected blocks.0.attn.q_norm.weight"),
        ({"pos_embed": torch.zeros(1, 145, 48)}, "pos_embed is (1, 145, 48), not (1, 197, 48)"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_naming_the_tensor(make_config, save, changes, message):
    path = save(**changes)
    with pytest.raises(InputError) as error:
        build_head(make_config(SPEC, weights=path), (PIXELS,), 10)
    assert str(error.value) == f"weights: {path}: does not fit this timesformer: {message}"


def test_a_checkpoint_of_another_depth_lists_a_few_tensors(make_config, save):
    with pytest.raises(InputError, match=r"unexpected blocks.1.norm1.weight; .* and 8 more"):
        build_head(make_config(TimeSformerSpec(1, 48, 4, 16), weights=save()), (PIXELS,), 10)


def test_the_vits_own_classifier_is_left_out(make_config, save):
    path = save(**{"pre_logits.fc.weight": torch.zeros(48, 48)})
    with_it, without = (build_head(make_config(SPEC, weights=p), (PIXELS,), 10) for p in (path, save()))
    assert [name for name, _ in with_it.named_parameters()] == [name for name, _ in without.named_parameters()]


def test_random_weights_follow_the_callers_seed_and_the_authors_rule(make_config):
    def build(seed):
        torch.manual_seed(seed)
        return build_head(make_config(TINY), (PIXELS,), 10)

    one, same, other = (dict(build(seed).named_parameters()) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    name = "streams.0.aggregator.network.embeddings.patch_embeddings.projection.weight"
    assert not torch.equal(one[name], other[name])
    assert one[name].std().item() == pytest.approx(0.02, rel=0.05)


def test_recomputed_activations_give_the_gradients_of_kept_ones(make_config):
    head = build_head(make_config(TINY), (PIXELS,), 10).train()
    network = head.streams[0].aggregator.network
    x = torch.randint(0, 256, (2, 3, PIXELS)).float()
    gradients = []
    for switch in (network.activation_checkpointing_enable, network.activation_checkpointing_disable):
        switch()
        head.zero_grad()
        head([x]).square().sum().backward()
        gradients.append([p.grad.clone() for p in head.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_it_is_built_without_a_network_or_a_word(make_config, capfd, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head = build_head(make_config(TINY), (PIXELS,), 10)
        head([torch.zeros(1, 3, PIXELS)]).sum().backward()
    assert capfd.readouterr() == ("", "")


def test_the_default_is_timesformer_b(make_config):
    """121.4 M parameters as published, with a classifier of 400 classes (theirs) for 10 (ours)."""
    with torch.device("meta"):
        head = assemble(make_config(TimeSformerSpec(), clips=8), (PIXELS,), 10)
    assert count_parameters(head) == 121_258_752 + 768 * 10 + 10
    assert count_parameters(head) / 1e6 == pytest.approx(121.4, rel=0.002)


def test_vectors_that_are_not_frames_are_refused(make_config):
    with pytest.raises(InputError, match="timesformer needs frames of 150528 values, but got 768"):
        build_head(make_config(TINY), (768,), 10)
