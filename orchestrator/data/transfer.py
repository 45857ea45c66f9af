"""Large files over an unsteady connection: resumed where they broke off, checked by MD5, whole or not there.

While a file comes it is `<file>.part`, which outlives the process; the next try asks the server for the rest of it.
A file that was checked has `<file>.md5` beside it (readable by `md5sum -c`), with the size and time it had then, so
that it is not read again as long as these stay.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import DivitaError, StoreError

BLOCK = 1 << 20

LATER = (408, 425, 429, 500, 502, 503, 504)
"""HTTP statuses that another try may mend."""


class TransferError(DivitaError):
    """Files could not be had; what arrived stays, and the same command goes on there."""

    exit_code = 1


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, in seconds; `retries` are tries in a row that bring no byte.

    Waits double from `wait_s`, up to a minute. `answer_s` covers the first question of all, name look-ups included.
    """

    retries: int = 5
    wait_s: float = 1.0
    answer_s: float = 10.0
    read_s: float = 60.0


@dataclass(frozen=True)
class Transfer:
    """One file: from where, to where, with which MD5."""

    url: str
    target: Path
    md5: str

    @property
    def part(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def stamp(self) -> Path:
        return self.target.with_name(f"{self.target.name}.md5")

    @property
    def arrived(self) -> int:
        """Bytes of it that are there from an earlier try."""
        with suppress(OSError):
            return self.part.stat().st_size
        return 0


def remote_size(url: str, patience: Patience) -> int | None:
    """Bytes of a file on a server, None where it does not say. Raises OSError within seconds if it doesn't answer.

    Asks for the first byte: not every server answers HEAD, and those that know ranges tell the whole size.
    """
    answer: list[Any] = []

    def ask() -> None:
        try:
            with _open(url, {"Range": "bytes=0-0"}, patience.answer_s) as response:
                answer.append((_total(response.headers) if response.status == 206 else _length(response),))
        except Exception as error:
            answer.append(error)

    thread = threading.Thread(target=ask, daemon=True)  # looking up a name knows no time limit
    thread.start()
    thread.join(patience.answer_s + 1)
    if not answer:
        raise TimeoutError(f"{url} did not answer within {patience.answer_s:.0f} s")
    if isinstance(answer[0], urllib.error.HTTPError) and answer[0].code in (416, *LATER):
        return (
            0 if answer[0].code == 416 else None
        )  # an empty file has no first byte; a busy server has an answer later
    if isinstance(answer[0], Exception):
        raise OSError(_reason(answer[0])) from answer[0]
    size: int | None = answer[0][0]
    return size


def fetch(
    transfer: Transfer,
    advance: Callable[[int], None],
    note: Callable[[str], None],
    patience: Patience,
    make_way: Callable[[], None] = lambda: None,
) -> None:
    """The file, whole and checked, at its target; `advance` is told the bytes that arrive.

    `make_way` is called before the target is replaced, when the new file is there and right. A wrong checksum costs
    one more try from the start. Raises TransferError that names the file and says what came, StoreError where the disk
    refuses.
    """
    name, found = transfer.target.name, ""
    for last in (False, True):
        _receive(transfer, advance, note, patience)
        found = md5_of(transfer.part)
        if found == transfer.md5:
            try:
                make_way()
                os.replace(transfer.part, transfer.target)
            except OSError as error:
                raise _refused(transfer.target, error) from error
            remember(transfer)
            return
        size = transfer.arrived
        transfer.part.unlink()
        if not last:
            advance(-size)
            note(f"{name}: what came has MD5 {found}, not {transfer.md5}; fetching it again from the start")
    raise TransferError(f"{name}: md5: {transfer.url} gave {found} twice, but {transfer.md5} was published")


def is_there(transfer: Transfer, note: Callable[[str], None] = lambda _: None) -> bool:
    """Whether the target is the published file; read only where no stamp of its size and time says so."""
    try:
        if transfer.stamp.read_text() == _stamp(transfer):
            return True
    except (OSError, UnicodeDecodeError):
        pass
    if not transfer.target.is_file():
        return False
    note(f"{transfer.target.name}: is there, checking its MD5")
    if md5_of(transfer.target) != transfer.md5:
        return False
    remember(transfer)
    return True


def remember(transfer: Transfer) -> None:
    """Stamps a file whose MD5 was found right; no harm where that can't be written."""
    with suppress(OSError):
        transfer.stamp.write_text(_stamp(transfer))


def md5_of(path: Path) -> str:
    """Hex digits of a file's MD5."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _stamp(transfer: Transfer) -> str:
    stat = transfer.target.stat()
    return f"{transfer.md5}  {transfer.target.name}\n# size {stat.st_size}, mtime_ns {stat.st_mtime_ns}\n"


def _receive(
    transfer: Transfer, advance: Callable[[int], None], note: Callable[[str], None], patience: Patience
) -> None:
    """Asks for what is missing of the part until it is complete by the server's word."""
    idle, started_over = 0, False
    while True:
        before = transfer.arrived
        wait = 0.0
        try:
            if _append(transfer, before, advance, patience):
                return
            reason = "it was cut short"
        except urllib.error.HTTPError as error:
            if error.code == 416 and before and not started_over:  # more is there than the server has
                if md5_of(transfer.part) == transfer.md5:
                    return
                transfer.part.unlink()
                advance(-before)
                started_over = True
                continue
            if error.code not in LATER:
                raise TransferError(f"{transfer.target.name}: {transfer.url}: {_reason(error)}") from error
            reason, wait = _reason(error), _retry_after(error)
        except (OSError, http.client.HTTPException) as error:
            reason = _reason(error)
        idle = 0 if transfer.arrived > before else idle + 1
        if idle > patience.retries:
            raise TransferError(
                f"{transfer.target.name}: {transfer.url}: {reason}; {patience.retries} more tries brought nothing, "
                f"{transfer.arrived:,} bytes are kept, and the same command goes on from there"
            )
        note(f"{transfer.target.name}: {reason}; going on from byte {transfer.arrived:,}")
        time.sleep(min(60.0, max(wait, patience.wait_s * 2 ** max(0, idle - 1))))


def _append(transfer: Transfer, start: int, advance: Callable[[int], None], patience: Patience) -> bool:
    """Adds to the part what one answer brings; False where the server promised more than came."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        response = _open(transfer.url, headers, patience.read_s)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start and _total(error.headers) == start:
            return True  # the part was complete
        raise
    with response:
        if response.status == 206 and _first(response) != start:
            raise OSError("the server answered another range than was asked for")
        if start and response.status != 206:
            advance(-start)  # the server knows no ranges: from the start
            start = 0
        length = _length(response)
        promised = None if length is None else start + length
        if response.status == 206:
            promised = _total(response.headers) or promised
        try:
            transfer.part.parent.mkdir(parents=True, exist_ok=True)
            file = open(transfer.part, "r+b" if start else "wb")  # noqa: SIM115 (disk and network faults are told apart)
        except OSError as error:
            raise _refused(transfer.part, error) from error
        with file:
            file.seek(start)
            arrived = start
            while block := response.read1(BLOCK):
                try:
                    file.write(block)
                    file.flush()  # a full disk is told here, not when the file is closed
                except OSError as error:
                    raise _refused(transfer.part, error) from error
                arrived += len(block)
                advance(len(block))
    return promised is None or arrived >= promised


def _open(url: str, headers: dict[str, str], timeout: float) -> Any:
    always = {"User-Agent": "divita", "Accept-Encoding": "identity"}
    return urllib.request.urlopen(urllib.request.Request(url, headers=always | headers), timeout=timeout)


def _length(response: Any) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _total(headers: Any) -> int | None:
    """`Content-Range: bytes 0-9/1234` or `bytes */1234` -> 1234."""
    match = re.search(r"/(\d+)\s*$", headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _first(response: Any) -> int | None:
    match = re.match(r"\s*bytes\s+(\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _retry_after(error: urllib.error.HTTPError) -> float:
    text = error.headers.get("Retry-After", "") if error.headers else ""
    return float(text) if text.isdigit() else 0.0


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


def _refused(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path}: can't write: {error.strerror or error}; what arrived is kept, "
        "free some space or mend the folder's rights, then run the same again"
    )
