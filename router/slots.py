"""Slots: a bounded number of calls under way at a time, more of them waiting in line."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine

Work = Callable[[], Coroutine[None, None, None]]


class Slots:
    """Runs work, each in a task, as slots become free, in the order in which it came.

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
        self._lent: set[asyncio.Task[None]] = set()
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

    def lend(self, task: asyncio.Task[None]) -> None:
        """Note that a ``task`` of work is a handler's now: once that is cut, nobody waits for it.

        It may not heed its cancellation.
        """
        self._lent.add(task)

    def close(self) -> None:
        """Begin nothing any more."""
        self.is_closed = True

    def cancel(self) -> None:
        """Begin nothing any more, and cancel what is under way."""
        self.close()
        self.is_cut = True
        for task in self._tasks:
            task.cancel()
        self._tasks -= self._lent

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way or, while the slots are open, in line."""
        return not self._tasks and (self.is_closed or not self._line)

    def raise_error(self) -> None:
        """Raise what the first failing work raised, if any did."""
        if self._error is not None:
            raise self._error

    def _fill(self) -> None:
        while self._line and not self.is_closed:
            if len(self._tasks) >= self._limit:
                return
            self._start(self._line.popleft())

    def _start(self, work: Work) -> None:
        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._lent.discard(task)
        if not task.cancelled():
            self._error = self._error or task.exception()
        elif not self.is_closed:
            # Nobody here did it. What the work was about would wait, unnoticed, until a restart.
            self._error = self._error or RuntimeError("work was cancelled by somebody else")
        self._fill()
        self._on_change()
