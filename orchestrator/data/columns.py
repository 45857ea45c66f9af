"""Checks the columns of a manifest one kind at a time: names, ids, paths, and the codes of labels and splits."""

from __future__ import annotations

import os
import re

import numpy as np
import numpy.typing as npt

from orchestrator.data.table import Problems, Table, folder_of, local_path

LABEL_CODES = {"0": "", "1": ""}
PART_CODES = {"0": "train", "1": "validation", "2": "test"}

SPLIT_NAME = re.compile(r"split(0|[1-9][0-9]*)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def sort_columns(table: Table, problems: Problems) -> tuple[list[str], list[str]]:
    """Names of the genre columns in file order, and of the split columns by number."""
    genres, numbers = [], []
    for name in table.columns:
        if match := SPLIT_NAME.fullmatch(name):
            numbers.append(int(match[1]))
        elif meant := re.fullmatch(r"(?i)(?:(split)[ _-]?0*([0-9]*)|(mid|path))", name):
            if name not in ("mid", "path"):
                right = meant[3].lower() if meant[3] else f"split{meant[2] or 0}"
                problems.add("names", f"{table.source}: column {name!r}: if this is {right}, spell it so")
        elif _CONTROL.search(name):
            problems.add("names", f"{table.source}: column {name!r}: a genre's name has no control characters")
        else:
            genres.append(name)
    if "mid" not in table.columns:
        problems.add("mid", f"{table.source}: mid: the column is missing; it holds every trailer's id")
    if not genres:
        problems.add("genres", f"{table.source}: no genre column; name one column of 0/1 a genre")
    return genres, [f"split{number}" for number in sorted(numbers)]


def check_split_names(table: Table, names: list[str], needed: bool, problems: Problems) -> None:
    if needed and not names:
        problems.add("splits", f"{table.source}: split0: the column is missing; `divita splits` writes three splits")
    gap = next((number for number, name in enumerate(names) if name != f"split{number}"), None)
    if gap is not None:
        text = f"the column is missing, but {names[-1]} is there; splits count from 0 without gaps"
        problems.add("gaps", f"{table.source}: split{gap}: {text}")


def check_ids(table: Table, problems: Problems) -> None:
    first: dict[str, int] = {}
    for row, mid in enumerate(table.columns.get("mid", ())):
        where = f"{table.at(row)}: mid: {mid!r}"
        if not mid:
            problems.add("empty mid", f"{where} is empty; every trailer needs an id")
        elif mid in (".", "..") or "/" in mid or "\\" in mid or _CONTROL.search(mid) or len(mid.encode()) > 200:
            problems.add(
                "bad mid", f"{where} can't name a file; ids have at most 200 bytes, no slashes, no control characters"
            )
        elif mid in first:
            problems.add("twice", f"{where} is already on {table.unit} {table.places[first[mid]]}; ids are unique")
        else:
            first[mid] = row


def resolve_paths(table: Table, needed: bool, check_files: bool, problems: Problems) -> tuple[str | None, ...]:
    if "path" not in table.columns:
        if needed:
            text = f"{table.source}: path: the column is missing; it names every trailer's video file"
            problems.add("path", text)
        return (None,) * len(table.places)
    from fsspec.registry import known_implementations, registry

    folder = folder_of(table.source)
    paths: list[str | None] = []
    for row, cell in enumerate(table.columns["path"]):
        where = f"{table.at(row)}: path: {cell!r}"
        if not cell:
            paths.append(None)
            if needed:
                problems.add("no path", f"{where} is empty; every trailer needs its video file")
            continue
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)(?=://)|([a-z0-9]+)(?=::)", cell)
        path = cell if scheme or os.path.isabs(cell) else f"{folder}/{cell}"
        local = local_path(path)
        if scheme and scheme[0] not in known_implementations and scheme[0] not in registry:
            problems.add("scheme", f"{where}: {scheme[0]!r} is no filesystem that fsspec knows, such as s3, gs or http")
        elif check_files and local is not None and "::" not in local and not os.path.isfile(local):
            reason = "is a folder, not a file" if os.path.isdir(local) else "does not exist"
            problems.add("no file", f"{where} {reason}" + ("" if local == cell else f" (looked for {local})"))
        path = local or path
        paths.append(path)
    return tuple(paths)


def read_codes(table: Table, names: list[str], codes: dict[str, str], problems: Problems) -> npt.NDArray[np.int8]:
    """(rows, columns) int8, -1 for what can't be read.

    A column in which most cells are wrong gets one message: it is no list of typing errors, but something else.
    """
    numbers = {code: int(code) for code in codes}
    allowed = [f"{code} ({meaning})" if meaning else code for code, meaning in codes.items()]
    choice = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
    values = np.empty((len(table.places), len(names)), np.int8)
    for column, name in enumerate(names):
        cells = table.columns[name]
        values[:, column] = [numbers.get(cell, -1) for cell in cells]
        wrong = np.flatnonzero(values[:, column] < 0).tolist()
        if 2 * len(wrong) <= len(cells):
            for row in wrong:
                problems.add(f"codes {name}", f"{table.at(row)}: {name}: {cells[row]!r} is not {choice}")
            continue
        others = f" and {len(wrong) - 1:,} more values are" if len(wrong) > 1 else " is"
        text = f"{table.at(wrong[0])}: {name}: {cells[wrong[0]]!r}{others} not {choice}"
        if codes is LABEL_CODES:
            text += "; every column but mid, path and split0, split1, … is read as a genre: remove it if it is none"
        problems.add("stray", text)
    return values
