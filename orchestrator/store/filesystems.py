"""Which filesystem an address means, opened by fsspec or pyarrow."""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa

from orchestrator.errors import InputError

SINGLE_PUT = {"memory", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "obs", "cos", "r2"}
"""Filesystems whose single put is atomic; on every other remote one a file is written aside and moved."""


def open_filesystem(uri: str) -> tuple[Any, str, str]:
    """fsspec filesystem (None for a plain path), root path in it, protocol.

    pyarrow's own filesystems stand in for drivers not installed. Raises InputError for what nothing opens.
    """
    protocol = uri.split("://", 1)[0].lower() if "://" in uri else "file"
    if protocol == "file" and "://" not in uri:
        return None, os.path.expanduser(uri), protocol
    missing: Exception | None = None
    if "?" not in uri:  # options within the address are pyarrow's way
        import fsspec.core

        try:
            filesystem, root = fsspec.core.url_to_fs(uri)
            return filesystem, root, protocol
        except (ImportError, ValueError) as fault:
            missing = fault
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow import fs

    try:
        filesystem, root = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError, ValueError) as fault:
        raise InputError(f"{uri}: can't open this kind of address: {missing or fault}") from fault
    return ArrowFSWrapper(filesystem), root, protocol
