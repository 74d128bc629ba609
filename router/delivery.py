"""The delivery of one lane: its events are read in order and handed over, subject by subject.

Subjects run side by side, each one serially. A call that fails parks its delivery and blocks its
subject; everything else, and the checkpoint, goes on. So what waits in memory and on record is
bounded by the number of failing subjects, not by their traffic.
"""

import asyncio
from collections import deque
from functools import partial

import msgspec

from router.attempts import Attempts
from router.events import Event, Replaying
from router.filters import Filter
from router.ledger import Ledger
from router.log import EventLog, Page
from router.parking import Held, Parking
from router.retries import Clock, Retries
from router.slots import Slots
from router.subscriptions import Caller
from router.turns import Pace, Turns

WINDOW = 1_000  # events taken and not settled; one slow subject holds up others only this far on
PAGE = 250
POLL = 0.5  # seconds; the longest that an event waits when its wake-up is lost
FLUSH_MICROS = 1_000_000  # between two records of progress


class Span(msgspec.Struct, frozen=True):
    """What part of the log is delivered.

    Attributes:
        matching: Which events.
        until: The last position; None for live delivery, which never ends.
        replay: What handlers are told of the replay.
    """

    matching: Filter
    until: int | None = None
    replay: Replaying | None = None


class Delivery:
    """Delivers one lane until it is stopped, loses its lease or comes to the end of its span.

    Args:
        span: What is delivered.
        caller: Calls the handlers.
        ledger: The lane's book.
        turns: Shared by all deliveries of the subscription in this process.
        pace: How fast.
    """

    def __init__(
        self,
        span: Span,
        *,
        caller: Caller,
        ledger: Ledger,
        log: EventLog,
        parking: Parking,
        turns: Turns,
        pace: Pace,
        clock: Clock,
    ) -> None:
        self.ledger = ledger
        self._span = span
        self._log = log
        self._parking = parking
        self._clock = clock
        self._changed = asyncio.Event()
        self._may_be_more = True  # events that have not been looked for
        self._looked_at = 0
        self._queues: dict[str, deque[Event]] = {}
        self._attempts = Attempts(
            caller=caller, ledger=ledger, turns=turns, pace=pace, replaying=span.replay
        )
        subscription = caller.subscription
        limit = 1 if subscription.is_transactional else subscription.options.concurrency
        self._slots = Slots(limit, on_change=self._changed.set)
        self._retries = Retries(
            matching=span.matching,
            options=subscription.options,
            attempts=self._attempts,
            slots=self._slots,
            ledger=ledger,
            log=log,
            parking=parking,
            clock=clock,
        )

    def wake(self) -> None:
        """Look for new events now."""
        self._may_be_more = True
        self._changed.set()

    def stop(self) -> None:
        """Begin no call any more; `run` returns when those under way have returned."""
        self._slots.close()
        self._attempts.stop()
        self._changed.set()

    def cut(self) -> None:
        """Wait for no call any more, too: what they are about will be delivered again."""
        self.stop()
        self._slots.cancel()

    async def run(self) -> None:
        """Deliver.

        Raises:
            LeaseLost: Another process has the lane; the calls under way were cut.
        """
        try:
            self._retries.resume(await self.ledger.read(self._load))
            flushed_at = 0
            while not self._is_over():
                self._changed.clear()
                self._slots.raise_error()
                self._retries.start_due()
                is_behind = await self._read_more()
                # The difference, since a clock that was put back must not put off the flush.
                if abs(self._clock.now() - flushed_at) >= FLUSH_MICROS:
                    await self.ledger.flush()
                    flushed_at = self._clock.now()
                if not is_behind:
                    await self._wait()
            self._slots.raise_error()
            await self.ledger.flush()
        finally:
            self.cut()

    @property
    def is_finished(self) -> bool:
        """Whether all of the span is settled, and nothing of it waits for anything."""
        end = self._span.until
        if end is None or self.ledger.progress.cursor < end:
            return False
        is_waiting = self._queues or self.ledger.blocked
        return self._retries.is_empty and not is_waiting

    def _is_over(self) -> bool:
        return self._slots.is_idle and (self._slots.is_closed or self.is_finished)

    def _load(self) -> Held:
        with self._log.store.reading() as connection:
            return self._parking.load(connection, self.ledger.lane)

    async def _wait(self) -> None:
        """Sleep until something happens, an attempt is due, or it is time to look again."""
        pause = POLL - abs(self._clock.now() - self._looked_at) / 1_000_000
        if pause <= 0:
            pause = POLL  # it is time to look, but there is no room
        due = self._retries.seconds_to_next()
        await self._clock.wait_for(self._changed, seconds=pause if due is None else min(pause, due))

    async def _read_more(self) -> bool:
        """Take the next page, as far as there is room; whether there is more to take."""
        progress = self.ledger.progress
        room = WINDOW - progress.pending
        end = self._span.until
        now = self._clock.now()
        is_due = self._may_be_more or abs(now - self._looked_at) >= POLL * 1_000_000
        if self._slots.is_closed or room <= 0 or not is_due:
            return False
        self._may_be_more = False
        self._looked_at = now
        page = await self.ledger.read(
            partial(
                self._log.read_page,
                after=progress.cursor,
                until=end,
                limit=min(room, PAGE),
                matching=self._span.matching,
                shards=self.ledger.lane.shards,
            )
        )
        self._take(page)
        self._may_be_more = self._may_be_more or not page.is_last
        return self._may_be_more and progress.pending < WINDOW

    def _take(self, page: Page) -> None:
        positions = [event.position for event in page.events]
        fresh = set(self.ledger.progress.take(positions, reached=page.reached))
        for event in page.events:
            if event.position not in fresh:
                continue
            if event.subject in self.ledger.blocked:
                self.ledger.settle(event.position)  # on record: it waits behind its subject
                continue
            key = self._attempts.key(event)
            if key in self._queues:
                self._queues[key].append(event)
            else:
                self._queues[key] = deque([event])
                self._slots.add(partial(self._run_queue, key))

    async def _run_queue(self, key: str) -> None:
        """Hand over the events that wait under ``key``, until there are none or one fails."""
        queue = self._queues[key]
        while queue:
            if self._slots.is_closed:
                return  # the rest stays unsettled: the next owner takes it up
            if await self._retries.deliver(queue.popleft()):
                while queue:  # blocked behind the one that failed, which is on record by now
                    self.ledger.settle(queue.popleft().position)
        del self._queues[key]
