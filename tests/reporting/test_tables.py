from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from orchestrator.reporting.tables import escape, lay_out, say_constants, to_console, to_csv, to_markdown
from orchestrator.specs import GRUSpec

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def lines_of(markdown: str) -> list[list[str]]:
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_columns_are_what_varies_and_the_rest_is_said_once(sweep, config, chance) -> None:
    sweep.add(config("swin_2d"), [60.0, 62.0, 67.0]).add(config("swin_3d"), [70.0] * 3)
    text = to_markdown(sweep.rows(), chance)
    assert lines_of(text)[0] == ["backbone", "uAP", "mAP", "wAP", "sAP"]
    assert "clip_strategy `shot-24`" in text.splitlines()[0]
    assert "training.epochs `100`" in text.splitlines()[0]


def test_the_best_of_each_metric_is_bold_and_chance_comes_last(sweep, config, chance) -> None:
    sweep.add(config("swin_2d"), [60.0, 62.0, 67.0]).add(config("swin_3d"), [70.0] * 3)
    sweep.records[0] = replace(sweep.records[0], test={**sweep.records[0].test, "sAP": 99.0})
    rows = lines_of(to_markdown(sweep.rows(), chance))
    assert rows[2][:2] == ["swin_2d", "63.00 ± 3.61"]
    assert rows[3][:2] == ["swin_3d", "**70.00 ± 0.00**"]
    assert rows[2][4].startswith("**") and not rows[3][4].startswith("**")
    assert rows[-1] == ["chance", "25.20 ± 0.20", "25.20 ± 0.20", "29.10 ± 0.20", "25.20 ± 0.20"]


def test_an_incomplete_row_shows_no_mean_and_is_never_best(sweep, config) -> None:
    sweep.add(config("swin_2d"), [99.0, 99.0]).add(config("swin_3d"), [70.0] * 3)
    text = to_markdown(sweep.rows())
    rows = lines_of(text)
    assert rows[2] == ["swin_2d", "2 of 3 splits", "-", "-", "-", "I"]
    assert rows[3][1] == "**70.00 ± 0.00**"
    assert "I, swin_2d shot-24 24fps 30clips transformer: 2 of 3 splits: split 2 missing." in text
    assert "99" not in text


def test_each_mark_is_explained_where_it_is_used(sweep, config) -> None:
    sweep.add(config("swin_2d", weights="random"), [60.0] * 3, synthetic=True)
    sweep.add(config("swin_3d"), [70.0] * 3, synthetic=True)
    text = to_markdown(sweep.rows())
    assert [line[-1] for line in lines_of(text)[2:]] == ["R S", "S"]
    assert "- R (1 of 2 rows): random weights" in text
    assert "- S (every row): synthetic trailers" in text
    assert "- F" not in text and "- I" not in text


def test_long_checkpoint_paths_are_short_in_the_table_and_whole_in_csv(sweep, config) -> None:
    paths = ["/long/way/one/x.pth", "/long/way/two/x.pth"]
    for path in paths:
        sweep.add(config(weights=path), [60.0] * 3)
    rows = sweep.rows()
    assert [line[0] for line in lines_of(to_markdown(rows))[2:]] == ["one/x.pth", "two/x.pth"]
    assert [line["weights"] for line in read_csv(to_csv(rows))] == paths


def test_csv_has_every_setting_and_full_precision(sweep, config, chance) -> None:
    sweep.add(config("swin_2d"), [60.1, 62.2, 67.3], tables=["6", "9"]).add(config(aggregator=GRUSpec()), [70.0, 71.0])
    rows = sweep.rows()
    first, second, last = read_csv(to_csv(rows, chance))
    assert float(first["uAP.mean"]) == rows[0].metrics["uAP"].mean
    assert float(first["uAP.std"]) == rows[0].metrics["uAP"].std
    assert float(first["uAP.split2"]) == 67.3
    assert float(first["AP.sci-fi.mean"]) == rows[0].per_genre["sci-fi"].mean
    assert first["tables"] == "6;9" and first["aggregator.heads"] == "4" and first["aggregator.units"] == ""
    assert set(config().flat()) <= set(first)
    assert second["uAP.mean"] == "" and second["uAP.split1"] == "71.0"
    assert (second["splits_done"], second["splits_expected"], second["incomplete"]) == ("2", "3", "1")
    assert second["splits_lacking"] == "2: missing"
    assert last["row"] == "chance" and float(last["wAP.mean"]) == 29.1


def test_a_pipe_in_a_value_does_not_break_the_table(sweep, config) -> None:
    sweep.add(config("a|b"), [60.0] * 3).add(config("c"), [60.0] * 3)
    assert lines_of(to_markdown(sweep.rows()))[2][0] == "a\\|b"


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.sampled_from(" `*_<>[]()|~&;#$!\\")))
def test_any_text_in_a_cell_is_shown_literally(text: str) -> None:
    shown = MARKDOWN.render(f"| x |\n|:--|\n| y{escape(text)}z |\n")
    (cell,) = re.findall(r"<td[^>]*>(.*)</td>", shown)
    assert html.unescape(re.sub(r"<span>\$</span>", "$", cell)) == re.sub(" +", " ", f"y{text}z")


@given(st.text("ab`|* <&_", min_size=1).filter(str.strip))
def test_any_constant_is_shown_literally(value: str) -> None:
    (code,) = re.findall(r"<code>(.*)</code>", MARKDOWN.render(say_constants([("weights", value)])))
    assert html.unescape(code).strip() == re.sub(r"\s+", " ", value).strip()


def test_a_plain_name_is_not_littered_with_signs() -> None:
    assert escape("swin_3d shot-24 24fps, 57.20 ± 0.55 (R&B)") == "swin_3d shot-24 24fps, 57.20 ± 0.55 (R&B)"
    assert escape("_a_ <b>") == "\\_a\\_ &lt;b>"


def test_one_split_is_shown_without_a_deviation(sweep, config) -> None:
    sweep.add(config(), [60.0])
    sweep.configs[0] = replace(sweep.configs[0], trials={0: sweep.records[0].key})
    text = to_markdown(sweep.rows())
    assert "| swin_3d | **60.00** |" in text and "One test set" in text


def test_an_empty_sweep_is_an_empty_table(chance) -> None:
    assert "| uAP |" in to_markdown([])
    assert read_csv(to_csv([])) == []


def shown(rows, chance, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(to_console(rows, chance, "demo", width))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_console_shows_the_same_numbers_with_the_best_in_bold(sweep, config, chance) -> None:
    sweep.add(config("swin_2d"), [60.0, 62.0, 67.0]).add(config("swin_3d"), [70.0, 71.0])
    sweep.records[-1] = replace(sweep.records[-1], status="failed", reason="[Errno 28] no space", test={})
    text = shown(sweep.rows(), chance, 140)
    assert re.search(r"\x1b\[1m\s*63\.00 ± 3\.61", text)
    assert "1 of 3 splits" in text and "[Errno 28] no space" in text
    assert text.index("swin_3d") < text.index("chance")


def test_a_narrow_console_puts_deviations_below_their_means(sweep, config, chance) -> None:
    sweep.add(config("efficientnet_lite0_2d"), [60.0, 62.0, 67.0]).add(config("swin_3d"), [70.0] * 3)
    lines = shown(sweep.rows(), chance, 60).splitlines()
    place = next(i for i, line in enumerate(lines) if "efficientnet_lite0_2d" in line)
    assert "63.00" in lines[place] and "±" not in lines[place]
    assert "±3.61" in lines[place + 1]


def test_pruned_rows_stand_last_in_a_line_each(pruned) -> None:
    table = lay_out(pruned.sweep.rows())
    assert table.columns[0] == "config"
    names = [cells[0].text for cells in table.lines]
    done, cut = [f"#{n}" for n in range(0, 23, 3)], [f"#{n}" for n in range(23) if n % 3]
    assert names == [*done, "#23", *cut], "a failed one stands with those that were to have a result"
    uap = table.columns.index("uAP")
    assert table.lines[-1][uap].text == "pruned after 3 epochs" and table.lines[-1][-1].text == "C"
    (cut_note,) = [note for note in table.notes if note.startswith("C (15 of 24 rows)")]
    assert "pruned by the search" in cut_note
    assert sum(note.startswith("I,") for note in table.notes) == 1, "no note a pruned row"


def test_the_csv_says_who_was_pruned_and_after_how_many_epochs(pruned) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(pruned.sweep.rows()))))
    cut = [line for line in lines if line["pruned"] == "1"]
    assert len(cut) == 15 and {line["incomplete"] for line in cut} == {"0"}
    assert {line["epochs"] for line in cut} == {"9", "27"} and {line["uAP.mean"] for line in cut} == {""}
