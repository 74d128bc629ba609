"""Time and chance, passed in so that tests can hold them still."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec


class Clock(msgspec.Struct, frozen=True):
    """What tells the time, waits, and draws lots.

    Attributes:
        now: Microseconds since 1970, by the database's clock.
        sleep: Waits for some seconds.
        random: A number from 0 to below 1.
    """

    now: Callable[[], int]
    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]

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
