"""Slots: a bounded number of calls under way at a time, more of them waiting in line."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

Begun = Coroutine[None, None, None] | asyncio.Task[Any] | None
Work = Callable[[], Begun]


class Slots:
    """Runs work as slots become free, in the order in which it came.

    Work that turns out to be a task already, the call of a handler, only has its place here: who
    made it sees to what comes of it, and says when it leaves. There may be none, too.

    Args:
        limit: How many at a time.
        on_change: Called whenever one has ended.

    Attributes:
        is_closed: Whether nothing is begun any more.
        is_cut: Whether what was under way has been cancelled, too.
    """

    def __init__(self, limit: int, *, on_change: Callable[[], None]) -> None:
        self._limit = limit
        self._on_change = on_change
        self._line: deque[Work] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._guests: set[asyncio.Task[Any]] = set()  # that others have made
        self.is_closed = False
        self.is_cut = False
        self._error: BaseException | None = None

    def add(self, work: Work) -> None:
        """Run ``work`` when a slot is free; never, once the slots are closed."""
        self._line.append(work)
        self._fill()

    def finish(self, work: Work) -> None:
        """Run ``work`` at once, even when closed: it is the end of something that has begun."""
        self._start(work)

    def leave(self, guest: asyncio.Task[Any], *, error: Exception | None = None) -> None:
        """Note that a task which somebody else has made has ended, or what went wrong in that."""
        self._guests.discard(guest)
        self._error = self._error or error
        self._fill()
        self._on_change()

    def close(self) -> None:
        """Begin nothing any more."""
        self.is_closed = True

    def cancel(self) -> None:
        """Begin nothing any more, and cancel what is under way."""
        self.close()
        self.is_cut = True
        for task in self._tasks | self._guests:
            task.cancel()
        self._guests.clear()  # whoever made them waits for them, or does not

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way or, while the slots are open, in line."""
        is_free = not (self._tasks or self._guests)
        return is_free and (self.is_closed or not self._line)

    def raise_error(self) -> None:
        """Raise what the first failing work raised, if any did."""
        if self._error is not None:
            raise self._error

    def _fill(self) -> None:
        while self._line and not self.is_closed:
            if len(self._tasks) + len(self._guests) >= self._limit:
                return
            self._start(self._line.popleft())

    def _start(self, work: Work) -> None:
        begun = work()
        if isinstance(begun, asyncio.Task):
            self._guests.add(begun)
        elif begun is not None:
            task = asyncio.get_running_loop().create_task(begun)
            self._tasks.add(task)
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._error = self._error or task.exception()
        elif not self.is_closed:
            # Nobody here did it. What the work was about would wait, unnoticed, until a restart.
            self._error = self._error or RuntimeError("work was cancelled by somebody else")
        self._fill()
        self._on_change()
