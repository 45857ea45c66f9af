from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import timm
import torch
from torch import nn

from orchestrator.backbones.checkpoint import read_checkpoint
from orchestrator.backbones.load import Backbone, batch_that_fits, load_backbone
from orchestrator.backbones.preprocess import normalise
from orchestrator.backbones.registry import BACKBONES, entry
from orchestrator.errors import InputError, MissingWeights, TrailerError
from orchestrator.specs import BackboneSpec

LITE0 = BackboneSpec("efficientnet_lite0_2d")
DAISY, PALACE = 985, 698  # of the 1000 ImageNet classes


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return load_backbone(LITE0)


@pytest.fixture(scope="module")
def shufflenet(random_backbone) -> Backbone:
    return random_backbone("shufflenet_2d")


class MeanColour(nn.Module):
    """(B, 3) <- (B, 3, H, W), or out of memory for more than `room` pictures."""

    def __init__(self, room: int = 1000) -> None:
        super().__init__()
        self.room, self.sizes = room, []

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(pictures))
        if len(pictures) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return pictures.mean((2, 3))


def around(network: nn.Module) -> Backbone:
    row = dataclasses.replace(BACKBONES["resnet_2d"], width=3)
    return Backbone(BackboneSpec("resnet_2d", "random"), row, network)


# Real weights


def test_lite0_s_features_through_its_published_classifier_name_what_is_in_the_photographs(lite0, frames):
    state = read_checkpoint(entry(LITE0.name).weights.find())
    weight, bias = list(state.values())[-2:]
    classes = torch.softmax(torch.from_numpy(lite0.embed(frames, np.array([0, 1]))) @ weight.T + bias, dim=1)
    assert classes.argmax(1).tolist() == [PALACE, DAISY]
    assert classes[0, PALACE] > 0.2
    assert classes[1, DAISY] > 0.15


def test_lite0_is_timm_s_network_with_the_published_tensors_put_in_in_order(lite0, frames):
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    published = read_checkpoint(entry(LITE0.name).weights.find())
    network.load_state_dict(dict(zip(network.state_dict(), published.values(), strict=True)))
    network.reset_classifier(0)
    pictures = normalise(torch.from_numpy(frames[:, None].copy()), entry(LITE0.name).preprocessing)[:, :, 0]
    with torch.inference_mode():
        expected = network(pictures).numpy()
    assert np.allclose(lite0.embed(frames, np.arange(len(frames))), expected, atol=1e-4)


def test_offline_pretrained_weights_that_are_not_there_are_an_error_never_random():
    with pytest.raises(MissingWeights, match=r"swin_2d needs swin_t-704ceda3\.pth"):
        load_backbone(BackboneSpec("swin_2d"))


def test_a_checkpoint_gives_the_vectors_of_the_network_it_was_saved_from(shufflenet, frames, tmp_path):
    with torch.no_grad():
        state = {f"module.{k}": v.clone() for k, v in shufflenet.network.state_dict().items()}
    state |= {"module.fc.weight": torch.zeros(10, 1024), "module.fc.bias": torch.zeros(10)}
    torch.save({"state_dict": state}, tmp_path / "mine.pth")
    mine = load_backbone(BackboneSpec("shufflenet_2d", str(tmp_path / "mine.pth")))
    index = np.arange(3)
    assert np.array_equal(mine.embed(frames, index), shufflenet.embed(frames, index))


def test_a_checkpoint_of_another_network_is_refused(shufflenet, tmp_path):
    torch.save(shufflenet.network.state_dict(), tmp_path / "other.pth")
    with pytest.raises(
        InputError, match=r"other\.pth: does not fit this backbone: missing .* and \d+ more; unexpected"
    ):
        load_backbone(BackboneSpec("resnet_2d", str(tmp_path / "other.pth")))


def test_frames_are_not_loaded_because_they_have_no_network():
    with pytest.raises(ValueError, match="backbone frames has no network to load"):
        load_backbone(BackboneSpec("frames"))


# Bits


@pytest.mark.parametrize("name", ["swin_2d", "shufflenet_2d"])
def test_a_frame_s_vector_has_the_same_bits_whatever_else_is_embedded(random_backbone, name, frames):
    backbone = random_backbone(name)
    together = backbone.embed(frames, np.array([0, 1, 2, 3, 4, 5, 6], np.int32))
    shuffled = backbone.embed(frames, np.array([6, 3, 0], np.int64))
    assert np.array_equal(shuffled, together[[6, 3, 0]])
    assert np.array_equal(backbone.embed(frames, np.array([2])), together[[2]])


def test_every_batch_on_the_cpu_has_the_same_size_because_kernels_are_chosen_by_it(frames):
    network = MeanColour()
    backbone = around(network)
    for count in (1, 4, 6):
        assert backbone.embed(frames, np.arange(count)).shape == (count, 3)
    assert network.sizes == [4, 4, 4, 4]


def test_the_number_of_threads_does_not_change_bits_and_is_left_as_it_was(shufflenet, frames):
    one = shufflenet.embed(frames, np.arange(4))
    torch.set_num_threads(2)
    assert np.array_equal(shufflenet.embed(frames, np.arange(4)), one)
    assert torch.get_num_threads() == 2


def test_clips_do_not_depend_on_their_neighbours(random_backbone, frames):
    backbone = random_backbone("x3d_s_3d")
    clips = np.array([[0, 1, 2, 3], [4, 5, -1, -1]], np.int32)
    both = backbone.embed(frames, clips)
    assert np.array_equal(backbone.embed(frames, clips[1:]), both[1:])


# Forms


def test_black_padding_is_a_black_frame():
    backbone, frames = around(MeanColour()), np.full((1, 224, 224, 3), 255, np.uint8)
    mean, std = (np.array(v) for v in (backbone.row.preprocessing.mean, backbone.row.preprocessing.std))
    vectors = backbone.embed(frames, np.array([-1, 0]))
    assert np.allclose(vectors, [(0 - mean) / std, (1 - mean) / std], atol=1e-4)


def test_no_clips_give_no_vectors(lite0, frames):
    assert lite0.embed(frames, np.empty(0, np.int32)).shape == (0, 1280)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (np.array([0, 8]), r"must lie in -1\.\.7"),
        (np.array([-2]), r"must lie in -1\.\.7"),
        (np.array([[0, 1]]), r"must be int \(C,\)"),
        (np.array([0.0]), r"must be int \(C,\)"),
    ],
)
def test_an_index_of_another_form_is_refused(lite0, frames, index, message):
    with pytest.raises(ValueError, match=message):
        lite0.embed(frames, index)


def test_frames_of_another_form_are_refused(lite0, frames):
    for wrong in (frames.astype(np.float32), frames[0], frames[:, :100]):
        with pytest.raises(ValueError, match="frames must be uint8"):
            lite0.embed(wrong, np.array([0]))


def test_vectors_that_are_not_finite_fail_the_trailer_instead_of_entering_the_store(frames):
    class Broken(nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return pictures.mean((2, 3)) / 0

    with pytest.raises(TrailerError, match="embed: resnet_2d gave vectors that are not finite"):
        around(Broken()).embed(frames, np.array([0]))


# Memory and precision


def test_out_of_memory_halves_the_batch_until_it_fits_and_remembers(frames):
    network = MeanColour(room=1)
    backbone = around(network)
    vectors = backbone.embed(frames, np.arange(6))
    assert network.sizes == [4, 2, 1, 1, 1, 1, 1, 1]
    assert np.array_equal(vectors, around(MeanColour()).embed(frames, np.arange(6)))
    backbone.embed(frames, np.arange(2))
    assert network.sizes[8:] == [1, 1]


def test_a_single_clip_that_does_not_fit_is_an_error(frames):
    with pytest.raises(torch.OutOfMemoryError):
        around(MeanColour(room=0)).embed(frames, np.arange(2))


def test_other_errors_are_not_retried(frames):
    class Broken(nn.Module):
        calls = 0

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            Broken.calls += 1
            raise RuntimeError("a shape is wrong")

    with pytest.raises(RuntimeError, match="a shape is wrong"):
        around(Broken()).embed(frames, np.arange(2))
    assert Broken.calls == 1


def test_batches_follow_the_free_memory_in_powers_of_two():
    assert batch_that_fits(free_bytes=10e9, clip_bytes=1e9, most=64) == 4
    assert batch_that_fits(free_bytes=1e9, clip_bytes=1e9, most=64) == 1
    assert batch_that_fits(free_bytes=80e9, clip_bytes=1e6, most=64) == 64


class Scaled(nn.Module):
    """A linear layer whose products leave half precision's range (65504) when `scale` is large."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3, bias=False)
        nn.init.constant_(self.layer.weight, scale)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.layer(pictures.mean((2, 3)) + 2)


def test_half_precision_is_taken_only_where_vectors_stay_the_same():
    pictures = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert around(Scaled(1.0)).choose_precision(pictures, torch.float16) is torch.float16

    class Cancelling(Scaled):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return self.layer(pictures.mean((2, 3)) + 10_000) - 30_000

    assert around(Cancelling(1.0)).choose_precision(pictures, torch.float16) is None


def test_a_batch_that_overflows_half_precision_is_done_again_in_float32(frames):
    exact, half = around(Scaled(5e4)), around(Scaled(5e4))
    half.half = torch.float16
    assert np.array_equal(half.embed(frames, np.arange(4)), exact.embed(frames, np.arange(4)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", [name for name, row in BACKBONES.items() if row.kind != "frames"])
def test_on_a_gpu_vectors_point_the_same_way_as_on_the_cpu(name, frames):
    weights = "pretrained" if name == LITE0.name else "random"
    cpu, gpu = (load_backbone(BackboneSpec(name, weights), device) for device in ("cpu", "cuda"))
    index = np.arange(8) if cpu.kind == "image" else np.arange(8).reshape(2, 4)
    a, b = cpu.embed(frames, index), gpu.embed(frames, index)
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosines.min() > 0.999
