"""Waves: what an event loop takes in until it comes to rest is handed over in one piece.

So one thread at a time is at work: a request that the loop takes in while another thread appends
costs both of them half as much again (`docs/decisions`).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from router.errors import Unavailable
from router.events import Entry, Unsplit
from router.rows import Appended

ROUNDS = 2  # of a loop in which nothing comes: from its bytes to us a request takes one or two
LONGEST = 0.02  # seconds that a wave lasts at most

Loop = asyncio.AbstractEventLoop


class Waiting(NamedTuple):
    """A notification that is to be appended, and the future of the request that brought it."""

    entry: Entry | Unsplit
    future: asyncio.Future[Appended]


class Wave:
    """What one event loop takes in until it comes to rest.

    Attributes:
        loop: It.
        waiting: What it has taken in.
        size: Bytes of the bodies.
    """

    __slots__ = ("_end", "_left", "_quiet", "_seen", "_timer", "loop", "size", "waiting")

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.waiting: list[Waiting] = []
        self.size = 0
        self._seen = 0  # of those that wait, when the loop came round last
        self._quiet = 0  # rounds in which nothing came
        self._end = loop.time() + LONGEST
        self._left = 0  # without an answer
        self._timer: asyncio.TimerHandle | None = None

    async def append(self, entry: Entry | Unsplit) -> Appended:
        """Let ``entry`` wait with the others, and return its answer."""
        future: asyncio.Future[Appended] = self.loop.create_future()
        self.waiting.append(Waiting(entry, future))
        self.size += len(entry.notification.body)
        self._left += 1
        try:
            return await future
        finally:
            self._left -= 1
            if not self._left and self._timer is not None:
                self._timer.cancel()

    def goes_on(self) -> bool:
        """Count a round of the loop, and return whether more is to be taken in."""
        count = len(self.waiting)
        self._quiet = self._quiet + 1 if count == self._seen else 0
        self._seen = count
        return self._quiet < ROUNDS and self.loop.time() < self._end

    def give_up_after(self, seconds: float) -> None:
        """Let nobody wait for longer: one timer is enough for all of them."""
        why = "the database has not answered in time"
        self._timer = self.loop.call_later(seconds, refuse, self.waiting, why)


class Waves:
    """The waves of all event loops, each from its first request to the end.

    Args:
        hand_over: Is given each that has come to its end, on its loop; it may be empty.
    """

    def __init__(self, hand_over: Callable[[Wave], None]) -> None:
        self._hand_over = hand_over
        self._open: dict[Loop, Wave] = {}
        self._provoked: set[Loop] = set()  # that are told something, and have not heard it yet

    @property
    def count(self) -> int:
        """How many notifications are in them."""
        return sum(len(wave.waiting) for wave in list(self._open.values()))

    @property
    def are_over(self) -> bool:
        """Whether all loops have come to rest."""
        return not (self._open or self._provoked)

    def begin(self, loop: Loop) -> Wave:
        """Return the wave that ``loop`` is in; to be called on it."""
        wave = self._open.get(loop)
        if wave is None:
            wave = self._open[loop] = Wave(loop)
            loop.call_soon(self._come_round, wave)
        return wave

    def provoke(self, loop: Loop, answer: Callable[[], None]) -> None:
        """Have ``loop`` call ``answer``: who hears it sends the next request, which is a new wave.

        Raises:
            RuntimeError: The loop is closed.
        """
        self._provoked.add(loop)
        try:
            loop.call_soon_threadsafe(self._answer, loop, answer)
        except RuntimeError:
            self._provoked.discard(loop)
            raise

    def forget_ended(self) -> None:
        """Do not wait for loops that are closed."""
        ended = {loop for loop in (*self._open, *self._provoked) if loop.is_closed()}
        self._provoked -= ended
        for loop in ended:
            self._open.pop(loop, None)

    def _answer(self, loop: Loop, answer: Callable[[], None]) -> None:
        answer()
        self.begin(loop)
        self._provoked.discard(loop)

    def _come_round(self, wave: Wave) -> None:
        if wave.goes_on():
            wave.loop.call_soon(self._come_round, wave)
        else:
            del self._open[wave.loop]
            self._hand_over(wave)


def refuse(waiting: Sequence[Waiting], why: str) -> None:
    """Tell those who have no answer that they are not stored, as far as is known."""
    for _, future in waiting:
        if not future.done():
            future.set_exception(Unavailable(why))
