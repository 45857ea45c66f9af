"""A sweep opened, kept and opened again; and what its report says of the weights behind its vectors."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.driver.options import RunOptions
from orchestrator.driver.prepare import check_space
from orchestrator.errors import InputError, StoreError
from orchestrator.results import THE_AUTHORS, weights_used
from orchestrator.specs import BackboneSpec, ClipSpec, Config, EmbeddingSpec, TimeSformerSpec, plain
from orchestrator.store.sweeps import SweepEntry
from orchestrator.store.workspace import Workspace
from orchestrator.study import Study
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


SPACE = """
include: [parts/more.yaml]
fixed: {backbone: resnet_2d, weights: net.pth}
grid: {aggregator: [mean, gru]}
"""


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study opened by relative paths, as commands do it, with overrides and an include."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "net.pth").write_bytes(b"weights")
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "parts" / "more.yaml").write_text("name: more\nfixed: {backbone: resnet_2d, weights: net.pth}\n")
    (tmp_path / "trailers.csv").write_text(manifest_text())
    for i in range(12):
        (tmp_path / f"v{i}.mp4").write_bytes(b"video")
    return Study.open("space.yaml", "trailers.csv", "workspace", {"training.epochs": 3})


def manifest_text(**genres: str) -> str:
    rows = []
    for i in range(12):
        labels = genres.get(f"t{i}", f"{i % 2},{(i // 2) % 2}")
        rows.append(f"t{i},v{i}.mp4,{labels},{0 if i < 8 else i % 2 + 1}")
    return "\n".join(["mid,path,action,drama,split0", *rows]) + "\n"


def test_a_sweep_is_opened_again_from_its_own_copies_whatever_became_of_the_files(
    opened: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = opened.plan()
    opened.save(plan, RunOptions(results="here", cpus=2).keep("run"))
    for path in ("space.yaml", "parts/more.yaml", "trailers.csv", "v3.mp4"):
        (tmp_path / path).unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    workspace = Workspace(tmp_path / "workspace")
    record = workspace.sweeps.load("space")
    again = Study.reopen(record, workspace)
    assert again.space.configs == opened.space.configs and again.space.tables_of() == opened.space.tables_of()
    assert again.manifest.paths == opened.manifest.paths
    assert [c.key for c in again.plan().configs] == [c.key for c in plan.configs]
    assert RunOptions.kept(record.options) == RunOptions(results=str(tmp_path / "here"), cpus=2)
    again.save(again.plan(), record.options)
    assert workspace.sweeps.load("space").space == record.space, "and once more"


def test_other_labels_are_noticed_and_named_and_a_moved_video_is_not(opened: Study, tmp_path: Path) -> None:
    opened.save(opened.plan(), {"command": "run"})
    assert opened.changes() == []
    (tmp_path / "trailers.csv").write_text(manifest_text(t5="0,1"))
    again = Study.open("space.yaml", "trailers.csv", "workspace")
    assert again.changes() == ["labels of 1 trailer changed (t5: +drama -action)"]


@pytest.mark.parametrize(
    "uri",
    [
        "https://me:secret@host",
        "https://secret@host/x",
        "https://host/?token=secret",
        "postgresql://h/d?password=secret",
    ],
)
def test_an_address_with_a_secret_is_not_kept_and_must_be_given_again(uri: str) -> None:
    kept = RunOptions(retry_failed=True, tracking_uri=uri).keep("run")
    assert "secret" not in str(kept) and not kept["retry_failed"]
    with pytest.raises(InputError, match=r"--tracking-uri: .* is not kept, since it holds a password or a token"):
        RunOptions.kept(kept)
    assert RunOptions.kept(kept | {"tracking_uri": uri}).tracking_uri == uri
    plain_one = RunOptions(tracking_uri="https://host:5000/mlflow")
    assert RunOptions.kept(plain_one.keep("run")).tracking_uri == plain_one.tracking_uri


def test_a_linked_yaml_is_opened_again_under_its_own_name(opened: Study, tmp_path: Path) -> None:
    (tmp_path / "link.yaml").symlink_to(tmp_path / "space.yaml")
    linked = Study.open("link.yaml", "trailers.csv", "workspace")
    linked.save(linked.plan(), {"command": "run"})
    again = Study.reopen(linked.workspace.sweeps.load("link"), linked.workspace)
    assert [t.name for t in again.space.tables] == [t.name for t in linked.space.tables] == ["more", "link"]


def test_relative_weights_of_a_search_are_those_of_the_folder_where_it_was_opened(
    opened: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "search.yaml").write_text(
        "fixed: {backbone: resnet_2d}\n"
        "search: {configs: 2, ranges: {weights: [net.pth, random], clips_per_snippet: [1, 2]}}\n"
    )
    study = Study.open("search.yaml", "trailers.csv", "workspace")
    study.save(study.plan(), {"command": "run"})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    record = Workspace(tmp_path / "workspace").sweeps.load("search")
    for _ in range(2):  # resumed, and resumed once more
        again = Study.reopen(record, Workspace(tmp_path / "workspace"))
        assert again.plan().searches[0].space == study.plan().searches[0].space
        record = again.save(again.plan(), {"command": "run"})


def test_a_sweep_whose_record_is_torn_is_run_anew_and_says_so(opened: Study, tmp_path: Path) -> None:
    opened.save(opened.plan(), {"command": "run"})
    (tmp_path / "workspace" / "sweeps" / "space" / "sweep.json").write_text("torn")
    assert opened.changes() == ["what it ran on is not known any more"]
    assert opened.changes() == []


def test_embeddings_that_do_not_fit_on_the_disk_are_refused_before_the_first_trailer(
    opened: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = opened.plan()
    check_space(opened, plan)
    monkeypatch.setattr(type(opened.workspace.root), "free_bytes", lambda self: 1000)
    with pytest.raises(StoreError, match=r"take about .* but 1\.0 kB are free|take about"):
        check_space(opened, plan)
