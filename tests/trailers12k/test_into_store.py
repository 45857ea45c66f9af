"""Published groups become embedding sets: exact, after all was looked at, completed by a rerun, refused by name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from orchestrator.api import plan_sweep
from orchestrator.cli_trailers12k import app
from orchestrator.data.trailers12k import PUBLISHED, is_published
from orchestrator.errors import InputError, StoreError
from orchestrator.store.workspace import Workspace
from orchestrator.sweep.identity import embedding_identity, embedding_key
from orchestrator.trailers12k import import_trailers12k, into_store
from orchestrator.trailers12k.naming import published_spec

SIX = [f.backbone for f in PUBLISHED if f.backbone]


def stored(workspace: Path, backbone: str) -> Any:
    return Workspace(workspace).embeddings, embedding_key(published_spec(backbone))


def is_empty(workspace: Path, backbone: str) -> bool:
    store, key = stored(workspace, backbone)
    return not store.digests(key)


def space_of(folder: Path, backbones: list[str]) -> Path:
    path = folder / "space.yaml"
    path.write_text(f"grid: {{backbone: [{', '.join(backbones)}], clips_per_snippet: [4]}}\n")
    return path


def test_all_six_come_in_under_the_sets_that_a_sweep_asks_for(record: Any, tmp_path: Path) -> None:
    made, workspace = record(SIX), tmp_path / "workspace"
    done = import_trailers12k(made.folder, workspace=workspace)
    assert [(s.backbone, s.trailers, s.written, s.kept) for s in done.sets] == [(b, 20, 20, 0) for b in SIX]
    assert not done.notes and not done.absent
    for backbone in SIX:
        store, key = stored(workspace, backbone)
        assert store.spec(key) == embedding_identity(published_spec(backbone))
        there = store.load(key, list(made.vectors[backbone]))
        for i, vectors in enumerate(made.vectors[backbone].values()):
            assert there[i].tobytes() == vectors.tobytes()
    space = space_of(tmp_path, [*SIX, "shufflenet_2d+shufflenet_3d", "resnet_2d+r2plus1d_3d"])
    plan = plan_sweep(space, made.labels, workspace=workspace)
    assert not plan.to_decode and len(plan.sets) == 6 and len(plan.configs) == 8
    assert all(t.key for t in plan.trials)  # every trial knows its data and can be trained
    assert all(is_published(digest) for s in plan.sets for digest in s.cached.values())


def test_a_second_import_finds_everything_there(record: Any, tmp_path: Path) -> None:
    made, workspace = record(["swin_3d"]), tmp_path / "workspace"
    first = import_trailers12k(made.folder, workspace=workspace)
    before = sorted(workspace.rglob("part-*"))
    again = import_trailers12k(made.folder, workspace=workspace)
    assert (again.sets[0].written, again.sets[0].kept) == (0, 20) and not again.notes
    assert sorted(workspace.rglob("part-*")) == before
    assert again.sets[0].key == first.sets[0].key


def test_an_interrupted_import_writes_only_what_is_missing(record: Any, tmp_path: Path) -> None:
    made, workspace = record(["swin_2d"]), tmp_path / "workspace"
    import_trailers12k(made.folder, workspace=workspace)
    labels = made.labels.read_text()
    made.labels.write_text(labels.replace("tt0000019", "tt0000099"))  # one trailer more than is in the store
    made.change("swin_2d", "tt0000099", made.vectors["swin_2d"]["tt0000019"])
    done = import_trailers12k(made.folder, workspace=workspace)
    assert (done.sets[0].written, done.sets[0].kept) == (1, 19)
    assert done.notes == ("trailers_i_swin_fpc24.zarr: 1 arrays of no trailer in mtgc.csv: tt0000019",)


def test_an_import_that_is_cut_off_leaves_a_part_that_a_rerun_completes(
    record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, workspace = record(["swin_2d"]), tmp_path / "workspace"
    monkeypatch.setattr(into_store, "BATCH_BYTES", 40_000)  # about two trailers
    read = into_store._read
    batches: list[Any] = []

    def torn(source: Any, mids: Any) -> Any:
        batches.append(mids)
        if len(batches) == 3:
            (made.group("swin_2d") / mids[0] / ".zarray").write_text("{")
        return read(source, mids)

    monkeypatch.setattr(into_store, "_read", torn)
    with pytest.raises(InputError) as caught:
        import_trailers12k(made.folder, workspace=workspace)
    assert "running the same again adds the others" in caught.value.problems[0]
    assert caught.value.problems[-1] == "no representation was imported whole"
    store, key = stored(workspace, "swin_2d")
    assert sorted(store.digests(key)) == sorted(mid for batch in batches[:2] for mid in batch)
    made.change("swin_2d", batches[2][0], made.vectors["swin_2d"][batches[2][0]])
    done = import_trailers12k(made.folder, workspace=workspace)
    assert done.sets[0].kept == sum(map(len, batches[:2])) and done.sets[0].written + done.sets[0].kept == 20


@pytest.mark.parametrize("suffix", [".zarr.tar.gz", ".tar.gz"])
def test_a_tar_is_unpacked_beside_and_then_read(record: Any, tmp_path: Path, suffix: str) -> None:
    made, workspace = record(["r2plus1d_3d"]), tmp_path / "workspace"
    archive = made.pack("r2plus1d_3d", suffix)
    done = import_trailers12k(made.folder, workspace=workspace)
    assert done.sets[0].written == 20 and done.sets[0].source.is_dir() and archive.is_file()
    store, key = stored(workspace, "r2plus1d_3d")
    assert store.load(key, ["tt0000003"])[0].tobytes() == made.vectors["r2plus1d_3d"]["tt0000003"].tobytes()


def test_all_that_does_not_fit_is_told_at_once_and_nothing_of_that_group_is_written(
    record: Any, tmp_path: Path
) -> None:
    made, workspace = record(["swin_2d", "swin_3d", "resnet_2d"]), tmp_path / "workspace"
    made.change("swin_2d", "tt0000004", None)
    made.change("swin_2d", "tt0000005", np.zeros((4, 512), np.float32))
    made.change("swin_2d", "tt0000006", np.zeros((4, 768), np.float64))
    bad = made.vectors["swin_3d"]["tt0000007"].copy()
    bad[1, 2] = np.nan
    made.change("swin_3d", "tt0000007", bad)
    made.change("swin_3d", "tt0000008", np.full((3, 768), np.inf, np.float32))
    with pytest.raises(InputError) as caught:
        import_trailers12k(made.folder, workspace=workspace)
    text = str(caught.value)
    assert "trailers_i_swin_fpc24.zarr: mid: 1 of 20 trailers have no array: tt0000004" in text
    assert "2 arrays are not float32 (clips, 768): tt0000005 <f4 (4, 512), tt0000006 <f8 (4, 768)" in text
    assert "trailers_ik_swin_fps24_fpc24.zarr: 2 trailers hold values that are not finite: tt0000007, tt0000008" in text
    assert "imported all the same: resnet_2d" in text
    assert is_empty(workspace, "swin_2d") and is_empty(workspace, "swin_3d")
    assert not is_empty(workspace, "resnet_2d")


def test_another_width_than_the_backbones_is_refused(record: Any, tmp_path: Path) -> None:
    made, workspace = record(["swin_2d", "resnet_2d"]), tmp_path / "workspace"
    made.group("resnet_2d").rename(tmp_path / "aside")
    made.group("swin_2d").rename(made.group("resnet_2d"))
    with pytest.raises(InputError, match="num_features: is 768, but vectors of this backbone are 2048 wide"):
        import_trailers12k(made.folder, workspace=workspace)
    assert is_empty(workspace, "resnet_2d")


def test_a_chunk_that_was_cut_short_refuses_the_group(record: Any, tmp_path: Path) -> None:
    made, workspace = record(["swin_2d"]), tmp_path / "workspace"
    chunk = made.group("swin_2d") / "tt0000002" / "0.1"
    chunk.write_bytes(chunk.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"1 arrays can't be decoded: tt0000002 \(0\.1 has \d+ bytes, not \d+\)"):
        import_trailers12k(made.folder, workspace=workspace)
    assert is_empty(workspace, "swin_2d")


def test_streams_that_can_not_be_fused_are_named(record: Any, tmp_path: Path) -> None:
    made = record(["resnet_2d", "r2plus1d_3d"])
    made.change("r2plus1d_3d", "tt0000000", np.ones((5, 512), np.float32))
    done = import_trailers12k(made.folder, workspace=tmp_path / "workspace")
    assert done.notes == ("resnet_2d and r2plus1d_3d can't be fused: 1 trailers differ in clips: tt0000000 3 and 5",)


def test_other_vectors_of_the_same_trailers_are_told(record: Any, tmp_path: Path) -> None:
    made, workspace = record(["swin_2d"]), tmp_path / "workspace"
    import_trailers12k(made.folder, workspace=workspace)
    made.change("swin_2d", "tt0000001", made.vectors["swin_2d"]["tt0000001"] + 1)
    done = import_trailers12k(made.folder, workspace=workspace)
    assert done.sets[0].written == 1
    assert re.match(r"swin_2d: 1 trailers also have other vectors in .* \(tt0000001\)", done.notes[0])


def test_only_the_files_that_were_asked_for_come_in(record: Any, tmp_path: Path) -> None:
    made = record(["swin_2d", "swin_3d"])
    done = import_trailers12k(made.folder, workspace=tmp_path / "workspace", files=["trailers_ik_swin_fps24_fpc24"])
    assert [s.backbone for s in done.sets] == ["swin_3d"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), r"not there, neither as a folder nor as \.tar\.gz: trailers_i_shufflenet_fpc24\.zarr \(shufflenet_2d\)"),
        (("resnet_2d",), r"nor as \.tar\.gz: trailers_i_resnet_fpc24\.zarr \(resnet_2d\)"),
        (("mtgc.csv",), "--files: mtgc.csv names no representation"),
        (("resnet",), "--files: 'resnet' is not one of"),
    ],
)
def test_what_is_not_there_is_told(record: Any, tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        import_trailers12k(record([]).folder, workspace=tmp_path / "workspace", files=files)


def test_a_folder_without_labels_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mtgc\.csv: no such file"):
        import_trailers12k(tmp_path, workspace=tmp_path / "workspace")


def test_vectors_that_do_not_fit_on_the_disk_are_not_begun(
    record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, workspace = record(["swin_2d"]), tmp_path / "workspace"
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match=r"free disk: 1\.0 kB is less than the .* of vectors"):
        import_trailers12k(made.folder, workspace=workspace)
    assert is_empty(workspace, "swin_2d")


def test_the_command_says_what_came_in_and_what_comes_next(record: Any, tmp_path: Path) -> None:
    made = record(["swin_2d"])
    done = CliRunner().invoke(app, ["import", str(made.folder), "-w", str(tmp_path / "ws")])
    assert done.exit_code == 0, done.output
    assert "swin_2d: 20 trailers, 117 clips (20 written)" in done.stdout
    assert "no file of: shufflenet_2d, shufflenet_3d, resnet_2d, r2plus1d_3d, swin_3d" in done.stdout
    assert f"next: divita run backbone -d {made.labels} -w {tmp_path / 'ws'}" in done.stdout
