"""Arguments and options that several commands share, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SpaceArg = Annotated[str, typer.Argument(metavar="SPACE", help="YAML file, or bare name of a shipped search space.")]
SweepArg = Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep, as in the YAML or its file name.")]
ManifestOpt = Annotated[
    str, typer.Option("-d", "--data", metavar="MANIFEST", help="CSV or Parquet: mid, path, genres, splits.")
]
WorkspaceOpt = Annotated[
    str, typer.Option("-w", "--workspace", metavar="DIR|URI", help="Embeddings, shots, ledger, MLflow.")
]
ResultsOpt = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where reports are written.")]
AddressOpt = Annotated[
    str | None, typer.Option("--address", metavar="ADDRESS", help="Ray cluster; default, or `local`, starts one here.")
]
CpusOpt = Annotated[int | None, typer.Option("--cpus", min=1, help="Cores of the local Ray; default all.")]
MaxFailedOpt = Annotated[
    int | None,
    typer.Option("--max-failed", min=0, help="Trailers that may fail before the pass stops; default 1%, at least 10."),
]
RetryOpt = Annotated[
    bool, typer.Option("--retry-failed", help="Try trailers again that failed before and did not change.")
]
StallOpt = Annotated[
    float, typer.Option("--stall", metavar="SECONDS", min=1, help="Kill a decoder that gives no frame for so long.")
]
LayoutOpt = Annotated[
    str, typer.Option("--layout", metavar="auto|fused|split", help="Decode and embed in one actor or in two.")
]
TrackingOpt = Annotated[
    str | None, typer.Option("--tracking-uri", metavar="URI", help="MLflow; default an SQLite file in the workspace.")
]
ConcurrentOpt = Annotated[
    int | None,
    typer.Option(
        "--concurrent", metavar="N", min=1,
        help="Configs of a search in training at once, default all that fit; with 1 a search repeats itself exactly.",
    ),
]  # fmt: skip
JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SetOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Replace a field in every config, such as training.epochs=5. Repeatable."
    ),
]
