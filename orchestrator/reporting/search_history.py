"""How a search went: its objective config by config, and the means by which configs were pruned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from orchestrator.reporting.inputs import Plot
from orchestrator.reporting.searches import QUANTITIES, Drawn, SearchView
from orchestrator.reporting.style import COLOURS, FAINT, SMALL, as_sentences, data_notes, make_figure, tidy
from orchestrator.search.records import COSTS, OBJECTIVES

PRUNED, FAILED = "#777777", COLOURS[1]
LOG_RATIO = 20
"""Costs that span more than this factor get a logarithmic scale."""


def draw_history(view: SearchView) -> list[Plot]:
    """A panel an objective: every done config, the best so far, and where the others ended; none without a done one."""
    if not view.done:
        return []
    names = view.spec.objectives
    title = f"Search history · {view.title}"
    counts = [f"{len(view.of(s))} {s}" for s in ("done", "pruned", "failed", "running") if view.of(s)]
    notes = [" · ".join(data_notes(view.shown_rows, view.rows)), ", ".join(counts)]
    tall, gap = (2.9, 0.0) if len(names) == 1 else (1.9, 0.3)
    body = len(names) * tall + (len(names) - 1) * gap
    figure, (left, bottom, width, height) = make_figure(title, notes, body, left=0.85, bottom=0.85)
    panels: list[Axes] = []
    for place in range(len(names)):
        base = bottom + height * (len(names) - 1 - place) * (tall + gap) / body
        ax = figure.add_axes((left, base, width, height * tall / body), sharex=panels[0] if panels else None)
        _draw_objective(ax, view, place)
        panels.append(ax)
    for ax in panels[:-1]:
        ax.tick_params(labelbottom=False)
    panels[-1].set_xlabel("Config, in the order in which it was drawn", fontsize=SMALL)
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    last = view.drawn[-1].observation.number
    panels[-1].set_xlim(-0.03 * last - 0.7, 1.03 * last + 0.7)
    figure.legend(handles=_legend(view), loc="lower center", ncols=4, fontsize=SMALL, frameon=False)
    what = " and ".join(QUANTITIES[n].name for n in names)
    best = " The line is the best so far." if len(view.done) > 1 else ""
    caption = f"{what[0].upper()}{what[1:]} of each config in the order of drawing.{best}"
    if any(d.last_report for d in view.of("pruned")):
        caption += " Pruned configs stand at the mean after the epoch that ended them: not comparable with the others."
    caption += " Validation parts only; no test score enters a search."
    caption += as_sentences(data_notes(view.shown_rows, view.rows))
    return [Plot(f"search_{view.result.table}_history", title, caption, figure, search=view.result.table)]


def draw_learning_curves(view: SearchView) -> list[Plot]:
    """The means at the epochs where configs were judged, one line a config; none without a pruner or a report."""
    reported = [d for d in view.drawn if d.observation.reports]
    pruner, metric = view.spec.pruner, view.spec.metric
    if pruner is None or metric is None or not reported:
        return []
    quantity = QUANTITIES[metric]
    title = f"What pruning saw · {view.title}"
    splits = max((len(r.splits) for r in view.shown_rows), default=1)
    mean = f"means over {splits} splits" if splits > 1 else "one split"
    notes = [" · ".join(data_notes(view.shown_rows, view.rows)), f"{len(reported)} configs that were judged", mean]
    figure, place = make_figure(title, notes, 3.1, left=0.75, bottom=0.85)
    ax = figure.add_axes(place)
    best = view.best[0] if view.best and view.best[0] in reported else None
    going = [d for d in reported if d.observation.state != "pruned" and d is not best]
    pruned = [d for d in reported if d.observation.state == "pruned"]
    _draw_lines(ax, going, COLOURS[0], 0.6)
    _draw_lines(ax, pruned, FAINT, 0.7)
    ends = [d.last_report for d in pruned if d.last_report]
    ax.plot([e for e, _ in ends], [v for _, v in ends], "x", color=PRUNED, markersize=4.5, zorder=4)
    if best:
        points = sorted(best.observation.reports.items())
        ax.plot(*zip(*points, strict=True), "o-", color=COLOURS[1], linewidth=2.2, markersize=5, zorder=5)
    _scale_epochs(ax, [e for d in reported for e in d.observation.reports], logarithmic=pruner.name == "asha")
    ax.set_xlabel("Epoch after which configs were judged", fontsize=SMALL)
    ax.set_ylabel(quantity.axis, fontsize=SMALL)
    tidy(ax)
    ax.margins(y=0.06)
    handles = [
        Line2D([], [], color=COLOURS[0], marker="o", markersize=3.5, label="went on") if going else None,
        Line2D([], [], color=FAINT, marker="x", markersize=5, markeredgecolor=PRUNED, label="pruned")
        if pruned
        else None,
        Line2D([], [], color=COLOURS[1], marker="o", linewidth=2.2, label=f"best by validation, {best.name}")
        if best
        else None,
    ]
    figure.legend(handles=[h for h in handles if h], loc="lower center", ncols=3, fontsize=SMALL, frameon=False)
    caption = (
        f"{quantity.sentence}, mean over the splits, at the epochs where configs are judged"
        f" ({pruner.name}); lines of pruned configs end at their cross. {_say_ends(reported, pruned)}"
    )
    caption += as_sentences(data_notes(view.shown_rows, view.rows))
    name = f"search_{view.result.table}_learning_curves"
    return [Plot(name, title, caption, figure, search=view.result.table)]


def _draw_objective(ax: Axes, view: SearchView, place: int) -> None:
    name = view.spec.objectives[place]
    quantity = QUANTITIES[name]
    values = [v / quantity.one for v in view.values_of(place)]
    numbers = [d.observation.number for d in view.done]
    better = np.maximum if OBJECTIVES[name] == "maximize" else np.minimum
    if name in COSTS and min(values) > 0 and max(values) / min(values) > LOG_RATIO:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    best = better.accumulate(values)
    xs, ys = [*numbers, view.drawn[-1].observation.number], [*best, best[-1]]
    ax.step(xs, ys, where="post", color="black", linewidth=1.3, zorder=2)
    ax.scatter(numbers, values, s=20, color=COLOURS[0], linewidth=0, zorder=4)
    if name == view.spec.metric:
        for state, marker, colour in (("pruned", "x", PRUNED), ("running", "o", COLOURS[0])):
            ends = [(d.observation.number, d.last_report[1] / quantity.one) for d in view.of(state) if d.last_report]
            face = colour if marker == "x" else "none"
            ax.scatter([x for x, _ in ends], [y for _, y in ends], s=18, marker=marker, color=colour, facecolor=face,
                       linewidth=1.0, zorder=3)  # fmt: skip
    failed = [d.observation.number for d in view.of("failed")]
    ax.plot(failed, [0.025] * len(failed), "v", color=FAILED, markersize=5, transform=ax.get_xaxis_transform())
    ax.set_ylabel(quantity.axis, fontsize=SMALL)
    tidy(ax)
    ax.margins(y=0.08)


def _legend(view: SearchView) -> list[Line2D]:
    handles = [
        Line2D([], [], color=COLOURS[0], marker="o", markersize=5, linestyle="none", label="done"),
        Line2D([], [], color="black", linewidth=1.3, label="best so far"),
    ]
    if any(d.last_report for d in view.of("pruned")):
        handles.append(
            Line2D([], [], color=PRUNED, marker="x", markersize=5, linestyle="none", label="pruned, at its last mean")
        )
    if view.of("failed"):
        handles.append(Line2D([], [], color=FAILED, marker="v", markersize=5, linestyle="none", label="failed"))
    return handles


def _draw_lines(ax: Axes, drawn: Sequence[Drawn], colour: str, alpha: float) -> None:
    lines = [sorted(d.observation.reports.items()) for d in drawn]
    ax.add_collection(LineCollection(lines, colors=colour, linewidths=0.8, alpha=alpha, zorder=2))
    points = [p for line in lines for p in line]
    ax.scatter([x for x, _ in points], [y for _, y in points], s=7, color=colour, alpha=alpha, linewidth=0, zorder=3)


def _scale_epochs(ax: Axes, epochs: Sequence[int], *, logarithmic: bool) -> None:
    """Ticks at the epochs of judgement; those of asha grow by a factor, so they stand evenly on a logarithmic scale."""
    if not logarithmic:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        return
    judged = sorted(set(epochs))
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(judged)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.set_xlim(judged[0] / 1.25, judged[-1] * 1.25)


def _say_ends(reported: Sequence[Drawn], pruned: Sequence[Drawn]) -> str:
    """`Pruned after 3 epochs 20 of 60, after 9 epochs 12 of 40.`"""
    ends = [d.last_report[0] for d in pruned if d.last_report]
    parts = [
        f"after {epoch} epochs {ends.count(epoch)} of {sum(epoch in d.observation.reports for d in reported)}"
        for epoch in sorted(set(ends))
    ]
    return f"Pruned {', '.join(parts[:8])}{', …' if len(parts) > 8 else ''}." if parts else "None was pruned."
