"""A plan on the console: what is asked for, who shares what, what is there, what it will cost."""

from __future__ import annotations

import string
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from orchestrator.backbones.registry import entry, weights_status
from orchestrator.data.trailers12k import size_text
from orchestrator.errors import some
from orchestrator.specs import FRAMES
from orchestrator.sweep.cost import Estimate
from orchestrator.sweep.plan import Plan

PIPE_WIDTH = 120

SEARCHED = "s"
"""In the column of a table whose search may draw configs that need the set."""


def show_plan(plan: Plan, cost: Estimate, console: Console | None = None) -> None:
    """Prints the plan; it fits into 80 columns."""
    console = console or Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    facts = plan.to_json()
    done, trials = facts["cached"]["trials"], facts["trials"]
    console.print(
        f"{plan.space.name}: {facts['configs']} configs × {len(plan.splits)} splits = {trials} trials, {done} done; "
        f"{facts['trailers']} trailers"
        + (f", {facts['failed_trailers']} failed" if plan.failed else "")
        + (f"; {pruned} trials pruned" if (pruned := facts["cached"]["pruned_trials"]) else "")
    )
    if len(plan.space.tables) > 1:
        console.print(_tables(plan))
    console.print(_sets(plan))
    _show_searches(plan, console)
    _show_sharing(plan, facts, console)
    _show_weights(plan, console)
    if unused := facts["imported_but_unused"]:
        console.print(
            "imported vectors that don't count, since the manifest names the trailers' videos (leave the path"
        )
        console.print("column out to use them):")
        for name, count in unused.items():
            console.print(f"  {name} of {count:,} trailers")
    if lost := facts["without_video"]:
        console.print("can't be made, since the manifest names no video and the store has no vectors:")
        for name, count in lost.items():
            console.print(f"  {name} of {count:,} trailers")
    if not cost.items and not facts["without_video"] and plan.finished:
        console.print("nothing is missing: `divita run` would only write the report")
        return
    if cost.items:
        console.print("to do:")
    for item in cost.items:
        time = "no rate measured here yet" if item.seconds is None else f"about {_duration(item.seconds)} of one core"
        console.print(f"  {item.kind}: {item.units:,.0f} {item.unit}, {time}")
    if cost.stored:
        console.print(
            f"embeddings: about {size_text(cost.stored)} more in the workspace; the largest set, about "
            f"{size_text(cost.largest)}, is held in a node's memory while configs train on it"
        )
    if cost.seconds:
        more = f", without {', '.join(cost.unknown)}" if cost.unknown else ""
        console.print(f"in all about {_duration(cost.seconds)} of one core{more}")


def _letters(plan: Plan) -> dict[str, str]:
    """Table -> the letter that stands for it in the columns of the sets."""
    names = [table.name for table in plan.space.tables]
    return {name: string.ascii_letters[i % 52] for i, name in enumerate(names)}


def _tables(plan: Plan) -> Grid:
    """A line a table, and what it comes to with the tables above it when each config and set counts once."""
    grid = Grid("table", box=None, pad_edge=False)
    for heading in ("configs", "trials", "sets", "sum:", "configs", "trials", "sets"):
        grid.add_column(heading, justify="right")
    letters = _letters(plan)
    for table, counts in zip(plan.space.tables, plan.table_counts().values(), strict=True):
        number = f" (Table {table.number})" if table.number else ""
        kinds = ("configs", "trials", "embedding_sets")
        own, so_far = ([str(c[k]) for k in kinds] for c in (counts, counts["with_earlier"]))
        grid.add_row(f"{letters[table.name]}  {table.name}{number}", *own, "", *so_far)
    return grid


def _sets(plan: Plan) -> Grid:
    """A line an embedding set: what is there of it, and how many configs of each table need it."""
    letters = _letters(plan) if len(plan.space.tables) > 1 else {}
    grid = Grid("embedding set", "weights", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("there", "missing", "configs", *letters.values()):
        grid.add_column(heading, justify="right")
    for s in plan.sets:
        weights = "-" if s.spec.backbone.name == FRAMES else s.spec.backbone.weights
        needs = [str(s.tables.get(name) or (SEARCHED if name in s.searches else "·")) for name in letters]
        grid.add_row(s.spec.name, weights, str(len(s.cached)), str(len(s.missing)), str(s.configs), *needs)
    return grid


def _show_searches(plan: Plan, console: Console) -> None:
    for found in plan.searches:
        spec, table = found.search.spec, found.search.table
        pruner = f", pruned by {spec.pruner.name}" if spec.pruner else ""
        console.print(
            f"search {table}: {spec.configs} configs drawn by {spec.sampler} (seed {spec.seed}) for "
            f"{' and '.join(spec.objectives)}{pruner}: {len(found.drawn)} drawn, {found.to_draw} to draw; it may need "
            f"{sum(table in s.searches for s in plan.sets)} of the sets"
        )
        if found.left_out:
            console.print(
                f"  {found.left_out} that it drew earlier are outside its ranges or its number: kept, left out"
            )
    if plan.changed:
        console.print(f"videos that changed, to be embedded again: {some(plan.changed)}")


def _show_sharing(plan: Plan, facts: Mapping[str, Any], console: Console) -> None:
    apart, trailers = facts["without_sharing"], facts["trailers"]
    shared = sum(s.configs > 1 for s in plan.sets)
    several = f" ({shared} sets serve several configs)" if shared else ""
    passes = "no decoding pass" if not plan.to_decode else f"1 decoding pass over {len(plan.to_decode):,} trailers"
    console.print(f"still to do: {passes}, {facts['missing']['embedding_sets']} of {len(plan.sets)} embedding sets")
    decodes, backbones = apart["decode_passes"], apart["backbone_passes"]
    if decodes < 2:
        return
    saved = (decodes - 1) * trailers, (backbones - facts["backbone_passes"]) * trailers
    console.print(
        f"sharing{several}: each trailer is decoded once, not {decodes} times, and goes "
        f"through {facts['backbone_passes']} backbone passes, not {backbones}, as it would with one pipeline a config; "
        f"saves {saved[0]:,} decodes and {saved[1]:,} backbone passes over a trailer"
    )


def _show_weights(plan: Plan, console: Console) -> None:
    """Weights that the missing work needs and this machine lacks."""
    needed = dict.fromkeys([*plan.backbones_to_run, *plan.weights_to_train])
    lacking = {b: why for b in needed if (why := weights_status(b)) != "ready"}
    published = [b for b in lacking if b.weights == "pretrained"]
    for backbone, why in lacking.items():
        if backbone not in published:
            console.print(why, soft_wrap=True)
    if published:
        console.print("pretrained weights that are not on this machine; a run fetches what it can, or tells where to")
        console.print("put them (`weights: /path` names another file, `weights: random` is untrained and labelled so):")
        for backbone in published:
            source = entry(backbone.name).weights
            console.print(f"  {backbone.name}: {source.name} from {source.url}", soft_wrap=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
