"""`divita trailers12k`: the published representations of the study, in and out. Parses, calls, prints."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli_options import SetOpt
from orchestrator.data.trailers12k import ZENODO

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The representations of Trailers12k that the authors published: with them the study needs no video.",
)

FilesOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--files",
        metavar="NAME",
        help="Only these, by file or backbone, such as mtgc.csv,swin_3d. Repeatable; default all seven.",
    ),
]
WorkspaceOpt = Annotated[str, typer.Option("-w", "--workspace", metavar="DIR|URI", help="Where the embeddings are.")]


@app.command()
def download(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to fill; about 40 GB for all files.")],
    files: FilesOpt = None,
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Where the files lie.")] = ZENODO,
) -> None:
    """Fetch the published files. Goes on where it was stopped, and checks every MD5."""
    from orchestrator.data.download import download_trailers12k
    from orchestrator.progress import shown_progress

    done = download_trailers12k(directory, files=files or (), url=url, progress=shown_progress())
    for path in done.kept:
        print(f"was there: {path}")
    for path in done.fetched:
        print(f"fetched:   {path}")
    print(f"next: divita trailers12k import {shlex.quote(str(directory))}")


@app.command("import")
def import_(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with mtgc.csv and the published files.")],
    workspace: WorkspaceOpt = "workspace",
    files: FilesOpt = None,
) -> None:
    """Read the published files into embedding sets. Running it again adds nothing that is there."""
    from orchestrator.progress import shown_progress
    from orchestrator.trailers12k import import_trailers12k

    done = import_trailers12k(directory, workspace=workspace, files=files or (), progress=shown_progress())
    for s in done.sets:
        kept = f", {s.kept:,} were there" if s.kept else ""
        print(f"{s.backbone}: {s.trailers:,} trailers, {s.clips:,} clips ({s.written:,} written{kept})")
    for note in done.notes:
        print(f"note: {note}")
    if done.absent:
        print(f"no file of: {', '.join(done.absent)}")
    place = "" if workspace == "workspace" else f" -w {shlex.quote(workspace)}"
    print(f"next: divita run backbone -d {shlex.quote(str(done.manifest))}{place}")


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to fill.")],
    data: Annotated[str, typer.Option("-d", "--data", metavar="MANIFEST", help="Trailers, genres and splits.")],
    space: Annotated[
        str, typer.Option("--space", metavar="SPACE", help="Search space whose embedding sets are written.")
    ] = "backbone",
    workspace: WorkspaceOpt = "workspace",
    overrides: SetOpt = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace groups that are there.")] = False,
) -> None:
    """Write embedding sets as the authors' code reads them: Zarr v2 groups and mtgc.csv."""
    from orchestrator.progress import shown_progress
    from orchestrator.sweep.space import parse_overrides
    from orchestrator.trailers12k import export_trailers12k

    done = export_trailers12k(
        directory,
        data,
        space=space,
        workspace=workspace,
        overrides=parse_overrides(overrides or []),
        overwrite=overwrite,
        progress=shown_progress(),
    )
    for path in done.written:
        print(f"written: {path}")
    if done.labels:
        print(f"labels:  {done.labels}")
    for line in done.skipped:
        print(f"left out: {line}")
    for note in done.notes:
        print(f"note: {note}")
    raise typer.Exit(1 if done.skipped else 0)
