from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import StoreError
from orchestrator.reporting.write import folder_name, write_report


@pytest.fixture
def rows(grid, config):
    return grid([config(clips=c, fps=f) for c in ("seq-24", "shot-24") for f in (12, 24)], synthetic=True).rows()


def test_a_report_is_a_table_in_two_forms_and_a_plot_an_axis(rows, chance, tmp_path: Path) -> None:
    report = write_report("demo", rows, tmp_path, chance=chance, question="Shots or not?")
    assert report.directory == tmp_path / "demo"
    assert sorted(p.name for p in report.plots) == [
        "uAP_by_clip_strategy.png",
        "uAP_by_clip_strategy.svg",
        "uAP_by_frame_rate.png",
        "uAP_by_frame_rate.svg",
    ]
    text = report.markdown.read_text()
    assert "Shots or not?" in text and "4 configs, 12 of 12 trials done" in text
    assert "synthetic trailers" in text and "`abc123`" in text and "torch 2.14.1" in text
    assert report.csv.read_text().startswith("row,config_key,")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (report.directory / link).is_file()
    assert report.plots[0].read_bytes().startswith(b"\x89PNG")


def test_the_same_rows_write_the_same_bytes(rows, chance, tmp_path: Path) -> None:
    files = [write_report("demo", rows, tmp_path / d, chance=chance) for d in ("a", "b")]
    first, second = ({p.name: p.read_bytes() for p in f.directory.iterdir()} for f in files)
    assert first == second


def test_plots_of_axes_that_are_gone_are_removed_and_nothing_else(rows, chance, tmp_path: Path) -> None:
    report = write_report("demo", rows, tmp_path, chance=chance)
    notes = report.directory / "uAP_by_hand.png"
    notes.write_bytes(b"the user's own")
    again = write_report("demo", rows[::2], tmp_path, chance=chance)
    assert {p.name for p in again.directory.glob("uAP*")} == {
        "uAP_by_clip_strategy.png",
        "uAP_by_clip_strategy.svg",
        "uAP_by_hand.png",
    }
    assert notes.read_bytes() == b"the user's own"


def test_a_damaged_listing_removes_nothing_elsewhere(rows, tmp_path: Path) -> None:
    outside = tmp_path / "keep.txt"
    outside.write_text("x")
    (tmp_path / "demo").mkdir()
    listing = tmp_path / "demo" / "report_files.json"
    for content in (json.dumps({"files": ["../keep.txt", str(outside), 3]}), "{torn", '{"files": 1}'):
        listing.write_text(content)
        write_report("demo", rows, tmp_path)
        assert outside.exists()


def test_a_sweep_without_complete_rows_has_a_report_without_plots(sweep, config, chance, tmp_path: Path) -> None:
    report = write_report("demo", sweep.add(config(), [60.0]).rows(), tmp_path, chance=chance)
    assert report.plots == () and "1 of 3 splits" in report.markdown.read_text()


def test_no_name_leads_out_of_the_results(rows, tmp_path: Path) -> None:
    for name in ("../evil", "a/b", "..", "", "."):
        report = write_report(name, rows[:1], tmp_path / "results")
        assert report.directory.parent == tmp_path / "results"
    assert folder_name("aggregator_search.v2-x") == "aggregator_search.v2-x"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(rows, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=str(tmp_path)):
        write_report("demo", rows, tmp_path)


def test_a_file_in_the_place_of_the_folder_is_named(rows, tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("not a folder")
    with pytest.raises(StoreError, match="demo: the report can't be written"):
        write_report("demo", rows, tmp_path)
    assert (tmp_path / "demo").read_text() == "not a folder"


def test_reporting_loads_no_mlflow_ray_or_torch() -> None:
    code = (
        "import sys, orchestrator.reporting.write, orchestrator.reporting.curves; "
        "heavy = {'mlflow', 'ray', 'torch'} & set(sys.modules); sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
