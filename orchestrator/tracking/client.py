"""Opening MLflow: quiet, without telemetry, and quick to give up on a server that is away."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from orchestrator.errors import DivitaError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

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


PAGE = 1000
"""Runs a request."""

LOGIN = re.compile(r"^([^:/?#]+://)(?!/)(.*)@", re.DOTALL)
"""All from the scheme to the last `@`: a password may hold `/`, `?`, `#` and `@`, and databases take it so."""


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
    """The error in one line a person understands, without what is secret in the URI."""
    lines = [line for line in hide_secrets_in(str(error), tracking_uri).splitlines() if line.strip()]
    why = lines[0].strip() if lines else type(error).__name__
    return TrackingUnavailable(f"MLflow at {hide_secrets(tracking_uri)}: {why}")


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


def search_runs(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    """All runs of an experiment that are not deleted, a page at a time."""
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def hide_secrets(uri: str) -> str:
    """A URI as it may be printed: without who logs in, and without its query, where tokens stand."""
    return re.sub(r"\?.+", "?***", LOGIN.sub(r"\1***@", uri), flags=re.DOTALL)


def hide_secrets_in(text: str, uri: str) -> str:
    """What MLflow says of its store, as it may be printed: the URI, or parts of it, may stand in it.

    Hidden are the URI, its password, the name that logs in where there is no password (a token), and its query; each as
    it is written there and with `%40` read as `@` and the other way round.
    """
    text = text.replace(uri, hide_secrets(uri))
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    return text


def _secrets(uri: str) -> set[str]:
    login = LOGIN.match(uri)
    who = login[2] if login else ""
    query = uri[login.end() if login else 0 :].partition("?")[2]
    user, _, password = who.partition(":")
    values = [pair.partition("=")[2] or pair for pair in re.split("[&;]", query)]
    plain = {who if password else "", password or user, query, *values}
    return {form for value in plain if value for form in (value, unquote(value), quote(unquote(value), safe=""))}
