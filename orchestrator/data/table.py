"""Reads a CSV or Parquet file into text cells that remember their line, so that every later message can name it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import InputError

SHOWN = 10
"""Problems of one kind that are spelled out; the rest is counted."""


@dataclass(frozen=True)
class Table:
    """Stripped text cells by column; `places[i]` is row i's line (CSV) or number from 1 (Parquet).

    Rows and columns that can't be read are left out and told in `problems`.
    """

    source: str
    unit: str
    columns: dict[str, list[str]]
    places: list[int]
    problems: tuple[str, ...] = ()

    def at(self, row: int) -> str:
        return f"{self.source}: {self.unit} {self.places[row]}"


class Problems:
    """Gathers messages by kind and cuts each kind after the first few."""

    def __init__(self) -> None:
        self._kinds: dict[str, list[str]] = {}

    def add(self, kind: str, message: str) -> None:
        self._kinds.setdefault(kind, []).append(message)

    def texts(self) -> list[str]:
        texts: list[str] = []
        for messages in self._kinds.values():
            texts += messages[:SHOWN]
            if len(messages) > SHOWN:
                texts.append(f"... and {len(messages) - SHOWN:,} more like this")
        return texts


def local_path(path: str) -> str | None:
    """The path on this machine, or None for a URI of another filesystem."""
    if path.startswith("file://"):
        return path.removeprefix("file://")
    return None if "://" in path else path


def folder_of(path: str) -> str:
    """The absolute local folder or the URI prefix that relative paths in the file start from."""
    local = local_path(path)
    return path.rpartition("/")[0] if local is None else os.path.dirname(os.path.abspath(local))


def read_bytes(path: str) -> bytes:
    local = local_path(path)
    try:
        if local is not None:
            with open(local, "rb") as file:
                return file.read()
        import fsspec

        with fsspec.open(path, "rb") as file:
            return bytes(file.read())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; a manifest is a CSV or Parquet file") from None
    except (OSError, ValueError, ImportError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: can't be read: {reason}") from None


def read_table(path: str) -> Table:
    """Raises InputError where there is no table at all; faults of single rows come back in `problems`."""
    data = read_bytes(path)
    return _read_parquet(path, data) if is_parquet(path, data) else _read_csv(path, data)


def is_parquet(path: str, data: bytes) -> bool:
    if data[:4] == b"PAR1":
        return True
    if path.lower().endswith((".parquet", ".pq")):
        raise InputError(f"{path}: is not a Parquet file (it does not start with PAR1); name a CSV file .csv")
    return False


def decode(path: str, data: bytes) -> str:
    """UTF-8, with or without a byte-order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else f"byte 0x{data[error.start]:02x}"
        raise InputError(f"{path}: line {line}: {found} is not UTF-8; save the file as UTF-8") from None


def csv_rows(path: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which the row starts, cells as they stand); empty lines are skipped."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}: line {line}: not valid CSV: {error}") from None


def _read_csv(path: str, data: bytes) -> Table:
    problems = Problems()
    rows = csv_rows(path, decode(path, data))
    _, header = next(rows, (0, []))
    if not header:
        raise InputError(f"{path}: is empty; a manifest starts with a header such as mid,path,action,…,split0")
    if len(header) == 1 and (other := next((c for c in ";\t|" if c in header[0]), None)):
        raise InputError(f"{path}: line 1: columns are separated by {other!r}; separate them by ','")
    cells, places = [], []
    for line, row in rows:
        if len(row) == len(header):
            cells.append([cell.strip() for cell in row])
            places.append(line)
        else:
            problems.add("width", f"{path}: line {line}: {len(row)} cells, but the header has {len(header)} columns")
    by_column: list[list[str]] = [list(column) for column in zip(*cells, strict=True)] or [[] for _ in header]
    columns = _named(path, [name.strip() for name in header], by_column, problems)
    return Table(path, "line", columns, places, tuple(problems.texts()))


def _read_parquet(path: str, data: bytes) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise InputError(f"{path}: not a readable Parquet file: {str(error).splitlines()[0]}") from None
    problems = Problems()
    by_column = [[_as_text(value) for value in column.to_pylist()] for column in table.columns]
    columns = _named(path, [name.strip() for name in table.column_names], by_column, problems)
    return Table(path, "row", columns, list(range(1, table.num_rows + 1)), tuple(problems.texts()))


def _as_text(value: Any) -> str:
    """What the cell would read in a CSV file: true -> 1, 2.0 -> 2, null -> empty."""
    if value is None:
        return ""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value).strip()


def _named(path: str, names: list[str], by_column: list[list[str]], problems: Problems) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {}
    for number, (name, cells) in enumerate(zip(names, by_column, strict=True), start=1):
        if not name:
            problems.add("unnamed", f"{path}: column {number} has no name; name it or remove it")
        elif name in columns:
            problems.add("twice", f"{path}: column {name!r} is there twice; remove or rename one")
        else:
            columns[name] = cells
    return columns
