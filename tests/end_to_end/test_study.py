"""The whole study at toy scale: 32 configs on three splits with one command, one decoding pass and a full report."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Divita = Callable[..., subprocess.CompletedProcess[str]]

SPACE = Path(__file__).parent / "spaces" / "study.yaml"
SETTINGS = ("--set", "weights=random", "--set", "training.epochs=2")
TABLES = {"6": 8, "7": 5, "8": 8, "9": 6, "10": 8, "11": 5}

# Nineteen sets of each trailer are most of the time that this takes, so five must do: their parts in the three splits
# (0 train, 1 validation, 2 test), each genre with a positive in every train and every test part.
FIVE = {"syn000002": "200", "syn000004": "200", "syn000000": "021", "syn000005": "022", "syn000006": "112"}
MANIFEST = "trailers/five.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, divita: Divita) -> Path:
    made = tmp_path_factory.mktemp("study")
    done = divita("synth", "trailers", "--trailers", "12", "--seconds", "1", cwd=made)
    assert done.returncode == 0, done.stderr
    rows = {row["mid"]: row for row in read_csv(made / "trailers" / "manifest.csv")}
    chosen = [rows[mid] | {f"split{i}": part for i, part in enumerate(parts)} for mid, parts in FIVE.items()]
    with open(made / MANIFEST, "w", newline="") as file:
        writer = csv.DictWriter(file, chosen[0])
        writer.writeheader()
        writer.writerows(chosen)
    return made


@pytest.fixture(scope="module")
def finished(folder: Path, divita: Divita) -> subprocess.CompletedProcess[str]:
    return divita("run", SPACE, "-d", MANIFEST, *SETTINGS, cwd=folder)


@pytest.fixture(scope="module")
def report(folder: Path, finished: subprocess.CompletedProcess[str]) -> Path:
    assert finished.returncode == 0, finished.stderr
    return folder / "results" / "study"


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_plan_counts_what_the_tables_share(folder: Path, divita: Divita) -> None:
    done = divita("plan", "study", "-d", MANIFEST, "--json", "-w", "untouched", cwd=folder)
    facts = json.loads(done.stdout)
    assert facts["tables"]["backbone"]["with_earlier"] == {"configs": 29, "trials": 87, "embedding_sets": 16}
    assert (facts["configs"], facts["trials"], facts["embedding_sets"], facts["decode_passes"]) == (32, 96, 19, 1)
    view = divita("plan", "study", "-d", MANIFEST, "-w", "untouched", cwd=folder).stdout
    assert re.search(r"^e +backbone \(Table 10\) +8 +24 +6 +29 +87 +16$", view, re.M)
    assert re.search(r"^swin_3d shot-24 24fps +pretrained +0 +5 +10 +1 +1 +8 +3 +1 +1$", view, re.M)
    assert "decoded once, not 32 times" in view and not (folder / "untouched").exists()


def test_one_command_decodes_every_trailer_once_and_trains_every_config(
    folder: Path, finished: subprocess.CompletedProcess[str]
) -> None:
    assert finished.returncode == 0, finished.stderr
    assert "extracted: 5 trailers decoded" in finished.stdout
    assert "trained: 96 trials; 96 done, 0 failed, 0 missing" in finished.stdout
    with sqlite3.connect(folder / "workspace" / "mlflow.db") as database:
        runs = database.execute("select run_uuid, status from runs").fetchall()
        query = "select count(distinct run_uuid) from metrics where key = ?"
        counted = [database.execute(query, (name,)).fetchone()[0] for name in ("parameters", "multiply_adds")]
    assert len(runs) == 32 + 96 and {status for _, status in runs} == {"FINISHED"}
    assert counted == [128, 128]


@pytest.mark.parametrize("number", TABLES)
def test_every_published_table_has_our_number_beside_it_marked_for_what_it_is(report: Path, number: str) -> None:
    rows = [row for row in read_csv(report / f"table_{number}.csv") if row["row"] == "config"]
    assert len(rows) == TABLES[number]
    for row in rows:
        gap = float(row["ours.uAP.mean"]) - float(row["paper.uAP.mean"])
        assert float(row["uAP.difference"]) == pytest.approx(gap)
        assert float(row["uAP.deviations"]) == pytest.approx(gap / float(row["paper.uAP.std"]))
        assert (row["random_weights"], row["synthetic"], row["incomplete"]) == ("1", "1", "0")
    markdown = (report / f"table_{number}.md").read_text()
    assert "Not comparable with the published numbers" in markdown and "synthetic trailers" in markdown
    assert r"\toprule" in (report / f"table_{number}.tex").read_text()


def test_counted_sizes_are_the_published_ones_where_the_counting_rules_agree(report: Path) -> None:
    rows = {row["label"]: row for row in read_csv(report / "table_10.csv") if row["row"] == "config"}
    assert all(abs(float(row["parameters.relative_difference"])) < 0.05 for row in rows.values())
    apart = {name for name, row in rows.items() if abs(float(row["multiply_adds.relative_difference"])) >= 0.05}
    assert apart == {"swin_2d", "swin_3d"}
    notes = (report / "table_10.md").read_text()
    assert all(re.search(rf"^- {name}, .*multiply-adds; published: ", notes, re.M) for name in apart)


def test_the_page_holds_every_table_and_plot_and_reaches_for_nothing_outside(report: Path) -> None:
    page = (report / "report.html").read_text()
    plots = sorted(path.stem for path in report.glob("*.png"))
    assert len(plots) >= 12 and plots == sorted(path.stem for path in report.glob("*.svg"))
    for number in TABLES:
        assert f"Table {number}" in page
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert "random weights" in page and "synthetic trailers" in page


def test_a_second_run_of_the_study_does_nothing(
    folder: Path, finished: subprocess.CompletedProcess[str], divita: Divita
) -> None:
    again = divita("run", SPACE, "-d", MANIFEST, *SETTINGS, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "extracted" not in again.stdout and "trained: 0 trials; 96 done" in again.stdout
    assert "Ray" not in again.stderr
