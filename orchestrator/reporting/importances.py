"""Which drawn settings decided whether a config was among the best: Optuna's PED-ANOVA, drawn as bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.reporting.inputs import Plot
from orchestrator.reporting.searches import QUANTITIES, SearchView, say_condition
from orchestrator.reporting.style import COLOURS, SMALL, as_sentences, data_notes, fit, make_figure, text_width, tidy
from orchestrator.search.records import Observation

FEWEST = 15
"""Configs below which importances would be noise."""

TOP = 5
"""Configs at least that are called the best; Optuna advises no fewer. Otherwise a tenth."""

WIDEST = 2.6
"""Inches for the names of the settings."""


@dataclass(frozen=True)
class Importances:
    """Field -> share of 1, most important first; empty where there are too few configs. `judged` of them count, the
    `best` are those whose settings stand out, `after` the epoch whose means are compared where too few are done."""

    shares: Mapping[str, float]
    judged: int
    best: int
    after: int | None = None


def find_importances(view: SearchView) -> Importances:
    """Of the done configs; where pruning left too few, of those that were judged at the latest epoch with enough.

    The same observations give the same numbers.
    """
    after, compared = _compared(view)
    fields = [f for f in view.drawn_fields() if any(f in o.values for o in compared)]
    best = max(TOP, -(-len(compared) // 10))
    if len(compared) < FEWEST or len(fields) < 2 or len({o.objectives for o in compared}) < 2:
        return Importances({}, len(compared), best, after)
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    from orchestrator.search.optuna_study import build_study, quiet_optuna

    study = build_study(view.spec, compared)
    known = {name for trial in study.trials for name in trial.params}
    with quiet_optuna():
        found = get_param_importances(
            study,
            evaluator=PedAnovaImportanceEvaluator(target_quantile=best / len(compared)),
            params=[f for f in fields if f in known],
        )
    return Importances(dict(sorted(found.items(), key=lambda pair: -pair[1])), len(compared), best, after)


def _compared(view: SearchView) -> tuple[int | None, list[Observation]]:
    """The epoch whose means are compared, None for the objectives; and the configs, as if done with those."""
    done = [d.observation for d in view.done]
    if len(done) >= FEWEST or len(view.spec.objectives) > 1:
        return None, done
    every = [d.observation for d in view.drawn]
    for epoch in sorted({e for o in every for e in o.reports}, reverse=True):
        judged = [replace(o, state="done", objectives=(o.reports[epoch],)) for o in every if epoch in o.reports]
        if len(judged) >= FEWEST:
            return epoch, judged
    return None, done


def draw_importances(view: SearchView) -> list[Plot]:
    """A bar a setting; none where there are too few done configs."""
    importances = find_importances(view)
    found = importances.shares
    if not found:
        return []
    title = f"Importance of the drawn settings · {view.title}"
    which = f"configs by their means after {importances.after} epochs" if importances.after else "done configs"
    among = f"among the best {importances.best} of {importances.judged} {which}"
    notes = [" · ".join(data_notes(view.shown_rows, view.rows)), f"for being {among}"]
    conditional = {f: say_condition(view.dimension(f)) for f in found}
    if any(conditional.values()):
        notes.append("light: drawn, and judged, only under its condition")
    names = {f: fit(_name(view, f, conditional), WIDEST) for f in found}
    left = max(text_width(t) for t in names.values()) / 72 + 0.2
    figure, place = make_figure(title, notes, 0.27 * len(found) + 0.1, left=left, right=0.5, bottom=0.45)
    ax = figure.add_axes(place)
    places = range(len(found))
    colours = [COLOURS[4] if conditional[f] else COLOURS[0] for f in found]
    ax.barh(places, [100 * v for v in found.values()], height=0.62, color=colours, edgecolor="black", linewidth=0.6)
    for y, value in zip(places, found.values(), strict=True):
        ax.annotate(f"{100 * value:.0f}", (100 * value, y), (4, 0), textcoords="offset points", va="center", size=SMALL)
    ax.set_yticks(places, names.values(), fontsize=SMALL)
    ax.invert_yaxis()
    ax.set_xlim(0, 105 * max(found.values()) or 1)
    ax.set_xlabel("Importance (%)", fontsize=SMALL)
    tidy(ax, "x")
    ax.tick_params(labelsize=SMALL)
    aims = " and ".join(QUANTITIES[n].name for n in view.spec.objectives)
    caption = (
        f"How much each drawn setting tells whether a config is {among}, by {aims} (Optuna's PED-ANOVA; in percent)."
    )
    if any(conditional.values()):
        caption += " A setting that is drawn only under a condition is judged only within it."
    if importances.after:
        caption += f" Only {len(view.done)} configs are done, so those that were judged at that epoch are compared."
    elif view.of("pruned"):
        caption += f" The {len(view.of('pruned'))} pruned configs, mostly bad ones, do not count."
    caption += as_sentences(data_notes(view.shown_rows, view.rows))
    return [Plot(f"search_{view.result.table}_importances", title, caption, figure, search=view.result.table)]


def _name(view: SearchView, field: str, conditional: Mapping[str, str]) -> str:
    return view.fields[field] + (f" ({conditional[field]})" if conditional[field] else "")
