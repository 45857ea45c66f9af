"""The `divita` command: parses, calls `orchestrator.api`, prints. Nothing heavy is imported until a command runs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli_options import (
    AddressOpt,
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

PIPE_WIDTH = 200
INTERRUPTED = 130


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
    from orchestrator.api import estimate_cost, plan_sweep
    from orchestrator.reporting.plan_view import show_plan

    planned = plan_sweep(space, data, workspace=workspace, overrides=_overrides(overrides))
    cost = estimate_cost(planned, workspace)
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
    from orchestrator.driver import RunOptions

    options = RunOptions(address, cpus, max_failed, retry_failed, _layout(layout), stall)
    counts = extract_sweep(
        space, data, workspace=workspace, overrides=_overrides(overrides), options=options, progress=_progress()
    )
    print(f"trailers decoded: {counts.trailers_decoded}")
    print(f"shots detected: {counts.shots_detected}")
    print(f"clips embedded: {counts.clips_embedded}")
    print(f"vectors reused: {counts.vectors_reused}")
    _show_failures(counts.failures)
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
    )


@app.command()
def status(sweep: SweepArg, workspace: WorkspaceOpt = "workspace", as_json: JsonOpt = False) -> None:
    """Done, failed and missing trials of a sweep, and why; from files alone."""
    from orchestrator.api import sweep_results

    found = sweep_results(sweep, workspace=workspace)
    trials = found.done + found.running + len(found.failed) + found.missing
    if as_json:
        failures = [{"mid": f.mid, "stage": f.stage, "reason": f.reason} for f in found.record.failures]
        values = {"sweep": sweep, "trials": trials, "done": found.done, "running": found.running}
        values |= {"missing": found.missing, "failed": found.failed, "failed_trailers": failures}
        print(json.dumps(values | {"activity": found.activity}, indent=2))
    else:
        running = f"{found.running} running, " if found.activity else ""
        counts = f"{running}{len(found.failed)} failed, {found.missing} missing"
        print(f"{sweep}: {found.done} of {trials} trials done, {counts}")
        if found.activity:
            where = f"process {found.activity['process']} on {found.activity['host']}"
            print(f"now: {found.activity['phase']} ({where})")
        elif found.missing:
            print("nothing runs now: `divita run` again trains what is missing")
        print(f"trailers: {found.record.trailers} of {found.record.manifest_trailers}; last run {found.record.updated}")
        for trial, why in found.failed.items():
            print(f"failed: {trial}: {why}")
        _show_failures(found.record.failures)
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
    _show_table(sweep_results(sweep, workspace=workspace), files)


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
    from orchestrator.driver import RunOptions

    outcome = run_sweep(
        space, data, workspace=workspace, overrides=overrides, options=RunOptions(**options), progress=_progress()
    )
    found = outcome.results
    _show_table(found, outcome.report)
    if outcome.extraction:
        counts = outcome.extraction
        print(f"extracted: {counts.trailers_decoded} trailers decoded, {counts.clips_embedded} clips embedded")
    print(f"trained: {outcome.trained} trials; {found.done} done, {len(found.failed)} failed, {found.missing} missing")
    for trial, why in found.failed.items():
        print(f"failed: {trial}: {why}")
    _show_failures(found.record.failures)
    if not outcome.tracked:
        print(f"MLflow at {outcome.tracking_uri} could not be reached; the same command catches up", file=sys.stderr)
    print(f"compare in MLflow: {_own_command()} ui{_ui_options(workspace, options.get('tracking_uri'))}")
    raise typer.Exit(0 if found.ok else 1)


def _own_command() -> str:
    """This command as the user can type it again: by name where the shell finds it, else by its path."""
    return "divita" if shutil.which("divita") else os.path.relpath(sys.argv[0])


def _ui_options(workspace: str, tracking_uri: str | None) -> str:
    if tracking_uri:
        return f" --tracking-uri {tracking_uri}"
    return f" -w {workspace}" if workspace != "workspace" else ""


def _show_table(found: Any, files: Any) -> None:
    from rich.console import Console

    from orchestrator.reporting.tables import to_console

    # A file or a pipe has no width: lines there are as long as the table is.
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    console.print(to_console(found.rows, found.chance, width=console.width))
    for problem in files.problems:
        print(f"could not be drawn: {problem}", file=sys.stderr)
    print(f"page:   {files.html}")
    beside = f"plots: {len(files.plots) // 2}, tables: {len(files.tables) // 3}"
    print(f"report: {files.markdown} ({beside}, each in its own files beside it)")
    print(f"table:  {files.csv}")


def _show_failures(failures: Any) -> None:
    if failures:
        print(f"trailers that failed: {len({f.mid for f in failures})}")
    for failure in failures:
        print(f"  {failure.mid}: {failure.stage}: {failure.reason}")


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
    """Runs the command. Exit codes: 0 done, 1 some trials or trailers failed, 2 bad input or usage, 130 Ctrl-C."""
    try:
        app()
    except DivitaError as error:
        print("\n".join(f"divita: {line}" for line in str(error).splitlines()), file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # so typer ends on Ctrl-C
            print("divita: stopped; the same command goes on where this one was", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
