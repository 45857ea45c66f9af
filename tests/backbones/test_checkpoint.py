from __future__ import annotations

import pickle
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from orchestrator.backbones.checkpoint import fit, read_checkpoint, rename_in_order
from orchestrator.errors import InputError


def network() -> nn.Module:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4), fc=nn.Identity()))


def filled() -> dict[str, torch.Tensor]:
    """A checkpoint of `network` with a classifier that it no longer has."""
    state = {k: torch.randn(v.shape) if v.is_floating_point() else v for k, v in network().state_dict().items()}
    return state | {"fc.weight": torch.randn(7, 4), "fc.bias": torch.randn(7)}


@pytest.mark.parametrize("nest", [None, "state_dict", "model_state", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_checkpoint_comes_back_bit_for_bit_however_it_was_wrapped(tmp_path, nest, prefix):
    state = filled()
    named = {prefix + k: v for k, v in state.items()}
    torch.save({nest: named, "epoch": 3} if nest else named, tmp_path / "file.pth")
    net = network()
    fit(net, read_checkpoint(tmp_path / "file.pth"), "fc", "file.pth")
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_safetensors_are_read(tmp_path):
    state = filled()
    save_file(state, tmp_path / "file.safetensors")
    read = read_checkpoint(tmp_path / "file.safetensors")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


def test_what_does_not_fit_is_named(tmp_path):
    state = filled()
    with pytest.raises(InputError, match=r"file\.pth: does not fit this backbone: missing conv\.weight$"):
        fit(network(), OrderedDict((k, v) for k, v in state.items() if k != "conv.weight"), "fc", "file.pth")
    with pytest.raises(InputError, match=r"unexpected extra\.weight"):
        fit(network(), OrderedDict(state | {"extra.weight": torch.zeros(1)}), "fc", "file.pth")
    with pytest.raises(InputError, match=r"conv\.weight is \(4, 9, 1, 1\), not \(4, 3, 1, 1\)"):
        fit(network(), OrderedDict(state | {"conv.weight": torch.zeros(4, 9, 1, 1)}), "fc", "file.pth")


def test_many_misfits_are_counted_not_listed():
    state = OrderedDict(filled() | {f"extra{i}": torch.zeros(1) for i in range(20)})
    with pytest.raises(InputError, match=r"unexpected extra0, extra1, extra2, extra3 and 16 more$"):
        fit(network(), state, "fc", "file.pth")


def test_counters_that_old_files_lack_are_no_misfit():
    state, net = filled(), network()
    fit(net, OrderedDict((k, v) for k, v in state.items() if "num_batches" not in k), "fc", "file.pth")
    assert torch.equal(net.norm.weight, state["norm.weight"])
    assert net.norm.num_batches_tracked == 0


class Evil:
    def __reduce__(self):
        return (open, ("ran.txt", "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_with_code_in_it_is_refused_unrun(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": filled(), "extra": Evil()}, tmp_path / "torch.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil()))
    for name in ("torch.pth", "plain.pth"):
        with pytest.raises(InputError, match="could run code"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "ran.txt").exists()


@pytest.mark.parametrize("name", ["file.pth", "file.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, name, damage):
    path = tmp_path / name
    if name == "file.pth":
        torch.save(filled(), path)
    else:
        save_file(filled(), path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"<html>not found</html>"}[damage])
    with pytest.raises(InputError, match=name):
        read_checkpoint(path)


def test_a_file_without_tensors_is_refused_with_what_was_expected(tmp_path):
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "log.pth")
    with pytest.raises(
        InputError, match="no tensors under epoch, loss; expected a state_dict, bare or under state_dict"
    ):
        read_checkpoint(tmp_path / "log.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds no tensors by name, but list"):
        read_checkpoint(tmp_path / "list.pth")


def test_renaming_in_order_needs_other_names_and_equal_shapes():
    wanted = {"a": torch.zeros(2), "b": torch.zeros(3)}
    assert list(rename_in_order(OrderedDict(x=torch.ones(2), y=torch.ones(3)), wanted)) == ["a", "b"]
    for state in (OrderedDict(x=torch.ones(3), y=torch.ones(2)), OrderedDict(a=torch.ones(2), y=torch.ones(3))):
        assert rename_in_order(state, wanted) is state
