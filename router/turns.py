"""Whose turn it is: one call per subject at a time, and no more calls a second than agreed."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

# In the line of nearly every turn: it spares a line of its own.
_NOBODY: deque[tuple[bool, asyncio.Future[None]]] = deque(maxlen=0)


class Turns:
    """The turns of a subscription's subjects, shared by its live delivery and its replays."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[tuple[bool, asyncio.Future[None]]]] = {}

    def try_take(self, subject: str) -> bool:
        """Take the turn of ``subject`` if nobody has it; whether that was so."""
        if subject in self._waiting:
            return False
        self._waiting[subject] = _NOBODY
        return True

    def is_wanted(self, subject: str) -> bool:
        """Whether somebody waits for the turn of ``subject``; may be asked on any thread."""
        return bool(self._waiting.get(subject))

    async def take(self, subject: str, *, first: bool) -> None:
        """Wait for the turn of ``subject``; those that come ``first`` pass the others."""
        if self.try_take(subject):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[subject]
        if waiting is _NOBODY:
            waiting = self._waiting[subject] = deque()
        before = sum(1 for is_first, _ in waiting if is_first) if first else len(waiting)
        waiting.insert(before, (first, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.give_back(subject)  # it was handed over in the moment of the cancellation
            raise

    def give_back(self, subject: str) -> None:
        """End the turn of ``subject``: the next in line has it."""
        waiting = self._waiting[subject]
        while waiting:
            _, future = waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
        del self._waiting[subject]


class Pace:
    """Spaces calls evenly.

    Args:
        rate: Calls a second; None for no limit.
        monotonic: Seconds of a clock that only goes forward.
        sleep: Waits for some seconds.

    Attributes:
        is_limited: Whether there is a limit.
    """

    def __init__(
        self,
        rate: float | None,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.is_limited = rate is not None
        self._gap = 1 / rate if rate else 0.0
        self._monotonic = monotonic
        self._sleep = sleep
        self._next = 0.0

    async def keep(self) -> None:
        """Return when the next call may be made."""
        if not self._gap:
            return
        now = self._monotonic()
        start = max(self._next, now)
        self._next = start + self._gap
        if start > now:
            await self._sleep(start - now)
