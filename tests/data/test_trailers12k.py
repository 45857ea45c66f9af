"""The table of published files, and how imported rows are known."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pytest

from orchestrator.data.trailers12k import PUBLISHED, choose_files, is_published, size_text, vectors_digest
from orchestrator.errors import InputError, some


def test_every_published_file_has_its_own_name_checksum_and_backbone() -> None:
    assert len(PUBLISHED) == 7
    for field in ("name", "md5", "backbone", "file"):
        assert len({getattr(f, field) for f in PUBLISHED}) == 7
    assert all(re.fullmatch(r"[0-9a-f]{32}", f.md5) for f in PUBLISHED)


def test_addresses_are_those_of_the_record() -> None:
    labels, *_, last = PUBLISHED
    assert labels.url() == "https://zenodo.org/record/5716410/files/mtgc.csv?download=1"
    assert last.url("http://here/") == "http://here/trailers_ik_swin_fps24_fpc24.zarr.tar.gz?download=1"


@pytest.mark.parametrize(
    "name",
    [
        "swin_3d",
        "trailers_ik_swin_fps24_fpc24",
        "trailers_ik_swin_fps24_fpc24.zarr",
        "trailers_ik_swin_fps24_fpc24.tar.gz",
        "trailers_ik_swin_fps24_fpc24.zarr.tar.gz",
    ],
)
def test_a_file_goes_by_any_of_its_names(name: str) -> None:
    assert [f.backbone for f in choose_files([name])] == ["swin_3d"]


def test_files_come_in_the_order_of_the_table_and_once() -> None:
    assert choose_files([]) == PUBLISHED
    assert [f.names[0] for f in choose_files(["swin_3d,mtgc", "swin_3d"])] == ["mtgc.csv", "swin_3d"]


@pytest.mark.parametrize("names", [[""], [","], [" "], ["mtgc", ""], (text for text in [""])])
def test_an_option_that_names_nothing_does_not_mean_all(names: Iterable[str]) -> None:
    with pytest.raises(
        InputError, match=r"--files: names nothing; leave it out for all 7, or name some of mtgc\.csv, "
    ):
        choose_files(names)


def test_blanks_and_a_last_comma_are_no_names() -> None:
    assert [f.names[0] for f in choose_files(["mtgc, swin_3d,"])] == ["mtgc.csv", "swin_3d"]


def test_a_digest_shows_origin_and_content() -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    digest = vectors_digest(vectors)
    assert re.fullmatch(r"trailers12k-[0-9a-f]{32}", digest) and is_published(digest)
    assert vectors_digest(np.asfortranarray(vectors)) == digest
    changed = vectors.copy()
    changed[2, 3] = np.nextafter(changed[2, 3], np.float32(100))
    assert len({digest, vectors_digest(changed), vectors_digest(vectors.reshape(4, 3))}) == 3
    assert not is_published("a" * 32) and not is_published(vectors_digest(vectors, "imported-"))


def test_long_lists_are_cut_and_sizes_are_readable() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some(map(str, range(1200))) == "0, 1, 2, 3, 4 and 1,195 more"
    assert [size_text(n) for n in (0, 999, 1500, 12_345_678_901, 4e13)] == [
        "0 bytes",
        "999 bytes",
        "1.5 kB",
        "12.3 GB",
        "40000.0 GB",
    ]
