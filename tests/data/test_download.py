"""What of the published files is fetched, what is said before, and what happens to what is there."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli_trailers12k import app
from orchestrator.data import trailers12k
from orchestrator.data.download import download_trailers12k
from orchestrator.data.transfer import Patience, TransferError
from orchestrator.errors import InputError, StoreError
from orchestrator.progress import PlainProgress

IMPATIENT = Patience(retries=1, wait_s=0.0, answer_s=2.0, read_s=2.0)


@pytest.fixture
def record(publisher: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The publisher with seven small files of the record's names, whose MD5s the table now holds."""
    monkeypatch.delenv("DIVITA_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    publisher.files = {f.file: f.name.encode() * 50_000 for f in trailers12k.PUBLISHED}
    small = [
        dataclasses.replace(f, md5=hashlib.md5(publisher.files[f.file]).hexdigest()) for f in trailers12k.PUBLISHED
    ]
    monkeypatch.setattr(trailers12k, "PUBLISHED", tuple(small))
    return publisher


def test_all_seven_files_arrive_after_it_was_said_how_much_they_are(record: Any, tmp_path: Path) -> None:
    told = io.StringIO()
    done = download_trailers12k(tmp_path / "new", url=record.url, progress=PlainProgress(told), patience=IMPATIENT)
    assert [p.name for p in done.fetched] == [f.file for f in trailers12k.PUBLISHED] and not done.kept
    assert all((tmp_path / "new" / name).read_bytes() == data for name, data in record.files.items())
    first = told.getvalue().splitlines()[0]
    total = sum(map(len, record.files.values())) / 1e6
    assert first.startswith(f"will fetch 7 files, {total:.1f} MB, into {tmp_path / 'new'} (free: ")
    assert "import unpacks them" in told.getvalue()


def test_what_is_there_is_not_asked_for_again(record: Any, tmp_path: Path) -> None:
    names = ["mtgc.csv", "swin_3d"]
    download_trailers12k(tmp_path, files=names, url=record.url, patience=IMPATIENT)
    record.asked.clear()
    done = download_trailers12k(tmp_path, files=names, url=record.url, patience=IMPATIENT)
    assert [p.name for p in done.kept] == ["mtgc.csv", "trailers_ik_swin_fps24_fpc24.zarr.tar.gz"]
    assert not done.fetched and not record.asked


def test_a_damaged_file_is_fetched_again(record: Any, tmp_path: Path) -> None:
    damaged = tmp_path / "trailers_i_swin_fpc24.zarr.tar.gz"
    damaged.write_bytes(b"x")
    done = download_trailers12k(tmp_path, files=["swin_2d"], url=record.url, patience=IMPATIENT)
    assert done.fetched == (damaged,) and damaged.read_bytes() == record.files[damaged.name]


def test_labels_that_someone_changed_are_kept(record: Any, tmp_path: Path) -> None:
    (tmp_path / "mtgc.csv").write_text("mid,path,action\n")
    download_trailers12k(tmp_path, files=["mtgc"], url=record.url, patience=IMPATIENT)
    assert (tmp_path / "mtgc.csv").read_bytes() == record.files["mtgc.csv"]
    assert (tmp_path / "mtgc.csv.old").read_text() == "mid,path,action\n"


def test_one_file_that_fails_stops_no_other_and_all_that_failed_are_named(record: Any, tmp_path: Path) -> None:
    del record.files["trailers_i_resnet_fpc24.zarr.tar.gz"]
    record.faults["mtgc.csv"] = ["wrong bytes"] * 2
    with pytest.raises(TransferError) as caught:
        download_trailers12k(tmp_path, files=["mtgc.csv,resnet_2d", "swin_2d"], url=record.url, patience=IMPATIENT)
    first, second = str(caught.value).splitlines()
    assert first.startswith("mtgc.csv: md5: ") and second.endswith("HTTP 404 Not Found")
    assert caught.value.exit_code == 1
    assert (tmp_path / "trailers_i_swin_fpc24.zarr.tar.gz").is_file()


def test_what_does_not_fit_is_refused_before_a_byte_is_fetched(
    record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(record.files["trailers_i_swin_fpc24.zarr.tar.gz"])
    usage = shutil.disk_usage(tmp_path)._replace(free=2 * size)  # the tar alone would fit
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match=r"free disk: 2\.6 MB is less than the 1\.3 MB to fetch and about 1\.6 MB"):
        download_trailers12k(tmp_path, files=["swin_2d"], url=record.url, patience=IMPATIENT)
    assert not record.fetched


def test_an_unknown_name_is_told_with_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--files: 'swin' is not one of mtgc\.csv, shufflenet_2d \(trailers_i_"):
        download_trailers12k(tmp_path, files=["swin"])


@pytest.mark.parametrize("name", ["DIVITA_OFFLINE", "HF_HUB_OFFLINE"])
def test_a_machine_that_may_not_download_says_so(
    record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(TransferError, match=f"{name} forbids downloads; fetch them elsewhere"):
        download_trailers12k(tmp_path, url=record.url)
    assert not record.asked


def test_no_network_is_told_at_once(record: Any, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match=r"mtgc\.csv: http://127\.0\.0\.1:1/mtgc\.csv"):
        download_trailers12k(tmp_path, files=["mtgc.csv"], url="http://127.0.0.1:1")


def test_the_command_says_what_it_did_and_what_comes_next(record: Any, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["download", str(tmp_path), "--files", "mtgc.csv", "--url", record.url])
    assert done.exit_code == 0, done.output
    assert f"fetched:   {tmp_path}/mtgc.csv" in done.stdout
    assert f"next: divita trailers12k import {tmp_path}" in done.stdout


def test_labels_that_someone_changed_stay_where_they_are_until_the_new_ones_are_right(
    record: Any, tmp_path: Path
) -> None:
    labels = tmp_path / "mtgc.csv"
    labels.write_text("mine\n")
    for faults in (["wrong bytes"] * 2, ["404"], ["503", "503"]):
        record.faults["mtgc.csv"] = faults
        with pytest.raises(TransferError, match=r"^mtgc\.csv: "):
            download_trailers12k(tmp_path, files=["mtgc"], url=record.url, patience=IMPATIENT)
        assert labels.read_text() == "mine\n" and [p.name for p in tmp_path.iterdir()] == ["mtgc.csv"]


def test_every_changed_labels_file_is_kept(record: Any, tmp_path: Path) -> None:
    told = io.StringIO()
    for i in range(3):
        (tmp_path / "mtgc.csv").write_text(f"mine {i}\n")
        download_trailers12k(tmp_path, files=["mtgc"], url=record.url, progress=PlainProgress(told), patience=IMPATIENT)
        assert (tmp_path / "mtgc.csv").read_bytes() == record.files["mtgc.csv"]
    kept = ["mtgc.csv.old", "mtgc.csv.old.1", "mtgc.csv.old.2"]
    assert [(tmp_path / name).read_text() for name in kept] == ["mine 0\n", "mine 1\n", "mine 2\n"]
    assert all(f"mtgc.csv: differs from the published one and is kept as {name}\n" in told.getvalue() for name in kept)


@pytest.mark.parametrize("files", ["", ","])
def test_files_that_name_nothing_fetch_nothing(record: Any, tmp_path: Path, files: str) -> None:
    done = CliRunner().invoke(app, ["download", str(tmp_path), "--files", files, "--url", record.url])
    assert done.exit_code and isinstance(done.exception, InputError) and "names nothing" in str(done.exception)
    assert not record.asked and not list(tmp_path.iterdir())
