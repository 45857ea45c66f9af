from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.reporting.comparison import compare, is_published, size_differences
from orchestrator.reporting.notes import GENRES as TEN
from orchestrator.reporting.published import load_published
from orchestrator.specs import ConvSpec, CTTSpec, MeanSpec, TransformerSpec
from orchestrator.store.sweeps import SweepTable
from orchestrator.sweep.space import load_space


def said(table, start: str) -> list[str]:
    return [note for note in table.notes if note.startswith(start)]


def test_rows_are_matched_by_their_settings_and_keep_the_published_order(sweep, config, beside) -> None:
    sweep.add(config("swin_3d", clips="shot-24"), [75.0, 76.0, 77.0]).add(config("swin_2d", clips="seq-32"), [70.0] * 3)
    table = beside("6")
    assert [row.label for row in table.rows] == [
        f"{backbone} {clips}"
        for backbone in ("swin_2d", "swin_3d")
        for clips in ("seq-24", "seq-32", "shot-24", "shot-32")
    ]
    ours = {row.label: row.row.settings["clip_strategy"] for row in table.rows if row.row}
    assert ours == {"swin_2d seq-32": "seq-32", "swin_3d shot-24": "shot-24"}
    assert said(table, "Published rows that are not in this sweep: 6 of 8.")


def test_the_difference_is_ours_minus_the_papers_in_points_and_deviations(sweep, config, beside) -> None:
    sweep.add(config("swin_3d"), [75.0, 76.0, 77.0])
    row = beside("6").rows[6]
    assert row.difference("uAP") == pytest.approx(76.0 - 75.57)
    assert row.deviations("uAP") == pytest.approx((76.0 - 75.57) / 0.66)
    assert beside("6").rows[0].difference("uAP") is None


def test_an_incomplete_row_stands_beside_the_published_without_a_difference(sweep, config, beside) -> None:
    sweep.add(config("swin_3d"), [75.0])
    table = beside("6")
    row = table.rows[6]
    assert row.row is not None and row.difference("uAP") is None
    assert said(table, "I, swin_3d shot-24: 1 of 3 splits")


def test_several_rows_for_one_published_are_told_apart(sweep, config, beside) -> None:
    for rate in (1e-4, 1e-3):
        sweep.add(config("swin_3d", fps=4, learning_rate=rate), [72.0] * 3)
    table = beside("7")
    labels = [row.label for row in table.rows if row.row]
    assert labels == ["4 fps learning_rate=0.0001", "4 fps learning_rate=0.001"]
    assert {row.paper.label for row in table.rows if row.row} == {"4 fps"}
    assert said(table, "Not the study's settings: learning_rate=0.001 (4 fps learning_rate=0.001).")


def test_a_head_that_is_not_the_studys_is_said(sweep, config, beside) -> None:
    sweep.add(config("swin_3d", aggregator=TransformerSpec(heads=2), epochs=5, seed=3), [75.0] * 3)
    assert said(beside("8"), "Not the study's settings:") == [
        "Not the study's settings: heads=2, epochs=5 (every row)."
    ]


def test_settings_that_were_not_published_fit_any(sweep, config, beside) -> None:
    sweep.add(config("resnet_2d", clips="even-240", length=240, aggregator=CTTSpec()), [69.0] * 3)
    sweep.add(config("vgg16_2d", clips="even-60", length=60, aggregator=CTTSpec()), [68.0] * 3)
    sweep.add(config("swin_3d"), [75.0] * 3)
    table = beside("11")
    first, second, *others = (row.label for row in table.rows)
    assert first.startswith("ctt_mmc_a: resnet_2d even-240 ") and second.startswith("ctt_mmc_a: vgg16_2d even-60 ")
    assert others == ["fastvideo", "timesformer", "divita swin_2d", "divita swin_3d"]
    assert table.rows[-1].row is not None
    assert said(table, f"{first}: ours is resnet_2d even-240 ") and not said(table, "divita swin_3d: ours")


def test_rows_that_were_not_published_come_last(sweep, config, beside) -> None:
    sweep.add(config("swin_3d", aggregator=MeanSpec()), [60.0] * 3).add(config("swin_3d"), [75.0] * 3)
    table = beside("9")
    last = table.rows[-1]
    assert (last.label, last.paper, last.code) == ("swin_3d mean", None, None)
    assert said(table, "Rows of ours that are not in the published table: 1 of 2.")


def test_rows_that_differ_in_more_than_the_table_does_have_whole_labels(sweep, config, beside) -> None:
    sweep.add(config("swin_3d", aggregator=MeanSpec(), epochs=1), [60.0] * 3)
    sweep.add(config("swin_3d", aggregator=MeanSpec(), epochs=2), [60.0] * 3)
    assert [row.label for row in beside("9").rows[-2:]] == [
        "swin_3d shot-24 24fps 30clips mean epochs=1",
        "swin_3d shot-24 24fps 30clips mean epochs=2",
    ]


def test_the_authors_code_stands_beside_the_paper(sweep, config, beside) -> None:
    sweep.add(config("resnet_2d"), [71.0] * 3)
    table = beside("10")
    (row,) = (row for row in table.rows if row.label == "resnet_2d")
    assert row.paper.metrics["uAP"].mean == 71.42 and row.code.metrics["uAP"].mean == 70.92
    assert len(table.rows) == 8 and said(table, "Published: Table 10")[0].endswith("public code.")
    assert not any(row.code for row in beside("9").rows)


def test_a_table_without_a_published_number_has_ours_alone(sweep, config, beside) -> None:
    sweep.add(config(length=5), [60.0] * 3).add(config(length=10), [61.0] * 3)
    for number in (None, "12"):
        table = beside(number)
        assert not is_published(table)
        assert [row.label for row in table.rows] == [
            "swin_3d shot-24 24fps 5clips transformer",
            "swin_3d shot-24 24fps 10clips transformer",
        ]
        assert not said(table, "Published") and not said(table, "Not comparable")


def test_a_config_stands_in_every_table_that_names_it(sweep, config, report, table) -> None:
    sweep.add(config(), [75.0] * 3, tables=("clips", "fps")).add(config(fps=4), [72.0] * 3, tables=("fps",))
    clips, fps = compare(report(sweep.rows(), table("clips", "6"), table("fps", "7")))
    assert [row.label for row in clips.rows if row.row] == ["swin_3d shot-24"]
    assert [row.label for row in fps.rows if row.row] == ["4 fps", "24 fps"]


def test_no_row_is_lost_for_lack_of_a_table(sweep, config, report, table) -> None:
    sweep.add(config(), [75.0] * 3, tables=("clips",)).add(config(aggregator=ConvSpec()), [72.0] * 3)
    tables = compare(report(sweep.rows(), table("clips", "6")))
    assert [t.table.title for t in tables] == ["Clips", "Other configs"]
    assert len(tables[1].rows) == 1
    (alone,) = compare(report(sweep.rows()))
    assert alone.table.name == "study" and len(alone.rows) == 2


def test_synthetic_trailers_of_other_genres_are_not_compared_silently(sweep, config, beside) -> None:
    sweep.add(config(), [75.0] * 3, trailers=12, synthetic=True)
    (note,) = said(beside("6", genres=("action", "comedy")), "Not comparable")
    assert "12 synthetic trailers, not Trailers12k" in note and "2 genres (action, comedy)" in note


@pytest.mark.parametrize(
    ("trailers", "genres", "reason"),
    [
        (12_000, TEN, None),
        (11_950, TEN, None),
        (11_000, TEN, "11,000 trailers, not Trailers12k's 12,000"),
        (40_000, TEN, "40,000 trailers, not"),
        (12_000, TEN[:9], "9 genres"),
        (12_000, (), "3 genres (action, comedy, sci-fi), not Trailers12k's ten"),
    ],
)
def test_other_data_is_named(sweep, config, beside, trailers: int, genres: tuple[str, ...], reason: str | None) -> None:
    sweep.add(config(), [75.0] * 3, trailers=trailers)
    table = beside("6", genres=genres)
    if reason is None:
        assert table.notes[0].startswith("Taken for Trailers12k") and not said(table, "Not comparable")
        assert ("on 11,950 of them" in table.notes[0]) == (trailers == 11_950)
    else:
        assert table.notes[0].startswith("Not comparable") and reason in table.notes[0]


def test_fewer_splits_are_named(sweep, config, report, table) -> None:
    sweep.add(config(), [75.0], tables=("clips",), trailers=12_000)
    sweep.configs[0] = replace(sweep.configs[0], trials={0: sweep.records[0].key})
    (made,) = compare(report(sweep.rows(), table("clips", "6"), genres=TEN))
    assert "1 split, not three" in made.notes[0]


def test_without_a_result_nothing_is_claimed_about_the_data(sweep, config, beside) -> None:
    sweep.add(config(), [])
    table = beside("6", genres=TEN)
    assert not said(table, "Taken") and not said(table, "Not comparable")


def test_without_known_genres_nothing_is_claimed_about_the_data(sweep, config, beside) -> None:
    sweep.add(config(), [75.0] * 3, trailers=12_000, per_genre={})
    table = beside("6")
    assert not said(table, "Taken") and not said(table, "Not comparable")


def test_random_weights_are_compared_and_said_to_mean_nothing(sweep, config, beside) -> None:
    sweep.add(config(weights="random"), [60.0] * 3)
    table = beside("10")
    assert said(table, "Differences of rows marked R say nothing about the backbone")
    assert said(table, "R (every row): random weights")


def test_sizes_within_five_percent_need_no_note(sweep, config, beside) -> None:
    sweep.add(config("swin_2d"), [72.0] * 3, parameters=28_000_000, multiply_adds=117_000_000_000)
    table = beside("10")
    (row,) = (row for row in table.rows if row.row)
    assert size_differences(row) == pytest.approx((28 / 27.9 - 1, 117 / 114 - 1))
    assert not said(table, "swin_2d")


def test_sizes_further_off_are_explained_by_how_they_were_counted(sweep, config, beside) -> None:
    cost = {"multiply_adds": 134_700_000_000, "parameters": 27_900_000}
    sweep.add(config("swin_2d"), [72.0] * 3, **cost).add(config("resnet_2d"), [72.0] * 3, **cost)
    sweep.add(config("resnet_2d+r2plus1d_3d"), [72.0] * 3, **cost)
    table = beside("10", counting={"swin_2d": "attention is counted, too.", "resnet_2d": "so it is."})
    assert said(table, "swin_2d") == ["swin_2d, +18.2% multiply-adds; attention is counted, too."]
    assert said(table, "resnet_2d,") == ["resnet_2d, +16.7% parameters and +9.8% multiply-adds; so it is."]
    assert said(table, "resnet_2d+")[0].endswith("; as said above.")
    assert beside("10").notes.count("swin_2d, +18.2% multiply-adds; the reason is not known.") == 1


def test_the_counting_rules_come_from_the_backbones(sweep, config, beside) -> None:
    sweep.add(config("swin_2d"), [72.0] * 3, multiply_adds=134_700_000_000, parameters=27_900_000)
    (note,) = said(beside("10", counting=None), "swin_2d")
    assert len(note) > 60 and "not known" not in note


def test_multiply_adds_of_other_snippets_are_not_compared(sweep, config, beside) -> None:
    sweep.add(config("swin_3d", length=10), [72.0] * 3, multiply_adds=1, parameters=1)
    table = beside("8")
    assert all(size_differences(row) == (None, None) for row in table.rows)


def test_the_shipped_study_has_one_config_for_every_published_row(sweep, report) -> None:
    space = load_space("study")
    for made, names in space.tables_of().items():
        sweep.add(made, [70.0] * 3, tables=names, trailers=12_000)
    tables = tuple(SweepTable(t.name, t.title, t.question, t.number, t.axes) for t in space.tables)
    compared = compare(report(sweep.rows(12_000), *tables, genres=TEN))
    assert [t.table.number for t in compared] == ["6", "7", "8", "9", "10", "11"]
    for table in compared:
        published = {p.label for p in load_published() if (p.source, p.table) == ("paper", table.table.number)}
        assert [row.label for row in table.rows if row.row and row.paper] == [row.label for row in table.rows]
        assert {row.label for row in table.rows} == published and len(table.rows) == len(published)
        assert not said(table, "Not the study's settings") and not said(table, "Not comparable")
