from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time

import pytest

from orchestrator.backbones.registry import (
    BACKBONES,
    ensure_weights,
    entry,
    identity,
    initial_weights,
    is_random,
    weights_status,
)
from orchestrator.errors import InputError, MissingWeights
from orchestrator.specs import BackboneSpec, key_of


def test_the_study_s_table_backbones_have_the_widths_and_inputs_it_names():
    expected = {
        "shufflenet_2d": ("image", 1024, 224),
        "shufflenet_3d": ("video", 1024, 112),
        "resnet_2d": ("image", 2048, 224),
        "swin_2d": ("image", 768, 224),
        "r2plus1d_3d": ("video", 512, 112),
        "swin_3d": ("video", 768, 224),
    }
    found = {name: (e.kind, e.width, e.preprocessing.side) for name, e in BACKBONES.items()}
    assert expected.items() <= found.items()


def test_planning_with_table_rows_loads_no_torch():
    code = (
        "import sys\n"
        "from orchestrator.backbones.registry import BACKBONES, identity, initial_weights, weights_status\n"
        "from orchestrator.specs import BackboneSpec\n"
        "for name in BACKBONES:\n"
        "    for weights in ('pretrained', 'random'):\n"
        "        spec = BackboneSpec(name, weights)\n"
        "        identity(spec); initial_weights(spec); weights_status(spec)\n"
        "sys.exit(bool({'torch', 'timm', 'torchvision', 'ray', 'mlflow'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [name for name, row in BACKBONES.items() if row.kind != "frames"])
def test_identity_is_plain_json_and_tells_weights_apart(name):
    pretrained, random = identity(BackboneSpec(name)), identity(BackboneSpec(name, "random"))
    assert json.loads(json.dumps(pretrained)) == pretrained
    assert key_of(pretrained) != key_of(random)
    assert pretrained | {"weights": None} == random | {"weights": None}


def test_identity_names_published_weights_by_the_file_whose_name_carries_the_digest():
    assert identity(BackboneSpec("swin_3d"))["weights"] == {"file": "swin3d_t-7615ae03.pth"}


def test_frames_are_the_same_whatever_weights_a_head_starts_from(tmp_path):
    expected = {"backbone": "frames", "side": 224, "dtype": "uint8", "layout": "HWC RGB", "version": 1}
    for weights in ("pretrained", "random", str(tmp_path / "not-there.pth")):
        assert identity(BackboneSpec("frames", weights)) == expected
    row = entry("frames")
    assert (row.kind, row.width) == ("frames", 224 * 224 * 3)


def test_the_weights_that_a_head_on_frames_starts_from_have_an_identity_of_their_own(tmp_path):
    (tmp_path / "mine.pth").write_bytes(b"a")
    assert initial_weights(BackboneSpec("frames")) == {"file": "jx_vit_base_p16_224-80ecf9dd.pth"}
    assert initial_weights(BackboneSpec("frames", "random"))["random"] == 0
    assert len(initial_weights(BackboneSpec("frames", str(tmp_path / "mine.pth")))["sha256"]) == 64
    with pytest.raises(MissingWeights, match="not-there"):
        initial_weights(BackboneSpec("frames", "not-there.pth"))
    assert ensure_weights(BackboneSpec("frames", "random")) is None
    assert "80ecf9dd.pth: not on this machine" in weights_status(BackboneSpec("frames"))


def test_a_fixed_number_of_frames_is_in_the_identity_and_none_is_not():
    assert identity(BackboneSpec("mvit_v1_b_3d"))["preprocessing"]["frames"] == 16
    assert "frames" not in identity(BackboneSpec("swin_3d"))["preprocessing"]


def test_every_row_says_where_it_comes_from_and_under_which_terms():
    for name, row in BACKBONES.items():
        assert name == row.name
        assert all((row.pretraining, row.source, row.licence, row.weights.name, row.weights.url, row.weights.place))


def test_a_row_of_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind 'audio' is not one of image, video, frames"):
        dataclasses.replace(BACKBONES["swin_2d"], kind="audio")


def test_identities_of_different_backbones_differ():
    keys = {key_of(identity(BackboneSpec(name, "random"))) for name in BACKBONES}
    assert len(keys) == len(BACKBONES)


@pytest.mark.parametrize("change", [{"version": 2}, {"network": "torchvision:other"}, {"width": 5}])
def test_identity_changes_with_what_changes_vectors(monkeypatch, change):
    before = key_of(identity(BackboneSpec("swin_2d")))
    monkeypatch.setitem(BACKBONES, "swin_2d", dataclasses.replace(BACKBONES["swin_2d"], **change))
    entry.cache_clear()
    after = key_of(identity(BackboneSpec("swin_2d")))
    entry.cache_clear()
    assert before != after


def test_a_checkpoint_is_known_by_its_bytes_wherever_it_lies(tmp_path):
    one, two, three = tmp_path / "one.pth", tmp_path / "two.pth", tmp_path / "three.pth"
    one.write_bytes(b"a"), two.write_bytes(b"a"), three.write_bytes(b"b")
    digests = [identity(BackboneSpec("swin_2d", str(path)))["weights"]["sha256"] for path in (one, two, three)]
    assert digests[0] == digests[1] != digests[2]
    assert len(digests[0]) == 64


def test_a_checkpoint_that_changed_in_place_is_noticed(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"a")
    before = identity(BackboneSpec("swin_2d", str(path)))
    path.write_bytes(b"bb")
    assert identity(BackboneSpec("swin_2d", str(path))) != before


def test_an_unknown_backbone_is_refused_with_the_names_and_the_nearest():
    with pytest.raises(InputError, match=r"'swin3d' is not one of .*shufflenet_2d.* did you mean swin_3d"):
        entry("swin3d")


def test_a_misspelt_weights_word_is_not_taken_for_a_path():
    with pytest.raises(MissingWeights, match=r"'pretraned' is not .* did you mean pretrained"):
        identity(BackboneSpec("swin_2d", "pretraned"))


def test_only_random_weights_are_labelled_random(tmp_path):
    assert is_random(BackboneSpec("swin_2d", "random"))
    assert not is_random(BackboneSpec("swin_2d"))
    assert not is_random(BackboneSpec("swin_2d", str(tmp_path / "random.pth")))


def test_status_says_ready_or_what_is_missing_and_where_it_goes(tmp_path):
    assert weights_status(BackboneSpec("efficientnet_lite0_2d")) == "ready"
    assert weights_status(BackboneSpec("swin_3d", "random")) == "ready"
    path = tmp_path / "torch-home" / "hub" / "checkpoints" / "swin3d_t-7615ae03.pth"
    message = weights_status(BackboneSpec("swin_3d"))
    for part in (str(path), "https://download.pytorch.org/models/swin3d_t-7615ae03.pth", "`weights: /path/to/"):
        assert part in message
    assert "no-such-file" in weights_status(BackboneSpec("swin_3d", "/no-such-file.pth"))


def test_the_file_to_load_is_found_or_its_lack_raised(tmp_path):
    (tmp_path / "mine.pth").write_bytes(b"a")
    assert ensure_weights(BackboneSpec("swin_3d", str(tmp_path / "mine.pth"))) == tmp_path / "mine.pth"
    assert ensure_weights(BackboneSpec("swin_3d", "random")) is None
    assert ensure_weights(BackboneSpec("efficientnet_lite0_2d")).name == "efficientnet-lite0-57934424.pth"
    with pytest.raises(MissingWeights, match=r"swin3d_t-7615ae03\.pth"):
        ensure_weights(BackboneSpec("swin_3d"))


def test_without_a_network_and_without_files_the_answer_comes_within_seconds(monkeypatch):
    monkeypatch.delenv("DIVITA_OFFLINE")
    for proxy in ("https_proxy", "http_proxy"):  # nobody listens there
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    start = time.monotonic()
    for name in ("x3d_s_3d", "timm:test_vit"):
        with pytest.raises(MissingWeights, match="could not be fetched"):
            ensure_weights(BackboneSpec(name))
    assert time.monotonic() - start < 10
