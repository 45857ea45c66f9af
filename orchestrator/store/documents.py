"""Small JSON files: written atomically, without NaN, and set aside with a warning when they can't be read."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from orchestrator.store.files import FileTree

log = logging.getLogger(__name__)


def encode(value: Any, *, indent: int | None = 1) -> str:
    """Strict JSON of plain values; numpy numbers become Python's, exactly.

    Raises ValueError that names the first value that is not a finite number, TypeError for what JSON has no form for.
    """
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False, default=_plain_number)
    except ValueError as fault:
        bad = next(_not_finite(value, ""), None)
        raise ValueError(f"{bad or 'value'}: only finite numbers can be kept") from fault


def write_document(tree: FileTree, path: str, value: Any) -> None:
    """Replaces the JSON file at `path` atomically. Raises StoreError, or as `encode`."""
    tree.write_bytes(path, (encode(value) + "\n").encode())


def read_document(tree: FileTree, path: str) -> Any | None:
    """The JSON file at `path`; None where there is none or it is torn, which is warned about. Raises StoreError."""
    try:
        data = tree.read_bytes(path)
    except FileNotFoundError:
        return None
    try:
        return json.loads(data)
    except ValueError as fault:
        set_torn_aside(tree, path, fault)
        return None


def seal(body: Any) -> bytes:
    """A JSON file that carries the SHA-256 of its own body, so that a torn or edited one is noticed.

    The checksum stands alone on the first line and covers the bytes of all others, so that checking a file costs no
    second pass through JSON.
    """
    rest = f'"body": {encode(body)}}}\n'.encode()
    return _first_line(rest) + rest


def unseal(data: bytes) -> Any:
    """The body of a sealed file. Raises ValueError when it is torn or was edited."""
    first, newline, rest = data.partition(b"\n")
    if first + newline != _first_line(rest):
        raise ValueError("its checksum does not fit its content")
    return json.loads(data)["body"]


def set_torn_aside(tree: FileTree, path: str, why: object) -> None:
    """Renames a torn file so that it is counted no more, and says so in the log."""
    aside = tree.set_aside(path)
    kept = f"kept as {aside.rsplit('/', 1)[-1]}" if aside else "it can't be renamed and is left out"
    log.warning("%s: torn or changed by hand, so it counts as missing (%s): %s", tree.where(path), kept, why)


def _first_line(rest: bytes) -> bytes:
    return f'{{"checksum": "{hashlib.sha256(rest).hexdigest()}",\n'.encode()


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _not_finite(value: Any, at: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _not_finite(inner, f"{at}.{name}" if at else str(name))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _not_finite(inner, f"{at}[{i}]")
    elif isinstance(value, float | np.floating) and not math.isfinite(value):
        yield f"{at}: {value}"
