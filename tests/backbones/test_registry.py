from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time

import pytest

from orchestrator.backbones.registry import (
    BACKBONES,
    describe,
    ensure_weights,
    entry,
    identity,
    is_random,
    weights_status,
)
from orchestrator.errors import InputError, MissingWeights
from orchestrator.specs import BackboneSpec, key_of


def test_the_study_s_table_backbones_have_the_widths_and_inputs_it_names():
    expected = {
        "shufflenet_2d": ("image", 1024, 224),
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
        "from orchestrator.backbones.registry import BACKBONES, describe, identity, weights_status\n"
        "from orchestrator.specs import BackboneSpec\n"
        "describe()\n"
        "for name in BACKBONES:\n"
        "    for weights in ('pretrained', 'random'):\n"
        "        identity(BackboneSpec(name, weights)); weights_status(BackboneSpec(name, weights))\n"
        "sys.exit(bool({'torch', 'timm', 'torchvision', 'ray', 'mlflow'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", BACKBONES)
def test_identity_is_plain_json_and_tells_weights_apart(name):
    pretrained, random = identity(BackboneSpec(name)), identity(BackboneSpec(name, "random"))
    assert json.loads(json.dumps(pretrained)) == pretrained
    assert key_of(pretrained) != key_of(random)
    assert pretrained | {"weights": None} == random | {"weights": None}


def test_identity_names_published_weights_by_the_file_whose_name_carries_the_digest():
    assert identity(BackboneSpec("swin_3d"))["weights"] == {"file": "swin3d_t-7615ae03.pth"}


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


def test_the_described_table_has_every_row_and_no_empty_cell():
    rows = describe()
    assert [row["name"] for row in rows] == list(BACKBONES)
    assert all(all(row.values()) for row in rows)
    assert rows[0].keys() >= {"licence", "source", "weights", "width"}
