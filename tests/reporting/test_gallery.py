from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.errors import StoreError
from orchestrator.reporting.aggregate import Spread
from orchestrator.reporting.comparison import compare
from orchestrator.reporting.gallery import find_prevalence, list_parts
from orchestrator.reporting.inputs import ComparedRow, ComparedTable, Plot, PublishedResult, Report
from orchestrator.reporting.notes import NOT_COMPARABLE
from orchestrator.reporting.plots import render
from orchestrator.specs import GRUSpec, TransformerSpec
from orchestrator.store.sweeps import SweepTable

GENRES = ("action", "comedy", "sci-fi")
EPOCHS = tuple({"epoch": i, "val_loss": 1 / i, "val_uAP": 40.0 + i} for i in range(1, 6))
COSTS = {"parameters": 28_000_000, "multiply_adds": 1_500_000_000_000}
ACROSS = [
    "uAP_against_parameters",
    "uAP_against_multiply_adds",
    "genre_areas",
    "genre_heat_map",
    "precision_recall",
    "validation_curves",
]


def predict(key: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = (rng.random((30, 3)) < (0.2, 0.5, 0.1)).astype(np.uint8)
    labels[0] = 1
    return {"mids": np.arange(30), "labels": labels, "probabilities": rng.random((30, 3)) * 0.5 + 0.4 * labels}


def table(name: str, number: str | None = None, *axes: str) -> SweepTable:
    return SweepTable(name, name.capitalize(), "Which?", number, axes)


def report_of(sweep, *tables: SweepTable, **changes: object) -> Report:
    rows = tuple(sweep.rows())
    return replace(Report("study", rows, tables, None, GENRES, predict), **changes)  # type: ignore[arg-type]


def beside(report: Report, shown: SweepTable, papers: dict[int, float], *notes: str) -> ComparedTable:
    """Our rows of a table, those at the given places beside a published uAP."""
    compared = []
    for place, row in enumerate(report.rows_of(shown)):
        uap = papers.get(place)
        settings = {n: row.settings[n] for n in ("backbone", "clip_strategy", "frame_rate", "aggregator")}
        paper = PublishedResult("paper", "6", "x", settings, {"uAP": Spread(uap, 0.5, 3)}) if uap else None
        compared.append(ComparedRow(row.label, row, paper, None))
    return ComparedTable(shown, tuple(compared), notes)


def draw_all(report: Report, tables: list[ComparedTable] | None = None) -> list[Plot]:
    """The plots of all parts; without `tables` those of the report, beside no published number."""
    tables = list(compare(report, published=[])) if tables is None else tables
    return [plot for _, start in list_parts(report, tables) for plot in start()]


@pytest.fixture
def study(sweep, config):
    """Four tables of a small study; the default config stands in all of them."""
    changes = {"history": EPOCHS, "best_epoch": 4}

    def add(made, uap: float, tables: list[str], parameters: int = 28, operations: int = 1500) -> None:
        costs = {"parameters": parameters * 10**6, "multiply_adds": operations * 10**9}
        sweep.add(made, [uap - 0.5, uap, uap + 0.5], tables, **changes, **costs)

    add(config(), 75.0, ["strategies", "rates", "aggregators", "backbones"])
    add(config(clips="seq-24"), 72.0, ["strategies"])
    add(config("swin_2d"), 73.0, ["strategies", "backbones"], 27, 114)
    add(config("swin_2d", clips="seq-24"), 71.0, ["strategies"], 27, 114)
    add(config(fps=4), 72.5, ["rates"], operations=300)
    add(config(fps=12), 73.5, ["rates"], operations=800)
    add(config(aggregator=GRUSpec()), 74.0, ["aggregators"])
    add(config("resnet_2d"), 71.5, ["backbones"], 24, 123)
    return sweep


TABLES = (
    table("strategies", "6", "backbone", "clip_strategy"),
    table("rates", "7", "frame_rate"),
    table("aggregators", "9", "aggregator"),
    table("backbones", "10", "backbone"),
)


def test_each_table_has_the_figure_of_what_it_varies(study) -> None:
    plots = draw_all(report_of(study, *TABLES))
    assert [(p.name, p.table) for p in plots] == [
        ("strategies_uAP_by_clip_strategy", "strategies"),
        ("rates_uAP_by_frame_rate", "rates"),
        ("aggregators_uAP_by_aggregator", "aggregators"),
        ("backbones_uAP_by_backbone", "backbones"),
        *((name, None) for name in ACROSS),
    ]
    assert all(p.caption and p.title and re.fullmatch(r"[A-Za-z0-9._-]+", p.name) for p in plots)


def test_a_sweep_without_tables_is_drawn_as_one(study) -> None:
    study.configs = [replace(c, tables=()) for c in study.configs]
    names = [p.name for p in draw_all(report_of(study))]
    assert "study_uAP_by_frame_rate" in names and names[-6:] == ACROSS


def test_each_part_says_what_it_is_and_faults_of_one_cost_no_other(study) -> None:
    def odd(key: str) -> dict[str, np.ndarray]:
        raise ValueError("odd")

    report = report_of(study, *TABLES, predictions=odd)
    names: list[str] = []
    for what, start in list_parts(report, list(compare(report, published=[]))):
        if what in ("those of genres", "precision and recall"):
            with pytest.raises(ValueError, match="odd"):
                start()
        else:
            names += [p.name for p in start()]
    assert names[-3:] == ["uAP_against_parameters", "uAP_against_multiply_adds", "validation_curves"]
    assert len(names) == 7


def test_a_full_grid_keeps_a_figure_an_axis(grid, config) -> None:
    configs = [
        config(b, clips=c, fps=f, length=n, aggregator=a)
        for b in ("a", "b")
        for c in ("seq-24", "shot-24")
        for f in (4, 12)
        for n in (4, 8)
        for a in (GRUSpec(), TransformerSpec())
    ]
    report = Report("grid", tuple(grid(configs, **COSTS).rows()), (), None, GENRES)
    assert [p.name for p in draw_all(report) if "_by_" in p.name] == [
        "grid_uAP_by_clip_strategy",
        "grid_uAP_by_aggregator",
        "grid_uAP_by_backbone",
        "grid_uAP_by_frame_rate",
        "grid_uAP_by_clips_per_snippet",
    ]


def test_without_a_complete_config_nothing_is_drawn(sweep, config) -> None:
    sweep.add(config(), [60.0], ["rates"]).add(config(fps=4), [], ["rates"])
    assert draw_all(report_of(sweep, TABLES[1])) == []
    assert draw_all(Report("empty", ())) == []


def test_one_complete_config_is_enough_for_what_needs_no_comparison(sweep, config) -> None:
    sweep.add(config(), [60.0, 61.0, 62.0], ["rates"], history=EPOCHS, best_epoch=3)
    names = [p.name for p in draw_all(report_of(sweep, TABLES[1]))]
    assert names == ["genre_areas", "genre_heat_map", "precision_recall", "validation_curves"]


def test_an_incomplete_config_never_enters_and_is_counted(study) -> None:
    study.records = [r for r in study.records if not (r.config["streams"][0]["clip"]["fps"] == 12 and r.split == 1)]
    plots = {p.name: p for p in draw_all(report_of(study, *TABLES))}
    rates = plots["rates_uAP_by_frame_rate"]
    assert any(list(line.get_xdata()) == [4, 24] for line in rates.figure.axes[0].lines)
    assert "Not shown: 1 incomplete" in rates.caption
    assert "Not shown: 1 incomplete" in plots["genre_heat_map"].caption
    assert not any("12 fps" in t.get_text() for t in plots["genre_heat_map"].figure.axes[0].get_yticklabels())


def test_published_numbers_stand_beside_ours(study) -> None:
    report = report_of(study, *TABLES)
    tables = [beside(report, TABLES[1], {0: 75.6, 1: 72.6, 2: 73.3})]
    (plot, *_) = draw_all(report, tables)
    assert "the published mean and deviation" in plot.caption
    theirs = [line for line in plot.figure.axes[0].lines if list(line.get_ydata()) == [72.6, 73.3, 75.6]]
    assert len(theirs) == 1 and theirs[0].get_linestyle() == ":"


def test_published_numbers_of_other_data_are_left_out_of_the_figures(study) -> None:
    report = report_of(study, *TABLES)
    tables = [beside(report, TABLES[1], {0: 75.6, 1: 72.6}, f"{NOT_COMPARABLE}: synthetic.")]
    (plot, *_) = draw_all(report, tables)
    assert "published" not in plot.caption
    assert not any(75.6 in list(line.get_ydata()) for line in plot.figure.axes[0].lines)


def test_a_table_whose_rows_differ_in_many_things_is_shown_row_by_row(study) -> None:
    mixed = table("baselines", "11", "backbone", "aggregator")
    study.configs = [
        replace(c, tables=(*c.tables, "baselines")) if i in (3, 5, 6) else c for i, c in enumerate(study.configs)
    ]
    report = report_of(study, mixed)
    (plot, *_) = draw_all(report, [beside(report, mixed, {0: 70.0, 1: 71.0})])
    assert plot.name == "baselines_uAP_by_config" and "grey hollow marks" in plot.caption


def test_every_caption_says_what_the_data_is(sweep, config) -> None:
    for backbone, weights in (("a", "random"), ("b", "pretrained"), ("c", "pretrained")):
        for fps in (4, 12):
            made = config(backbone, fps=fps, weights=weights)
            sweep.add(made, [50.0, 51.0, 52.0], ["rates"], synthetic=True, history=EPOCHS, best_epoch=2, **COSTS)
    plots = draw_all(report_of(sweep, TABLES[1]))
    assert len(plots) >= 7
    assert all("SYNTHETIC TRAILERS" in p.caption for p in plots)
    assert all("RANDOM BACKBONE WEIGHTS" in p.caption for p in plots if p.name != "precision_recall")


def test_the_config_of_the_curves_is_chosen_by_validation(sweep, config) -> None:
    low = tuple({**e, "val_uAP": 1.0} for e in EPOCHS)
    sweep.add(config("lucky"), [90.0] * 3, history=low, best_epoch=4)
    sweep.add(config("sound"), [60.0] * 3, history=EPOCHS, best_epoch=4)
    plots = {p.name: p for p in draw_all(report_of(sweep))}
    assert "sound" in plots["precision_recall"].title and "lucky" not in plots["precision_recall"].caption
    assert "by mean validation uAP" in plots["precision_recall"].caption


def test_torn_predictions_cost_the_curves_alone(study) -> None:
    def torn(key: str) -> dict[str, np.ndarray]:
        raise StoreError("torn")

    for read in (torn, lambda key: {"labels": np.zeros((4, 2))}, None):
        plots = {p.name: p for p in draw_all(report_of(study, *TABLES, predictions=read))}
        assert "precision_recall" not in plots and "genre_heat_map" in plots
        assert "chance" not in plots["genre_areas"].caption


def test_the_prevalence_is_that_of_the_test_parts(study) -> None:
    report = report_of(study)
    labels = predict("x")["labels"]
    found = find_prevalence(report, report.rows)
    assert found == pytest.approx(dict(zip(GENRES, 100 * labels.mean(axis=0), strict=True)))
    assert find_prevalence(replace(report, predictions=None), report.rows) is None


def test_the_same_report_gives_the_same_bytes(study) -> None:
    first, second = ([render(p.figure, "svg") for p in draw_all(report_of(study, *TABLES))] for _ in range(2))
    assert first == second and max(map(len, first)) < 150_000


def test_one_backbone_has_one_bubble_a_cost(sweep, config) -> None:
    for n, costs in ((5, 10), (10, 20), (15, 20)):
        sweep.add(config(length=n), [60.0 + n] * 3, ["lengths"], parameters=28_000_000, multiply_adds=costs * 10**9)
    plots = {p.name: p for p in draw_all(report_of(sweep, table("lengths", "8", "clips_per_snippet")))}
    figure = plots["uAP_against_multiply_adds"].figure
    names = [t.get_text() for t in figure.texts]
    assert any("15 clips" in n for n in names) and not any("10 clips" in n for n in names)


def test_the_curves_are_those_of_the_config_that_was_asked_for(study) -> None:
    report = report_of(study, *TABLES)
    chosen = report.rows[-1]
    plots = {p.name: p for p in draw_all(replace(report, curves=chosen.key))}
    assert chosen.label in plots["precision_recall"].caption and "chosen by hand" in plots["precision_recall"].caption


def test_configs_that_share_nothing_are_shown_one_by_one_also_where_they_cannot_be_compared(sweep, config) -> None:
    """As the baselines of Table 11: no figure of one setting, though on other data the published numbers go."""
    sweep.add(config("a", clips="seq-24"), [60.0] * 3, ["mixed"]).add(config("b", fps=4), [70.0] * 3, ["mixed"])
    mixed = table("mixed", "11", "backbone", "frame_rate")
    report = report_of(sweep, mixed)
    for notes in ((), (f"{NOT_COMPARABLE}: 40 trailers, not Trailers12k.",)):
        plots = draw_all(report, [beside(report, mixed, {0: 65.0}, *notes)])
        assert [p.name for p in plots if p.table] == ["mixed_uAP_by_config"]


def test_a_search_has_its_own_figures_and_none_of_single_settings(pruned) -> None:
    plots = draw_all(pruned.report())
    names = [p.name.removeprefix("search_heads_") for p in plots if p.search == "heads"]
    assert names == ["history", "importances", "parallel", "slices", "learning_curves"]
    assert not any("_uAP_by_" in p.name for p in plots) and plots[0].search == "heads"
    (areas,) = [p for p in plots if p.name == "genre_areas"]
    assert "15 pruned" in areas.caption


def test_a_grid_beside_a_search_keeps_its_figures(pruned, config) -> None:
    for fps in (12, 24):
        pruned.sweep.add(config(fps=fps), [60.0 + fps] * 3, ["heads"])
    (plot,) = [p for p in draw_all(pruned.report()) if "_uAP_by_" in p.name]
    assert plot.name == "heads_uAP_by_frame_rate"
    assert "2 configs" in " ".join(ax.get_title(loc="left") for ax in plot.figure.axes)


def test_a_grid_config_that_a_search_drew_as_well_stays_in_the_figures_of_its_grid(search) -> None:
    for uap in (40.0, 50.0, 60.0):
        search.add(uap)
    configs = search.sweep.configs
    configs[:2] = [replace(c, tables=("grid", "heads"), number=None, search=None) for c in configs[:2]]
    found = replace(search.report(), tables=(table("grid"), *search.report().tables))
    plots = [p for p in draw_all(found) if p.table == "grid"]
    assert plots and all("highest test mean" in p.caption.lower() for p in plots)
    assert "2 configs" in " ".join(ax.get_title(loc="left") for ax in plots[0].figure.axes)


def test_several_objectives_start_with_the_front(costly) -> None:
    names = [p.name for p in draw_all(costly.report()) if p.search]
    assert names == [f"search_heads_{n}" for n in ("front", "history", "parallel", "slices")]
