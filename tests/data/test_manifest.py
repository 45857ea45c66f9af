import os
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.data.manifest import TEST, TRAIN, VALIDATION, check_parts, load_manifest
from orchestrator.errors import InputError

STUDY = "action,adventure,comedy,crime,drama,fantasy,horror,romance,sci-fi,thriller"
GOOD = """mid,path,action,comedy,split0,split1
001,a.mp4,1,0,0,2
002,b.mp4,0,1,0,0
003,c.mp4,1,1,1,0
004,d.mp4,1,1,2,1
005,e.mp4,0,1,2,2
"""


@pytest.fixture
def folder(tmp_path):
    for name in "abcde":
        (tmp_path / f"{name}.mp4").write_bytes(b"x")
    return tmp_path


def save(folder, text, name="m.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return str(path)


def problems(path, **options):
    with pytest.raises(InputError) as caught:
        load_manifest(path, **options)
    return [text.removeprefix(f"{path}: ") for text in caught.value.problems]


def broken(folder, old, new, **options):
    """Problems of the good manifest with one text replaced."""
    assert old in GOOD
    return problems(save(folder, GOOD.replace(old, new)), **options)


def test_a_good_manifest_is_read_as_it_stands(folder):
    manifest = load_manifest(save(folder, GOOD), need_paths=True)
    assert manifest.mids == ("001", "002", "003", "004", "005")
    assert manifest.paths[1] == str(folder / "b.mp4")
    assert manifest.genres == ("action", "comedy")
    assert manifest.labels.tolist() == [[1, 0], [0, 1], [1, 1], [1, 1], [0, 1]]
    assert manifest.labels.dtype == np.uint8 and manifest.splits.dtype == np.int8
    assert manifest.part(0, TRAIN).tolist() == [0, 1]
    assert manifest.part(1, VALIDATION).tolist() == [3]
    assert manifest.part(1, TEST).tolist() == [0, 4]
    assert manifest.prevalence(1).tolist() == [0.5, 0.5]
    assert manifest.index("003") == 2
    assert not manifest.synthetic


def test_published_mtgc_without_paths_is_valid_unless_paths_are_needed(tmp_path):
    rows = [f"tt{i:07d}," + ",".join("1" * 10) + f",{i % 3},{(i + 1) % 3},{(i + 2) % 3}" for i in range(9)]
    path = save(tmp_path, "\n".join([f"mid,{STUDY},split0,split1,split2", *rows]), "mtgc.csv")
    manifest = load_manifest(path)
    assert manifest.genres == tuple(STUDY.split(",")) and manifest.n_splits == 3
    assert set(manifest.paths) == {None}
    assert problems(path, need_paths=True) == ["path: the column is missing; it names every trailer's video file"]


@pytest.mark.parametrize("variant", ["bom", "crlf", "cr", "quoted", "blank lines", "spaces"])
def test_harmless_variants_of_csv_read_the_same(folder, variant):
    text = {
        "bom": "\ufeff" + GOOD,
        "crlf": GOOD.replace("\n", "\r\n"),
        "cr": GOOD.replace("\n", "\r"),
        "quoted": GOOD.replace("001", '"001"').replace("action", '"action"'),
        "blank lines": GOOD.replace("\n", "\n\n") + "\n,,,,,\n",
        "spaces": GOOD.replace(",", " , "),
    }[variant]
    plain, other = load_manifest(save(folder, GOOD)), load_manifest(save(folder, text, "other.csv"))
    assert (other.mids, other.genres, other.paths) == (plain.mids, plain.genres, plain.paths)
    assert other.labels_digest() == plain.labels_digest()


def test_parquet_reads_as_csv_does(folder):
    table = pa.table(
        {
            "mid": pa.array(["001", "002", "003", "004", "005"]).dictionary_encode(),
            "path": [f"{c}.mp4" for c in "abcde"],
            "action": pa.array([1, 0, 1, 1, 0], pa.float64()),
            "comedy": pa.array([False, True, True, True, True]),
            "split0": pa.array([0, 0, 1, 2, 2], pa.int8()),
            "split1": [2, 0, 0, 1, 2],
        }
    )
    pq.write_table(table, folder / "m.parquet")
    parquet, text = load_manifest(str(folder / "m.parquet")), load_manifest(save(folder, GOOD))
    assert parquet.paths == text.paths
    assert parquet.labels_digest() == text.labels_digest()
    faulty = table.set_column(3, "comedy", pa.array([1, None, 1, 7, 1]))
    pq.write_table(faulty, folder / "m.parquet")
    assert problems(str(folder / "m.parquet")) == [
        "row 2: comedy: '' is not 0 or 1",
        "row 4: comedy: '7' is not 0 or 1",
    ]


def test_all_problems_are_reported_at_once_each_with_line_column_value_and_what_is_allowed(folder):
    text = """mid,path,action,comedy,split0,split1
001,a.mp4,1,x,0,2
001,b.mp4,0,1,0,0
,gone.mp4,1,1,1,0
004,,1,1,3,1
005,.,0,1,2,2
a/b,e.mp4,1,1,1,1
"""
    path = save(folder, text)
    found = problems(path, need_paths=True)
    assert found == [
        "line 3: mid: '001' is already on line 2; ids are unique",
        "line 4: mid: '' is empty; every trailer needs an id",
        "line 7: mid: 'a/b' can't name a file; ids have at most 200 bytes, no slashes, no control characters",
        f"line 4: path: 'gone.mp4' does not exist (looked for {folder}/gone.mp4)",
        f"line 6: path: '.' is a folder, not a file (looked for {folder}/.)",
        "line 5: path: '' is empty; every trailer needs its video file",
        "line 2: comedy: 'x' is not 0 or 1",
        "line 5: split0: '3' is not 0 (train), 1 (validation) or 2 (test)",
    ]


def test_a_stray_column_is_one_problem(folder):
    lines = GOOD.splitlines()
    text = "\n".join([lines[0] + ",title,year"] + [f'{line},"Trailer, {i}",199{i}' for i, line in enumerate(lines[1:])])
    found = problems(save(folder, text))
    assert len(found) == 2
    assert found[0].startswith("line 2: title: 'Trailer, 0' and 4 more values are not 0 or 1; every column but mid")
    assert found[1].startswith("line 2: year: '1990'")


def test_many_problems_of_a_kind_are_counted_not_listed(tmp_path):
    rows = [f"t{i},gone{i}.mp4,1,{min(i, 2)}" for i in range(128)]
    found = problems(save(tmp_path, "\n".join(["mid,path,action,split0", *rows])))
    assert len(found) == 11 and found[-1] == "... and 118 more like this"


def test_lines_are_counted_over_quoted_line_breaks(folder):
    found = broken(folder, "002,b.mp4,0,1,0,0\n003,c.mp4,1,1", '"002\n",b.mp4,0,1,0,0\n003,c.mp4,5,1')
    assert found == ["line 5: action: '5' is not 0 or 1"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mid,", "id,", "mid: the column is missing; it holds every trailer's id"),
        ("mid,", "MID,", "column 'MID': if this is mid, spell it so"),
        ("split1", "split2", "split1: the column is missing, but split2 is there; splits count from 0 without gaps"),
        ("split1", "Split_1", "column 'Split_1': if this is split1, spell it so"),
        ("comedy", "action", "column 'action' is there twice; remove or rename one"),
        ("comedy", "", "column 4 has no name; name it or remove it"),
        ("003,c.mp4", "003", "line 4: 5 cells, but the header has 6 columns"),
        ("001", "..", "line 2: mid: '..' can't name a file"),
        ("001", "a\x07b", "line 2: mid: 'a\\x07b' can't name a file"),
        ("a.mp4", "nope://b/a.mp4", "line 2: path: 'nope://b/a.mp4': 'nope' is no filesystem that fsspec knows"),
        (
            "4,d.mp4,1,1,2",
            "4,d.mp4,1,1,1",
            "action: none of its 3 positives is in split0's test part (2), but at least one must be; `divita splits",
        ),
        ("3,c.mp4,1,1,1", "3,c.mp4,1,1,2", "split0: no row has 1; the validation part is empty"),
    ],
)
def test_each_fault_has_its_message(folder, old, new, message):
    found = broken(folder, old, new)
    assert any(text.startswith(message) for text in found), found


def test_a_genre_that_no_trailer_has_is_told_once(folder):
    text = GOOD.replace("\n", ",0\n").replace("split1,0", "split1,opera")
    assert problems(save(folder, text)) == ["opera: no trailer has this genre; remove the column"]


def test_no_genre_column_and_no_split_column(folder):
    found = problems(save(folder, "mid\n1\n"))
    assert found == [
        "no genre column; name one column of 0/1 a genre",
        "split0: the column is missing; `divita splits` writes three splits",
    ]


def test_without_need_splits_they_may_be_absent_but_not_wrong(folder):
    bare = "\n".join(line.rsplit(",", 2)[0] for line in GOOD.splitlines())
    assert load_manifest(save(folder, bare), need_splits=False).n_splits == 0
    assert broken(folder, "1,0,0,2", "1,0,0,9", need_splits=False) == [
        "line 2: split1: '9' is not 0 (train), 1 (validation) or 2 (test)"
    ]
    path = save(folder, GOOD.replace("1,0,0,2", "1,0,0,9"))
    assert load_manifest(path, need_splits=False, read_splits=False).n_splits == 0


def test_paths_may_be_absolute_or_uris_and_are_only_looked_for_when_asked(folder, tmp_path_factory):
    away = tmp_path_factory.mktemp("away") / "v.mp4"
    away.write_bytes(b"x")
    text = GOOD.replace("a.mp4", str(away)).replace("b.mp4", "s3://bucket/b.mp4").replace("c.mp4", f"file://{away}")
    path = save(folder, text.replace("d.mp4", ""))
    expected = (str(away), "s3://bucket/b.mp4", str(away), None, str(folder / "e.mp4"))
    assert load_manifest(path).paths == expected
    away.unlink()
    assert load_manifest(path, check_files=False).paths == expected
    assert len(problems(path)) == 2


def test_a_manifest_at_a_uri_resolves_paths_there():
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/box/m.csv", GOOD.encode())
    manifest = load_manifest("memory://box/m.csv", need_paths=True)
    assert manifest.paths[0] == "memory://box/a.mp4" and not manifest.synthetic
    memory.pipe("/box/synthetic.json", b"{}")
    assert load_manifest("memory://box/m.csv").synthetic
    assert problems("memory://box/gone.csv") == ["no such file; a manifest is a CSV or Parquet file"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (GOOD.encode("utf-16"), "line 1: UTF-16 is not UTF-8"),
        (GOOD.replace("002", "caf\xe9").encode("latin-1"), "line 3: byte 0xe9 is not UTF-8"),
        (GOOD.replace(",", ";").encode(), "line 1: columns are separated by ';'; separate them by ','"),
        (GOOD.encode() + b'"006,', "line 7: not valid CSV"),
        (b"PAR1 but then not", "not a readable Parquet file"),
        (GOOD.splitlines()[0].encode(), "no rows; a manifest has one row a trailer"),
    ],
)
def test_unreadable_files_say_why(tmp_path, data, message):
    path = tmp_path / "m.csv"
    path.write_bytes(data)
    assert problems(str(path))[0].startswith(message)


def test_a_missing_manifest_a_folder_and_a_false_parquet(tmp_path):
    assert problems(str(tmp_path / "no.csv")) == ["no such file; a manifest is a CSV or Parquet file"]
    assert problems(str(tmp_path)) == ["can't be read: Is a directory"]
    assert problems(save(tmp_path, GOOD, "m.parquet"))[0].startswith("is not a Parquet file")


def test_digests_ignore_the_order_of_rows_and_columns_and_the_paths(folder):
    lines = [line.split(",") for line in GOOD.splitlines()]
    moved = "\n".join(",".join([r[5], r[3], r[0], r[2], r[4]]) for r in [lines[0], *lines[:0:-1]])
    one, other = load_manifest(save(folder, GOOD)), load_manifest(save(folder, moved, "other.csv"))
    videos = {mid: f"digest{mid}" for mid in one.mids}
    assert other.mids != one.mids and other.genres != one.genres
    assert other.labels_digest() == one.labels_digest()
    assert other.data_digest(videos, 1) == one.data_digest(dict(reversed(videos.items())), 1)


def test_data_digest_follows_labels_part_and_video_of_its_split_alone(folder):
    base = load_manifest(save(folder, GOOD))
    videos = dict.fromkeys(base.mids, "d")

    def digest(text, split=0):
        return load_manifest(save(folder, text)).data_digest(videos, split)

    assert digest(GOOD) == base.data_digest(videos, 0)
    other_split = GOOD.replace("002,b.mp4,0,1,0,0", "002,b.mp4,0,1,0,2")
    assert digest(other_split, 0) == digest(GOOD, 0) and digest(other_split, 1) != digest(GOOD, 1)
    assert digest(GOOD.replace("001,a.mp4,1,0", "001,a.mp4,1,1")) != digest(GOOD)
    assert digest(GOOD.replace("comedy", "drama")) != digest(GOOD)
    assert base.data_digest(videos | {"001": "e"}, 0) != digest(GOOD)
    assert base.labels_digest() != load_manifest(save(folder, other_split)).labels_digest()
    with pytest.raises(KeyError):
        base.data_digest({}, 0)


def test_a_subset_keeps_the_files_order_and_tells_what_it_lacks(folder):
    manifest = load_manifest(save(folder, GOOD))
    subset = manifest.subset({"005", "001", "003"})
    assert subset.mids == ("001", "003", "005") and subset.paths[1] == str(folder / "c.mp4")
    assert subset.labels.tolist() == [[1, 0], [1, 1], [0, 1]] and subset.splits[:, 0].tolist() == [0, 1, 2]
    assert not subset.labels.flags.writeable and subset.index("005") == 2
    assert check_parts(manifest) == []
    assert any("action: none of its 2 positives is in split0's test part" in text for text in check_parts(subset))
    with pytest.raises(KeyError):
        manifest.subset(["006"])


def test_twelve_thousand_trailers_load_in_under_a_second(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(12_000):
        os.close(os.open(tmp_path / f"{i}.mp4", os.O_CREAT))
    numbers = np.concatenate([rng.integers(0, 2, (12_000, 10)), rng.integers(0, 3, (12_000, 3))], 1).astype(str)
    rows = [f"tt{i:07d},{i}.mp4," + ",".join(row) for i, row in enumerate(numbers)]
    path = save(tmp_path, "\n".join([f"mid,path,{STUDY},split0,split1,split2", *rows]))
    start = time.process_time()
    assert len(load_manifest(path, need_paths=True)) == 12_000
    assert time.process_time() - start < 1


def test_reading_a_manifest_loads_nothing_heavy(folder):
    code = "import sys, orchestrator.data.manifest as m; m.load_manifest(sys.argv[1]); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code, save(folder, GOOD)], capture_output=True, text=True, check=True)
    heavy = {"torch", "ray", "mlflow", "pandas", "sklearn", "skmultilearn", "av", "pyarrow"}
    assert not heavy & set(out.stdout.split())
