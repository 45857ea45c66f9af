"""A plan on the console: what is asked for, who shares what, what is there, what it will cost."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Grid

from orchestrator.backbones.registry import weights_status
from orchestrator.sweep.cost import Estimate
from orchestrator.sweep.plan import Plan


def show_plan(plan: Plan, cost: Estimate, console: Console | None = None) -> None:
    """Prints the plan; wide tables wrap, nothing is cut."""
    console = console or Console(highlight=False)
    facts = plan.to_json()
    done, trials = facts["cached"]["trials"], facts["trials"]
    console.print(
        f"{plan.space.name}: {facts['configs']} configs × {len(plan.splits)} splits = {trials} trials, {done} done"
    )
    if len(plan.space.tables) > 1:
        for table in plan.space.tables:
            console.print(f"  {table.name}: {len(table.configs)} configs over {', '.join(table.axes) or 'no axis'}")
    console.print(f"trailers: {facts['trailers']}" + (f", {facts['failed_trailers']} failed" if plan.failed else ""))
    sets = Grid("embedding set", "weights", "there", "missing", "configs", "for", title_justify="left", box=None)
    for s in plan.sets:
        sets.add_row(
            s.spec.name,
            s.spec.backbone.weights,
            str(len(s.cached)),
            str(len(s.missing)),
            str(s.configs),
            ", ".join(s.tables),
        )
    console.print(sets)
    apart = facts["without_sharing"]
    console.print(
        f"decoding passes: {facts['decode_passes']} over {facts['trailers_to_decode']} trailers "
        f"(one pipeline a config would need {apart['decode_passes']}); "
        f"backbone passes: {len(plan.sets)} sets (one pipeline a config: {apart['backbone_passes']})"
    )
    for backbone in dict.fromkeys(s.spec.backbone for s in plan.sets if s.missing):
        status = weights_status(backbone)
        if status != "ready":
            console.print(status)
    if not cost.items:
        console.print("nothing is missing: `divita run` would only write the report")
        return
    console.print("to do:")
    for item in cost.items:
        time = (
            "not measured yet in this workspace"
            if item.seconds is None
            else f"about {_duration(item.seconds)} of one core"
        )
        console.print(f"  {item.kind}: {item.units:,.0f} {item.unit}, {time}")
    if cost.seconds:
        more = f", without {', '.join(cost.unknown)}" if cost.unknown else ""
        console.print(f"in all about {_duration(cost.seconds)} of one core{more}")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
