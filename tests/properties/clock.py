"""A clock that runs as fast as anybody sleeps."""

import asyncio


class QuickClock:
    """A clock that whoever sleeps puts forward.

    Attributes:
        micros: Its time, in microseconds since 1970.
    """

    def __init__(self) -> None:
        self.micros = 1_000_000_000
        self._dawdled = 0

    def advance(self, seconds: float) -> None:
        """Put it forward."""
        self.micros += round(seconds * 1_000_000)

    def dawdle(self) -> None:
        """Let more time pass than any call may take."""
        self.micros += 100 * 86_400_000_000
        self._dawdled += 100 * 86_400_000_000

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.advance(seconds)
        await asyncio.sleep(0.001)

    def seconds(self) -> float:
        """Return its time in seconds since 1970."""
        return self.micros / 1_000_000

    def operators_seconds(self) -> float:
        """Return the time by the clock of those who look on, on which nobody dawdles.

        In a hundred days a worker would renew its leases: to others they have not expired.
        """
        return (self.micros - self._dawdled) / 1_000_000
