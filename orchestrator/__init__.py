"""DIViTA Orchestrator: sweeps over frozen image and video representations of movie trailers.

What the command line does is a few calls of the functions here; see `orchestrator.api`. Importing this package loads
none of torch, ray and mlflow; what needs them loads them when it is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "RunOptions": "orchestrator.driver.options",
    "extract_sweep": "orchestrator.api",
    "plan_sweep": "orchestrator.api",
    "report_sweep": "orchestrator.api",
    "resume_sweep": "orchestrator.api",
    "run_sweep": "orchestrator.api",
    "sweep_results": "orchestrator.api",
    "load_manifest": "orchestrator.data.manifest",
    "write_splits": "orchestrator.data.splits",
    "synthesize": "orchestrator.data.synth",
    "load_space": "orchestrator.sweep.space",
    "download_trailers12k": "orchestrator.trailers12k",
    "export_trailers12k": "orchestrator.trailers12k",
    "import_trailers12k": "orchestrator.trailers12k",
    "Workspace": "orchestrator.store.workspace",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return __all__
