"""Finding weights on this machine, checking that they are whole, and fetching them. Imports no torch.

Nothing here falls back to random weights: what is missing or damaged raises MissingWeights with the file's name,
its source, the place it belongs to, and the way to pass a path. `DIVITA_OFFLINE=1` or `HF_HUB_OFFLINE=1` forbids
downloads; otherwise one that can't start within seconds is given up.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from orchestrator.backbones.download import offline_reason
from orchestrator.backbones.sources import PackagedFile, WeightsSource, file_digest
from orchestrator.errors import MissingWeights


def status_of(source: WeightsSource, backbone: str) -> str:
    """`ready`, or the message that loading would end with if nothing could be fetched."""
    path = source.find()
    fault = "not on this machine" if path is None else source.fault(path)
    return "ready" if fault is None else _explain(source, backbone, fault)


def weights_file(source: WeightsSource, backbone: str) -> Path:
    """The path of the whole, checked file; fetched where that is allowed and possible, else MissingWeights."""
    path = source.find()
    fault = "not on this machine" if path is None else source.fault(path)
    if path is not None and fault is None:
        return path
    reason = offline_reason()
    if reason is None:
        try:
            return source.fetch()
        except OSError as error:
            reason = str(error) or type(error).__name__
    raise MissingWeights(_explain(source, backbone, f"{fault}, and could not be fetched: {reason}"))


def checkpoint_path(weights: str) -> Path:
    """The file that `weights: <path>` names; MissingWeights where there is none."""
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    near = difflib.get_close_matches(weights, ("pretrained", "random"), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise MissingWeights(f"weights: {weights!r} is not pretrained, random or the path of a checkpoint file{hint}")


def checkpoint_digest(weights: str) -> str:
    """SHA-256 of the file that `weights: <path>` names, as 64 hex digits."""
    return file_digest(checkpoint_path(weights))


def _explain(source: WeightsSource, backbone: str, fault: str) -> str:
    put = source.place if isinstance(source, PackagedFile) else f"put it at {source.place}"
    return (
        f"weights: {backbone} needs {source.name}: {fault}. It comes from {source.url}; {put}, or pass a path with "
        f"`weights: /path/to/{source.name.rpartition('/')[2]}` (`weights: random` is untrained and labelled so)"
    )
