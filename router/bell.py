"""A bell: tells those who wait that there is something new, no more often than is of use."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

GAP = 0.015  # seconds; half of it is what an event waits on average


class Bell:
    """Passes on the first ring at once, and those that follow soon together.

    Under load each append rings. Were every lane to look at every one of them, the looking would
    take longer than the appending, and find an event or two.

    Args:
        tell: Called on the loop.
        gap: Seconds between two calls, at least.
    """

    def __init__(self, tell: Callable[[], None], *, gap: float = GAP) -> None:
        self._tell = tell
        self._gap = gap
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_rung = False  # and nobody was told of it yet
        self._pause: asyncio.TimerHandle | None = None

    def hang(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin: until then nobody hears it."""
        self._loop = loop

    def ring(self) -> None:
        """Ring, from any thread."""
        if self._loop is not None and not self._is_rung:
            self._is_rung = True
            with suppress(RuntimeError):  # the loop was closed
                self._loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        if self._pause is None and self._loop is not None:
            self._is_rung = False  # before they look: what comes meanwhile rings again
            self._pause = self._loop.call_later(self._gap, self._go_on)
            self._tell()

    def _go_on(self) -> None:
        self._pause = None
        if self._is_rung:
            self._hear()
