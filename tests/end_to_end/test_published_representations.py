"""The authors' own experiment from files in the published layout, no video: import, run, export, the same numbers."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from orchestrator.data.splits import write_splits

Divita = Callable[..., subprocess.CompletedProcess[str]]

TRAILERS, WIDTH = 600, 768
GENRES = ["action", "adventure", "comedy", "crime", "drama", "fantasy", "horror", "romance", "sci-fi", "thriller"]
FILES = {"swin_2d": "trailers_i_swin_fpc24.zarr", "swin_3d": "trailers_ik_swin_fps24_fpc24.zarr"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mtgc.csv and two groups of 600 trailers in the authors' layout, whose clips hint at the labels."""
    folder = tmp_path_factory.mktemp("published")
    rng = np.random.default_rng(0)
    labels = (rng.random((TRAILERS, len(GENRES))) < 0.25).astype(np.uint8)
    labels[:, 4] |= labels.sum(1) == 0
    mids = [f"tt{i:07d}" for i in range(TRAILERS)]
    with open(folder / "mtgc.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["mid", *GENRES])
        writer.writerows([mid, *row] for mid, row in zip(mids, labels, strict=True))
    write_splits(folder / "mtgc.csv", seed=0)
    clips = rng.integers(5, 20, TRAILERS)
    for number, name in enumerate(FILES.values()):
        group = zarr.open_group(str(folder / name), mode="w", zarr_format=2)
        group.attrs["num_features"] = WIDTH
        hints = rng.normal(size=(len(GENRES), WIDTH)) * (0.1 + 0.1 * number)
        for mid, count, row in zip(mids, clips, labels, strict=True):
            vectors = (rng.normal(size=(count, WIDTH)) + row @ hints).astype(np.float32)
            group.create_array(mid, data=vectors, chunks=vectors.shape)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("authors")


@pytest.fixture(scope="module")
def imported(folder: Path, published: Path, divita: Divita) -> subprocess.CompletedProcess[str]:
    return divita("trailers12k", "import", published, cwd=folder)


@pytest.fixture(scope="module")
def finished(
    folder: Path, published: Path, imported: subprocess.CompletedProcess[str], divita: Divita
) -> subprocess.CompletedProcess[str]:
    settings = ("--set", "training.epochs=3", "--set", "training.learning_rate=1e-3")
    return divita("run", "backbone", "-d", published / "mtgc.csv", *settings, cwd=folder)


def test_the_published_files_become_embedding_sets(imported: subprocess.CompletedProcess[str]) -> None:
    assert imported.returncode == 0, imported.stderr
    assert "swin_2d: 600 trailers" in imported.stdout and "swin_3d: 600 trailers" in imported.stdout


def test_all_configs_that_the_files_allow_are_trained_and_the_others_are_named(
    folder: Path, finished: subprocess.CompletedProcess[str]
) -> None:
    assert finished.returncode == 1, "some configs had no vectors"
    assert "trained: 6 trials; 6 done, 0 failed, 18 missing" in finished.stdout
    assert "the store lacks resnet_2d shot-24 24fps of 600 trailers" in finished.stderr
    assert "6 of 8 configs can't run without these" in finished.stderr
    assert "decoded" not in finished.stdout
    with open(folder / "results" / "backbone" / "table.csv", newline="") as file:
        rows = {row["backbone"]: row for row in csv.DictReader(file)}
    done = {name for name, row in rows.items() if row["row"] == "config" and row["incomplete"] == "0"}
    assert done == {"swin_2d", "swin_3d"}
    assert all(rows[name]["published_representations"] == "1" for name in done)
    chance = float(rows[""]["uAP.mean"])
    assert all(float(rows[name]["uAP.mean"]) > chance + 15 for name in done)


def test_what_was_imported_comes_out_again_to_the_last_bit(
    folder: Path, published: Path, finished: subprocess.CompletedProcess[str], divita: Divita
) -> None:
    exported = divita("trailers12k", "export", "out", "-d", published / "mtgc.csv", cwd=folder)
    assert exported.returncode == 1 and "resnet_2d" in exported.stdout, "sets that are not there are named"
    for name in FILES.values():
        ours, theirs = (zarr.open_group(str(place / name), mode="r") for place in (folder / "out", published))
        assert dict(ours.attrs) == dict(theirs.attrs) == {"num_features": WIDTH}
        assert sorted(ours.array_keys()) == sorted(theirs.array_keys())
        for mid in theirs.array_keys():
            assert ours[mid][:].tobytes() == theirs[mid][:].tobytes()  # type: ignore[index]
    assert read(folder / "out" / "mtgc.csv") == read(published / "mtgc.csv")


def test_the_export_gives_the_same_trials_in_a_fresh_workspace(
    folder: Path, published: Path, finished: subprocess.CompletedProcess[str], divita: Divita
) -> None:
    """Import of our export: the same keys, so that nothing of theirs is left to train once the ledger is there."""
    done = divita("trailers12k", "import", "out", "-w", "second", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "second" / "ledger").symlink_to(folder / "workspace" / "ledger")
    settings = ("--set", "training.epochs=3", "--set", "training.learning_rate=1e-3", "-w", "second", "--json")
    again = divita("plan", "backbone", "-d", "out/mtgc.csv", *settings, cwd=folder)
    facts = json.loads(again.stdout)
    assert (facts["cached"]["trials"], facts["cached"]["embedding_sets"], facts["decode_passes"]) == (6, 2, 0)
    assert facts["without_video"]["resnet_2d shot-24 24fps"] == 600


def read(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))
