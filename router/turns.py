"""Whose turn it is: one call per subject at a time, and no more calls a second than agreed."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

SLACK = 0.25  # seconds that a call may come late without moving those that follow

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


class Places:
    """Places for some calls at a time, handed on in the order in which they are asked for."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether whoever comes now has to wait."""
        return self._free <= 0

    def try_take(self) -> bool:
        """Take a place if one is free; whether that was so."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    async def take(self) -> None:
        """Wait for a place."""
        if self.try_take():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.give_back()  # it was handed over in the moment of the cancellation
            raise

    def give_back(self) -> None:
        """Leave a place: the next in line has it."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
        self._free += 1


class Pace:
    """Spaces calls evenly.

    Args:
        rate: Calls a second; None for no limit.
        monotonic: Seconds of a clock that only goes forward.
        sleep: Waits for some seconds.
        within: Another one that has to be kept, too, behind those that keep it first.

    Attributes:
        is_limited: Whether there is a limit.
    """

    def __init__(
        self,
        rate: float | None,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        within: "Pace | None" = None,
    ) -> None:
        self._within = within if within is not None and within.is_limited else None
        self.is_limited: bool = rate is not None or self._within is not None
        self._gap = 1 / rate if rate else 0.0
        self._monotonic = monotonic
        self._sleep = sleep
        self._next = 0.0
        self._first: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()
        self._serving: asyncio.Task[None] | None = None

    async def keep(self, *, first: bool = True) -> None:
        """Return when the next call may be made; those that come ``first`` pass the others."""
        if self._gap and not self._may_pass():
            await self._stand_in(self._first if first else self._others)
        elif self._gap:
            self._step()
        if self._within is not None:
            await self._within.keep(first=False)

    def try_pass(self) -> bool:
        """Make one call more at once, if that may be and nobody waits; whether that was so."""
        paces = [self] if self._within is None else [self, self._within]
        if not all(pace._may_pass() for pace in paces):
            return False
        for pace in paces:
            pace._step()
        return True

    def _may_pass(self) -> bool:
        return not (self._first or self._others) and self._monotonic() >= self._next

    def _step(self) -> None:
        now = self._monotonic()
        # Whoever comes a little late does not put off all that follow.
        self._next = (self._next if now - self._next <= SLACK else now) + self._gap

    async def _stand_in(self, line: deque[asyncio.Future[None]]) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        line.append(future)
        if self._serving is None:
            self._serving = loop.create_task(self._serve())
        try:
            await future
        except asyncio.CancelledError:
            if future in line:
                line.remove(future)
            if not (self._first or self._others) and self._serving is not None:
                self._serving.cancel()
                self._serving = None
            raise

    async def _serve(self) -> None:
        """Let one after another pass, as long as anybody waits."""
        while self._first or self._others:
            pause = self._next - self._monotonic()
            if pause > 0:
                await self._sleep(pause)
            future = (self._first or self._others).popleft()
            if not future.done():
                self._step()
                future.set_result(None)
        self._serving = None
