from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.reporting.aggregate import Spread
from orchestrator.reporting.published import COLUMNS, load_published, locate_published


@pytest.fixture
def lines() -> list[str]:
    return locate_published().read_text().splitlines()


def load(tmp_path: Path, lines: list[str]) -> tuple[object, ...]:
    path = tmp_path / "numbers.csv"
    path.write_text("\n".join(lines) + "\n")
    return load_published(path)


def test_every_published_row_is_there() -> None:
    counts = Counter((p.source, p.table) for p in load_published())
    assert counts == {
        **{("paper", table): n for table, n in (("6", 8), ("7", 5), ("8", 8), ("9", 6), ("10", 8), ("11", 5))},
        ("authors-code", "10"): 8,
    }


def test_a_row_has_its_settings_metrics_and_sizes() -> None:
    (row,) = (p for p in load_published() if (p.source, p.table, p.label) == ("paper", "10", "r2plus1d_3d"))
    assert row.settings == {
        "backbone": "r2plus1d_3d",
        "clip_strategy": "shot-24",
        "frame_rate": 24,
        "clips_per_snippet": 30,
        "aggregator": "transformer",
    }
    assert row.metrics["uAP"] == Spread(70.88, 1.37, 3) and row.metrics["sAP"] == Spread(75.15, 1.08, 3)
    assert (row.parameters, row.multiply_adds) == (31.7, 1823.4)


def test_what_was_not_published_is_none() -> None:
    (row,) = (p for p in load_published() if p.label == "timesformer")
    assert row.settings == {"aggregator": "timesformer"}
    assert row.parameters is None and row.multiply_adds is None


@pytest.mark.parametrize(
    ("line", "old", "new", "message"),
    [
        (2, "70.83", "7o.83", "numbers.csv:2: uap: '7o.83' is not a number from 0 to 100"),
        (2, "70.83", "", "numbers.csv:2: uap: '' is not a number"),
        (2, "70.83", "nan", "numbers.csv:2: uap: 'nan' is not a number"),
        (2, "70.83", "170.83", "numbers.csv:2: uap: '170.83' is not a number from 0 to 100"),
        (2, "1.93", "-1.93", "numbers.csv:2: uap_sd: '-1.93'"),
        (3, "paper,", "papers,", "numbers.csv:3: source: 'papers' is not one of paper, authors-code"),
        (4, "transformer", "lstm", "numbers.csv:4: aggregator: 'lstm' is not one of transformer"),
        (4, "transformer", "", "numbers.csv:4: aggregator: is empty"),
        (5, "2d,shot-32", "2d,shots", "numbers.csv:5: clip_strategy: 'shots' is not"),
        (5, ",24,30,", ",24,30.5,", "numbers.csv:5: clips_per_snippet: '30.5' is not a whole number"),
        (5, ",,", ",,,", "numbers.csv:5: has 19 fields instead of 18"),
        (
            3,
            "swin_2d seq-32",
            "swin_2d seq-24",
            "numbers.csv:3: label: 'swin_2d seq-24' of this table stands in line 2",
        ),
        (3, "swin_2d seq-32", " ", "numbers.csv:3: label: is empty"),
        (29, "1.7,4.3", "1.7,many", "numbers.csv:29: gflops: 'many' is not a number >= 0"),
    ],
)
def test_a_fault_is_told_with_file_line_and_field(
    tmp_path: Path, lines: list[str], line: int, old: str, new: str, message: str
) -> None:
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    with pytest.raises(InputError) as error:
        load(tmp_path, lines)
    assert message in str(error.value)


def test_all_faults_are_told_at_once(tmp_path: Path, lines: list[str]) -> None:
    lines[1], lines[5] = lines[1].replace("70.83", "x"), lines[5].replace("71.82", "y")
    with pytest.raises(InputError) as error:
        load(tmp_path, lines)
    assert [p.split(": ")[0].rsplit(":")[-1] for p in error.value.problems] == ["2", "6"]


def test_other_columns_are_refused(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(InputError, match=r"numbers.csv:1: columns: must be source,table"):
        load(tmp_path, [",".join(COLUMNS[1:]), *lines[1:]])
    with pytest.raises(InputError, match="columns"):
        load(tmp_path, [])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone.csv: can't be read"):
        load_published(tmp_path / "gone.csv")
