"""A clock that stands still until the test moves it."""

import asyncio
from datetime import datetime

from router.clock import Clock
from router.events import from_micros

START = 1_790_000_000  # 2026-09-21T14:13:20Z, as in the notifications that tests are made of
NAP = 0.003  # seconds of real time after which whoever sleeps looks at the clock again


class HandClock:
    """A clock that stands still until `advance` is called.

    Args:
        start: Where it stands at first, in seconds since 1970.
    """

    def __init__(self, start: float = START) -> None:
        self._micros = round(start * 1_000_000)

    @property
    def now(self) -> datetime:
        """Its time, in UTC."""
        return from_micros(self._micros)

    @property
    def micros(self) -> int:
        """Its time, in microseconds since 1970."""
        return self._micros

    def advance(self, seconds: float) -> None:
        """Put it forward.

        Raises:
            ValueError: That would be backward.
        """
        if seconds < 0:
            raise ValueError(f"a clock goes forward, not by {seconds} seconds")
        self._micros += round(seconds * 1_000_000)

    def as_clock(self) -> Clock:
        """Return it as the engine knows clocks.

        Chance lets whatever waits wait as long as it ever may: it is due when the clock has been
        put forward by the delay that is configured, and not before.
        """
        return Clock(now=lambda: self._micros, sleep=_nap, random=lambda: 1 - 2**-53)


async def _nap(seconds: float) -> None:
    await asyncio.sleep(min(seconds, NAP))
