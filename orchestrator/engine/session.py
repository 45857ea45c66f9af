"""A Ray cluster to work on: the one at an address, or a quiet local one on loopback."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before ray is imported: it reads these once.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# A worker that died is started again, and its config tells why it failed: no tracebacks on the user's terminal.
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
# Tune's own handler of Ctrl-C ends its run as if it were done, and the sweep would go on with what comes next.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")

import ray
from ray._private import ray_constants
from ray._private import worker as ray_worker

from orchestrator.errors import InputError

LOOPBACK = "127.0.0.1"

log = logging.getLogger(__name__)

WORKER_ENV = {
    # One thread a task: results must not depend on how many workers share the machine.
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass(frozen=True)
class Resources:
    """What the cluster offers over all nodes: CPU cores, GPUs, bytes of memory for workers."""

    cpus: int
    gpus: int
    memory: float


@contextmanager
def ray_session(address: str | None = None, cpus: int | None = None) -> Iterator[Resources]:
    """Connects to `address` (`auto`, `host:port`), or starts a local cluster of `cpus` cores and stops it after.

    A session that is already connected (a notebook's, a test's) is used and left open. Raises InputError where no
    cluster answers, or the address is one of another kind.
    """
    if ray.is_initialized():
        yield current_resources()
        return
    if address is not None and "://" in address:
        # Ray's client (`ray://`) has no objects of the driver's own, as Tune and the hub of sets need them.
        raise InputError(
            f"--address: got {address!r}, allowed: `host:port` of the cluster's head node (6379 unless it was told "
            "otherwise), or `auto` on a machine of the cluster"
        )
    # What Ray warns of (disabled bars, pickled objects, its own tokens) is no news to the user of a sweep.
    for name in ("ray", "ray.data", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # A trial that fails is in the ledger with its reason; Tune would print a traceback for it.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    options: dict[str, object] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"env_vars": WORKER_ENV},
    }
    _keep_to_loopback(address is None)
    if address is None:
        # `local`, or Ray would join a cluster that somebody started on this machine.
        options |= {"address": "local", "include_dashboard": False, "_node_ip_address": LOOPBACK, "num_cpus": cpus}
    else:
        # The nodes run this very code, whatever version is installed there.
        package = str(Path(__file__).resolve().parents[1])
        options |= {"address": address, "runtime_env": {"env_vars": WORKER_ENV, "py_modules": [package]}}
    try:
        if address is not None:
            _knock(address)
        with _without_native_noise(), _own_signals():
            ray.init(**options)
    except OSError as error:
        raise InputError(f"--address: no Ray cluster answers at {address!r}: {error}") from error
    try:
        with _without_pages_of_advice():
            yield current_resources()
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nothing listens; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _keep_to_loopback(only: bool) -> None:
    """A local Ray offers no service to others: a laptop may stand on a shared network.

    Ray takes 127.0.0.1 for a mistake and replaces it by the machine's address, except where this switch, named after
    the systems it was made for, is off; then its servers bind to loopback.
    """
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0" if only else "1"
    ray_constants.ENABLE_RAY_CLUSTER = not only


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray puts its own handler of SIGTERM into the driver; the command has one that ends a sweep in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if kept is not None:
            signal.signal(signal.SIGTERM, kept)


@contextmanager
def _without_native_noise() -> Iterator[None]:
    """Ray's native code announces its log level on the bare file descriptor; errors still come as exceptions."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _without_pages_of_advice() -> Iterator[None]:
    """Ray prints long coloured texts about workers that died on standard output, where a sweep's table stands.

    What a death costs is told where it is dealt with.
    """

    def note(data: dict[str, Any], ignore_prefix: bool) -> None:
        log.debug("Ray: %s", "\n".join(data["lines"]))

    kept, ray_worker.print_to_stdstream = ray_worker.print_to_stdstream, note
    try:
        yield
    finally:
        ray_worker.print_to_stdstream = kept


def current_resources() -> Resources:
    """What the nodes that live offer now."""
    total = ray.cluster_resources()
    return Resources(int(total.get("CPU", 1)), int(total.get("GPU", 0)), float(total.get("memory", math.inf)))
