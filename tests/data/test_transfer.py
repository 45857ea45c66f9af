"""One file over a bad connection: what is there is kept, what is wrong is not."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.data import transfer as room
from orchestrator.data.transfer import Patience, Transfer, TransferError, fetch, is_there, md5_of, remote_size
from orchestrator.errors import StoreError

CONTENT = bytes(range(256)) * 400
IMPATIENT = Patience(retries=2, wait_s=0.0, answer_s=2.0, read_s=2.0)


class Told:
    """What a transfer told: bytes that arrived, and lines."""

    def __init__(self) -> None:
        self.bytes, self.lines = 0, list[str]()

    def advance(self, count: int) -> None:
        self.bytes += count


def transfer_of(publisher: Any, folder: Path, content: bytes = CONTENT) -> Transfer:
    publisher.files["file"] = content
    return Transfer(f"{publisher.url}/file?download=1", folder / "file", hashlib.md5(CONTENT).hexdigest())


def run(transfer: Transfer) -> Told:
    told = Told()
    told.advance(transfer.arrived)
    fetch(transfer, told.advance, told.lines.append, IMPATIENT)
    assert transfer.target.read_bytes() == CONTENT
    assert told.bytes == len(CONTENT)
    assert {p.name for p in transfer.target.parent.iterdir()} == {"file", "file.md5"}
    return told


def test_a_file_arrives_whole_and_is_known_to_be_right(publisher: Any, tmp_path: Path) -> None:
    transfer = transfer_of(publisher, tmp_path)
    assert remote_size(transfer.url, IMPATIENT) == len(CONTENT)
    assert not is_there(transfer)
    run(transfer)
    assert is_there(transfer)


def test_a_dropped_connection_goes_on_where_it_broke(publisher: Any, tmp_path: Path) -> None:
    transfer = transfer_of(publisher, tmp_path)
    publisher.faults["file"] = ["drop", "drop"]
    told = run(transfer)
    half = len(CONTENT) // 2
    assert [span for _, span in publisher.fetched] == [None, f"bytes={half}-", f"bytes={half + half // 2}-"]
    assert len(told.lines) == 2 and f"going on from byte {half:,}" in told.lines[0]


def test_a_file_that_moved_is_continued_where_it_is(publisher: Any, tmp_path: Path) -> None:
    transfer = transfer_of(publisher, tmp_path)
    moved = Transfer(transfer.url.replace("/file", "/moved/file"), transfer.target, transfer.md5)
    moved.part.write_bytes(CONTENT[:1000])
    run(moved)
    assert publisher.fetched == [("moved/file", "bytes=1000-"), ("file", "bytes=1000-")]


def test_a_server_that_is_busy_now_may_have_a_size_later(publisher: Any, tmp_path: Path) -> None:
    transfer = transfer_of(publisher, tmp_path)
    publisher.busy, publisher.faults["file"] = True, ["429"]
    assert remote_size(transfer.url, IMPATIENT) is None
    assert remote_size(transfer.url, IMPATIENT) == len(CONTENT)


def test_a_part_of_an_earlier_process_is_continued(publisher: Any, tmp_path: Path) -> None:
    transfer = transfer_of(publisher, tmp_path)
    transfer.part.write_bytes(CONTENT[:1000])
    run(transfer)
    assert publisher.fetched == [("file", "bytes=1000-")]


def test_a_server_without_ranges_starts_over(publisher: Any, tmp_path: Path) -> None:
    transfer = transfer_of(publisher, tmp_path)
    transfer.part.write_bytes(b"x" * 1000)
    publisher.faults["file"] = ["ignore range"]
    run(transfer)
    assert len(publisher.fetched) == 1


def test_another_range_than_was_asked_for_is_not_taken(publisher: Any, tmp_path: Path) -> None:
    transfer = transfer_of(publisher, tmp_path)
    transfer.part.write_bytes(CONTENT[:1000])
    publisher.faults["file"] = ["other range"]
    run(transfer)


@pytest.mark.parametrize(
    "part", [CONTENT, CONTENT + b"more", b"x" * (len(CONTENT) + 1)], ids=["whole", "more", "other"]
)
def test_a_part_as_long_as_the_file_is_checked_or_fetched_again(publisher: Any, tmp_path: Path, part: bytes) -> None:
    transfer = transfer_of(publisher, tmp_path)
    transfer.part.write_bytes(part)
    run(transfer)


@pytest.mark.parametrize("fault", ["too long a length", "no length", "503"])
def test_a_server_that_lies_or_is_busy_is_outlasted(publisher: Any, tmp_path: Path, fault: str) -> None:
    transfer = transfer_of(publisher, tmp_path)
    publisher.faults["file"] = [fault]
    run(transfer)


def test_a_wrong_checksum_is_fetched_once_more_from_the_start(publisher: Any, tmp_path: Path) -> None:
    transfer = transfer_of(publisher, tmp_path)
    transfer.part.write_bytes(b"x" * 1000)
    told = run(transfer)
    assert [span for _, span in publisher.fetched] == ["bytes=1000-", None]
    assert f"not {transfer.md5}" in told.lines[0]


def test_a_checksum_that_stays_wrong_is_an_error_with_both(publisher: Any, tmp_path: Path) -> None:
    transfer = transfer_of(publisher, tmp_path)
    publisher.faults["file"] = ["wrong bytes", "wrong bytes"]
    found = hashlib.md5(bytes(len(CONTENT))).hexdigest()
    with pytest.raises(TransferError, match=f"file: md5: .*{found} twice, but {transfer.md5} was published"):
        fetch(transfer, Told().advance, Told().lines.append, IMPATIENT)
    assert list(tmp_path.iterdir()) == []


def test_tries_without_a_byte_are_bounded_and_the_part_stays(publisher: Any, tmp_path: Path) -> None:
    transfer = transfer_of(publisher, tmp_path)
    publisher.faults["file"] = ["drop", *["500"] * 5]
    with pytest.raises(TransferError, match=r"HTTP 500 .*2 more tries brought nothing, 51,200 bytes are kept"):
        fetch(transfer, Told().advance, Told().lines.append, IMPATIENT)
    assert transfer.part.read_bytes() == CONTENT[: len(CONTENT) // 2]
    assert len(publisher.fetched) == 4


def test_a_file_that_is_not_there_is_not_asked_for_twice(publisher: Any, tmp_path: Path) -> None:
    transfer = Transfer(f"{publisher.url}/none", tmp_path / "none", "0" * 32)
    with pytest.raises(TransferError, match=r"none: .*/none: HTTP 404"):
        fetch(transfer, Told().advance, Told().lines.append, IMPATIENT)
    assert len(publisher.fetched) == 1


def test_stopping_keeps_the_part(publisher: Any, tmp_path: Path) -> None:
    transfer = transfer_of(publisher, tmp_path)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(transfer, stop, Told().lines.append, IMPATIENT)
    arrived = transfer.arrived
    assert arrived > 0 and transfer.part.read_bytes() == CONTENT[:arrived]
    run(transfer)


def test_a_full_disk_is_no_reason_to_ask_again(publisher: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = transfer_of(publisher, tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(room, "open", full, raising=False)
    with pytest.raises(StoreError, match=r"file\.part: can't write: No space left on device"):
        fetch(transfer, Told().advance, Told().lines.append, IMPATIENT)
    assert len(publisher.fetched) == 1


def test_a_checked_file_is_read_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = Transfer("", tmp_path / "file", hashlib.md5(CONTENT).hexdigest())
    transfer.target.write_bytes(CONTENT)
    lines: list[str] = []
    assert is_there(transfer, lines.append) and lines == ["file: is there, checking its MD5"]
    read: list[Path] = []
    monkeypatch.setattr(room, "md5_of", lambda path: read.append(path) or md5_of(path))
    assert is_there(transfer) and not read
    transfer.target.write_bytes(CONTENT[:-1])
    assert not is_there(transfer) and read == [transfer.target]


def test_md5sum_can_read_the_stamp(tmp_path: Path) -> None:
    transfer = Transfer("", tmp_path / "file", hashlib.md5(CONTENT).hexdigest())
    transfer.target.write_bytes(CONTENT)
    assert is_there(transfer)
    assert transfer.stamp.read_text().splitlines()[0] == f"{transfer.md5}  file"


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(OSError, match=r"timed out|did not answer"):
            remote_size(f"http://127.0.0.1:{silent.getsockname()[1]}/file", Patience(answer_s=0.2))
        assert time.monotonic() - start < 5


def test_way_is_made_only_for_a_file_that_is_right(publisher: Any, tmp_path: Path) -> None:
    transfer = transfer_of(publisher, tmp_path)
    transfer.target.write_text("old")
    seen: list[tuple[str, str]] = []

    def make_way() -> None:
        seen.append((transfer.target.read_text(), md5_of(transfer.part)))

    publisher.faults["file"] = ["wrong bytes"] * 2
    with pytest.raises(TransferError, match="twice"):
        fetch(transfer, lambda _: None, lambda _: None, IMPATIENT, make_way)
    assert not seen and transfer.target.read_text() == "old"
    fetch(transfer, lambda _: None, lambda _: None, IMPATIENT, make_way)
    assert seen == [("old", transfer.md5)] and transfer.target.read_bytes() == CONTENT


def test_a_target_that_can_not_be_replaced_is_told_and_what_came_is_kept(publisher: Any, tmp_path: Path) -> None:
    transfer = transfer_of(publisher, tmp_path)
    (transfer.target / "inner").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"file: can't write: Is a directory; what arrived is kept"):
        fetch(transfer, lambda _: None, lambda _: None, IMPATIENT)
    assert transfer.part.read_bytes() == CONTENT
