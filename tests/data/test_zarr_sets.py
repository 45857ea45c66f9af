"""Zarr v2 groups: read as zarr-python 2 writes them, written so that it can read them, refused by name."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import LZ4, LZMA, Blosc, GZip, Pickle, Shuffle, Zstd

from orchestrator.data.zarr_sets import ZarrSet, write_set
from orchestrator.errors import InputError

WIDTH = 6


def vectors(clips: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((clips, WIDTH)).astype(np.float32)


def group_at(folder: Path, arrays: dict[str, np.ndarray], features: int | None = WIDTH, **options: Any) -> Path:
    """A group that the `zarr` package writes, chunked as `options` say."""
    group = zarr.open_group(str(folder), mode="w", zarr_format=2)
    if features is not None:
        group.attrs["num_features"] = features
    for mid, array in arrays.items():
        group.create_array(mid, data=array, **{"chunks": array.shape} | options)
    return folder


def survey(folder: Path, mids: list[str]) -> tuple[dict[str, int], list[str]]:
    return ZarrSet(folder).survey(mids, WIDTH, lambda: None)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compressors": Blosc("lz4", shuffle=Blosc.SHUFFLE), "chunks": (2, 4)},
        {"chunks": (2, 4)},
        {"chunks": (2, 4), "chunk_key_encoding": {"name": "v2", "separator": "/"}},
        {"compressors": None},
        {"compressors": GZip(1)},
        {"compressors": Zstd(), "filters": [Shuffle(4)]},
        {"compressors": LZ4()},
        {"compressors": LZMA()},
        {"order": "F"},
    ],
    ids=["one chunk", "blosc", "many chunks", "nested chunks", "raw", "gzip", "filter", "lz4", "lzma", "columns first"],
)
def test_vectors_come_out_as_they_went_in(tmp_path: Path, options: dict[str, Any]) -> None:
    arrays = {"tt1": vectors(5), "tt2": vectors(1, 1)}
    group = ZarrSet(group_at(tmp_path / "g.zarr", arrays, **options))
    assert group.survey(list(arrays), WIDTH, lambda: None) == ({"tt1": 5, "tt2": 1}, [])
    for mid, array in arrays.items():
        assert group.read(mid).tobytes() == array.tobytes()


def test_a_group_that_is_written_is_what_zarr_2_writes(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "g.zarr"
    zeros = np.zeros((2, WIDTH), np.float32)
    write_set(folder, [("tt1", vectors(5)), ("tt2", zeros)], {"num_features": WIDTH})
    assert [p.name for p in folder.parent.iterdir()] == ["g.zarr"]
    assert sorted(os.listdir(folder)) == [".zattrs", ".zgroup", "tt1", "tt2"]
    assert json.loads((folder / ".zgroup").read_text()) == {"zarr_format": 2}
    assert json.loads((folder / ".zattrs").read_text()) == {"num_features": WIDTH}
    meta = json.loads((folder / "tt1" / ".zarray").read_text())
    assert (meta["zarr_format"], meta["shape"], meta["chunks"]) == (2, [5, WIDTH], [5, WIDTH])
    assert (meta["dtype"], meta["order"], meta["filters"]) == ("<f4", "C", None)
    assert {k: meta["compressor"][k] for k in ("id", "cname", "shuffle")} == {
        "id": "blosc",
        "cname": "lz4",
        "shuffle": 1,
    }
    assert (folder / "tt2" / "0.0").is_file()  # zeros, too, are data
    there = zarr.open(str(folder), mode="r")
    assert there.attrs["num_features"] == WIDTH and there["tt1"].dtype == np.float32
    assert there["tt1"][:].tobytes() == vectors(5).tobytes()


def test_a_group_that_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    folder = group_at(tmp_path / "g.zarr", {"tt1": vectors(5)})
    with pytest.raises(InputError, match=r"g\.zarr: is there already; replace it with --overwrite"):
        write_set(folder, [("tt2", vectors(3))], {"num_features": WIDTH})
    assert ZarrSet(folder).ids == {"tt1"}
    write_set(folder, [("tt2", vectors(3))], {"num_features": WIDTH}, overwrite=True)
    assert ZarrSet(folder).ids == {"tt2"} and os.listdir(tmp_path) == ["g.zarr"]


def test_writing_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    folder = group_at(tmp_path / "g.zarr", {"tt1": vectors(5)})

    def broken() -> Any:
        yield "tt2", vectors(3)
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        write_set(folder, broken(), {"num_features": WIDTH}, overwrite=True)
    assert ZarrSet(folder).ids == {"tt1"} and os.listdir(tmp_path) == ["g.zarr"]


def test_all_that_does_not_fit_is_told_with_the_trailers(tmp_path: Path) -> None:
    arrays = {
        "good": vectors(5),
        "wide": np.zeros((5, WIDTH + 1), np.float32),
        "flat": np.zeros(WIDTH, np.float32),
        "half": vectors(5).astype(np.float16),
        "double": vectors(5).astype(np.float64),
        "whole": vectors(5).astype(np.int32),
        "empty": np.zeros((0, WIDTH), np.float32),
    }
    folder = group_at(tmp_path / "g.zarr", arrays | {"lost": vectors(5), "torn": vectors(5)}, None)
    (folder / "lost" / "0.0").unlink()
    (folder / "torn" / ".zarray").write_text("{")
    clips, problems = survey(folder, [*arrays, "lost", "torn", "gone"])
    assert clips == {"good": 5}
    text = "\n".join(problems)
    assert "num_features: is missing, but vectors of this backbone are 6 wide" in text
    assert "mid: 1 of 10 trailers have no array: gone" in text
    assert "5 arrays are not float32 (clips, 6): wide <f4 (5, 7), flat <f4 (6,), half <f2" in text
    assert "1 trailers have no clip: empty" in text
    assert "1 arrays lack chunks, which would pass for zeros: lost (1 of 1)" in text
    assert "1 arrays have no readable .zarray: torn" in text
    assert len(problems) == 6 and all(str(folder) in p for p in problems)


def test_another_width_of_the_group_is_told(tmp_path: Path) -> None:
    folder = group_at(tmp_path / "g.zarr", {"tt1": vectors(5)}, features=512)
    assert survey(folder, ["tt1"])[1] == [f"{folder}: num_features: is 512, but vectors of this backbone are 6 wide"]


@pytest.mark.parametrize("options", [{}, {"order": "F"}, {"compressors": None}, {"compressors": GZip(1)}])
@pytest.mark.parametrize("kept", [0, 20])
def test_a_chunk_that_was_cut_short_is_no_data(tmp_path: Path, options: dict[str, Any], kept: int) -> None:
    blosc = {"compressors": Blosc("lz4")}
    folder = group_at(tmp_path / "g.zarr", {"tt1": vectors(50)}, **blosc | options)
    chunk = folder / "tt1" / "0.0"
    chunk.write_bytes(chunk.read_bytes()[:kept])
    with pytest.raises(ValueError, match="tt1"):
        ZarrSet(folder).read("tt1")


def test_what_is_no_group_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.zarr").mkdir()
    zarr.open_group(str(tmp_path / "three.zarr"), mode="w", zarr_format=3)
    for name in ("empty.zarr", "three.zarr", "none.zarr"):
        with pytest.raises(InputError, match=rf"{name}: is no Zarr v2 group"):
            ZarrSet(tmp_path / name)


def rewritten(folder: Path, **entries: Any) -> Path:
    """The group with entries of tt1's .zarray replaced."""
    path = folder / "tt1" / ".zarray"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    return folder


class Trap:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        ({"compressor": {"id": "pickle"}}, "'pickle'"),
        ({"compressor": {"id": "pickle"}, "order": "F"}, "'pickle'"),
        ({"filters": [{"id": "shuffle"}, {"id": "pickle"}]}, "'pickle'"),
        ({"filters": [{"id": "vlen-utf8"}], "compressor": {"id": "mine"}}, "'vlen-utf8', 'mine'"),
        ({"compressor": {"id": ["blosc"]}}, "['blosc']"),
        ({"compressor": {}}, "None"),
    ],
)
def test_only_codecs_that_run_nothing_decode(tmp_path: Path, entries: dict[str, Any], names: str) -> None:
    folder = rewritten(group_at(tmp_path / "g.zarr", {"tt1": vectors(5)}), **entries)
    (folder / "tt1" / "0.0").write_bytes(Pickle().encode(np.array([Trap(tmp_path / "ran")], object)))
    clips, problems = survey(folder, ["tt1"])
    assert not clips and len(problems) == 1
    assert problems[0].startswith(f"{folder}: 1 arrays are encoded by what is not read here (only blosc, zlib, gzip, ")
    assert problems[0].endswith(f": tt1 {names}")
    with pytest.raises(ValueError, match="encoded by what is not read here"):
        ZarrSet(folder).read("tt1")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("entries", "fault", "shown"),
    [
        ({"shape": [10**12, WIDTH]}, "are said to hold more than 1.1 GB", "tt1 (1000000000000, 6) in (5, 6)"),
        ({"shape": [10**12, WIDTH], "chunks": [10**12, WIDTH]}, "are said to hold more than 1.1 GB", "tt1 (1000"),
        ({"chunks": [10**12, 10**12]}, "are said to hold more than 1.1 GB", "tt1 (5, 6) in (1000"),
        ({"shape": [4 * 10**7, WIDTH], "chunks": [1, 1]}, "lack chunks", "tt1 (239,999,999 of 240,000,000)"),
        ({"shape": [1e12, WIDTH]}, "have no readable .zarray", "shape: [1000000000000.0, 6] is no list of sizes"),
        ({"shape": [-5, WIDTH]}, "have no readable .zarray", "shape: [-5, 6] is no list of sizes"),
        ({"chunks": [0, WIDTH]}, "have no readable .zarray", "chunks: [0, 6] do not fill [5, 6]"),
        ({"chunks": [5]}, "have no readable .zarray", "chunks: [5] do not fill [5, 6]"),
        ({"dimension_separator": ""}, "have no readable .zarray", "dimension_separator: '' is neither . nor /"),
        ({"compressor": []}, "have no readable .zarray", "compressor, filters: [] is no codec"),
        ({"filters": [None]}, "have no readable .zarray", "compressor, filters: None is no codec"),
    ],
)
def test_a_damaged_zarray_is_refused_at_once(tmp_path: Path, entries: dict[str, Any], fault: str, shown: str) -> None:
    folder = rewritten(group_at(tmp_path / "g.zarr", {"tt1": vectors(5)}), **entries)
    tracemalloc.start()
    clips, problems = survey(folder, ["tt1"])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10_000_000
    assert not clips and len(problems) == 1 and fault in problems[0] and shown in problems[0]
    with pytest.raises(ValueError, match="tt1"):
        ZarrSet(folder).read("tt1")


@pytest.mark.parametrize("text", ["[]", "7", "[" * 100_000])
def test_a_zarray_that_is_no_object_is_told(tmp_path: Path, text: str) -> None:
    folder = group_at(tmp_path / "g.zarr", {"tt1": vectors(5)})
    (folder / "tt1" / ".zarray").write_text(text)
    assert "1 arrays have no readable .zarray: tt1" in survey(folder, ["tt1"])[1][0]


def test_only_files_of_the_grid_count_as_chunks(tmp_path: Path) -> None:
    folder = group_at(tmp_path / "g.zarr", {"tt1": vectors(4)}, chunks=(2, WIDTH))
    chunk = folder / "tt1" / "1.0"
    for name in ("2.0", "01.0", "1.0.0", "1.x", "+1.0", "1", "1.0~"):
        chunk.rename(folder / "tt1" / name)
        assert "lack chunks, which would pass for zeros: tt1 (1 of 2)" in survey(folder, ["tt1"])[1][0]
        (folder / "tt1" / name).rename(chunk)
    assert survey(folder, ["tt1"]) == ({"tt1": 4}, [])
