"""Reading a file of weights without running code from it, and fitting it into a network to the last tensor."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from orchestrator.errors import InputError, some

NESTED_UNDER = ("state_dict", "model_state", "model_state_dict", "model")
"""Where training scripts keep the tensors among other things; the first that is there counts."""

SHOWN = 4

State = OrderedDict[str, Tensor]


def read_checkpoint(path: Path) -> State:
    """Tensors by name from a .safetensors file or what `torch.save` wrote, on the CPU.

    Unwraps NESTED_UNDER and strips DataParallel's `module.`. Raises InputError: unreadable, cut short, or holding
    objects that only unpickling could restore, which is refused because it runs code from the file.
    """
    content = _read(path)
    for name in NESTED_UNDER:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"weights: {path}: holds no tensors by name, but {type(content).__name__}")
    others = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise InputError(
            f"weights: {path}: no tensors under {some(others, SHOWN)}; expected a state_dict, bare or under "
            f"{', '.join(NESTED_UNDER)}"
        )
    state = OrderedDict((str(k).removeprefix("module."), v) for k, v in content.items())
    # From it modules read which layout an older file has (BatchNorm, torchvision's MLP).
    metadata = getattr(content, "_metadata", None)
    if metadata is not None:
        state._metadata = {k.removeprefix("module."): v for k, v in metadata.items()}  # type: ignore[attr-defined]
    return state


def fit(network: nn.Module, state: State, classifier: str, path: Path | str) -> None:
    """Puts `state` into `network`, leaving out the `classifier`'s tensors; all others must match exactly.

    Raises InputError that names the first missing, unexpected and wrongly shaped tensors.
    """
    given = OrderedDict((k, v) for k, v in state.items() if not (classifier and k.startswith(f"{classifier}.")))
    if hasattr(state, "_metadata"):
        given._metadata = state._metadata  # type: ignore[attr-defined]
    wanted = network.state_dict()
    problems = [
        f"{k} is {tuple(v.shape)}, not {tuple(wanted[k].shape)}"
        for k, v in given.items()
        if k in wanted and v.shape != wanted[k].shape
    ]
    if not problems:
        # Not strict: some torch modules rename or add tensors of older files while loading; what remains is listed.
        result = network.load_state_dict(given, strict=False)
        missing = [k for k in result.missing_keys if not k.endswith("num_batches_tracked")]
        problems = [f"missing {some(missing, SHOWN)}"] if missing else []
        problems += [f"unexpected {some(result.unexpected_keys, SHOWN)}"] if result.unexpected_keys else []
    if problems:
        raise misfit(path, some(problems, SHOWN, "; "))


def misfit(path: Path | str, why: str) -> InputError:
    return InputError(f"weights: {path}: does not fit this backbone: {why}")


def rename_in_order(state: State, wanted: Mapping[str, Tensor]) -> State:
    """`state` under the wanted names, tensor by tensor, if its own names are all others and all shapes agree."""
    if state.keys() & wanted.keys() or len(state) != len(wanted):
        return state
    if any(a.shape != b.shape for a, b in zip(state.values(), wanted.values(), strict=True)):
        return state
    return OrderedDict(zip(wanted, state.values(), strict=True))


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path, device="cpu")
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"weights: {path}: is no checkpoint, or holds more than tensors and plain values; it is not opened, "
            "because that could run code from it. Save its state_dict alone"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"weights: {path}: can't be read as a checkpoint: {reason}") from error
