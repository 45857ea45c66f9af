import csv
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.data.manifest import PARTS, load_manifest
from orchestrator.data.splits import write_splits
from orchestrator.errors import InputError


def some_labels(n, genres=10, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, genres)) < np.linspace(0.12, 0.5, genres)).astype(np.uint8)
    labels[:2] = 1
    return labels


def write_manifest(path, labels, extra=""):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["mid", *(f"g{g}" for g in range(labels.shape[1]))])
        writer.writerows([f"{i:04d}", *row] for i, row in enumerate(labels))
    return str(path)


def test_splits_are_written_beside_the_other_columns_and_load(tmp_path):
    path = write_manifest(tmp_path / "m.csv", some_labels(60))
    before = (tmp_path / "m.csv").read_text().splitlines()
    report = write_splits(path, seed=4)
    after = (tmp_path / "m.csv").read_text().splitlines()
    assert [line.rsplit(",", 3)[0] for line in after] == before
    manifest = load_manifest(path)
    assert manifest.n_splits == 3
    assert report.sizes == tuple(tuple(len(manifest.part(s, p)) for p in range(3)) for s in range(3))
    assert os.listdir(tmp_path) == ["m.csv"]


def test_the_report_tells_the_largest_deviation_of_any_genres_share(tmp_path):
    path = write_manifest(tmp_path / "m.csv", some_labels(80))
    report = write_splits(path)
    manifest = load_manifest(path)
    worst = 0.0
    for split in range(3):
        for part in range(3):
            shares = manifest.labels[manifest.part(split, part)].mean(0) - manifest.labels.mean(0)
            found = next(d for d in report.deviations if (d.split, d.part) == (split, PARTS[part]))
            assert abs(found.points) == pytest.approx(100 * np.abs(shares).max())
            assert shares[manifest.genres.index(found.genre)] * 100 == pytest.approx(found.points)
            worst = max(worst, 100 * np.abs(shares).max())
    assert abs(report.largest.points) == pytest.approx(worst)


def test_existing_splits_are_replaced_only_when_told(tmp_path):
    path = write_manifest(tmp_path / "m.csv", some_labels(40))
    write_splits(path, seed=1)
    first = (tmp_path / "m.csv").read_bytes()
    with pytest.raises(InputError, match=r"m\.csv: split0: is there already; overwrite"):
        write_splits(path, seed=2)
    with pytest.raises(InputError, match="is there already"):
        write_splits(path, seed=2, out=str(tmp_path / "." / "m.csv"))
    assert (tmp_path / "m.csv").read_bytes() == first
    write_splits(path, seed=2, out=tmp_path / "other.csv")
    assert (tmp_path / "m.csv").read_bytes() == first
    write_splits(path, seed=2, overwrite=True)
    assert (tmp_path / "m.csv").read_bytes() == (tmp_path / "other.csv").read_bytes() != first
    write_splits(path, seed=1, overwrite=True)
    assert (tmp_path / "m.csv").read_bytes() == first


def test_wrong_or_fewer_old_splits_do_not_stand_in_the_way(tmp_path):
    path = write_manifest(tmp_path / "m.csv", some_labels(40))
    lines = (tmp_path / "m.csv").read_text().splitlines()
    (tmp_path / "m.csv").write_text("\n".join([f"split7,{lines[0]}", *(f"x,{line}" for line in lines[1:])]))
    write_splits(path, splits=2, overwrite=True)
    assert [line.rsplit(",", 2)[0] for line in (tmp_path / "m.csv").read_text().splitlines()] == lines
    assert load_manifest(path).n_splits == 2


def test_csv_dialect_is_kept(tmp_path):
    path = write_manifest(tmp_path / "m.csv", some_labels(40))
    text = (tmp_path / "m.csv").read_text().replace("0003", '"a, b"')
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    os.chmod(path, 0o640)
    write_splits(path)
    data = (tmp_path / "m.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbfmid,") and data.count(b"\r\n") == data.count(b"\n") == 41
    assert b'"a, b",' in data
    assert os.stat(path).st_mode & 0o777 == 0o640


def test_parquet_keeps_types_and_other_columns(tmp_path):
    labels = some_labels(40)
    columns = {f"g{g}": pa.array(labels[:, g].astype(bool)) for g in range(10)}
    table = pa.table({"mid": [f"{i:03d}" for i in range(40)], "split0": [0] * 40, **columns})
    table = table.replace_schema_metadata({"made": "by hand"})
    pq.write_table(table, tmp_path / "m.parquet")
    write_splits(tmp_path / "m.parquet", overwrite=True)
    written = pq.read_table(tmp_path / "m.parquet")
    assert written.drop_columns(["split0", "split1", "split2"]).equals(table.drop_columns(["split0"]))
    assert written.schema.metadata == {b"made": b"by hand"}
    assert load_manifest(tmp_path / "m.parquet").n_splits == 3


def test_a_copy_stays_where_its_paths_start(tmp_path):
    labels = some_labels(40)
    (tmp_path / "other").mkdir()
    published = write_manifest(tmp_path / "mtgc.csv", labels)
    write_splits(published, out=tmp_path / "other" / "mtgc.csv")
    assert load_manifest(tmp_path / "other" / "mtgc.csv").n_splits == 3
    rows = (tmp_path / "mtgc.csv").read_text().splitlines()
    with_paths = tmp_path / "m.csv"
    with_paths.write_text("\n".join([f"{rows[0]},path", *(f"{row},v/{i}.mp4" for i, row in enumerate(rows[1:]))]))
    with pytest.raises(InputError, match="another folder"):
        write_splits(with_paths, out=tmp_path / "other" / "m.csv")
    write_splits(with_paths)
    assert len(load_manifest(with_paths, check_files=False)) == 40
    with pytest.raises(InputError, match="the manifest is CSV"):
        write_splits(with_paths, out=tmp_path / "m.parquet")


def test_impossible_splits_name_the_file_and_the_genre_and_change_nothing(tmp_path):
    labels = some_labels(40)
    labels[:, 3] = 0
    labels[5, 3] = 1
    path = write_manifest(tmp_path / "m.csv", labels)
    before = (tmp_path / "m.csv").read_bytes()
    with pytest.raises(InputError, match=r"m\.csv: g3: 1 trailer\(s\) have this genre: at least 2"):
        write_splits(path)
    assert (tmp_path / "m.csv").read_bytes() == before and os.listdir(tmp_path) == ["m.csv"]


@settings(deadline=None, max_examples=15)
@given(st.integers(12, 60), st.integers(1, 10), st.integers(0, 2**32 - 1))
def test_small_manifests_get_valid_splits_or_an_error(tmp_path_factory, n, genres, seed):
    path = write_manifest(tmp_path_factory.mktemp("h") / "m.csv", some_labels(n, genres, seed))
    try:
        write_splits(path, seed=seed)
    except InputError as error:
        assert "at least 2" in str(error) or "spread" in str(error)
    else:
        assert len(load_manifest(path)) == n
