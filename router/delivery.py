"""The delivery of one lane: its events are read in order and handed over, subject by subject.

Subjects run side by side, each one serially. A call that fails parks its delivery and blocks its
subject; everything else, and the checkpoint, goes on. So what waits in memory and on record is
bounded by the number of failing subjects, not by their traffic.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from router.agenda import Agenda
from router.attempts import Attempts
from router.breaker import Breaker
from router.clock import Clock
from router.firsts import Firsts
from router.intake import Intake, Reader, Span
from router.intents import DISCARD, SKIP, Intent, Intents
from router.ledger import Ledger
from router.lines import PlainQueue
from router.log import EventLog
from router.parking import Held, Parked, Parking
from router.queues import AsyncQueue, BatchQueue, Queue
from router.retries import Retries
from router.room import WINDOW, Room
from router.slots import Slots
from router.subscriptions import Caller, Subscription
from router.turns import Pace, Turns
from router.verdicts import OnDead, Verdicts

FLUSH_MICROS = 1_000_000  # between two records of progress


class Delivery:
    """Delivers one lane until it is stopped, loses its lease or comes to the end of its span.

    Args:
        span: What is delivered.
        caller: Calls the handlers.
        ledger: The lane's book.
        read_page: Reads what is new.
        room: How much of that it may hold until it is settled.
        turns: Shared by all deliveries of the subscription in this process.
        pace: How fast.
        on_dead: Told of each delivery that is given up.
        on_breaker: Called when the breaker has opened or closed.

    Attributes:
        ledger: The lane's book.
        breaker: Whether nearly everything fails.
        skipping: What was asked for that can be done only when nothing is under way.
    """

    def __init__(
        self,
        span: Span,
        *,
        caller: Caller,
        ledger: Ledger,
        log: EventLog,
        read_page: Reader,
        room: Room,
        parking: Parking,
        turns: Turns,
        pace: Pace,
        clock: Clock,
        on_dead: OnDead,
        on_breaker: Callable[[], None],
    ) -> None:
        self.ledger = ledger
        self.breaker = Breaker(now=clock.now, on_change=self._on_breaker)
        self.skipping: Intent | None = None
        self._log = log
        self._parking = parking
        self._clock = clock
        self._tell_breaker = on_breaker
        self._intents = Intents(log.store)
        self._room = room
        self._asked: dict[int, Intent] = {}
        self._is_waiting = False
        self._changed = asyncio.Event()
        self._intake = Intake(span, ledger=ledger, read_page=read_page, room=room, clock=clock)
        self._attempts = Attempts(
            caller=caller,
            ledger=ledger,
            turns=turns,
            pace=pace,
            replaying=span.replay,
            is_wanted=lambda: log.store.gate.is_append_waiting,
        )
        subscription = caller.subscription
        self._slots = Slots(caller.concurrency, on_change=self._changed.set)
        agenda = Agenda()
        verdicts = Verdicts(
            subscription.options,
            lane=ledger.lane,
            agenda=agenda,
            breaker=self.breaker,
            clock=clock,
            on_dead=on_dead,
        )
        self._firsts = Firsts(
            attempts=self._attempts,
            ledger=ledger,
            parking=parking,
            verdicts=verdicts,
            clock=clock,
        )
        self._retries = Retries(
            matching=span.matching,
            subscription=subscription,
            attempts=self._attempts,
            firsts=self._firsts,
            slots=self._slots,
            ledger=ledger,
            log=log,
            parking=parking,
            verdicts=verdicts,
            agenda=agenda,
            breaker=self.breaker,
            clock=clock,
        )
        self._queue = self._make_queue(subscription)

    def wake(self) -> None:
        """Look for new events now."""
        self._intake.wake()
        self._changed.set()

    def obey(self, intent: Intent) -> None:
        """Do soon what an operator asks of this lane; asked again, it is done once."""
        if intent.action == SKIP:
            self.skipping = self.skipping or intent
            self.stop()
        else:
            self._asked[intent.id] = intent
            self._changed.set()

    def stop(self) -> None:
        """Begin no call any more; `run` returns when those under way have returned."""
        self._slots.close()
        self._queue.stop()
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
            if self.ledger.lane.is_suspect:
                self._retries.alone = WINDOW  # events that may have been under way
                self._slots.add(self._run_alone)
            with self._room.taken():
                await self._run()
        finally:
            self.cut()

    async def skip(self) -> None:
        """Carry out ``skipping`` once `run` has returned; the next owner goes on from there.

        Raises:
            LeaseLost: Another process has the lane; nothing was skipped.
        """
        intent = self.skipping
        if intent is not None and intent.position is not None:
            self.ledger.progress.skip(intent.position)
            await self.ledger.write(partial(self._carry_out, intent))

    @property
    def is_finished(self) -> bool:
        """Whether all of the span is settled, and nothing of it waits for anything."""
        is_waiting = self.ledger.blocked or not self._queue.is_empty
        return self._intake.is_at_end and self._retries.is_empty and not is_waiting

    def is_still(self, head: int) -> bool:
        """Whether nothing is to be done of the log up to ``head`` before time passes."""
        is_waiting = self._is_waiting and not self._changed.is_set()
        is_calling = not self._slots.is_idle or self._queue.is_calling
        is_read = self._intake.is_at_end or self.ledger.progress.cursor >= head
        is_due = self._retries.seconds_to_next() == 0
        return is_waiting and not (is_calling or is_due) and (is_read or not self._may_read())

    async def _run(self) -> None:
        flushed_at = 0
        while not self._is_over():
            self._changed.clear()
            self._slots.raise_error()
            while self._asked and not self._slots.is_closed:
                await self._obey()
            is_behind = False
            if not self._retries.alone:
                self._retries.start_due()
                self._probe()
                is_behind = await self._read_more()
            # The difference, since a clock that was put back must not put off the flush.
            if abs(self._clock.now() - flushed_at) >= FLUSH_MICROS:
                await self.ledger.flush()
                flushed_at = self._clock.now()
            if not is_behind:
                await self._wait()
        self._slots.raise_error()
        await self.ledger.flush()

    async def _run_alone(self) -> None:
        """Hand over one event at a time: one of them may have ended the last owners' processes."""
        while self._retries.alone and not self._slots.is_closed:
            events, is_last = await self._intake.read_one()
            for event in events:
                await self._retries.deliver_alone(event)
            for work in self._retries.take_due():
                await work()
            if is_last:
                break
        self._retries.alone = 0

    def _is_over(self) -> bool:
        is_idle = self._slots.is_idle and not self._queue.is_calling
        return is_idle and (self._slots.is_closed or self.is_finished)

    def _load(self) -> Held:
        with self._log.store.reading() as connection:
            return self._parking.load(connection, self.ledger.lane)

    async def _obey(self) -> None:
        number = min(self._asked)
        intent = self._asked[number]
        touched: list[Parked] = []

        def carry_out(connection: Connection) -> None:
            touched[:] = self._intents.carry_out(connection, self.ledger.lane, intent)

        await self.ledger.write(carry_out)
        del self._asked[number]
        if intent.action == DISCARD:
            self._retries.let_go(touched)
        else:
            self._retries.redrive(touched)

    def _carry_out(self, intent: Intent, connection: Connection) -> None:
        self._intents.carry_out(connection, self.ledger.lane, intent)

    async def _wait(self) -> None:
        """Sleep until something happens, an attempt is due, or it is time to look again."""
        pause = self._intake.seconds_to_look()
        due = None if self._retries.alone else self._retries.seconds_to_next()
        self._is_waiting = True
        await self._clock.wait_for(self._changed, seconds=pause if due is None else min(pause, due))
        self._is_waiting = False

    async def _read_more(self) -> bool:
        """Take the next page, if that may be; whether there is more to take."""
        if not self._may_read() or not self._intake.is_due:
            return False
        self._queue.add(await self._intake.read())
        return self._may_read() and self._intake.has_more

    def _may_read(self) -> bool:
        has_probe = self._retries.has_probes or not self._queue.is_empty
        return not (self._slots.is_closed or (self.breaker.is_open and has_probe))

    def _probe(self) -> None:
        """Let an open breaker find out how things stand, if nothing is tried again anyway."""
        is_quiet = self._slots.is_idle and not self._queue.is_calling
        if self.breaker.is_open and is_quiet and not self._retries.has_probes:
            self._queue.resume(most=1)

    def _on_breaker(self) -> None:
        if not self.breaker.is_open:
            self._queue.resume()
        self._changed.set()
        self._tell_breaker()

    def _make_queue(self, subscription: Subscription) -> Queue:
        firsts, slots, ledger, breaker = self._firsts, self._slots, self.ledger, self.breaker
        if subscription.is_transactional:
            return BatchQueue(firsts=firsts, slots=slots, ledger=ledger, breaker=breaker)
        if subscription.is_plain:
            return PlainQueue(
                attempts=self._attempts,
                firsts=firsts,
                slots=slots,
                ledger=ledger,
                breaker=breaker,
                on_change=self._changed.set,
            )
        return AsyncQueue(
            attempts=self._attempts, firsts=firsts, slots=slots, ledger=ledger, breaker=breaker
        )
