"""Failed deliveries of one lane: parked, tried again, and followed by what waited behind them."""

import heapq
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
from sqlalchemy import Connection

from router.events import Event
from router.filters import Filter
from router.ledger import Ledger
from router.log import EventLog
from router.options import Options
from router.parking import Held, Parked, Parking
from router.retry import is_exhausted, next_delay
from router.slots import Slots
from router.subscriptions import Failed

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


Call = Callable[[Event, int], Awaitable[Failed | None]]


class Retries:
    """What becomes of an event whose handler failed.

    Args:
        matching: Which events the lane delivers.
        options: The subscription's.
        call: Calls the handler of an event, the so-many-th time.
        slots: Where calls find their place.
    """

    def __init__(
        self,
        *,
        matching: Filter,
        options: Options,
        call: Call,
        slots: Slots,
        ledger: Ledger,
        log: EventLog,
        parking: Parking,
        clock: Clock,
    ) -> None:
        self._matching = matching
        self._options = options
        self._call = call
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
        parked_subjects = {parked.subject for parked in held.retries}
        for subject, position in held.blocked.items():
            is_held = position in held.dead and self._options.on_dead == "hold"
            if subject not in parked_subjects and not is_held:
                self._released.append(subject)

    def seconds_to_next(self) -> float | None:
        """How long until the next attempt is due; None if there is none."""
        if not self._waiting:
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

    async def park(self, event: Event, failed: Failed, *, is_behind: bool = False) -> bool:
        """Write down that the first attempt failed; whether the event's subject now waits.

        Args:
            event: The event.
            failed: How.
            is_behind: Whether its subject was blocked already, by an earlier event.
        """
        lane = self._ledger.lane
        next_at = self._next_at(failed, attempts=1, since=failed.failure.started_at)
        must_wait = self._must_wait(next_at)

        def write(connection: Connection) -> None:
            self._parking.park(connection, lane, event, failure=failed.failure, next_at=next_at)
            if must_wait and not is_behind:
                self._parking.block(connection, lane, event)

        await self._ledger.write(write)
        if must_wait and not is_behind:
            self._ledger.blocked[event.subject] = event.position
        self._note(make_parked(event, failed, next_at=next_at))
        return must_wait

    def _must_wait(self, next_at: int | None) -> bool:
        if self._options.order == "none":
            return False
        return next_at is not None or self._options.on_dead == "hold"

    def _next_at(self, failed: Failed, *, attempts: int, since: int) -> int | None:
        """When the next attempt is due; None if there is none."""
        now = self._clock.now()
        policy = self._options.retry
        waited = (now - since) / 1_000_000
        if failed.is_final or is_exhausted(policy, attempts=attempts, waited=waited):
            return None
        delay = failed.after
        if delay is None:
            delay = next_delay(policy, attempts=attempts, random=self._clock.random)
        return now + int(delay * 1_000_000)

    def _note(self, parked: Parked) -> None:
        if parked.next_at is None:
            self._ledger.count("failed")
        else:
            self._schedule(parked)

    def _schedule(self, parked: Parked) -> None:
        heapq.heappush(self._waiting, (parked.next_at or 0, parked.position, parked))

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            try:
                await work()
            finally:
                self._underway -= 1

        self._underway += 1
        self._slots.add(run)

    async def _retry(self, parked: Parked) -> None:
        """Make the next attempt; that it is made is on record before the call."""
        lane, number = self._ledger.lane, parked.attempts + 1
        began = self._clock.now()
        await self._ledger.write(
            lambda connection: self._parking.begin_retry(connection, lane, parked, started_at=began)
        )
        event = await self._ledger.read(partial(self._log.find, str(parked.position)))
        failed = await self._call(event, number)
        if failed is None:
            await self._ledger.write(
                lambda connection: self._parking.clear(connection, lane, parked.position)
            )
            self._ledger.count("done")
        elif await self._park_again(parked, failed, number=number):
            return
        if self._ledger.blocked.get(parked.subject) == parked.position:
            await self._catch_up(parked.subject)

    async def _park_again(self, parked: Parked, failed: Failed, *, number: int) -> bool:
        lane = self._ledger.lane
        next_at = self._next_at(failed, attempts=number, since=parked.parked_at)
        await self._ledger.write(
            lambda connection: self._parking.park_again(
                connection,
                lane,
                parked.position,
                number=number,
                failure=failed.failure,
                next_at=next_at,
            )
        )
        self._note(msgspec.structs.replace(parked, attempts=number, next_at=next_at))
        return self._must_wait(next_at)

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
                if self._slots.is_closed or not await self._follow(event):
                    return
            # Nothing is awaited between this comparison and the release: no event slips through.
            if page.is_last and progress.cursor == reached:
                self._ledger.release(subject)
                return

    async def _follow(self, event: Event) -> bool:
        """Hand over an event of a blocked subject; whether the next one may follow."""
        failed = await self._call(event, 1)
        self._ledger.advance(event.subject, event.position)
        if failed is None:
            self._ledger.count("done")
            return True
        return not await self.park(event, failed, is_behind=True)


def make_parked(event: Event, failed: Failed, *, next_at: int | None) -> Parked:
    """Return the delivery of ``event`` as it stands after its first attempt."""
    return Parked(
        position=event.position,
        subject=event.subject,
        attempts=1,
        parked_at=failed.failure.started_at,
        next_at=next_at,
    )
