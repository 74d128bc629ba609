"""Queues: what a delivery has read waits here for its first attempts, subject by subject."""

from collections import deque
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Protocol

from router.attempts import Attempts
from router.breaker import Breaker
from router.calls import Call
from router.events import Event
from router.failures import Failed
from router.firsts import Firsts
from router.ledger import Ledger
from router.slots import Begun, Slots

LEAST, MOST = 8, 500  # events that a transaction is offered


class Queue(Protocol):
    """Makes first attempts, unless the breaker is open."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits or is under way."""

    @property
    def is_calling(self) -> bool:
        """Whether calls are under way that the slots do not know of."""

    def add(self, event: Event) -> None:
        """Take an event, whose position is above all before it."""

    def resume(self, *, most: int | None = None) -> None:
        """Go on with what an open breaker has halted; at ``most`` one event may be tried."""

    def stop(self) -> None:
        """Make no attempt any more; what has not begun is left to the lane's next owner."""


class Line:
    """The events of one key that wait, and whether the first is tried though nothing new is."""

    __slots__ = ("events", "is_probe", "key")

    def __init__(self, key: str, event: Event) -> None:
        self.key = key
        self.events = deque((event,))
        self.is_probe = False


class AsyncQueue:
    """The queue of a plugin with async handlers: a call after the other for each subject.

    Args:
        slots: Where the calls find their place.
    """

    def __init__(
        self,
        *,
        attempts: Attempts,
        firsts: Firsts,
        slots: Slots,
        ledger: Ledger,
        breaker: Breaker,
    ) -> None:
        self._attempts = attempts
        self._firsts = firsts
        self._slots = slots
        self._ledger = ledger
        self._breaker = breaker
        self._lines: dict[str, Line] = {}
        self._halted: list[Line] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits or is under way."""
        return not self._lines

    @property
    def is_calling(self) -> bool:
        """Whether calls are under way that the slots do not know of."""
        return False

    def add(self, event: Event) -> None:
        """Take an event."""
        key = self._attempts.key(event)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(key, event)
            self._begin(line)
        else:
            line.events.append(event)

    def resume(self, *, most: int | None = None) -> None:
        """Go on with what was halted."""
        halted, self._halted = self._halted[:most], self._halted[len(self._halted[:most]) :]
        for line in halted:
            line.is_probe = most is not None
            self._begin(line)

    def stop(self) -> None:
        """The slots are closed by their owner; nothing else is to be done."""

    def _begin(self, line: Line) -> None:
        self._slots.add(partial(self._start, line))

    def _start(self, line: Line) -> Begun:
        """Hand over the first event of ``line``, at once if nothing is to be waited for."""
        if self._breaker.is_open and not line.is_probe:
            self._halted.append(line)
            return None
        line.is_probe = False
        event = line.events.popleft()
        call = self._attempts.begin(event, on_end=self._end)
        return self._deliver(line, event) if call is None else call.task

    async def _deliver(self, line: Line, event: Event) -> None:
        """Hand over an event in its turn."""
        self._go_on(line, must_wait=await self._firsts.deliver(event))

    def _end(self, call: Call) -> None:
        error: Exception | None = None
        try:
            self._conclude(call)
        except Exception as found:  # nobody waits for this: the delivery has to hear of it
            error = found
        self._slots.leave(call.task, error=error)

    def _conclude(self, call: Call) -> None:
        failed = self._attempts.end(call)
        if self._slots.is_cut:
            return  # it stays unsettled: the next owner takes it up
        event = call.event
        line = self._lines[self._attempts.key(event)]
        if failed is None:
            self._firsts.accept(event)
            self._go_on(line, must_wait=False)
        else:
            self._slots.finish(partial(self._keep, line, event, failed))

    async def _keep(self, line: Line, event: Event, failed: Failed) -> None:
        self._go_on(line, must_wait=await self._firsts.keep(event, failed))

    def _go_on(self, line: Line, *, must_wait: bool) -> None:
        if must_wait:
            settle_all(line.events, self._ledger)
            line.events.clear()
        if not line.events:
            del self._lines[line.key]
        else:
            self._begin(line)


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

    def add(self, event: Event) -> None:
        """Take an event."""
        self._line.append(event)
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

    def _start(self, most: int | None) -> Begun:
        """Hand over a batch, unless the breaker has opened since; ``most`` makes it a probe."""
        if most is None and self._breaker.is_open:
            self._is_at_work = False
            return None
        return self._run(most or self._offer)

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
        settle_all([event for event in self._line if event.subject in blocked], self._ledger)
        self._line = deque(event for event in self._line if event.subject not in blocked)


def settle_all(events: Iterable[Event], ledger: Ledger) -> None:
    """Settle what waits, on record, behind a failed event of its subject."""
    for event in events:
        ledger.settle(event.position)
