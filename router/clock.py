"""Time and chance, passed in so that tests can hold them still."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import msgspec


class Clock(msgspec.Struct, frozen=True):
    """What tells the time, waits, and draws lots.

    Attributes:
        now: Microseconds since 1970, by the database's clock.
        sleep: Waits for some seconds.
        random: A number from 0 to below 1.
        monotonic: Seconds of a clock that only goes forward; None is to go by ``now``.
    """

    now: Callable[[], int]
    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]
    monotonic: Callable[[], float] | None = None

    @property
    def timer(self) -> Callable[[], float]:
        """By what it is told how long something takes, in seconds."""
        return self.monotonic or self.seconds

    def seconds(self) -> float:
        """Return its time in seconds since 1970."""
        return self.now() / 1_000_000

    async def wait_for(self, event: asyncio.Event, *, seconds: float) -> bool:
        """Wait until ``event`` is set, but no longer than ``seconds``; whether it is set."""
        timer = asyncio.ensure_future(self.sleep(seconds))
        setting = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait((timer, setting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            setting.cancel()
        return event.is_set()


def make_clock(now: Callable[[], int]) -> Clock:
    """Return a real one that tells the time by ``now``."""
    return Clock(now, asyncio.sleep, random.random, time.monotonic)


class ServerClock:
    """Tells a database server's time by the machine's, and by how far they were apart.

    Exact to half of the time that an answer takes. Until it is set it is the machine's own.
    """

    AGE = 1.0  # seconds for which it need not be set again

    def __init__(self) -> None:
        self._ahead: float | None = None  # seconds, of the machine's monotonic clock
        self._set_at = float("-inf")

    def __call__(self) -> float:
        """Return seconds since 1970."""
        ahead = self._ahead
        return time.time() if ahead is None else time.monotonic() + ahead

    def set(self, ask: Callable[[], float | None]) -> None:
        """Set it by what ``ask`` returns, unless that was done a moment ago.

        Args:
            ask: Returns the server's time in seconds since 1970; None where there is no server.
        """
        began = time.monotonic()
        if began - self._set_at < self.AGE:
            return
        self._set_at = began
        if (told := ask()) is not None:
            self._ahead = told - (began + time.monotonic()) / 2
