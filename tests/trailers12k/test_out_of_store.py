"""Sets leave the store in the authors' layout, and come back bit by bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from orchestrator.cli_trailers12k import app
from orchestrator.data.manifest import load_manifest
from orchestrator.data.zarr_sets import can_name_array
from orchestrator.errors import InputError
from orchestrator.specs import BackboneSpec, ClipSpec, EmbeddingSpec
from orchestrator.store.embeddings import EmbeddingRow
from orchestrator.store.failures import Failure
from orchestrator.store.workspace import Workspace
from orchestrator.sweep.identity import embedding_key
from orchestrator.trailers12k import export_trailers12k, import_trailers12k
from orchestrator.trailers12k.naming import published_spec, set_name


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "two.yaml"
    path.write_text("grid: {backbone: [swin_2d, swin_3d], clips_per_snippet: [4]}\n")
    return path


def put(workspace: Path, spec: EmbeddingSpec, vectors: dict[str, np.ndarray], digest: str = "d" * 32) -> str:
    """A set as extraction writes it."""
    key = embedding_key(spec)
    Workspace(workspace).embeddings.write_part(key, [EmbeddingRow(mid, digest, v) for mid, v in vectors.items()])
    return key


def test_what_was_imported_leaves_as_it_came(record: Any, space: Path, tmp_path: Path) -> None:
    made, workspace, out = record(["swin_2d", "swin_3d"]), tmp_path / "workspace", tmp_path / "out"
    import_trailers12k(made.folder, workspace=workspace)
    done = export_trailers12k(out, made.labels, space=space, workspace=workspace)
    assert [p.name for p in done.written] == ["trailers_i_swin_fpc24.zarr", "trailers_ik_swin_fps24_fpc24.zarr"]
    assert not done.skipped and not done.notes
    assert (out / "mtgc.csv").read_bytes() == made.labels.read_bytes()
    for backbone in ("swin_2d", "swin_3d"):
        folder = out / made.group(backbone).name
        assert json.loads((folder / ".zattrs").read_text()) == {"num_features": 768}
        group = zarr.open(str(folder), mode="r")
        for mid, vectors in made.vectors[backbone].items():
            assert group[mid].dtype == np.float32 and group[mid][:].tobytes() == vectors.tobytes()


def test_what_leaves_comes_back_bit_by_bit(record: Any, space: Path, tmp_path: Path) -> None:
    made, first, second = record(["swin_2d", "swin_3d"]), tmp_path / "first", tmp_path / "second"
    import_trailers12k(made.folder, workspace=first)
    export_trailers12k(tmp_path / "out", made.labels, space=space, workspace=first)
    import_trailers12k(tmp_path / "out", workspace=second)
    for backbone in ("swin_2d", "swin_3d"):
        key = embedding_key(published_spec(backbone))
        a, b = (Workspace(w).embeddings for w in (first, second))
        assert a.digests(key) == b.digests(key)
        mids = list(made.vectors[backbone])
        assert a.load(key, mids).vectors.tobytes() == b.load(key, mids).vectors.tobytes()


def test_vectors_computed_here_do_not_come_back_as_published(record: Any, tmp_path: Path) -> None:
    made, workspace, out = record(["swin_2d"]), tmp_path / "workspace", tmp_path / "out"
    space = tmp_path / "one.yaml"
    space.write_text("grid: {backbone: [swin_2d]}\n")
    key = put(workspace, published_spec("swin_2d"), made.vectors["swin_2d"])
    done = export_trailers12k(out, made.labels, space=space, workspace=workspace)
    assert json.loads((done.written[0] / ".zattrs").read_text()) == {"num_features": 768, "divita_orchestrator": key}
    again = import_trailers12k(out, workspace=tmp_path / "other")
    digests = Workspace(tmp_path / "other").embeddings.digests(again.sets[0].key)
    assert all(digest.startswith("imported-") for row in digests.values() for digest in row)
    (done.written[0] / ".zattrs").write_text('{"num_features": 768, "divita_orchestrator": "another"}')
    with pytest.raises(InputError, match="divita_orchestrator: 'another' is not"):
        import_trailers12k(out, workspace=tmp_path / "other")


def test_a_set_that_lacks_trailers_is_named_and_left_out(record: Any, space: Path, tmp_path: Path) -> None:
    made, workspace, out = record(["swin_2d"]), tmp_path / "workspace", tmp_path / "out"
    import_trailers12k(made.folder, workspace=workspace)
    ran = CliRunner().invoke(
        app, ["export", str(out), "-d", str(made.labels), "--space", str(space), "-w", str(workspace)]
    )
    assert ran.exit_code == 1, ran.output
    assert f"written: {out / 'trailers_i_swin_fpc24.zarr'}" in ran.stdout
    assert "left out: swin_3d shot-24 24fps: the store lacks 20 of 20 trailers: tt0000000, tt0000001" in ran.stdout
    assert sorted(p.name for p in out.iterdir()) == ["mtgc.csv", "trailers_i_swin_fpc24.zarr"]


def test_trailers_that_failed_are_named_and_left_out_of_the_labels(record: Any, space: Path, tmp_path: Path) -> None:
    made, workspace, out = record(["swin_2d", "swin_3d"]), tmp_path / "workspace", tmp_path / "out"
    keys = tuple(import_trailers12k(made.folder, workspace=workspace).sets[i].key for i in (0, 1))
    Workspace(workspace).failures.record([Failure("tt0000003", None, "decode", "torn", keys)])
    done = export_trailers12k(out, made.labels, space=space, workspace=workspace)
    assert done.skipped == ("1 trailers whose videos failed: tt0000003",) and len(done.written) == 2
    assert len(load_manifest(out / "mtgc.csv")) == 19 == len(set(zarr.open(str(done.written[0]), mode="r")))


def test_nothing_complete_writes_nothing(record: Any, space: Path, tmp_path: Path) -> None:
    done = export_trailers12k(tmp_path / "out", record([]).labels, space=space, workspace=tmp_path / "workspace")
    assert not done.written and done.labels is None and len(done.skipped) == 2
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_told_before_anything_is_written(record: Any, space: Path, tmp_path: Path) -> None:
    made, workspace, out = record(["swin_2d", "swin_3d"]), tmp_path / "workspace", tmp_path / "out"
    import_trailers12k(made.folder, workspace=workspace)
    export_trailers12k(out, made.labels, space=space, workspace=workspace)
    (out / "mtgc.csv").write_text("mine\n")
    (out / "trailers_i_swin_fpc24.zarr").rename(tmp_path / "aside")
    with pytest.raises(InputError) as caught:
        export_trailers12k(out, made.labels, space=space, workspace=workspace)
    assert len(caught.value.problems) == 2
    assert "trailers_ik_swin_fps24_fpc24.zarr: is there already" in caught.value.problems[0]
    assert "mtgc.csv: is there with other trailers or labels" in caught.value.problems[1]
    assert not (out / "trailers_i_swin_fpc24.zarr").exists() and (out / "mtgc.csv").read_text() == "mine\n"
    export_trailers12k(out, made.labels, space=space, workspace=workspace, overwrite=True)
    assert (out / "trailers_i_swin_fpc24.zarr").is_dir()
    assert (out / "mtgc.csv").read_bytes() == made.labels.read_bytes()


def test_a_manifest_in_the_folder_stays_as_it_is(record: Any, space: Path, tmp_path: Path) -> None:
    made, workspace = record(["swin_2d", "swin_3d"]), tmp_path / "workspace"
    import_trailers12k(made.folder, workspace=workspace)
    for backbone in ("swin_2d", "swin_3d"):
        made.group(backbone).rename(tmp_path / backbone)
    lines = made.labels.read_text().splitlines()
    text = "\n".join([lines[0].replace("mid", "mid,path"), *(line.replace(",", ",,", 1) for line in lines[1:])]) + "\n"
    made.labels.write_text(text)
    export_trailers12k(made.folder, made.labels, space=space, workspace=workspace)
    assert made.labels.read_text() == text
    assert load_manifest(made.labels).paths == (None,) * 20


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (EmbeddingSpec(ClipSpec("shot", 24), BackboneSpec("swin_3d")), "trailers_ik_swin_fps24_fpc24.zarr"),
        (EmbeddingSpec(ClipSpec("seq", 32), BackboneSpec("swin_3d")), "trailers_swin_3d_seq-32_fps24.zarr"),
        (EmbeddingSpec(ClipSpec("shot", 24, 6), BackboneSpec("swin_3d")), "trailers_swin_3d_shot-24_fps6.zarr"),
        (
            EmbeddingSpec(ClipSpec("shot", 24), BackboneSpec("swin_3d", "random")),
            "trailers_swin_3d_shot-24_fps24_random.zarr",
        ),
        (
            EmbeddingSpec(ClipSpec("shot", 24), BackboneSpec("timm:a/b.c", "/my/weights.pth")),
            "trailers_timm-a-b.c_shot-24_fps24_01234567.zarr",
        ),
    ],
)
def test_names_say_what_a_set_is(spec: EmbeddingSpec, name: str) -> None:
    assert set_name(spec, "0123456789abcdef") == name


def test_a_set_that_is_not_published_has_its_own_name(record: Any, tmp_path: Path) -> None:
    made, workspace = record(["swin_2d"]), tmp_path / "workspace"
    space = tmp_path / "seq.yaml"
    space.write_text("grid: {backbone: [swin_2d], clip_strategy: [seq-24]}\n")
    put(workspace, EmbeddingSpec(ClipSpec("seq", 24), BackboneSpec("swin_2d")), made.vectors["swin_2d"])
    done = export_trailers12k(tmp_path / "out", made.labels, space=space, workspace=workspace)
    assert [p.name for p in done.written] == ["trailers_swin_2d_seq-24_fps24.zarr"]


def test_a_set_of_replaced_fields_is_written(record: Any, tmp_path: Path) -> None:
    made, workspace, out = record(["swin_2d"]), tmp_path / "workspace", tmp_path / "out"
    space = tmp_path / "one.yaml"
    space.write_text("grid: {backbone: [swin_2d]}\n")
    spec = EmbeddingSpec(ClipSpec("shot", 24), BackboneSpec("swin_2d", "random"))
    key = put(workspace, spec, made.vectors["swin_2d"])
    command = ["export", str(out), "-d", str(made.labels), "--space", str(space), "-w", str(workspace)]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 1 and "the store lacks 20 of 20 trailers" in ran.stdout and not out.exists()
    ran = CliRunner().invoke(app, [*command, "--set", "weights=random"])
    assert ran.exit_code == 0, ran.output
    folder = out / "trailers_swin_2d_shot-24_fps24_random.zarr"
    assert ran.stdout.splitlines() == [f"written: {folder}", f"labels:  {out / 'mtgc.csv'}"]
    group = zarr.open(str(folder), mode="r")
    assert group.attrs["divita_orchestrator"] == key
    assert all(group[mid][:].tobytes() == v.tobytes() for mid, v in made.vectors["swin_2d"].items())
    ran = CliRunner().invoke(app, [*command, "--set", "weights"])
    assert isinstance(ran.exception, InputError) and "--set: 'weights' is not field=value" in str(ran.exception)


def test_ids_that_can_not_name_an_array_are_told_before_anything_is_written(record: Any, tmp_path: Path) -> None:
    made, workspace, out = record(["swin_2d"]), tmp_path / "workspace", tmp_path / "out"
    space = tmp_path / "one.yaml"
    space.write_text("grid: {backbone: [swin_2d]}\n")
    text = made.labels.read_text().replace("tt0000003", ".hidden").replace("tt0000004", "..b")
    made.labels.write_text(text)
    renamed = {"tt0000003": ".hidden", "tt0000004": "..b"}
    vectors = {renamed.get(mid, mid): v for mid, v in made.vectors["swin_2d"].items()}
    put(workspace, published_spec("swin_2d"), vectors)
    with pytest.raises(InputError, match=r"mtgc\.csv: mid: 2 of 20 ids can't name an array .*: '\.hidden', '\.\.b'"):
        export_trailers12k(out, made.labels, space=space, workspace=workspace)
    assert not out.exists()


@pytest.mark.parametrize("mid", [".a", ".", "..", "..a", "a/b", "/a", "a\\b"])
def test_names_of_no_array(mid: str) -> None:
    assert not can_name_array(mid)
    assert can_name_array("a" + mid.replace("/", "").replace("\\", ""))
