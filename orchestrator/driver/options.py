"""How a sweep runs, and what of it is kept for `divita resume`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlparse

from orchestrator.errors import InputError
from orchestrator.study import StrPath

WITHHELD, SQLITE = "withheld", "sqlite:///"


@dataclass(frozen=True)
class RunOptions:
    """How a sweep runs; nothing here changes a result but the order in which a search learns (`concurrent`).

    address: of a Ray cluster, None or `local` for one here of `cpus` cores (default all). max_failed: trailers that may
    fail before the pass stops, default 1% of them and at least 10. retry_failed: try trailers again that failed before.
    layout: `auto`, `fused` or `split`, see `engine.extraction`. stall_s: seconds without a frame after which a decoder
    is taken for hung. tracking_uri: MLflow's, default an SQLite file in the workspace. results: where the report goes,
    None for no report. concurrent: configs of a search in training at once, default as many as the cluster holds; with
    one, a search repeats itself exactly.
    """

    address: str | None = None
    cpus: int | None = None
    max_failed: int | None = None
    retry_failed: bool = False
    layout: str = "auto"
    stall_s: float = 60.0
    tracking_uri: str | None = None
    results: StrPath | None = "results"
    concurrent: int | None = None

    def keep(self, command: str) -> dict[str, Any]:
        """Plain values for `divita resume`; what is given for one time, or holds a secret, is not kept."""
        kept = asdict(self) | {"retry_failed": False, "command": command}
        if self.results is not None:
            kept["results"] = os.path.abspath(self.results)
        if self.tracking_uri and _holds_secret(self.tracking_uri):
            kept["tracking_uri"] = WITHHELD
        elif self.tracking_uri and self.tracking_uri.startswith(SQLITE):
            kept["tracking_uri"] = SQLITE + os.path.abspath(self.tracking_uri.removeprefix(SQLITE))
        return kept

    @classmethod
    def kept(cls, values: Mapping[str, Any]) -> RunOptions:
        """The inverse of `keep`. Raises InputError where a secret must be given again."""
        if values.get("tracking_uri") == WITHHELD:
            raise InputError(
                "--tracking-uri: the one that the sweep was started with is not kept, since it holds a password or a "
                "token; give it again"
            )
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})


def _holds_secret(uri: str) -> bool:
    parts = urlparse(uri)
    return "@" in parts.netloc or bool(parts.query)
