"""The `divita` command: parses, calls `orchestrator.api`, prints. Nothing heavy is imported until a command runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli_options import (
    AddressOpt,
    ConcurrentOpt,
    CpusOpt,
    JsonOpt,
    LayoutOpt,
    ManifestOpt,
    MaxFailedOpt,
    ResultsOpt,
    RetryOpt,
    SetOpt,
    SpaceArg,
    StallOpt,
    SweepArg,
    TrackingOpt,
    WorkspaceOpt,
)
from orchestrator.cli_show import describe_status, show_extraction, show_outcome, show_status, show_table
from orchestrator.cli_stop import Stopped, Stopper
from orchestrator.cli_trailers12k import app as trailers12k
from orchestrator.errors import DivitaError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Sweeps over frozen image and video representations of movie trailers: every trailer decoded once, "
    "every embedding computed once, every trial kept.",
)

app.add_typer(trailers12k, name="trailers12k")


@app.command()
def demo(
    trailers: Annotated[int, typer.Option("--trailers", min=12, help="How many to make.")] = 40,
    seed: Annotated[int, typer.Option("--seed", help="Of the trailers.")] = 0,
    workspace: WorkspaceOpt = "workspace",
    results: ResultsOpt = Path("results"),
    cpus: CpusOpt = None,
) -> None:
    """The whole job on synthetic trailers: no network, no GPU, no account, about ten minutes on two cores."""
    from orchestrator.data.synth import synthesize

    folder = Path(workspace) / "demo_trailers"
    progress = _progress()
    with progress.step("making synthetic trailers", trailers, "trailers") as step:
        manifest = synthesize(folder, trailers, seed, on_progress=lambda *_: step.advance())
    _run("demo", str(manifest), workspace, None, results=results, cpus=cpus)


@app.command()
def plan(
    space: SpaceArg,
    data: ManifestOpt,
    workspace: WorkspaceOpt = "workspace",
    overrides: SetOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Configs, trials, embedding sets, what is cached and what it will cost; runs nothing."""
    from orchestrator.api import estimate_sweep, plan_sweep
    from orchestrator.reporting.plan_view import show_plan

    planned = plan_sweep(space, data, workspace=workspace, overrides=_overrides(overrides))
    cost = estimate_sweep(planned, workspace)
    if as_json:
        print(json.dumps(planned.to_json() | {"estimate": cost.to_json()}, indent=2))
    else:
        show_plan(planned, cost)


@app.command()
def extract(
    space: SpaceArg,
    data: ManifestOpt,
    workspace: WorkspaceOpt = "workspace",
    overrides: SetOpt = None,
    address: AddressOpt = None,
    cpus: CpusOpt = None,
    max_failed: MaxFailedOpt = None,
    retry_failed: RetryOpt = False,
    stall: StallOpt = 60.0,
    layout: LayoutOpt = "auto",
) -> None:
    """Compute the embeddings that a search space lacks, nothing else. Needs no splits."""
    from orchestrator.api import extract_sweep
    from orchestrator.driver.options import RunOptions

    options = RunOptions(address, cpus, max_failed, retry_failed, _layout(layout), stall)
    counts = extract_sweep(
        space, data, workspace=workspace, overrides=_overrides(overrides), options=options, progress=_progress()
    )
    show_extraction(counts)
    raise typer.Exit(1 if counts.failures else 0)


@app.command()
def run(
    space: SpaceArg,
    data: ManifestOpt,
    workspace: WorkspaceOpt = "workspace",
    results: ResultsOpt = Path("results"),
    overrides: SetOpt = None,
    tracking_uri: TrackingOpt = None,
    address: AddressOpt = None,
    cpus: CpusOpt = None,
    max_failed: MaxFailedOpt = None,
    retry_failed: RetryOpt = False,
    stall: StallOpt = 60.0,
    layout: LayoutOpt = "auto",
    concurrent: ConcurrentOpt = None,
) -> None:
    """Extract what is missing, train what is missing, report. Running it again runs nothing that is there."""
    _run(
        space,
        data,
        workspace,
        _overrides(overrides),
        results=results,
        tracking_uri=tracking_uri,
        address=address,
        cpus=cpus,
        max_failed=max_failed,
        retry_failed=retry_failed,
        stall_s=stall,
        layout=_layout(layout),
        concurrent=concurrent,
    )


@app.command()
def resume(
    sweep: SweepArg,
    workspace: WorkspaceOpt = "workspace",
    address: AddressOpt = None,
    cpus: CpusOpt = None,
    tracking_uri: TrackingOpt = None,
    retry_failed: RetryOpt = False,
) -> None:
    """Go on with a sweep as it was started: from its own copies of the YAML and the manifest, with its own options."""
    from orchestrator.api import resume_sweep

    given = {"address": address, "cpus": cpus, "tracking_uri": tracking_uri, "retry_failed": retry_failed or None}
    options = {name: value for name, value in given.items() if value is not None}
    outcome = resume_sweep(sweep, workspace=workspace, options=options, progress=_progress())
    show_outcome(outcome, workspace)
    raise typer.Exit(0 if outcome.results.ok else 1)


@app.command()
def status(sweep: SweepArg, workspace: WorkspaceOpt = "workspace", as_json: JsonOpt = False) -> None:
    """Done, running, pruned, failed and missing trials of a sweep, and why; from files alone."""
    from orchestrator.api import sweep_results

    found = sweep_results(sweep, workspace=workspace)
    print(json.dumps(describe_status(found), indent=2)) if as_json else show_status(found)
    raise typer.Exit(0 if found.ok else 1)


@app.command()
def report(
    sweep: SweepArg,
    workspace: WorkspaceOpt = "workspace",
    results: ResultsOpt = Path("results"),
    curves: Annotated[
        str | None,
        typer.Option("--curves", metavar="CONFIG", help="Label or key of the config whose curves are drawn."),
    ] = None,
) -> None:
    """Write the tables and plots of a sweep into results/SWEEP/ and print the table."""
    from orchestrator.api import report_sweep, sweep_results

    files = report_sweep(sweep, workspace=workspace, results=results, curves=curves)
    show_table(sweep_results(sweep, workspace=workspace), files)


@app.command()
def ui(
    workspace: WorkspaceOpt = "workspace",
    tracking_uri: TrackingOpt = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="On loopback; the next free one if taken.")
    ] = 5000,
) -> None:
    """Open the MLflow UI on this workspace, on loopback, until Ctrl-C."""
    from orchestrator.store.workspace import Workspace
    from orchestrator.tracking.ui import serve_ui

    serve_ui(tracking_uri or Workspace(workspace).mlflow_uri, port)


@app.command()
def splits(
    manifest: Annotated[str, typer.Argument(metavar="MANIFEST", help="CSV or Parquet with mid and genre columns.")],
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same splits.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write here instead of into MANIFEST.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace split columns that are there.")] = False,
) -> None:
    """Write three stratified 70/10/20 splits (second-order iterative stratification)."""
    from orchestrator.data.splits import write_splits

    made = write_splits(manifest, seed=seed, out=out, overwrite=overwrite)
    for split, (train, validation, test) in enumerate(made.sizes):
        print(f"split{split}: {train} train, {validation} validation, {test} test")
    most = made.largest
    where = f"{most.genre}, split{most.split} {most.part}"
    print(f"largest deviation of a genre's share: {most.points:+.2f} percentage points ({where})")
    print(f"written: {made.path}")


@app.command()
def synth(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to fill.")],
    trailers: Annotated[int, typer.Option("--trailers", help="How many to make.")] = 40,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same content.")] = 0,
    seconds: Annotated[float, typer.Option("--seconds", help="Mean length of a trailer.")] = 8.0,
) -> None:
    """Make synthetic trailers with known shots, and a manifest of them."""
    from orchestrator.data.synth import synthesize

    with _progress().step("making synthetic trailers", trailers, "trailers") as step:
        manifest = synthesize(directory, trailers, seed, seconds=seconds, on_progress=lambda *_: step.advance())
    print(manifest)


def _run(space: str, data: str, workspace: str, overrides: dict[str, Any] | None, **options: Any) -> None:
    from orchestrator.api import run_sweep
    from orchestrator.driver.options import RunOptions

    outcome = run_sweep(
        space, data, workspace=workspace, overrides=overrides, options=RunOptions(**options), progress=_progress()
    )
    show_outcome(outcome, workspace)
    raise typer.Exit(0 if outcome.results.ok else 1)


def _layout(layout: str) -> str:
    if layout not in ("auto", "fused", "split"):
        raise typer.BadParameter(f"{layout!r} is not one of auto, fused, split", param_hint="--layout")
    return layout


def _overrides(pairs: list[str] | None) -> dict[str, Any]:
    from orchestrator.sweep.space import parse_overrides

    return parse_overrides(pairs or [])


def _progress() -> Any:
    from orchestrator.progress import shown_progress

    return shown_progress()


def main() -> None:
    """Runs the command.

    Exit codes: 0 done, 1 some trials or trailers failed, 2 bad input or usage, 130 Ctrl-C, 143 SIGTERM.
    """
    stopper = Stopper()
    stopper.install()
    try:
        app()
    except DivitaError as error:
        print("\n".join(f"divita: {line}" for line in str(error).splitlines()), file=sys.stderr)
        sys.exit(error.exit_code)
    except (SystemExit, Stopped) as end:
        number = stopper.number
        if number is None or (isinstance(end, SystemExit) and not end.code):  # Ctrl-C is how the UI is left
            raise
        print("divita: stopped; the same command, or `divita resume`, goes on where this one was", file=sys.stderr)
        sys.exit(128 + number)


if __name__ == "__main__":
    main()
