from __future__ import annotations

from orchestrator.reporting.search_section import describe_search, to_markdown
from orchestrator.reporting.searches import BEST


def test_the_best_ten_stand_with_what_they_drew_and_their_test_scores(search) -> None:
    for number in range(12):
        search.add(50.0 + number)
    section = describe_search(search.view())
    assert section.heading == "Best 10 of 12 done configs" and len(section.lines) == BEST
    first = dict(zip(section.columns, (c.text for c in section.lines[0]), strict=True))
    assert first["config"] == "#11" and first["aggregator"] == "transformer" and first["gru units"] == "–"
    assert first["validation uAP (%)"] == "61.00" and first["test uAP"] == "57.00 ± 1.00"
    assert "by validation alone" in section.notes[0] and "optimistic" in section.notes[1]
    assert "No importances" in section.notes[2]


def test_several_objectives_show_the_front_with_costs(costly) -> None:
    section = describe_search(costly.view())
    assert section.heading == "Pareto front"
    assert [line[0].text for line in section.lines] == ["#1", "#3", "#5"]
    assert "multiply-adds (G)" in section.columns and "counted costs" in section.notes[0]


def test_a_search_without_a_done_config_says_so(search) -> None:
    search.add(20.0, "pruned", after=3)
    section = describe_search(search.view())
    assert section.lines == () and section.notes == ("No config is done yet, so there is no best one and no figure.",)
    assert any("1 of 60" in line for line in to_markdown(section))


def test_the_journal_and_how_to_open_it_are_named(search) -> None:
    search.add(50.0)
    text = "\n".join(to_markdown(describe_search(search.view())))
    assert "[optuna.log](optuna.log), opened by `optuna-dashboard optuna.log` (study heads)" in text
