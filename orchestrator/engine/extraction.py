"""One Ray Data pass for every embedding set of a sweep: each trailer decoded once, its shots detected once.

Without a GPU one actor a core reads and embeds whole trailers, because passing frames between operators costs memory
and time and gains nothing. With GPUs, CPU actors on all nodes decode, and GPU actors detect shots and embed. The
driver alone writes parts: it flushes by size or every 30 s, so a crash costs an actor at most that.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray
import ray.data
from ray.data._internal.execution.execution_callback import ExecutionCallback

from orchestrator.engine.pipeline import TrailerEmbedder, TrailerReader, TrailerResult, TrailerTask
from orchestrator.engine.session import Resources, current_resources
from orchestrator.errors import DivitaError, TrailerError, some
from orchestrator.progress import Step
from orchestrator.specs import EmbeddingSpec
from orchestrator.store.embeddings import EmbeddingRow
from orchestrator.store.failures import Failure, check_failures
from orchestrator.store.rates import Work
from orchestrator.store.shots import ShotRow
from orchestrator.store.workspace import Workspace
from orchestrator.sweep.survey import current_digest
from orchestrator.video.decode import Decoded

FLUSH_S = 30.0
FLUSH_BYTES = 64 << 20

WORKER_BYTES = 2 << 30
"""Memory that a worker may need: the frames of a 210 s trailer are 0.76 GB, beside the networks."""

TRIES = 3
"""How often a trailer is tried whose worker dies of it."""

LOST = f"its worker died {TRIES} times, perhaps out of memory"

STRANDED_S = 20.0
"""Seconds without a result after which a round that has lost a node is begun anew on the others."""

ROUNDS = 10
"""How many rounds in a row may finish no trailer, where nodes or workers vanish again and again."""


@dataclass(frozen=True)
class ExtractionOptions:
    """How the pass runs; nothing here changes a vector. `layout` is `auto`, `fused` or `split`."""

    layout: str = "auto"
    stall_s: float = 60.0
    total_s: float = 900.0
    max_failed: int = 10


@dataclass
class ExtractionCounts:
    """What a pass did, as `divita extract` prints it."""

    trailers_decoded: int = 0
    shots_detected: int = 0
    clips_embedded: int = 0
    vectors_reused: int = 0
    failures: list[Failure] = field(default_factory=list)


class _FusedStage:
    """Reads and embeds in one actor: task -> result."""

    def __init__(self, specs: Mapping[str, EmbeddingSpec], options: ExtractionOptions, device: str) -> None:
        import torch

        torch.set_num_threads(1)
        self._reader = TrailerReader(stall_s=options.stall_s, total_s=options.total_s)
        self._embedder = TrailerEmbedder(specs, device)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        result, decoded = _read(self._reader, row["task"])
        if decoded is not None:
            _embed(self._embedder, result, decoded.frames, decoded.thumbs)
        return {"result": result}


class _ReadStage:
    """CPU half: task -> result, frames, thumbs."""

    def __init__(self, options: ExtractionOptions) -> None:
        self._reader = TrailerReader(stall_s=options.stall_s, total_s=options.total_s)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        result, decoded = _read(self._reader, row["task"])
        if decoded is None:
            return {
                "result": result,
                "frames": np.zeros((0, 1, 1, 3), np.uint8),
                "thumbs": np.zeros((0, 1, 1, 3), np.uint8),
            }
        return {"result": result, "frames": np.asarray(decoded.frames), "thumbs": decoded.thumbs}


class _EmbedStage:
    """GPU half: result, frames, thumbs -> result."""

    def __init__(self, specs: Mapping[str, EmbeddingSpec], device: str) -> None:
        import torch

        torch.set_num_threads(1)
        self._embedder = TrailerEmbedder(specs, device)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        result: TrailerResult = row["result"]
        if not (result.failures or result.fatal):
            _embed(self._embedder, result, row["frames"], row["thumbs"])
        return {"result": result}


def _read(reader: TrailerReader, task: TrailerTask) -> tuple[TrailerResult, Decoded | None]:
    try:
        return reader.read(task)
    except DivitaError as error:
        return TrailerResult(task, fatal=error), None


def _embed(embedder: TrailerEmbedder, result: TrailerResult, frames: np.ndarray, thumbs: np.ndarray) -> None:
    """Ray would wrap an exception beyond recognition; in the result it comes to the driver as it is."""
    try:
        embedder.embed(result, frames, thumbs)
    except DivitaError as error:
        result.fatal = error


def extract(
    tasks: list[TrailerTask],
    specs: Mapping[str, EmbeddingSpec],
    workspace: Workspace,
    detector_key: str,
    resources: Resources,
    options: ExtractionOptions,
    step: Step,
    failed_before: Sequence[Failure] = (),
    alive: Callable[[], None] = lambda: None,
) -> ExtractionCounts:
    """Runs the pass over `tasks` and stores what comes out.

    What a dead worker or node had in hand is gone through again, up to TRIES times a trailer. Raises TooManyFailures
    once more than `options.max_failed` trailers failed, those of earlier passes included; StoreError when the
    workspace refuses; DivitaError when ROUNDS rounds in a row finished nothing; and what `alive`, which is called with
    each result, raises. What was finished until then is stored.
    """
    counts = ExtractionCounts(failures=list(failed_before))
    waiting = {task.mid: task for task in tasks}
    tries: Counter[str] = Counter()
    writer = _PartWriter(workspace, detector_key)
    fruitless = 0

    def take(result: TrailerResult) -> None:
        del waiting[result.task.mid]
        failures = _store(result, writer, workspace)
        _count(result, counts, failures)
        for failure in failures:
            step.note(f"failed: {failure.mid}: {failure.stage}: {failure.reason}")
        step.advance(1, f"{len(counts.failures)} failed" if counts.failures else "")
        check_failures(counts.failures, options.max_failed)

    try:
        while waiting and fruitless < ROUNDS:
            left, nodes, whole = len(waiting), _nodes(), True
            # What no dead worker had in hand yet; then, each alone in a worker, what one had.
            fresh = [task for task in waiting.values() if not tries[task.mid]]
            batch = fresh or [*waiting.values()]
            try:
                for result in _results(batch, specs, resources, options, alone=not fresh):
                    alive()
                    if result.fatal:
                        raise result.fatal
                    take(result)
            except (ray.exceptions.ObjectLostError, _Stranded):
                whole = False  # a node went with a result or a stage: the round broke off, who was in hand is unknown
            in_hand = [task for task in batch if whole and task.mid in waiting]
            tries.update(task.mid for task in in_hand)
            for task in in_hand:
                if tries[task.mid] == TRIES:
                    # With the digest of its file, or the failure would not count and the trailer stay missing for ever.
                    given_up = TrailerResult(task, digest=current_digest(task.path, workspace.digests))
                    given_up.fail(TrailerError("embed", LOST), task.sets)
                    take(given_up)
            again = [task.mid for task in batch if task.mid in waiting]
            if again:
                who = "a worker" if whole and nodes <= _nodes() else "a node"
                step.note(f"{who} died; what it had in hand is done again: {some(again)}")
            fruitless = 0 if len(waiting) < left else fruitless + 1
            resources = current_resources()
        if waiting:
            raise DivitaError(
                f"nodes or workers vanished {ROUNDS} times before a trailer was finished, {len(waiting)} are left; "
                "what was finished is stored, run again"
            )
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DivitaError(f"Ray stopped the pass: {lines[-1]}; what was finished is stored, run again") from error
    finally:
        writer.close()
    return counts


def _nodes() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


class _Stranded(Exception):
    """A node went, and nothing has come out since."""


def _breaking_off(results: list[float]) -> type[ExecutionCallback]:
    """What Ray Data asks at each turn of its loop: breaks a round off that a lost node has left without an end.

    Ray Data waits for ever for a place for the stage that ran there, while the other stage holds the last core.
    `results` has one item, the time of the last result.
    """
    nodes = _nodes()

    class BreakOff(ExecutionCallback):
        asked = 0.0

        def on_execution_step(self, executor: object) -> None:
            now = time.monotonic()
            if now - results[0] < STRANDED_S or now - self.asked < 1.0:
                return
            self.asked = now
            if nodes - _nodes():
                raise _Stranded

    return BreakOff


def _results(
    tasks: list[TrailerTask],
    specs: Mapping[str, EmbeddingSpec],
    resources: Resources,
    options: ExtractionOptions,
    alone: bool,
) -> Iterator[TrailerResult]:
    """Results as they are made; those that a dead worker had in hand are missing. `alone`: no worker has two."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A block a trailer: results arrive as they are made. What a dead worker had in hand is dropped, not tried again by
    # Ray, which spends its retries in milliseconds while a lost node still looks alive.
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it prints a traceback for each
    last_result = [time.monotonic()]
    context.custom_execution_callback_classes = [_breaking_off(last_result)]
    rows = ray.data.from_items([{"task": task} for task in tasks], override_num_blocks=len(tasks))
    layout = options.layout if options.layout != "auto" else "split" if resources.gpus else "fused"
    if layout == "split" and resources.cpus < 2:
        layout = "fused"
    workers = max(1, min(resources.gpus or resources.cpus, int(resources.memory / WORKER_BYTES), len(tasks)))
    device = "cuda" if resources.gpus else "cpu"
    limits = {"max_task_retries": 0}
    # Of trailers that dead workers had, the one that kills its worker takes no other along.
    in_flight = 1 if alone else None
    # Ray 2.60 announces that such options will go by Ray 2.64, and has no other way yet to limit a task's retries.
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
    if layout == "fused":
        rows = rows.map(
            _FusedStage,
            fn_constructor_kwargs={"specs": dict(specs), "options": options, "device": device},
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=in_flight),
            num_cpus=1,
            num_gpus=1 if resources.gpus else 0,
            **limits,
        )
    else:
        embedders = max(1, min(resources.gpus or resources.cpus // 2, len(tasks)))
        readers = max(1, min(resources.cpus - embedders, len(tasks)))
        rows = rows.map(
            _ReadStage,
            fn_constructor_kwargs={"options": options},
            compute=ray.data.ActorPoolStrategy(size=readers, max_tasks_in_flight_per_actor=in_flight),
            num_cpus=1,
            **limits,
        ).map(
            _EmbedStage,
            fn_constructor_kwargs={"specs": dict(specs), "device": device},
            compute=ray.data.ActorPoolStrategy(size=embedders, max_tasks_in_flight_per_actor=in_flight),
            num_cpus=1,
            num_gpus=1 if resources.gpus else 0,
            **limits,
        )
    last_result[0] = time.monotonic()
    for row in rows.iter_rows():
        last_result[0] = time.monotonic()
        yield row["result"]


def _store(result: TrailerResult, writer: _PartWriter, workspace: Workspace) -> list[Failure]:
    """Hands what a trailer gave to the writer, and its failures to the table; earlier ones are settled by now."""
    task, digest = result.task, result.digest
    if digest is not None:
        if result.stat:
            workspace.digests.record(task.path, result.stat, digest)
        if result.shots is not None:
            writer.add_shots(ShotRow(task.mid, digest, result.n_frames, result.shots))
        for key, vectors in result.vectors.items():
            try:
                writer.add(key, EmbeddingRow(task.mid, digest, vectors))
            except TrailerError as error:
                result.fail(error, (key,))
    if task.failed_before:
        workspace.failures.forget([task.mid], task.sets)
    failures = [Failure(task.mid, digest, f.stage, f.reason, f.sets, task.path) for f in result.failures]
    if failures:
        workspace.failures.record(failures)
    writer.measure(result)
    return failures


def _count(result: TrailerResult, counts: ExtractionCounts, failures: list[Failure]) -> None:
    counts.trailers_decoded += bool(result.n_frames)
    counts.shots_detected += 0 if result.shots is None else len(result.shots)
    embedded = [v for v in result.vectors.values() if v.dtype != np.uint8]  # pixels are kept, not embedded
    counts.clips_embedded += sum(map(len, embedded)) - result.shared
    counts.vectors_reused += result.shared
    counts.failures += failures


class _PartWriter:
    """Gathers rows per set and writes them as parts, by size or age; a thread sees to the age."""

    def __init__(self, workspace: Workspace, detector_key: str) -> None:
        self._workspace, self._detector_key = workspace, detector_key
        self._rows: dict[str, list[EmbeddingRow]] = {}
        self._shots: list[ShotRow] = []
        self._spent: dict[str, Work] = {}
        self._bytes, self._since = 0, time.monotonic()
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def add(self, key: str, row: EmbeddingRow) -> None:
        with self._lock:
            self._rows.setdefault(key, []).append(row)
            self._bytes += row.vectors.nbytes
            self._flush_if_due()

    def add_shots(self, row: ShotRow) -> None:
        with self._lock:
            self._shots.append(row)
            self._flush_if_due()

    def measure(self, result: TrailerResult) -> None:
        """Adds up what the work took, for the estimates of later plans."""
        for kind, seconds in result.seconds.items():
            sofar = self._spent.get(kind)
            units = result.units[kind]
            self._spent[kind] = Work(seconds + sofar.seconds, units + sofar.units) if sofar else Work(seconds, units)

    def close(self) -> None:
        """Writes what is left. Raises what the thread could not write."""
        self._closed.set()
        self._thread.join()
        with self._lock:
            self._flush()
        self._workspace.rates.record(self._spent)

    def _watch(self) -> None:
        while not self._closed.wait(1.0):
            with self._lock:
                try:
                    self._flush_if_due()
                except DivitaError as error:
                    self._error = error
                    return

    def _flush_if_due(self) -> None:
        if self._error:
            raise self._error
        if self._bytes >= FLUSH_BYTES or time.monotonic() - self._since >= FLUSH_S:
            self._flush()

    def _flush(self) -> None:
        if self._shots:
            self._workspace.shots.write_part(self._detector_key, self._shots)
            self._shots = []
        for key in list(self._rows):
            self._workspace.embeddings.write_part(key, self._rows[key])
            del self._rows[key]
        self._workspace.digests.save()
        self._bytes, self._since = 0, time.monotonic()
