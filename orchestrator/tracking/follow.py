"""MLflow kept up to date while a sweep runs, from a thread of the driver, so that training never waits for it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from orchestrator.reporting.aggregate import SweepConfig
from orchestrator.store.ledger import Ledger
from orchestrator.tracking.client import TrackingUnavailable
from orchestrator.tracking.entries import name_configs
from orchestrator.tracking.view import MlflowView

log = logging.getLogger(__name__)

GRACE_S = 5.0
"""Seconds that the thread has to end what it writes when a sweep ends by an error."""


class Follower:
    """Shows configs in MLflow as they finish. A store that is away is tried again with the next config.

    `configs` are all of the sweep, `trailers` the number in the manifest. Leaving the context stops the thread after
    what it has begun, by an error (as Ctrl-C) at the latest after GRACE_S; `finish` brings everything up to date.
    """

    def __init__(
        self,
        view: MlflowView,
        configs: Sequence[SweepConfig],
        ledger: Ledger,
        trailers: int,
        warn: Callable[[str], None] = log.warning,
    ) -> None:
        self._warn, self._leaving = warn, False
        self._view, self._ledger, self._trailers = view, ledger, trailers
        self._by_key = {config.key: config for config in configs}
        self._named: tuple[Mapping[str, SweepConfig], Mapping[str, str]] = ({}, {})
        self._finished: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._follow, name="mlflow", daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        self._finished.put("")  # opens the store now, so that a wrong address is told before hours have passed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = True  # what still waits is shown by `finish`, or at the next run
        self._finished.put(None)
        # Who presses Ctrl-C must not wait for a server that hangs; as a daemon the thread ends with the program.
        self._thread.join(None if kind is None else GRACE_S)

    def expect(self, config: SweepConfig) -> None:
        """A search has drawn another config of the sweep."""
        self._by_key = {**self._by_key, config.key: config}  # never changed in place: the thread reads it

    def add(self, config_key: str) -> None:
        """A config has new records."""
        self._finished.put(config_key)

    def finish(self) -> bool:
        """Shows everything that the ledger has; False where MLflow can't be reached. Call after leaving the context."""
        try:
            self._sync(list(self._by_key.values()), whole=True)
        except TrackingUnavailable as error:
            self._warn(str(error))
            return False
        except Exception:  # MLflow is only a view: no fault of it may cost the sweep its report
            log.exception("MLflow could not be brought up to date")
            return False
        return True

    def _follow(self) -> None:
        told = False
        while (key := self._finished.get()) is not None:
            if self._leaving:
                continue
            try:
                self._sync([self._by_key[key]] if key else [])
            except TrackingUnavailable as error:
                if not told:
                    self._warn(f"{error}; the sweep goes on, and MLflow catches up when it is back")
                told = True
            except Exception:  # MLflow is only a view: no fault of it may stop the sweep
                log.exception("MLflow: %s could not be shown", key)

    def _sync(self, configs: Sequence[SweepConfig], *, whole: bool = False) -> None:
        searched = {key: config.search for config in configs for key in config.trials.values() if key}
        records = self._ledger.states(searched).values()
        self._view.sync(
            configs,
            records,
            self._ledger.predictions,
            names=self._name_all(),
            trailers=self._trailers,
            whole=whole,
        )

    def _name_all(self) -> Mapping[str, str]:
        """Config key -> name. A name depends on all others: they are made anew only where another config joined."""
        every, names = self._named
        if every is not self._by_key:
            every = self._by_key
            names = name_configs(list(every.values()))
            self._named = every, names
        return names
