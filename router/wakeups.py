"""Wake-ups across processes: whoever appends announces it, whoever delivers listens.

They are a hint and no more: a look at the log every so often finds what one of them would have
told. An engine without such messages has neither.
"""

import logging
import threading
from collections.abc import Callable

from router.errors import RouterError, trace
from router.periodic import Periodic
from router.store import Store

GAP = 0.010  # seconds between two announcements, at least
PATIENCE = 0.5  # seconds that a listener waits for the next one before it looks if it is to stop
REST = 1.0  # seconds between two tries to listen

logger = logging.getLogger("router.wakeups")


class Announcer:
    """Tells other processes that the log has grown, from a thread and in transactions of its own.

    Args:
        store: The log's.
        gap: Seconds between two announcements, at least: what comes meanwhile is told together.
    """

    def __init__(self, store: Store, *, gap: float = GAP) -> None:
        self._store = store
        self._gap = gap
        self._rung = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="router-announcer", daemon=True)

    def start(self) -> None:
        """Begin, where the engine has such messages."""
        if self._store.has_wakeups:
            self._thread.start()

    def ring(self) -> None:
        """Announce soon, from any thread."""
        self._rung.set()

    def stop(self) -> None:
        """End; what was rung before is announced."""
        self._stopped.set()
        self._rung.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._rung.wait()
            self._rung.clear()
            is_last = self._stopped.is_set()
            try:
                self._store.announce()
            except RouterError as error:
                logger.debug("other workers will find new events by themselves: %s", error)
            except Exception as error:
                logger.error("the announcement of new events failed\n%s", trace(error))
            self._stopped.wait(self._gap)


class Listener:
    """Hears from other processes that the log has grown; connects again when it must.

    Args:
        store: The log's.
        on_wake: Called on a thread of its own.
    """

    def __init__(self, store: Store, *, on_wake: Callable[[], None]) -> None:
        self._store = store
        self._on_wake = on_wake
        self._stopped = threading.Event()
        self._thread = Periodic(self._listen, seconds=REST, name="router-listener")

    def start(self) -> None:
        """Begin, where the engine has such messages."""
        if self._store.has_wakeups:
            self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self._thread.stop()

    def _listen(self) -> None:
        """Listen until the connection fails or the end."""
        with self._store.listening() as wait:
            self._on_wake()  # for what was announced while nobody listened
            while not self._stopped.is_set():
                if wait(PATIENCE):
                    self._on_wake()
