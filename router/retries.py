"""Failed deliveries of one lane: parked, tried again, and followed by what waited behind them."""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
from sqlalchemy import Connection

from router.attempts import Attempt, Attempts
from router.events import Event
from router.filters import Filter
from router.ledger import Ledger, Outcome
from router.log import EventLog
from router.options import Options
from router.parking import Held, Parked, Parking
from router.retry import is_exhausted, next_delay
from router.slots import Slots
from router.subscriptions import Failed

logger = logging.getLogger("router.delivery")

PAGE = 100  # events of a released subject read at a time


class Clock(msgspec.Struct, frozen=True):
    """Time and chance, passed in so that tests can hold them still.

    Attributes:
        now: Microseconds since 1970, by the database's clock.
        sleep: Waits for some seconds.
        random: A number from 0 to below 1.
    """

    now: Callable[[], int]
    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]

    async def wait_for(self, event: asyncio.Event, *, seconds: float) -> bool:
        """Wait until ``event`` is set, but no longer than ``seconds``; whether it is set."""
        timer = asyncio.ensure_future(self.sleep(seconds))
        setting = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait((timer, setting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            setting.cancel()
        return event.is_set()


class Retries:
    """What becomes of an event whose handler failed.

    Args:
        matching: Which events the lane delivers.
        options: The subscription's.
        attempts: Makes attempts and writes down what came of them.
        slots: Where attempts find their place.
    """

    def __init__(
        self,
        *,
        matching: Filter,
        options: Options,
        attempts: Attempts,
        slots: Slots,
        ledger: Ledger,
        log: EventLog,
        parking: Parking,
        clock: Clock,
    ) -> None:
        self._matching = matching
        self._options = options
        self._attempts = attempts
        self._slots = slots
        self._ledger = ledger
        self._log = log
        self._parking = parking
        self._clock = clock
        self._waiting: list[tuple[int, int, Parked]] = []  # a heap, by the time they are due
        self._released: list[str] = []  # found blocked for no reason: their owner died meanwhile
        self._underway = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is tried again, now or later."""
        return not (self._waiting or self._released or self._underway)

    def resume(self, held: Held) -> None:
        """Take up what an earlier owner of the lane left parked and blocked."""
        self._ledger.blocked.update(held.blocked)
        for parked in held.retries:
            self._schedule(parked)
        held_by = {parked.position for parked in held.retries}
        if self._options.on_dead == "hold":
            held_by |= held.dead
        self._released += [
            subject for subject, position in held.blocked.items() if position not in held_by
        ]

    def seconds_to_next(self) -> float | None:
        """How long until the next attempt is due; None if there is none that could be made."""
        if not (self._waiting and self._ledger.progress.is_caught_up):
            return None
        return max(0.0, (self._waiting[0][0] - self._clock.now()) / 1_000_000)

    def start_due(self) -> None:
        """Begin every attempt whose time has come."""
        if not self._ledger.progress.is_caught_up:
            return  # what is settled on record ahead may be blocked: nothing is let go before
        while self._released:
            self._start(partial(self._catch_up, self._released.pop()))
        while self._waiting and self._waiting[0][0] <= self._clock.now():
            _, _, parked = heapq.heappop(self._waiting)
            self._start(partial(self._retry, parked))

    async def deliver(self, event: Event, *, is_behind: bool = False) -> bool:
        """Make the first attempt; whether it failed and the event's subject now waits.

        Args:
            event: The event.
            is_behind: Whether its subject was blocked already, by an earlier event.
        """
        ledger, lane = self._ledger, self._ledger.lane
        judge = partial(self._judge, attempts=1, since=None, chance=self._clock.random())

        def note() -> None:
            if is_behind:
                ledger.advance(event.subject, event.position)
            else:
                ledger.settle(event.position)

        def record(connection: Connection, failed: Failed | None) -> Outcome | None:
            if failed is None:
                return "done"
            next_at = judge(failed)
            self._parking.park(connection, lane, event, failure=failed.failure, next_at=next_at)
            if self._must_wait(next_at) and not is_behind:
                self._parking.block(connection, lane, event)
            return "failed" if next_at is None else None

        failed = await self._attempts.make(Attempt(event, 1, note, record))
        if failed is None:
            return False
        must_wait = self._keep(make_parked(event, failed, next_at=judge(failed)))
        if must_wait and not is_behind:
            ledger.blocked[event.subject] = event.position
        return must_wait

    async def _retry(self, parked: Parked) -> None:
        """Make the next attempt, and let the subject go on unless it has to wait for another."""
        if parked.attempts >= self._options.retry.attempts:
            must_wait = await self._give_up(parked)
        else:
            must_wait = await self._try_again(parked)
        if not must_wait and self._ledger.blocked.get(parked.subject) == parked.position:
            await self._catch_up(parked.subject)

    async def _try_again(self, parked: Parked) -> bool:
        lane, number = self._ledger.lane, parked.attempts + 1
        judge = partial(
            self._judge, attempts=number, since=parked.parked_at, chance=self._clock.random()
        )

        def begin(connection: Connection) -> None:
            self._parking.begin_retry(connection, lane, parked, started_at=self._clock.now())

        def record(connection: Connection, failed: Failed | None) -> Outcome | None:
            if failed is None:
                self._parking.clear(connection, lane, parked.position)
                return "done"
            next_at = judge(failed)
            self._parking.park_again(
                connection,
                lane,
                parked.position,
                number=number,
                failure=failed.failure,
                next_at=next_at,
            )
            return "failed" if next_at is None else None

        event = await self._ledger.read(partial(self._log.find, str(parked.position)))
        failed = await self._attempts.make(Attempt(event, number, _nothing, record, begin))
        if failed is None:
            return False
        again = msgspec.structs.replace(parked, attempts=number, next_at=judge(failed))
        return self._keep(again)

    async def _give_up(self, parked: Parked) -> bool:
        """Make a dead letter of what has no attempt left, since an owner died in the last one."""
        lane = self._ledger.lane
        error = (
            f"given up after {parked.attempts} attempts: the end of the last one was not seen, "
            "or fewer are allowed by now"
        )

        def record(connection: Connection) -> Outcome:
            self._parking.give_up(connection, lane, parked.position, error=error)
            return "failed"

        await self._ledger.write(record)
        return self._must_wait(None)

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
            for event in page.events:
                if await self.deliver(event, is_behind=True):
                    return
            # Nothing is awaited between this comparison and the release: no event slips through.
            if page.is_last and progress.cursor == reached:
                self._ledger.release(subject)
                return

    def _judge(
        self, failed: Failed, *, attempts: int, since: int | None, chance: float
    ) -> int | None:
        """When the next attempt is due; None if there is none. The same whenever it is asked.

        Args:
            failed: How the last one failed.
            attempts: How many there were.
            since: When the first of them began; None where that is the last one.
            chance: A number from 0 to below 1.
        """
        policy, failure = self._options.retry, failed.failure
        ended_at = failure.started_at + int(failure.duration * 1_000_000)
        waited = (ended_at - (failure.started_at if since is None else since)) / 1_000_000
        if failed.is_final or is_exhausted(policy, attempts=attempts, waited=waited):
            return None
        delay = failed.after
        if delay is None:
            delay = next_delay(policy, attempts=attempts, random=lambda: chance)
        return ended_at + int(delay * 1_000_000)

    def _must_wait(self, next_at: int | None) -> bool:
        """Whether the events behind a failed one of their subject wait."""
        if self._options.order == "none":
            return False
        return next_at is not None or self._options.on_dead == "hold"

    def _keep(self, parked: Parked) -> bool:
        """Try again what is not dead; whether its subject waits."""
        name, position = self._ledger.lane.subscription, parked.position
        # Not what the handler said: it may hold a phone number. The error is on record.
        if parked.next_at is None:
            logger.error("%s: attempt %d at %d was the last", name, parked.attempts, position)
        else:
            pause = (parked.next_at - self._clock.now()) / 1_000_000
            text = "%s: attempt %d at %d failed, the next one comes in %.1f s"
            logger.warning(text, name, parked.attempts, position, pause)
            self._schedule(parked)
        return self._must_wait(parked.next_at)

    def _schedule(self, parked: Parked) -> None:
        heapq.heappush(self._waiting, (parked.next_at or 0, parked.position, parked))

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await work()
            self._underway -= 1  # what is cut short is not done

        self._underway += 1
        self._slots.add(run)


def make_parked(event: Event, failed: Failed, *, next_at: int | None) -> Parked:
    """Return the delivery of ``event`` as it stands after its first attempt."""
    return Parked(
        position=event.position,
        subject=event.subject,
        attempts=1,
        parked_at=failed.failure.started_at,
        next_at=next_at,
    )


def _nothing() -> None:
    """A further attempt leaves the progress as it is: the first one has settled the event."""
