from __future__ import annotations

import numpy as np
import pytest
import torch

from orchestrator.backbones.load import load_backbone
from orchestrator.backbones.registry import BACKBONES, entry, identity, weights_status
from orchestrator.backbones.shufflenet3d import ShuffleNet3D
from orchestrator.errors import InputError, MissingWeights
from orchestrator.specs import BackboneSpec

FILE = "kinetics_shufflenetv2_1.0x_RGB_16_best.pth"


def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")} | {
        f"{name}.num_batches_tracked": ()
    }


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the public checkpoint, in its order, written from the publisher's description of the layers.

    In the branches 1×1×1 and depthwise convolutions stand at 0, 3, 5 (branch 2) and 0, 2 (branch 1 of the first unit of
    a stage), each followed by its norm.
    """
    shapes: dict[str, tuple[int, ...]] = {"conv1.0.weight": (24, 3, 3, 3, 3)} | norm("conv1.1", 24)
    unit, inputs = 0, 24
    for units, outputs in ((4, 116), (8, 232), (4, 464)):
        half = outputs // 2
        for number in range(units):
            name = f"features.{unit}"
            entering = inputs if number == 0 else half
            if number == 0:
                shapes |= {f"{name}.banch1.0.weight": (inputs, 1, 3, 3, 3)} | norm(f"{name}.banch1.1", inputs)
                shapes |= {f"{name}.banch1.2.weight": (half, inputs, 1, 1, 1)} | norm(f"{name}.banch1.3", half)
            shapes |= {f"{name}.banch2.0.weight": (half, entering, 1, 1, 1)} | norm(f"{name}.banch2.1", half)
            shapes |= {f"{name}.banch2.3.weight": (half, 1, 3, 3, 3)} | norm(f"{name}.banch2.4", half)
            shapes |= {f"{name}.banch2.5.weight": (half, half, 1, 1, 1)} | norm(f"{name}.banch2.6", half)
            unit += 1
        inputs = outputs
    shapes |= {"conv_last.0.weight": (1024, 464, 1, 1, 1)} | norm("conv_last.1", 1024)
    return shapes | {"classifier.1.weight": (600, 1024), "classifier.1.bias": (600,)}


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        f"module.{name}": torch.rand(shape, generator=generator) if shape else torch.tensor(7)
        for name, shape in published_shapes().items()
    }


@pytest.fixture
def checkpoint(state, tmp_path):
    """A file as the publisher's training script wrote it in 2019, with the old serialisation."""
    content = {"epoch": 58, "arch": "shufflenetv2", "state_dict": state, "optimizer": {"state": {}}, "best_prec1": 0.5}
    torch.save(content, tmp_path / FILE, _use_new_zipfile_serialization=False)
    return tmp_path / FILE


def test_names_shapes_and_order_are_those_of_the_public_checkpoint():
    assert {k: tuple(v.shape) for k, v in ShuffleNet3D().state_dict().items()} == published_shapes()
    assert list(ShuffleNet3D().state_dict()) == list(published_shapes())


def test_the_public_checkpoint_s_layout_loads_to_the_last_tensor(checkpoint, state):
    network = load_backbone(BackboneSpec("shufflenet_3d", str(checkpoint))).network
    loaded = network.state_dict()
    assert loaded.keys() == {k.removeprefix("module.") for k in state if ".classifier." not in k}
    assert all(torch.equal(value, state[f"module.{name}"]) for name, value in loaded.items())


def test_a_file_of_another_width_is_refused(state, tmp_path):
    torch.save({"state_dict": state | {"module.conv_last.0.weight": torch.zeros(1024, 192, 1, 1, 1)}}, tmp_path / "x")
    with pytest.raises(InputError, match=r"conv_last\.0\.weight is \(1024, 192, 1, 1, 1\), not \(1024, 464, 1, 1, 1\)"):
        load_backbone(BackboneSpec("shufflenet_3d", str(tmp_path / "x")))


def test_a_unit_passes_half_of_the_channels_by_and_shuffles():
    unit = ShuffleNet3D().features[1].eval()
    clips = torch.rand(1, 116, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        out = unit(clips)
        changed = unit.banch2(clips[:, 58:])
    assert torch.equal(out[:, 0::2], clips[:, :58])
    assert torch.equal(out[:, 1::2], changed)


def test_the_first_unit_of_a_stage_halves_time_height_and_width():
    with torch.device("meta"):
        network = ShuffleNet3D()
        clips = network.conv1(torch.empty(1, 3, 24, 112, 112))
        assert clips.shape == (1, 24, 24, 56, 56)
        clips = network.maxpool(clips)
        sizes = []
        for unit in network.features:
            clips = unit(clips)
            sizes.append(tuple(clips.shape[1:]))
    assert sizes == [(116, 6, 14, 14)] * 4 + [(232, 3, 7, 7)] * 8 + [(464, 2, 4, 4)] * 4


def test_the_features_are_the_mean_over_time_and_place_that_enters_the_classifier(random_backbone):
    network = random_backbone("shufflenet_3d").network
    clips = torch.rand(2, 3, 8, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = network.conv_last(network.features(network.maxpool(network.conv1(clips))))
        assert torch.allclose(network(clips), maps.mean((2, 3, 4)))


def test_inputs_are_0_to_255_minus_the_published_mean(frames):
    from orchestrator.backbones.preprocess import normalise

    settings = entry("shufflenet_3d").preprocessing
    white = torch.full((1, 1, 112, 112, 3), 255, dtype=torch.uint8)
    assert np.allclose(normalise(white, settings)[0, :, 0, 0, 0], [255 - 114.77, 255 - 107.74, 255 - 99.48])


def test_a_plan_needs_no_file_and_what_is_missing_says_where_people_get_it(monkeypatch, tmp_path):
    spec = BackboneSpec("shufflenet_3d")
    assert identity(spec)["weights"] == {"file": FILE}
    place = tmp_path / "torch-home" / "hub" / "checkpoints" / FILE
    message = weights_status(spec)
    for part in (
        FILE,
        "https://github.com/okankop/Efficient-3DCNNs",
        "Google Drive",
        str(place),
        "`weights: /path/to/",
    ):
        assert part in message
    monkeypatch.delenv("DIVITA_OFFLINE")
    with pytest.raises(MissingWeights, match="only to people with a browser"):
        load_backbone(spec)


def test_a_file_put_where_the_message_says_is_found(checkpoint, tmp_path, frames):
    place = tmp_path / "torch-home" / "hub" / "checkpoints" / FILE
    place.parent.mkdir(parents=True)
    checkpoint.rename(place)
    assert weights_status(BackboneSpec("shufflenet_3d")) == "ready"
    assert load_backbone(BackboneSpec("shufflenet_3d")).width == BACKBONES["shufflenet_3d"].width
    place.write_bytes(b"")
    assert "is empty" in weights_status(BackboneSpec("shufflenet_3d"))
