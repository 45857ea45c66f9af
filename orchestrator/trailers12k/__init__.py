"""The published representations of Trailers12k: fetched, read into the store, and written in their layout.

```python
from orchestrator import run_sweep
from orchestrator.trailers12k import download_trailers12k, import_trailers12k

download_trailers12k("trailers12k", files=["mtgc", "swin_2d"])
import_trailers12k("trailers12k", workspace="workspace")
run_sweep("backbone", "trailers12k/mtgc.csv", workspace="workspace")
```
"""

from __future__ import annotations

from orchestrator.data.download import Downloaded, download_trailers12k
from orchestrator.trailers12k.into_store import Imported, ImportedSet, import_trailers12k
from orchestrator.trailers12k.out_of_store import Exported, export_trailers12k

__all__ = [
    "Downloaded",
    "Exported",
    "Imported",
    "ImportedSet",
    "download_trailers12k",
    "export_trailers12k",
    "import_trailers12k",
]
