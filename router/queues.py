"""Queues: what a delivery has read waits here for its first attempts, subject by subject."""

from collections import deque
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Protocol

from router.attempts import Attempts
from router.breaker import Breaker
from router.events import Event
from router.firsts import Firsts
from router.ledger import Ledger
from router.slots import Slots

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


class AsyncQueue:
    """The queue of a plugin with async handlers: a task for each subject that is at work.

    Args:
        slots: Where the tasks find their place.
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
        self._lines: dict[str, deque[Event]] = {}
        self._halted: list[str] = []

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
            self._lines[key] = deque((event,))
            self._begin(key)
        else:
            line.append(event)

    def resume(self, *, most: int | None = None) -> None:
        """Go on with what was halted."""
        halted, self._halted = self._halted[:most], self._halted[len(self._halted[:most]) :]
        for key in halted:
            self._slots.add(partial(self._run, key, is_probe=most is not None))

    def stop(self) -> None:
        """The slots are closed by their owner; nothing else is to be done."""

    def _begin(self, key: str) -> None:
        if self._breaker.is_open:
            self._halted.append(key)
        else:
            self._slots.add(partial(self._run, key))

    async def _run(self, key: str, *, is_probe: bool = False) -> None:
        """Hand over the events that wait under ``key``, until there are none or one fails."""
        line = self._lines[key]
        while line:
            if self._slots.is_closed:
                return  # the rest stays unsettled: the next owner takes it up
            if self._breaker.is_open and not is_probe:
                self._halted.append(key)
                return
            is_probe = False
            if await self._firsts.deliver(line.popleft()):
                settle_all(line, self._ledger)
                line.clear()
        del self._lines[key]


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
            self._slots.add(partial(self._run, most or self._offer))

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
