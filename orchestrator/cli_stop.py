"""Ctrl-C and SIGTERM: once ends the command in order, within 20 seconds; again ends it at once.

A driver that is stopped loses nothing that was finished: a trial goes on from its last epoch, an extraction from what
was flushed. So the orderly end only has to flush, to take the sweep's lock away and to stop Ray.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

STOP_S = 18.0
"""Seconds an orderly end may take, whatever hangs; then the process goes."""


class Stopped(KeyboardInterrupt):
    """The command was asked to end; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


class Stopper:
    """Turns the first SIGINT or SIGTERM into `Stopped` in the main thread, and ends the process at the second."""

    def __init__(self) -> None:
        self.number: int | None = None

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            self._end(number)
        self.number = number
        os.write(sys.stderr.fileno(), b"\ndivita: stopping, at most 20 s; once more stops at once\n")
        watchdog = threading.Timer(STOP_S, self._end, (number,))
        watchdog.daemon = True
        watchdog.start()
        raise Stopped(number)

    def _end(self, number: int) -> None:
        """No more Python: Ray's processes see their driver go and end by themselves."""
        os._exit(128 + number)
