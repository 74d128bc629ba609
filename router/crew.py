"""A crew: threads that take the next piece of work by themselves, no more of them than it needs.

A loop that hands each call to a thread and hears of each end spends ten times what a quick handler
needs. So whoever has finished goes on with what waits. And many threads that all have something to
compute only stand in each other's way, and in the loop's: one begins, and more are called in while
those at work do not get on, which is so when they wait for something.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from router.threads import carry_out

T = TypeVar("T")
Work = Callable[[], None]

PATIENCE = 0.001  # seconds


class Crew:
    """Runs work on daemon threads, in the order in which it came. For one event loop.

    Args:
        limit: How many threads at most; each is started when it is first needed.
        name: What their names begin with.
        patience: Seconds in which every thread at work should have ended a piece.
    """

    def __init__(self, limit: int, *, name: str, patience: float = PATIENCE) -> None:
        self._limit = limit
        self._patience = patience
        self._name = name
        self._line: deque[Work] = deque()
        self._changed = threading.Condition()
        self._started = 0
        self._idle = 0
        self._ended = 0  # pieces of work, as far as threads that count at once do not hide some
        self._ended_before = 0
        self._is_closed = False
        self._watching: asyncio.TimerHandle | None = None

    def add(self, works: Sequence[Work], *, is_urgent: bool = False) -> None:
        """Run each of ``works``, which must not raise, when a thread is free; called on the loop.

        Args:
            works: What is to be done.
            is_urgent: Whether it goes before all that waits.
        """
        if is_urgent:
            self._line.extendleft(works)
        else:
            self._line.extend(works)
        if self._started == self._idle:
            self._call_in(1)
        if self._watching is None:
            self._ended_before = self._ended
            self._watching = asyncio.get_running_loop().call_later(self._patience, self._watch)

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Run ``call`` before all that waits, and return what will be its result.

        Raises:
            RuntimeError: The crew has been let go.
        """
        if self._is_closed:
            raise RuntimeError(f"the threads {self._name!r} have been let go")
        future: Future[T] = Future()
        self.add([partial(carry_out, future, call)], is_urgent=True)
        return future

    def count_one(self) -> None:
        """Tell, on one of the threads, that a part of a longer piece of work is done."""
        self._ended += 1

    def close(self) -> None:
        """Begin nothing any more. A thread that still works ends with its piece of work."""
        with self._changed:
            self._is_closed = True
            self._line.clear()
            self._changed.notify_all()
        if self._watching is not None:
            self._watching.cancel()

    def _watch(self) -> None:
        """Double the threads at work while those there are do not get on."""
        self._watching = None
        if not self._line:
            return
        ended, self._ended_before = self._ended - self._ended_before, self._ended
        at_work = self._started - self._idle
        if ended < at_work:
            self._call_in(at_work)
        elif not at_work:
            self._call_in(1)
        self._watching = asyncio.get_running_loop().call_later(self._patience, self._watch)

    def _call_in(self, count: int) -> None:
        with self._changed:
            woken = min(count, self._idle)
            self._changed.notify(woken)
            for _ in range(min(count - woken, self._limit - self._started)):
                self._started += 1
                name = f"{self._name}-{self._started}"
                threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        line = self._line
        while True:
            try:
                work = line.popleft()
            except IndexError:
                if not self._wait():
                    return
                continue
            work()
            self._ended += 1
            del work  # lest an idle thread keep what its last work was about

    def _wait(self) -> bool:
        """Wait for work; whether to go on."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._line or self._is_closed)
            self._idle -= 1
            return not self._is_closed
