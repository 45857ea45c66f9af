from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from orchestrator.backbones.load import load_backbone
from orchestrator.backbones.registry import BACKBONES, entry, identity, weights_status
from orchestrator.backbones.timm_models import build_timm
from orchestrator.errors import InputError, MissingWeights
from orchestrator.specs import BackboneSpec


def network(model: str, seed: int = 5, **options) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(model, pretrained=False, **options).eval()


def test_a_model_s_own_settings_become_its_row():
    row = entry("timm:test_vit")
    settings = timm.get_pretrained_cfg("test_vit")
    assert row.name == "timm:test_vit.r160_in1k"
    assert (row.preprocessing.side, row.preprocessing.mean) == (160, tuple(settings.mean))
    assert row.preprocessing.resize == settings.interpolation
    assert row.weights.repository == "timm/test_vit.r160_in1k"
    assert row.licence == "apache-2.0"


@pytest.mark.parametrize("name", [n for n, r in BACKBONES.items() if r.builder == "timm" and not r.in_order])
def test_a_row_that_is_written_down_says_what_timm_s_settings_say(name):
    row = BACKBONES[name]
    made = entry(row.network)
    for what in ("kind", "network", "classifier", "width", "preprocessing", "weights", "options"):
        assert getattr(row, what) == getattr(made, what), what


def test_a_bare_name_and_its_default_tag_are_one_identity():
    assert identity(BackboneSpec("timm:test_vit")) == identity(BackboneSpec("timm:test_vit.r160_in1k"))


@pytest.mark.parametrize(
    ("model", "side", "options", "width"),
    [
        ("resnet18", 224, {}, 512),
        ("efficientnet_b4", 224, {}, 1792),  # trained at 320, takes any
        ("vit_small_patch14_dinov2", 224, {"img_size": 224}, 384),  # trained at 518, a fixed grid
        ("mobilenetv3_small_100", 224, {}, 1024),  # pooled features pass one more layer than `num_features` says
        ("test_resnet", 160, {}, 96),
    ],
)
def test_input_size_is_the_model_s_own_but_at_most_the_frame_s(model, side, options, width):
    row = entry(f"timm:{model}")
    assert (row.preprocessing.side, dict(row.options), row.width) == (side, options, width)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:vit_tiny_patch16_22", r"no image model 'vit_tiny_patch16_22'; did you mean .*vit_tiny_patch16_224"),
        ("timm:resnet18.nonsense", r"'nonsense' is not one of .*a1_in1k"),
    ],
)
def test_unknown_models_and_tags_are_refused_with_what_there_is(name, message):
    with pytest.raises(InputError, match=message):
        entry(name)


def test_asking_for_a_row_leaves_global_random_state_alone():
    before = torch.random.get_rng_state()
    entry("timm:test_convnext")
    assert torch.equal(torch.random.get_rng_state(), before)


def cache_as_the_hub_does(cache, repository, state) -> str:
    """A snapshot that links to a blob named by its SHA-256; its path."""
    import hashlib

    folder = cache / ("models--" + repository.replace("/", "--"))
    for part in ("blobs", "refs", "snapshots/abc"):
        (folder / part).mkdir(parents=True)
    save_file(state, folder / "blobs" / "new")
    digest = hashlib.sha256((folder / "blobs" / "new").read_bytes()).hexdigest()
    (folder / "blobs" / "new").rename(folder / "blobs" / digest)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc" / "model.safetensors").symlink_to(folder / "blobs" / digest)
    return folder / "blobs" / digest


def test_pretrained_weights_come_from_the_hub_s_cache_and_are_checked(tmp_path, frames):
    spec, whole = BackboneSpec("timm:test_vit"), network("test_vit")
    with pytest.raises(MissingWeights, match=r"timm/test_vit\.r160_in1k/model\.safetensors: not on this machine"):
        load_backbone(spec)
    blob = cache_as_the_hub_does(tmp_path / "hf-cache", "timm/test_vit.r160_in1k", whole.state_dict())
    assert weights_status(spec) == "ready"
    loaded = load_backbone(spec)
    assert loaded.embed(frames, np.arange(2)).shape == (2, 64)
    assert torch.equal(loaded.network.patch_embed.proj.weight, whole.patch_embed.proj.weight)
    blob.write_bytes(blob.read_bytes()[:-1])
    assert "damaged" in weights_status(spec)
    with pytest.raises(MissingWeights, match="damaged"):
        load_backbone(spec)


@pytest.mark.parametrize("classes", [0, 7, 1000])
def test_a_checkpoint_for_any_number_of_classes_fits(tmp_path, frames, classes):
    whole = network("test_vit", num_classes=classes)
    torch.save({"state_dict": {f"module.{k}": v for k, v in whole.state_dict().items()}}, tmp_path / "mine.pth")
    mine = load_backbone(BackboneSpec("timm:test_vit", str(tmp_path / "mine.pth")))
    whole.reset_classifier(0)
    assert all(torch.equal(v, whole.state_dict()[k]) for k, v in mine.network.state_dict().items())


def test_a_missing_or_unexpected_tensor_is_refused_although_timm_would_load_loosely(tmp_path):
    state = network("test_vit").state_dict()
    for name, changed in (
        ("missing", {k: v for k, v in state.items() if k != "blocks.0.norm1.weight"}),
        ("unexpected", state | {"blocks.0.norm9.weight": torch.zeros(3)}),
        ("reshaped", state | {"blocks.0.norm1.weight": torch.zeros(3)}),
    ):
        torch.save(changed, tmp_path / f"{name}.pth")
        with pytest.raises(InputError, match=rf"{name}\.pth: does not fit this backbone: .*blocks\.0\.norm"):
            build_timm(entry("timm:test_vit"), tmp_path / f"{name}.pth")


def test_position_embeddings_trained_on_larger_pictures_are_resampled(tmp_path):
    name = "timm:vit_tiny_patch16_384"
    whole = network("vit_tiny_patch16_384")
    save_file(whole.state_dict(), tmp_path / "large.safetensors")
    loaded = load_backbone(BackboneSpec(name, str(tmp_path / "large.safetensors"))).network
    assert whole.pos_embed.shape[1] == 24 * 24 + 1
    assert loaded.pos_embed.shape[1] == 14 * 14 + 1
    assert torch.equal(loaded.blocks[3].attn.qkv.weight, whole.blocks[3].attn.qkv.weight)
    assert torch.allclose(loaded.pos_embed[:, 0], whole.pos_embed[:, 0], atol=1e-6)


def test_a_model_without_published_weights_says_so():
    spec = BackboneSpec("timm:resnet18d_evob")
    names = [n for n in timm.list_models() if not timm.is_model_pretrained(n)]
    spec = BackboneSpec(f"timm:{next(n for n in names if n.startswith('vit_'))}")
    assert "no pretrained weights are published" in weights_status(spec)
    with pytest.raises(MissingWeights, match="no pretrained weights are published"):
        identity(spec)
