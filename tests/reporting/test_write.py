from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from orchestrator.errors import StoreError
from orchestrator.reporting.inputs import Plot
from orchestrator.reporting.write import LISTING, find_report, folder_name, write_report
from orchestrator.search.records import Observation


def a_figure() -> Figure:
    figure = Figure(figsize=(1, 1))
    figure.add_subplot().plot([0, 1], [0, 1])
    return figure


def draw(report, tables) -> Iterator[Plot]:
    """One figure a table, and one of all of them."""
    for table in tables:
        yield Plot(
            f"{table.table.name}_uAP", "uAP by axis", f"What {table.table.name} shows.", a_figure(), table.table.name
        )
    yield Plot("costs", "Costs [all]", "What it costs.", a_figure())


def compose(report, tables, plots) -> str:
    """A page that names all it was given."""
    return f"<html>{[t.table.name for t in tables]} {[p.name for p in plots]} {dict(report.facts)}</html>"


def write(report, directory, draw=draw):
    return write_report(report, directory, draw=draw, compose=compose)


@pytest.fixture
def made(grid, config, report, table, chance):
    """A report of four configs in one table without a published number."""
    configs = [config(clips=c, fps=f) for c in ("seq-24", "shot-24") for f in (12, 24)]
    rows = grid(configs, tables=("clips",), synthetic=True).rows()
    asked = table("clips", title="Clips", question="Shots or not?")
    return report(rows, asked, sweep="demo", chance=chance, facts={"Manifest": "trailers/manifest.csv"})


@pytest.fixture
def study(sweep, config, report, table):
    """A report of two tables that share a config, one of them beside the published Table 6."""
    sweep.add(config(), [75.0, 76.0, 77.0], tables=("clips", "mine"), synthetic=True)
    sweep.add(config(length=3), [60.0], tables=("mine",), synthetic=True)
    return report(sweep.rows(), table("clips", "6", "Clip strategy"), table("mine"), sweep="study")


def test_a_report_is_a_page_and_every_table_in_three_forms_with_its_plots(made, tmp_path: Path) -> None:
    files = write(made, tmp_path)
    assert files.directory == tmp_path / "demo" and files.problems == ()
    assert [p.name for p in files.tables] == ["table_clips.md", "table_clips.tex", "table_clips.csv"]
    assert [p.name for p in files.plots] == ["clips_uAP.png", "clips_uAP.svg", "costs.png", "costs.svg"]
    text = files.markdown.read_text()
    assert "Shots or not?" in text and "4 configs, 12 of 12 trials done" in text
    assert "synthetic trailers" in text and "abc123" in text and "torch 2.14.1" in text
    assert "trailers/manifest.csv" in text
    assert files.csv.read_text().startswith("row,config_key,")
    assert files.html.read_text().startswith("<html>['clips'] ['clips_uAP', 'costs']")
    assert files.plots[0].read_bytes().startswith(b"\x89PNG") and b"<svg" in files.plots[1].read_bytes()


def test_every_file_is_linked_and_every_link_is_a_file(made, tmp_path: Path) -> None:
    files = write(made, tmp_path)
    linked = set(re.findall(r"\]\(([^)]+)\)", files.markdown.read_text()))
    assert linked == {p.name for p in files.directory.iterdir()} - {"report.md", "report_files.json"}


def test_plots_stand_under_their_table_with_their_caption(study, tmp_path: Path) -> None:
    text = write(study, tmp_path).markdown.read_text()
    places = [
        text.index(part)
        for part in (
            "## Table 6: Clip strategy",
            "(clips_uAP.png)",
            "## Mine",
            "(mine_uAP.png)",
            "(costs.png)",
            "## Made",
        )
    ]
    assert places == sorted(places)
    assert "\nWhat clips shows. [As SVG](clips_uAP.svg)." in text
    assert r"![Costs \[all\]](costs.png)" in text


def test_tables_are_named_by_their_published_number(study, tmp_path: Path) -> None:
    files = write(study, tmp_path)
    assert [p.name for p in files.tables if p.suffix == ".csv"] == ["table_6.csv", "table_mine.csv"]
    assert r"\label{tab:study-6}" in (files.directory / "table_6.tex").read_text()
    alone = (files.directory / "table_6.md").read_text()
    assert alone.startswith("# Table 6: Clip strategy\n") and "> **Not comparable" in alone
    assert len(files.csv.read_text().splitlines()) == 3


def test_two_tables_of_one_number_do_not_overwrite_each_other(sweep, config, report, table, tmp_path: Path) -> None:
    sweep.add(config(), [75.0] * 3, tables=("a", "b"))
    files = write(report(sweep.rows(), table("a", "6"), table("b", "6"), table("6_a", None)), tmp_path)
    assert [p.stem for p in files.tables[::3]] == ["table_6_a", "table_6_b", "table_6_a_2"]


def test_the_same_rows_write_the_same_bytes(made, tmp_path: Path) -> None:
    files = [write(made, tmp_path / d) for d in ("a", "b")]
    first, second = ({p.name: p.read_bytes() for p in f.directory.iterdir()} for f in files)
    assert first == second


def test_a_plot_that_cannot_be_drawn_costs_no_table(made, tmp_path: Path) -> None:
    def fail(report, tables) -> Iterator[Plot]:
        torn = a_figure()
        torn.text(0, 0, r"$\nothing{$", parse_math=True)
        yield Plot("torn", "Torn", "Can't be saved.", torn)
        yield next(draw(report, tables))
        raise ValueError("no such genre")

    files = write(made, tmp_path, fail)
    assert [p.name for p in files.plots] == ["clips_uAP.png", "clips_uAP.svg"]
    assert files.problems[0].startswith("torn: ")
    assert files.problems[1] == "those after clips_uAP: ValueError: no such genre"
    text = files.markdown.read_text()
    assert "- Plots that could not be drawn: torn: " in text and "no such genre" in text
    assert "no such genre" in files.html.read_text()
    assert files.tables[0].is_file()


def test_by_default_the_gallery_is_drawn_and_a_fault_costs_only_its_part(made, tmp_path: Path) -> None:
    def predictions(key: str):
        raise ValueError(f"{key} is odd")

    trials = {s: f"trial {s}" for s in range(3)}
    rows = tuple(replace(row, trials=trials) for row in made.rows)
    report = replace(made, rows=rows, genres=("action", "comedy", "sci-fi"), predictions=predictions)
    files = write_report(report, tmp_path)
    assert files.problems == (
        "those of genres: ValueError: trial 0 is odd",
        "precision and recall: ValueError: trial 0 is odd",
    )
    assert files.plots and all(p.name.startswith("clips_uAP_by_") for p in files.plots)
    page = files.html.read_text()
    assert "trial 0 is odd" in page and "uAP by" in page and "Shots or not?" in page


def test_without_a_complete_row_there_is_a_report_without_plots(sweep, config, report, table, chance, tmp_path) -> None:
    rows = sweep.add(config(), [60.0], tables=("clips",)).rows()
    files = write_report(report(rows, table("clips", "6"), chance=chance), tmp_path)
    assert "1 of 3 splits" in files.markdown.read_text() and "1 of 3" in files.html.read_text()
    assert {p.suffix for p in files.plots} <= {".png", ".svg"} and files.problems == ()


def test_files_that_are_not_made_any_more_are_removed_and_nothing_else(made, tmp_path: Path) -> None:
    files = write(made, tmp_path)
    notes = files.directory / "uAP_by_hand.png"
    notes.write_bytes(b"the user's own")
    write(made, tmp_path, lambda report, tables: [])
    assert {p.name for p in files.directory.iterdir()} == {
        *("report.md", "report.html", "report_files.json", "table.csv"),
        *("table_clips.md", "table_clips.tex", "table_clips.csv"),
        "uAP_by_hand.png",
    }
    assert notes.read_bytes() == b"the user's own"


def test_a_damaged_listing_removes_nothing_elsewhere(made, tmp_path: Path) -> None:
    outside = tmp_path / "keep.txt"
    outside.write_text("x")
    (tmp_path / "demo").mkdir()
    listing = tmp_path / "demo" / "report_files.json"
    for content in (json.dumps({"files": ["../keep.txt", str(outside), 3]}), "{torn", '{"files": 1}'):
        listing.write_text(content)
        write(made, tmp_path)
        assert outside.exists()


def test_no_name_leads_out_of_the_results(sweep, config, report, tmp_path: Path) -> None:
    def draw_outside(report, tables) -> list[Plot]:
        return [Plot("../evil", "Evil", "", a_figure()), Plot("../evil", "Evil", "", a_figure())]

    rows = sweep.add(config(), [60.0] * 3).rows()
    for name in ("../evil", "a/b", "..", "", "."):
        files = write(report(rows, sweep=name), tmp_path / "results", draw_outside)
        assert files.directory.parent == tmp_path / "results"
        assert len({p.parent for p in files.plots}) == 1 and len(set(files.plots)) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["results"]
    assert folder_name("aggregator_search.v2-x") == "aggregator_search.v2-x"


def test_names_that_had_to_be_changed_share_no_folder(sweep, config, report, tmp_path: Path) -> None:
    rows = sweep.add(config(), [60.0] * 3).rows()
    folders = [write(report(rows, sweep=name), tmp_path).directory for name in ("研究", "调查", "_", "a/b", "a_b")]
    assert len(set(folders)) == 5 and all(len(list(folder.iterdir())) > 4 for folder in folders)
    assert re.fullmatch(r"_-[0-9a-f]{6}", folder_name("研究"))


def test_dollar_signs_in_names_are_drawn_as_they_are(sweep, config, report, table, tmp_path: Path) -> None:
    genres = (r"a$\frac$", "R$B", "c")
    for fps in (12, 24):
        per_genre = dict.fromkeys(genres, 50.0 + fps)
        sweep.add(config(fps=fps, weights="/x/$w_$.pth"), [60.0 + fps] * 3, ["clips"], per_genre=per_genre)
    asked = table("clips", title="cost $x_$")
    files = write_report(report(sweep.rows(), asked, sweep="cost $x_$", genres=genres), tmp_path)
    assert files.problems == ()
    assert {p.stem for p in files.plots} >= {"genre_areas", "genre_heat_map", "clips_uAP_by_frame_rate"}


def test_markup_in_names_is_text_in_the_markdown(sweep, config, report, table, tmp_path: Path) -> None:
    evil = "<b>*x*</b> `y` _z_ $1$ [a](b) &lt;"
    sweep.add(config(), [60.0] * 3, ["evil"]).add(config(fps=4), [60.0] * 3, ["evil"])
    sweep.records[0] = replace(sweep.records[0], status="failed", reason=f"{evil}\n# reason", test={})
    asked = table("evil", title=evil, question=evil)
    made = report(sweep.rows(), asked, sweep=evil, facts={"Failed trailers": evil})
    files = write(made, tmp_path, lambda report, tables: [Plot("p", evil, evil, a_figure(), "evil")])
    for path in (files.markdown, files.tables[0]):
        shown = MarkdownIt("commonmark").enable("table").render(path.read_text())
        assert not re.findall(r"<(?!/?(h\d|p|table|thead|tbody|tr|t[hd]|ul|li|strong|code|a|img|span)\b)", shown)
        assert "<b>" not in shown and "<em>" not in shown and "<h1>reason" not in shown
        plain = html.unescape(shown.replace("<span>$</span>", "$"))
        assert plain.count(evil) >= 3


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(made, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=str(tmp_path)):
        write(made, tmp_path)


def test_a_file_in_the_place_of_the_folder_is_named(made, tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("not a folder")
    with pytest.raises(StoreError, match="demo: the report can't be written"):
        write(made, tmp_path)
    assert (tmp_path / "demo").read_text() == "not a folder"


def test_reporting_loads_no_mlflow_ray_or_torch() -> None:
    code = (
        "import sys, orchestrator.reporting.write, orchestrator.reporting.curves; "
        "heavy = {'mlflow', 'ray', 'torch'} & set(sys.modules); sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_report_of_the_same_results_is_found_again_and_one_of_others_is_not(made, tmp_path: Path) -> None:
    assert find_report(made, tmp_path) is None
    files = write(made, tmp_path)
    assert find_report(made, tmp_path) == files
    assert find_report(replace(made, rows=made.rows[1:]), tmp_path) is None
    assert find_report(replace(made, facts={"Manifest": "other.csv"}), tmp_path) is None
    first, *rest = made.rows
    retrained = replace(first, trials={split: f"x{key}" for split, key in first.trials.items()})
    assert find_report(replace(made, rows=(retrained, *rest)), tmp_path) is None
    files.plots[0].unlink()
    assert find_report(made, tmp_path) is None


def test_a_report_that_was_cut_short_or_lacks_a_plot_is_not_taken_for_whole(made, tmp_path: Path) -> None:
    def fail(report, tables) -> Iterator[Plot]:
        yield from draw(report, tables)
        raise RuntimeError("no room for labels")

    assert write(made, tmp_path, fail).problems
    assert find_report(made, tmp_path) is None
    folder = write(made, tmp_path).directory
    (folder / LISTING).write_text("{")
    assert find_report(made, tmp_path) is None


def test_searches_are_written_as_a_journal_that_optuna_opens(pruned, tmp_path: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    files = write_report(pruned.report(), tmp_path)
    assert files.problems == () and files.journal == files.directory / "optuna.log"
    study = optuna.load_study(study_name="heads", storage=JournalStorage(JournalFileBackend(str(files.journal))))
    states = [trial.state.name for trial in study.trials]
    assert (states.count("COMPLETE"), states.count("PRUNED"), states.count("FAIL")) == (8, 15, 1)
    assert study.best_trial.user_attrs["number"] == 21
    linked = set(re.findall(r"\]\(([^)]+)\)", files.markdown.read_text()))
    assert {"optuna.log", "search_heads_history.png"} <= linked
    assert linked == {p.name for p in files.directory.iterdir()} - {"report.md", "report_files.json"}


def test_a_new_draw_is_another_report(pruned, tmp_path: Path) -> None:
    report = pruned.report()
    files = write(report, tmp_path)
    assert find_report(report, tmp_path) == files
    (search,) = report.searches
    more = (*search.observations, Observation(24, {"aggregator": "transformer"}, "running"))
    assert find_report(replace(report, searches=(replace(search, observations=more),)), tmp_path) is None
    without = write(replace(report, searches=()), tmp_path)
    assert without.journal is None and not (files.directory / "optuna.log").exists()
