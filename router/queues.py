"""Queues: what a delivery has read waits here for its first attempts, subject by subject."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Protocol, cast

import msgspec

from router.attempts import Attempts
from router.breaker import Breaker
from router.calls import Call
from router.events import Event
from router.failures import Failed
from router.firsts import Firsts
from router.ledger import Ledger
from router.slots import Slots

TURN = 0.0005  # seconds of calls in a row, before the loop sees to what else there is
LEAST, MOST = 8, 500  # events that a transaction is offered


class Queue(Protocol):
    """Makes first attempts, unless the breaker is open."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits or is under way."""

    @property
    def is_calling(self) -> bool:
        """Whether calls are under way that the slots do not know of."""

    def add(self, events: Sequence[Event]) -> None:
        """Take events, whose positions ascend, above all before them."""

    def resume(self, *, most: int | None = None) -> None:
        """Go on with what an open breaker has halted; at ``most`` one event may be tried."""

    def stop(self) -> None:
        """Make no attempt any more; what has not begun is left to the lane's next owner."""


class Line(msgspec.Struct, eq=False, gc=False):
    """The events of one key that wait.

    Attributes:
        key: The key.
        events: Mostly one, and never many: a deque would take longer.
        is_probe: Whether the first is tried though nothing new is.
    """

    key: str
    events: list[Event]
    is_probe: bool = False


Waiting = tuple[Line, Event, Call | None]  # there is no call yet where its turn is waited for


class AsyncQueue:
    """The queue of a plugin with async handlers: a call after the other for each subject.

    One task makes call after call, for as long as handlers return without waiting for anything. A
    call that waits keeps the task to itself, and others go on with the rest, more of them the more
    calls wait.

    Args:
        slots: Where the calls find their place.
        monotonic: Seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        *,
        attempts: Attempts,
        firsts: Firsts,
        slots: Slots,
        ledger: Ledger,
        breaker: Breaker,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._attempts = attempts
        self._firsts = firsts
        self._slots = slots
        self._ledger = ledger
        self._breaker = breaker
        self._monotonic = monotonic
        self._lines: dict[str, Line] = {}
        self._ready: deque[Line] = deque()
        self._halted: list[Line] = []
        self._running = 0  # tasks that make calls

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits or is under way."""
        return not self._lines

    @property
    def is_calling(self) -> bool:
        """Whether calls are under way that the slots do not know of."""
        return False

    def add(self, events: Sequence[Event]) -> None:
        """Take events."""
        for event in events:
            key = self._attempts.key(event)
            line = self._lines.get(key)
            if line is None:
                line = self._lines[key] = Line(key, [event])
                self._line_up(line)
            else:
                line.events.append(event)
        self._begin()

    def resume(self, *, most: int | None = None) -> None:
        """Go on with what was halted."""
        halted, self._halted = self._halted[:most], self._halted[len(self._halted[:most]) :]
        for line in halted:
            line.is_probe = most is not None
            self._line_up(line)
        self._begin()

    def stop(self) -> None:
        """The slots are closed by their owner; nothing else is to be done."""

    def _line_up(self, line: Line) -> None:
        is_halted = self._breaker.is_open and not line.is_probe
        (self._halted if is_halted else self._ready).append(line)

    def _begin(self, most: int = 1) -> None:
        """Let up to ``most`` tasks make calls."""
        while self._running < min(most, len(self._ready)):
            self._running += 1
            self._slots.add(self._run)

    async def _run(self) -> None:
        """Make calls; the first that waits is the last one here."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        done: list[Event] = []
        waiting = self._call(task, done)
        self._running -= 1
        try:
            self._firsts.accept_all(done)
        except Exception:
            if waiting is not None and waiting[2] is not None:
                self._attempts.give_back(waiting[0].key)  # the lane's next owner needs it
            raise
        if waiting is None:
            self._begin()  # behind what waits for a slot
            return
        self._begin(2 * self._running + 2)  # the next ones may wait, too: soon all have begun
        line, event, call = waiting
        await (self._deliver(line, event) if call is None else self._wait(line, call))

    def _call(self, task: asyncio.Task[None], done: list[Event]) -> Waiting | None:
        """Make calls, and note what is ``done``; what is left to wait for in this task."""
        attempts, end = self._attempts, self._monotonic() + TURN / self._running
        while self._ready and not self._slots.is_closed:
            line = self._ready.popleft()
            if self._breaker.is_open and not line.is_probe:  # it was not when the line came here
                self._halted.append(line)
                continue
            line.is_probe = False
            event = line.events.pop(0)
            if not attempts.try_take(event, line.key):
                return line, event, None
            found: Call | Failed | None = None
            try:
                found = attempts.caller.begin(attempts.tell(event), task=task)
            finally:
                if not isinstance(found, Call):
                    attempts.give_back(line.key)
            if isinstance(found, Call):
                return line, event, found
            if found is not None:
                self._slots.finish(partial(self._keep, line, event, found))
                break  # the breaker is to hear of it before much else is tried
            done.append(event)
            self._go_on(line)
            if self._monotonic() >= end:
                break
        return None

    async def _deliver(self, line: Line, event: Event) -> None:
        """Hand over an event in its turn."""
        self._go_on(line, must_wait=await self._firsts.deliver(event))
        self._begin()

    async def _wait(self, line: Line, call: Call) -> None:
        """Wait for the end of ``call``, which has begun in this task."""
        self._slots.lend(call.task)
        try:
            failed = await self._attempts.caller.wait(call)
        finally:
            self._attempts.give_back(line.key)
        if self._slots.is_cut:
            return  # it stays unsettled: the next owner takes it up
        if failed is not None:
            self._slots.finish(partial(self._keep, line, call.event, failed))
            return
        self._firsts.accept_all((call.event,))
        self._go_on(line)
        self._begin()

    async def _keep(self, line: Line, event: Event, failed: Failed) -> None:
        self._go_on(line, must_wait=await self._firsts.keep(event, failed))
        self._begin()

    def _go_on(self, line: Line, *, must_wait: bool = False) -> None:
        if must_wait:
            self._ledger.settle_all(line.events)
            line.events.clear()
        if line.events:
            self._line_up(line)
        else:
            del self._lines[line.key]


class BatchQueue:
    """The queue of a transactional plugin: batch after batch, in the order of the log."""

    def __init__(self, *, firsts: Firsts, slots: Slots, ledger: Ledger, breaker: Breaker) -> None:
        self._firsts = firsts
        self._slots = slots
        self._ledger = ledger
        self._breaker = breaker
        self._line: deque[Event] = deque()
        self._is_at_work = False
        self._offer = LEAST

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits or is under way."""
        return not self._line

    @property
    def is_calling(self) -> bool:
        """Whether calls are under way that the slots do not know of."""
        return False

    def add(self, events: Sequence[Event]) -> None:
        """Take events."""
        self._line.extend(events)
        self._begin()

    def resume(self, *, most: int | None = None) -> None:
        """Go on with what was halted."""
        self._begin(most=most)

    def stop(self) -> None:
        """The slots are closed by their owner; nothing else is to be done."""

    def _begin(self, *, most: int | None = None) -> None:
        is_allowed = most is not None or not self._breaker.is_open
        if self._line and is_allowed and not self._is_at_work:
            self._is_at_work = True
            self._slots.add(partial(self._start, most))

    async def _start(self, most: int | None) -> None:
        """Hand over a batch, unless the breaker has opened since; ``most`` makes it a probe."""
        if most is None and self._breaker.is_open:
            self._is_at_work = False
        else:
            await self._run(most or self._offer)

    async def _run(self, most: int) -> None:
        """Hand over one batch, then stand in line again behind the retries."""
        events = list(islice(self._line, most))
        count, must_wait = await self._firsts.deliver_together(events)
        for _ in range(count):
            self._line.popleft()
        if must_wait:  # now: when its subject goes on, what is on record is taken up from there
            self._settle_blocked()
        # Time ends a batch; what is offered beyond that is prepared for nothing.
        self._offer = min(max(LEAST, 2 * count), MOST)
        self._is_at_work = False
        self._begin()

    def _settle_blocked(self) -> None:
        """Put those aside that wait, on record, behind a failed one of their subject."""
        blocked = self._ledger.blocked
        self._ledger.settle_all([event for event in self._line if event.subject in blocked])
        self._line = deque(event for event in self._line if event.subject not in blocked)
