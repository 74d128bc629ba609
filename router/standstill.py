"""A watch on the event loop, which names the handler that keeps it from going on."""

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from router.calls import find_place
from router.subscriptions import Subscription

PATIENCE = 1.0  # seconds that the loop may stand still

logger = logging.getLogger("router.standstill")


@contextmanager
def watching(
    subscriptions: Sequence[Subscription], *, patience: float = PATIENCE
) -> Iterator[None]:
    """Warn, from a thread, of each async handler that blocks the loop that this is called on.

    Meanwhile nothing is received, delivered or stopped in the whole process, and a time-out cannot
    end it. Each handler is told of once.

    Args:
        subscriptions: Whose handlers are called; where all are plain functions, nothing is watched.
        patience: Seconds that the loop may stand still.
    """
    if all(one.is_plain for one in subscriptions):
        yield
        return
    watch = _Watch(asyncio.get_running_loop(), threading.get_ident(), patience=patience)
    threading.Thread(target=watch.run, name="router-standstill", daemon=True).start()
    try:
        yield
    finally:
        watch.is_over.set()


class _Watch:
    def __init__(self, loop: asyncio.AbstractEventLoop, thread: int, *, patience: float) -> None:
        self.is_over = threading.Event()
        self._loop = loop
        self._thread = thread
        self._patience = patience
        self._told: set[tuple[str, str]] = set()

    def run(self) -> None:
        """Look until it is over."""
        while not self.is_over.wait(self._patience):
            answered = threading.Event()
            try:
                self._loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # the loop is closed
                return
            # Twice: to a process that was itself stopped for a while its time is gone at once.
            is_moving = answered.wait(self._patience / 2) or answered.wait(self._patience / 2)
            while not (is_moving or self.is_over.is_set()):
                self._tell()
                is_moving = answered.wait(self._patience)

    def _tell(self) -> None:
        place = find_place(sys._current_frames().get(self._thread))
        if place is None or (place.subscription, place.hook) in self._told:
            return
        self._told.add((place.subscription, place.hook))
        logger.warning(
            "plugin %r: %s() blocks the event loop for more than %g s, at %s:%d: meanwhile nothing"
            " is received or delivered. Make it a plain def, which is called on a thread, or await"
            " asyncio.to_thread() for what takes so long",
            place.subscription,
            place.hook,
            self._patience,
            place.file,
            place.line,
        )
