from __future__ import annotations

import csv
import io

import pytest

from orchestrator.reporting.notes import GENRES
from orchestrator.reporting.side_by_side import (
    format_deviations,
    format_difference,
    lay_out_blocks,
    to_csv,
    to_markdown,
)
from orchestrator.specs import MeanSpec


@pytest.fixture
def backbones(sweep, config, beside):
    """Table 10 with one row as published, an incomplete one and one that was not published."""
    sweep.add(config("swin_3d"), [75.0, 76.0, 77.0], parameters=28_000_000, multiply_adds=1_600_000_000_000)
    sweep.add(config("swin_2d"), [99.0, 99.0]).add(config("x3d_s_3d", weights="random"), [60.0, 61.0, 62.0])
    return beside("10", genres=GENRES)


def lines_of(markdown: str, heading: str) -> dict[str, list[str]]:
    """First cell -> the other cells of the block with that heading."""
    block = markdown.split(f"**{heading}**\n\n")[1].split("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block.splitlines()]
    return {first: others for first, *others in cells}


def read_csv(text: str) -> dict[str, dict[str, str]]:
    return {line["label"]: line for line in csv.DictReader(io.StringIO(text))}


def test_uap_is_shown_in_full(backbones, chance) -> None:
    lines = lines_of(to_markdown(backbones, chance), "uAP")
    assert lines["config"] == ["ours", "paper", "difference", "in sd", "marks"]
    assert lines["swin_3d"] == ["**76.00 ± 1.00**", "75.57 ± 0.66", "+0.43", "+0.7", ""]
    assert lines["swin_2d"] == ["2 of 3 splits", "72.66 ± 1.37", "-", "-", "I"]
    assert lines["x3d_s_3d"] == ["61.00 ± 1.00", "-", "-", "-", "R"]
    assert lines["resnet_2d"] == ["-", "71.42 ± 0.59", "-", "-", ""]
    assert lines["chance"] == ["25.20 ± 0.20", "-", "-", "-", ""]


def test_the_other_metrics_are_means_with_their_differences(backbones, chance) -> None:
    lines = lines_of(to_markdown(backbones, chance), "mAP, wAP, sAP: means")
    assert lines["config"][:4] == ["mAP ours", "paper", "difference (sd)", "wAP ours"]
    assert lines["swin_3d"][:3] == ["**73.00**", "70.48", "+2.52 (+6.1)"]
    assert lines["swin_2d"][:3] == ["-", "67.68", "-"]
    assert lines["chance"][3] == "29.10"


def test_what_the_authors_code_gave_is_a_block_of_its_own(backbones, sweep, beside) -> None:
    lines = lines_of(to_markdown(backbones), "The table in the authors' code")
    assert lines["swin_3d"][:2] == ["75.71 ± 2.43", "+0.29"]
    assert lines["swin_2d"][:2] == ["72.96 ± 4.17", "-"] and "x3d_s_3d" not in lines
    assert "authors' code" not in to_markdown(beside("9"))


def test_size_and_work_stand_beside_the_published(backbones) -> None:
    lines = lines_of(to_markdown(backbones), "Size and work")
    assert lines["swin_3d"] == ["28.0", "27.9", "+0.4%", "1,600.0", "1,590.0", "+0.6%"]
    assert lines["r2plus1d_3d"] == ["-", "31.7", "-", "-", "1,823.4", "-"]


def test_no_block_is_too_wide_to_read(backbones, chance) -> None:
    assert all(len(block.columns) <= 10 for block in lay_out_blocks(backbones, chance))
    text = to_markdown(backbones, chance)
    assert max(len(line) for line in text.splitlines() if line.startswith("|")) < 150


def test_what_cannot_be_compared_is_said_before_any_number(sweep, config, beside) -> None:
    sweep.add(config(), [75.0] * 3, trailers=12, synthetic=True)
    text = to_markdown(beside("6"))
    assert text.startswith("> **Not comparable with the published numbers: 12 synthetic trailers, not Trailers12k;")
    assert text.count("Not comparable") == 1


def test_a_head_and_training_of_the_study_are_not_spelt_out(sweep, config, beside) -> None:
    sweep.add(config("swin_2d"), [75.0] * 3).add(config("swin_3d"), [75.0] * 3)
    shared = next(line for line in to_markdown(beside("6")).splitlines() if line.startswith("Ours"))
    assert "clip_strategy `shot-24`" in shared and shared.endswith("; head and training as in the study.")
    assert "epochs" not in shared


def test_shared_settings_that_are_not_the_studys_are_spelt_out(sweep, config, beside) -> None:
    sweep.add(config("swin_2d", epochs=5), [75.0] * 3).add(config("swin_3d", epochs=5), [75.0] * 3)
    shared = next(line for line in to_markdown(beside("6")).splitlines() if line.startswith("Ours"))
    assert "training.epochs `5`" in shared and "as in the study" not in shared and "batch_size" not in shared


def test_a_table_without_published_numbers_is_a_plain_one(sweep, config, beside) -> None:
    sweep.add(config(aggregator=MeanSpec()), [60.0] * 3).add(config(), [61.0] * 3)
    table = beside(None)
    assert "| aggregator | uAP | mAP | wAP | sAP |" in to_markdown(table)
    assert "uAP.mean" in to_csv(table).splitlines()[0] and "paper" not in to_csv(table)


def test_csv_has_full_precision_of_ours_the_papers_and_the_codes(backbones, chance) -> None:
    lines = read_csv(to_csv(backbones, chance))
    ours = lines["swin_3d"]
    assert float(ours["uAP.difference"]) == 76.0 - 75.57
    assert float(ours["uAP.deviations"]) == (76.0 - 75.57) / 0.66
    assert (ours["ours.sAP.mean"], ours["ours.sAP.std"]) == ("81.0", "1.0")
    assert (ours["paper.wAP.mean"], ours["code.wAP.std"]) == ("74.21", "2.11")
    assert (ours["ours.parameters"], ours["paper.parameters"]) == ("28000000", "27900000")
    assert ours["paper.multiply_adds"] == "1590000000000"
    assert float(ours["multiply_adds.relative_difference"]) == pytest.approx(1600 / 1590 - 1)
    assert ours["aggregator.heads"] == "4" and ours["backbone"] == "swin_3d"
    assert list(lines)[-1] == "chance" and lines["chance"]["ours.wAP.mean"] == "29.1"


def test_csv_says_what_a_row_lacks_and_carries(backbones) -> None:
    lines = read_csv(to_csv(backbones))
    half, published, random = lines["swin_2d"], lines["resnet_2d"], lines["x3d_s_3d"]
    assert half["ours.uAP.mean"] == "" and half["incomplete"] == "1" and half["splits_lacking"] == "2: missing"
    assert published["row"] == "published" and published["backbone"] == "resnet_2d" and published["config_key"] == ""
    assert random["random_weights"] == "1" and random["paper.uAP.mean"] == ""


def test_csv_says_where_the_data_are_others(sweep, config, beside) -> None:
    sweep.add(config(), [75.0] * 3, trailers=12_000)
    assert read_csv(to_csv(beside("6", genres=GENRES)))["swin_3d shot-24"]["comparable"] == "1"
    lines = read_csv(to_csv(beside("6", genres=GENRES[:3])))
    assert (lines["swin_3d shot-24"]["comparable"], lines["swin_3d shot-24"]["synthetic"]) == ("0", "0")
    assert lines["swin_2d shot-24"]["comparable"] == ""


def test_differences_have_a_sign_and_no_negative_zero() -> None:
    assert [format_difference(v) for v in (0.126, -0.001, None, -3.0)] == ["+0.13", "+0.00", "-", "-3.00"]
    assert [format_deviations(v) for v in (0.04, -0.04, None)] == ["+0.0", "+0.0", "-"]
