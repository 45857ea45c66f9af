"""What the commands print."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.api import SweepOutcome
    from orchestrator.engine.extraction import ExtractionCounts
    from orchestrator.reporting.write import ReportFiles
    from orchestrator.results import SweepResults
    from orchestrator.store.failures import Failure

PIPE_WIDTH = 200

SHOWN = 20
"""Trials of one state that are named; the rest is counted, and `--json` has them all."""


def describe_status(found: SweepResults) -> dict[str, Any]:
    """The state of a sweep as plain values."""
    failures = [{"mid": f.mid, "stage": f.stage, "reason": f.reason} for f in found.record.failures]
    values = {"sweep": found.record.name, "trials": found.trials, "done": found.done, "running": found.running}
    values |= {"pruned": found.pruned, "failed": found.failed, "missing": found.missing}
    values["lacking_embeddings"] = found.record.lacking
    return values | {"missing_why": found.missing_why, "failed_trailers": failures, "activity": found.activity}


def show_status(found: SweepResults) -> None:
    """Counts first, then what is missing, pruned and failed, and why."""
    name, counts = found.record.name, {"running": found.running, "pruned": found.pruned_trials}
    more = "".join(f"{count} {state}, " for state, count in counts.items() if count)
    print(
        f"{name}: {found.done} of {found.trials} trials done, {more}{len(found.failed)} failed, {found.missing} missing"
    )
    if found.activity:
        print(f"now: {found.activity['phase']} (process {found.activity['process']} on {found.activity['host']})")
    elif found.missing:
        print(f"nothing runs now: `divita resume {name}` makes what is missing")
    print(f"trailers: {found.record.trailers} of {found.record.manifest_trailers}; last run {found.record.updated}")
    for embeddings, lacking in found.record.lacking.items():
        print(f"embeddings: {embeddings} lacks {lacking} of {found.record.trailers} trailers")
    for search in found.searches:
        print(f"search {search.table}: {len(search.observations)} of {search.spec.configs} configs drawn")
    for why, count in found.missing_why.items():
        print(f"missing: {count} trials: {why}")
    _show_trials("pruned", found.pruned)
    _show_trials("failed", found.failed)
    _show_failures(found.record.failures)


def _show_trials(state: str, trials: dict[str, str]) -> None:
    for trial, why in list(trials.items())[:SHOWN]:
        print(f"{state}: {trial}: {why.removeprefix(f'{state}: ')}")
    if len(trials) > SHOWN:
        print(f"{state}: {len(trials) - SHOWN} more (--json)")


def show_outcome(outcome: SweepOutcome, workspace: str) -> None:
    from orchestrator.tracking.client import hide_secrets

    found = outcome.results
    if outcome.report:
        show_table(found, outcome.report)
    counts = outcome.extraction
    if counts and outcome.tracking_uri is None:
        show_extraction(counts)
        return
    if counts:
        print(f"extracted: {counts.trailers_decoded} trailers decoded, {counts.clips_embedded} clips embedded")
    pruned = f"{found.pruned_trials} pruned, " if found.pruned else ""
    print(
        f"trained: {outcome.trained} trials; {found.done} done, {pruned}{len(found.failed)} failed, "
        f"{found.missing} missing"
    )
    for trial, why in found.failed.items():
        print(f"failed: {trial}: {why.removeprefix('failed: ')}")
    _show_failures(found.record.failures)
    uri = hide_secrets(outcome.tracking_uri or "")
    if not outcome.tracked:
        print(f"MLflow at {uri} could not be reached; the same command catches up", file=sys.stderr)
    print(f"compare in MLflow: {_own_command()} ui{_ui_options(workspace, uri)}")


def show_extraction(counts: ExtractionCounts) -> None:
    print(f"trailers decoded: {counts.trailers_decoded}")
    print(f"shots detected: {counts.shots_detected}")
    print(f"clips embedded: {counts.clips_embedded}")
    print(f"vectors reused: {counts.vectors_reused}")
    _show_failures(counts.failures)


def _own_command() -> str:
    """This command as the user can type it again: by name where the shell finds it, else by its path."""
    return "divita" if shutil.which("divita") else os.path.relpath(sys.argv[0])


def _ui_options(workspace: str, tracking_uri: str) -> str:
    from orchestrator.store.workspace import Workspace

    opened = Workspace(workspace)
    if opened.root.local is None or tracking_uri != opened.mlflow_uri:
        return f" --tracking-uri {tracking_uri}"
    return f" -w {workspace}" if workspace != "workspace" else ""


def show_table(found: SweepResults, files: ReportFiles) -> None:
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


def _show_failures(failures: Sequence[Failure]) -> None:
    if failures:
        print(f"trailers that failed: {len({f.mid for f in failures})}")
    for failure in failures:
        print(f"  {failure.mid}: {failure.stage}: {failure.reason}")
