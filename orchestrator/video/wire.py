"""Messages between the decoder's parent and child: a kind, a length, then JSON or raw frames.

Frames go raw, since a trailer's worth is over a gigabyte and pickling would copy it.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

HEADER = struct.Struct("<cQ")
"""Kind (`J` JSON, `F` raw frames) and the length of what follows in bytes."""


def write_message(descriptor: int, kind: bytes, body: bytes | memoryview) -> None:
    """Write one message whole; raises BrokenPipeError when nobody reads any more."""
    for part in (HEADER.pack(kind, len(body)), body):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def write_json(descriptor: int, value: dict[str, Any]) -> None:
    """Write one JSON message."""
    write_message(descriptor, b"J", json.dumps(value).encode())
