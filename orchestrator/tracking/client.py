"""Opening MLflow: quiet, without telemetry, and quick to give up on a server that is away."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from orchestrator.errors import DivitaError

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
"""Always set: MLflow reports its use to its makers otherwise."""

DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Unless the user says otherwise: MLflow's own values wait for minutes, and a sweep catches up later anyway; and it
prints two addresses a run."""


class TrackingUnavailable(DivitaError):
    """MLflow can't be reached or written. The sweep goes on; the next `sync` with all records catches up."""


def open_client(tracking_uri: str) -> MlflowClient:
    """A client of the store; an SQLite file is made with its folder. Raises TrackingUnavailable."""
    os.environ.update(ENVIRONMENT)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    # What they say while they make the tables is no news to the user.
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        path = sqlite_path(tracking_uri)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=tracking_uri)
        client.search_experiments(max_results=1)
        return client
    except Exception as error:  # drivers that are not installed, foreign schemas, servers that are away
        raise unavailable(tracking_uri, error) from error


def unavailable(tracking_uri: str, error: Exception) -> TrackingUnavailable:
    """The error in one line a person understands."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return TrackingUnavailable(
        f"MLflow at {hide_password(tracking_uri)}: {lines[0] if lines else type(error).__name__}"
    )


def faults() -> tuple[type[Exception], ...]:
    """Exceptions by which MLflow says that its store is away or broken."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError


def sqlite_path(tracking_uri: str) -> Path | None:
    """The file of an `sqlite:///` URI; None for other stores."""
    prefix = "sqlite:///"
    return Path(tracking_uri.removeprefix(prefix).split("?")[0]).absolute() if tracking_uri.startswith(prefix) else None


def artifact_folder(tracking_uri: str) -> Path | None:
    """`mlartifacts` beside the SQLite file; None where the store keeps its artifacts itself."""
    path = sqlite_path(tracking_uri)
    return path.parent / "mlartifacts" if path is not None else None


def hide_password(uri: str) -> str:
    """A URI as it may be printed."""
    parts = urlparse(uri)
    return uri.replace(f":{parts.password}@", ":***@") if parts.password else uri
