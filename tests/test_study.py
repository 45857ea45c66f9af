"""What a sweep's report says of the weights behind its vectors."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from orchestrator.specs import BackboneSpec, ClipSpec, Config, EmbeddingSpec, TimeSformerSpec, plain
from orchestrator.store.sweeps import SweepEntry
from orchestrator.store.workspace import Workspace
from orchestrator.results import THE_AUTHORS, weights_used
from orchestrator.sweep.identity import embedding_identity


def test_weights_are_named_by_their_file_and_published_vectors_by_their_authors(tmp_path: Path) -> None:
    workspace, entries, rows = Workspace(tmp_path), [], []
    clip, single = ClipSpec("shot", 24), ClipSpec("even", 8)
    for name, spec, marks in (
        ("ours", EmbeddingSpec(clip, BackboneSpec("swin_2d")), ()),
        ("theirs", EmbeddingSpec(clip, BackboneSpec("swin_3d")), ("P",)),
        ("untrained", EmbeddingSpec(clip, BackboneSpec("resnet_2d", "random")), ("R",)),
        ("pixels", EmbeddingSpec(single, BackboneSpec("frames")), ()),
    ):
        config = Config((spec,), TimeSformerSpec(), 8) if name == "pixels" else Config((spec,))
        workspace.embeddings.write_spec(f"{name:0<20}", embedding_identity(spec))
        entries.append(SweepEntry(plain(config), name, (f"{name:0<20}",), (), {}))
        rows.append(SimpleNamespace(key=name, marks=marks))
    results = SimpleNamespace(record=SimpleNamespace(entries=entries), rows=rows)
    assert weights_used(results, workspace) == {  # type: ignore[arg-type]
        "swin_2d": "file swin_t-704ceda3.pth",
        "swin_3d": THE_AUTHORS,
        "resnet_2d": "random, untrained",
        "frames": "file jx_vit_base_p16_224-80ecf9dd.pth",
    }
