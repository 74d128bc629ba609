"""Work that a thread of its own does every so often, whatever the event loop is busy with."""

import logging
import threading
from collections.abc import Callable

from router.errors import RouterError, trace

logger = logging.getLogger("router.periodic")


class Periodic:
    """Calls ``work`` every ``seconds`` until it is stopped; a failure is logged and not the end.

    Args:
        work: What is done; where it returns True there is more to do, without a pause.
        seconds: Between the end of one call and the next.
        name: Of the thread, and in the log.
    """

    def __init__(self, work: Callable[[], object], *, seconds: float, name: str) -> None:
        self._work = work
        self._seconds = seconds
        self._name = name
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first call comes after the first pause."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for a call under way."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = self._seconds
        while not self._stopped.wait(pause):
            pause = self._seconds
            try:
                if self._work() is True:
                    pause = 0.0
            except RouterError as error:
                logger.warning("%s: %s", self._name, error)
            except Exception as error:
                logger.error("%s failed\n%s", self._name, trace(error))
