"""Lines: the events of a subject that wait for a plain handler, called by one thread at a time."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from router.attempts import Attempts
from router.breaker import Breaker
from router.events import Event
from router.failures import Failed
from router.firsts import Firsts
from router.ledger import Ledger
from router.queues import Line, settle_all
from router.replay_counts import Count
from router.slots import Slots


class PlainQueue:
    """The queue of a plugin with plain handlers: a crew's threads take key after key.

    A thread goes on with the events of its key until there are none or one fails, and puts down
    what came of each; the loop reads that when it gets to it, much of it at a time.
    """

    def __init__(
        self,
        *,
        attempts: Attempts,
        firsts: Firsts,
        slots: Slots,
        ledger: Ledger,
        breaker: Breaker,
        on_change: Callable[[], None],
    ) -> None:
        self._attempts = attempts
        self._firsts = firsts
        self._slots = slots
        self._ledger = ledger
        self._breaker = breaker
        self._on_change = on_change
        self._caller = attempts.caller
        self._loop = asyncio.get_running_loop()
        self._lines: dict[str, Line] = {}
        self._halted: list[Line] = []
        self._failures: dict[str, tuple[Event, Failed]] = {}  # by key: what has ended a line
        self._ended: deque[tuple[Line, Event | None, Failed | None]] = deque()
        self._is_told = False
        self._is_stopped = False
        self._underway = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits or is under way."""
        return not self._lines

    @property
    def is_calling(self) -> bool:
        """Whether calls are under way that the slots do not know of."""
        return self._underway > 0

    def add(self, event: Event) -> None:
        """Take an event."""
        key = self._attempts.key(event)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(key, self._attempts.tell(event))
            self._begin(line)
        else:
            line.events.append(self._attempts.tell(event))

    def resume(self, *, most: int | None = None) -> None:
        """Go on with what was halted."""
        halted, self._halted = self._halted[:most], self._halted[len(self._halted[:most]) :]
        for line in halted:
            line.is_probe = most is not None
            self._begin(line)

    def stop(self) -> None:
        """Make no call any more."""
        self._is_stopped = True

    def _begin(self, line: Line) -> None:
        """Let the crew take a line, once it has its turn."""
        if self._breaker.is_open and not line.is_probe:
            self._halted.append(line)
            return
        if not self._attempts.pace.is_limited and self._attempts.turns.try_take(line.key):
            self._hand_over(line)
        else:
            self._slots.add(partial(self._begin_in_turn, line))

    async def _begin_in_turn(self, line: Line) -> None:
        await self._attempts.wait_for_turn(line.key)
        self._hand_over(line)

    def _hand_over(self, line: Line) -> None:
        self._underway += 1  # until then the slots know of it, or nothing has begun
        self._caller.crew.add(partial(self._call, line))

    def _call(self, line: Line) -> None:
        """Call the handlers, on a thread of the crew."""
        while line.events and self._may_call(line):
            line.is_probe = False
            event = line.events.popleft()
            failed = self._caller.call_plain(event, attempt=1)
            self._caller.crew.count_one()
            self._put((line, event, failed))
            # After a call, not before: two that made way for each other at once would never call.
            is_wanted = self._attempts.turns.is_wanted(line.key)
            if failed is not None or is_wanted or self._attempts.pace.is_limited:
                break
        self._put((line, None, None))

    def _may_call(self, line: Line) -> bool:
        return not self._is_stopped and (line.is_probe or not self._breaker.is_open)

    def _put(self, ended: tuple[Line, Event | None, Failed | None]) -> None:
        self._ended.append(ended)
        if not self._is_told:
            self._is_told = True
            with suppress(RuntimeError):  # the loop was closed before the handler returned
                self._loop.call_soon_threadsafe(self._read)

    def _read(self) -> None:
        """Settle, on the loop, what has succeeded, and see to what has failed."""
        self._is_told = False
        done: list[Count] = []
        while self._ended:
            line, event, failed = self._ended.popleft()
            if event is None:
                self._attempts.turns.give_back(line.key)
                self._go_on(line)
            elif failed is not None:
                self._failures[line.key] = event, failed
            else:
                self._ledger.settle(event.position)
                done.append((event.type, "done"))
        if done:
            self._ledger.count(done)
            self._breaker.succeed(len(done))
        self._on_change()

    def _go_on(self, line: Line) -> None:
        failure = self._failures.pop(line.key, None)
        if failure is not None and not self._slots.is_cut:
            self._slots.finish(partial(self._keep, line, *failure))
            return
        self._underway -= 1
        if not line.events:
            del self._lines[line.key]
        elif not self._is_stopped:
            self._begin(line)

    async def _keep(self, line: Line, event: Event, failed: Failed) -> None:
        if await self._firsts.keep(event, failed):
            settle_all(line.events, self._ledger)
            line.events.clear()
        self._go_on(line)
