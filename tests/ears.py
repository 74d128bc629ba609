"""An ear for announcements of new events, as a worker of another process has one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from router.store import Store
from router.wakeups import Listener

LONG = 20  # seconds that a test waits before it fails


class Ear:
    """Counts how often it was woken."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heard = 0

    def hear(self) -> None:
        """Count one."""
        with self._changed:
            self._heard += 1
            self._changed.notify_all()

    @property
    def heard(self) -> int:
        """How often it was woken."""
        return self._heard

    def wait_for(self, count: int) -> bool:
        """Wait until there were so many."""
        with self._changed:
            return self._changed.wait_for(lambda: self._heard >= count, LONG)


@contextmanager
def listening(store: Store) -> Iterator[Ear]:
    """Listen until the end of the block, from when it is sure that announcements are heard."""
    ear = Ear()
    listener = Listener(store, on_wake=ear.hear)
    listener.start()
    try:
        assert ear.wait_for(1)  # for what was announced before
        yield ear
    finally:
        listener.stop()
