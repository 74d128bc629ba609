"""Failed deliveries of one lane: tried again when it is time, and followed by what waited."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import msgspec
from sqlalchemy import Connection

from router.agenda import Agenda
from router.attempts import Attempts
from router.batches import Attempt, Record
from router.breaker import Breaker
from router.clock import Clock
from router.events import Event
from router.failures import Failed
from router.filters import Filter
from router.firsts import Firsts
from router.ledger import Ledger, Statement
from router.log import EventLog
from router.parking import Held, Parked, Parking
from router.replay_counts import Count
from router.slots import Slots
from router.subscriptions import Subscription
from router.verdicts import Verdicts

PAGE = 100  # events of a released subject read at a time


class Retries:
    """What becomes of an event whose handler failed.

    Args:
        matching: Which events the lane delivers.
        subscription: Whose they are.
        attempts: Makes attempts.
        firsts: Makes first attempts at what waited.
        slots: Where attempts find their place.
        verdicts: Says what a failure means.
        agenda: What is tried again, and when.
        breaker: While it is open, no first attempt is made but as a probe.

    Attributes:
        alone: How many attempts are still to be made by themselves, on record before they are made.
    """

    def __init__(
        self,
        *,
        matching: Filter,
        subscription: Subscription,
        attempts: Attempts,
        firsts: Firsts,
        slots: Slots,
        ledger: Ledger,
        log: EventLog,
        parking: Parking,
        verdicts: Verdicts,
        agenda: Agenda,
        breaker: Breaker,
        clock: Clock,
    ) -> None:
        self.alone = 0
        self._matching = matching
        self._options = subscription.options
        self._is_transactional = subscription.is_transactional
        self._attempts = attempts
        self._firsts = firsts
        self._slots = slots
        self._ledger = ledger
        self._log = log
        self._parking = parking
        self._verdicts = verdicts
        self._agenda = agenda
        self._breaker = breaker
        self._clock = clock
        self._released: list[str] = []  # subjects that are blocked for no reason any more
        self._underway = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is tried again, now or later."""
        return not (self._agenda or self._released or self._underway)

    @property
    def has_probes(self) -> bool:
        """Whether something is tried again, now or later, that tells an open breaker to close."""
        return bool(self._agenda or self._underway)

    def resume(self, held: Held) -> None:
        """Take up what an earlier owner of the lane left parked and blocked."""
        self._ledger.blocked.update(blocked := held.blocked)
        self._agenda.add(*held.retries)
        waiting = {it.subject for it in held.retries if blocked.get(it.subject) == it.position}
        if self._options.on_dead == "hold":
            waiting |= held.dead
        self._released += [subject for subject in blocked if subject not in waiting]
        now = self._clock.now()
        due = {parked.subject for parked in held.retries if (parked.next_at or 0) <= now}
        self._ledger.suspects |= due.union(self._released)

    def redrive(self, parked: Sequence[Parked]) -> None:
        """Take up dead letters that are to be tried again by now."""
        self._agenda.add(*parked)

    def let_go(self, removed: Sequence[Parked]) -> None:
        """Let the subjects go on that waited behind deliveries which are no more."""
        blocked = self._ledger.blocked
        gone = {one.position for one in removed}
        self._released += [
            one.subject for one in removed if blocked.get(one.subject) == one.position
        ]
        self._agenda.drop(gone)

    def seconds_to_next(self) -> float | None:
        """How long until the next attempt is due; None if there is none that could be made."""
        if not self._ledger.progress.is_caught_up:
            return None
        return self._agenda.seconds_to_next(self._clock.now())

    def start_due(self) -> None:
        """Begin every attempt whose time has come."""
        for work in self.take_due():
            self._start(work)

    def take_due(self) -> Iterator[Callable[[], Awaitable[None]]]:
        """Yield, one by one, all that is to be done by now."""
        if not self._ledger.progress.is_caught_up:
            return  # what is settled on record ahead may be blocked: nothing is let go before
        for parked in self._agenda.take_due(self._clock.now()):
            yield partial(self._see_through, parked.subject, partial(self._retry, parked))
        while self._released and not (self._breaker.is_open and self.has_probes):
            subject = self._released.pop()
            yield partial(self._see_through, subject, partial(self._catch_up, subject))

    async def _see_through(self, subject: str, work: Callable[[], Awaitable[None]]) -> None:
        await work()
        self._ledger.suspects.discard(subject)

    async def deliver_alone(self, event: Event, *, is_behind: bool = False) -> bool:
        """Put the event on record as parked, then make its first attempt like any further one.

        Returns:
            Whether it failed and its subject now waits.
        """
        must_wait = await self._set_aside(event, is_behind=is_behind)
        self.alone = max(0, self.alone - 1)
        return must_wait

    async def _set_aside(self, event: Event, *, is_behind: bool) -> bool:
        now, lane = self._clock.now(), self._ledger.lane
        must_wait = self._verdicts.must_wait(now) and not is_behind

        def record(connection: Connection) -> None:
            self._parking.set_aside(connection, lane, event, now=now)
            if must_wait:
                self._parking.block(connection, lane, event)

        note = partial(self._firsts.note, event, is_behind=is_behind)
        await self._ledger.write(record, note=note)
        parked = Parked(event.position, event.subject, 0, now, now, lane.uptime_at(now))
        if is_behind:
            return await self._try_again(parked)
        if must_wait:
            self._ledger.blocked[event.subject] = event.position
        await self._retry(parked)
        return event.subject in self._ledger.blocked

    async def _retry(self, parked: Parked) -> None:
        """Make the next attempt, and let the subject go on unless it has to wait for another."""
        if self._verdicts.is_spent(parked):
            must_wait = await self._give_up(parked)
        else:
            must_wait = await self._try_again(parked)
        if not must_wait and self._ledger.blocked.get(parked.subject) == parked.position:
            if self._breaker.is_open and self.has_probes:
                self._released.append(parked.subject)  # what is behind it would be tried anew
            else:
                await self._catch_up(parked.subject)

    async def _try_again(self, parked: Parked) -> bool:
        lane, number = self._ledger.lane, parked.attempts + 1
        chance, made = self._clock.random(), number - parked.spent

        def judge(failed: Failed) -> int | None:
            return self._verdicts.judge(failed, parked, attempts=made, chance=chance)

        def begin(connection: Connection) -> None:
            now = self._clock.now()
            self._parking.begin_retry(
                connection, lane, parked, started_at=now, is_alone=self.alone > 0
            )

        event = await self._ledger.read(partial(self._log.find, str(parked.position)))

        def record(connection: Connection, failed: Failed | None) -> Count | None:
            if failed is None:
                self._parking.clear(connection, lane, parked.position)
                return event.type, "done"
            next_at = judge(failed)
            self._parking.park_again(
                connection,
                lane,
                parked.position,
                number=number,
                failure=failed.failure,
                next_at=next_at,
            )
            return (event.type, "failed") if next_at is None else None

        failed = await self._make(event, number, begin=begin, record=record)
        if failed is None:
            self._verdicts.accept()
            return False
        again = msgspec.structs.replace(parked, attempts=number, next_at=judge(failed))
        return self._verdicts.pronounce(again, self._attempts.tell(event), failed)

    async def _make(
        self, event: Event, number: int, *, begin: Statement, record: Record
    ) -> Failed | None:
        """Make a further attempt, which is on record before and after it."""
        if self._is_transactional:
            only = Attempt(event, number, record, lambda failed: True, settles=False)
            [ended] = await self._attempts.call_within([only], begin=begin)
            failed = ended.failed
        else:
            failed = await self._attempts.call(event, number=number, begin=begin)
        if failed is not None:
            self._verdicts.blame(event, failed)
        if not self._is_transactional:
            await self._ledger.write(partial(record, failed=failed))
        return failed

    async def _give_up(self, parked: Parked) -> bool:
        """Make a dead letter of what has no attempt left, since an owner died in the last one."""
        lane = self._ledger.lane
        error = (
            f"given up after {parked.attempts} attempts: the end of the last one was not seen, "
            "or fewer are allowed by now"
        )
        if parked.was_alone:
            error = (
                "given up: the process ended in this call, while no other was under way, after "
                "others had ended at this place before"
            )
        event = await self._ledger.read(partial(self._log.find, str(parked.position)))

        def record(connection: Connection) -> Count:
            self._parking.give_up(connection, lane, parked.position, error=error)
            return event.type, "failed"

        await self._ledger.write(record)
        self._verdicts.bury(self._attempts.tell(event), parked.attempts, error)
        return self._verdicts.must_wait(None)

    async def _catch_up(self, subject: str) -> None:
        """Hand over what waited behind a blocked ``subject``, then let it go on with the rest."""
        progress = self._ledger.progress
        matching = msgspec.structs.replace(self._matching, subjects=(subject,))
        while True:
            reached = progress.cursor
            page = await self._ledger.read(
                partial(
                    self._log.read_page,
                    after=self._ledger.blocked[subject],
                    until=reached,
                    limit=PAGE,
                    matching=matching,
                )
            )
            if await self._catch_up_with(page.events):
                return
            # Nothing is awaited between this comparison and the release: no event slips through.
            if page.is_last and progress.cursor == reached:
                self._ledger.release(subject)
                return

    async def _catch_up_with(self, events: Sequence[Event]) -> bool:
        """Hand over ``events`` of a blocked subject; whether one failed and the rest waits."""
        left = list(events)
        while left:
            count = 1
            if self.alone:
                must_wait = await self.deliver_alone(left[0], is_behind=True)
            elif self._is_transactional:
                count, must_wait = await self._firsts.deliver_together(left, is_behind=True)
            else:
                must_wait = await self._firsts.deliver(left[0], is_behind=True)
            if must_wait:
                return True
            del left[:count]
        return False

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await work()
            self._underway -= 1  # what is cut short is not done

        self._underway += 1
        self._slots.add(run)
