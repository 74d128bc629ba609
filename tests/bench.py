"""One lane on a bench: it is delivered by a clock that only the test puts forward."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

from msgspec import structs
from sqlalchemy import delete, update

from router.clock import Clock
from router.delivery import Delivery
from router.filters import Filter
from router.intake import Span
from router.lane import LEASE_MICROS, LeaseLost
from router.lanes import Lanes
from router.ledger import Ledger
from router.log import EventLog
from router.options import Options
from router.pages import Page
from router.parking import Parking
from router.room import Room
from router.roster import Roster
from router.store import Store
from router.subscriptions import Caller
from router.turns import Pace, Turns
from tests.recorder import Recorder
from tests.records import (
    LaneRow,
    ParkedRow,
    count_attempts,
    read_blocked,
    read_lanes,
    read_outcomes,
    read_parked,
    read_takeovers,
)
from tests.subscribers import make_subscription
from tests.waiting import until

EVERYTHING = Span(Filter())


class HandClock:
    """A clock that stands still until it is put forward; whoever sleeps, sleeps by it.

    Attributes:
        micros: Its time, in microseconds since 1970.
    """

    def __init__(self) -> None:
        self.micros = 1_000_000_000
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def seconds(self) -> float:
        """Return its time in seconds since 1970."""
        return self.micros / 1_000_000

    @property
    def sleepers(self) -> int:
        """How many sleep."""
        return sum(1 for _due, future in self._sleepers if not future.done())

    async def sleep(self, seconds: float) -> None:
        """Wait until it has been put forward by ``seconds``."""
        if seconds > 0:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._sleepers.append((self.micros + round(seconds * 1_000_000), future))
            await future

    def advance(self, seconds: float) -> None:
        """Put it forward."""
        self.micros += round(seconds * 1_000_000)
        for due, future in self._sleepers:
            if due <= self.micros and not future.done():
                future.set_result(None)
        self._sleepers = [one for one in self._sleepers if not one[1].done()]


class Bench:
    """A lane of all shards of one subscription, and its delivery.

    Attributes:
        clock: What everything goes by.
        chance: What the random numbers are.
        recorder: The subscription's handler.
        given_up: The positions of what was told to be dead.
        breaker: Whether it was open, each time that it changed.
        looks: How often the log was read from for what is new.
        delivery: The one under way, or the last one.
        task: In which it runs.
    """

    delivery: Delivery
    task: asyncio.Task[None]

    def __init__(self, store: Store, options: Options) -> None:
        self.clock = HandClock()
        self.chance = 0.5
        self.recorder = Recorder()
        self.given_up: list[int] = []
        self.breaker: list[bool] = []
        self.looks = 0
        options = structs.replace(options, lanes=1)
        store = Store(store.engine, clock=self.clock.seconds)
        self.log = EventLog(store)
        self._store = store
        self._subscription = make_subscription(options=options, on_event=self.recorder.on_event)
        roster = Roster(store, pid=1)
        roster.enrol(["crm", "audit"])
        self._lanes = Lanes(store, worker=roster.worker)
        roster.declare("crm", {}, options)
        self._parking = Parking(store.tables)
        self._storage = ThreadPoolExecutor(2)

    def parked(self) -> dict[int, ParkedRow]:
        """Return the parked deliveries on record, by position."""
        return read_parked(self._store)

    def blocked(self) -> dict[str, int]:
        """Return the blocked subjects on record, and where they are blocked."""
        return read_blocked(self._store)

    def recorded(self) -> LaneRow:
        """Return the lane as it is on record."""
        (lane,) = read_lanes(self._store)
        return lane

    def count_attempts(self, position: int) -> int:
        """Return how many attempts at an event are on record."""
        return count_attempts(self._store, position)

    def outcomes(self, position: int) -> list[str]:
        """Return how the attempts at an event ended that are on record."""
        return read_outcomes(self._store, position)

    def takeovers(self) -> int:
        """Return how often the lane's owners fell silent, as far as that counts."""
        (count,) = read_takeovers(self._store)
        return count

    def take_away(self) -> None:
        """Let another worker take the lane over."""
        table = self._store.tables.lane
        with self._store.writing() as connection:
            connection.execute(update(table).values(epoch=table.c.epoch + 1, owner="another"))

    def forget_progress(self) -> None:
        """Put the lane back to the beginning of the log, and nothing else with it."""
        with self._store.writing() as connection:
            connection.execute(update(self._store.tables.lane).values(checkpoint=0, done="[]"))
            connection.execute(delete(self._store.tables.blocked))

    def wake(self) -> None:
        """Tell the delivery that the log has grown."""
        self.delivery.wake()

    async def pass_time(self, seconds: float) -> None:
        """Put the clock forward once the delivery has nothing to do but wait."""
        await until(lambda: self.clock.sleepers)
        self.clock.advance(seconds)

    async def settled(self) -> None:
        """Wait until whoever was woken has done what there was to do."""
        for _ in range(20):
            await asyncio.sleep(0)

    @asynccontextmanager
    async def running(self, span: Span = EVERYTHING) -> AsyncIterator[Delivery]:
        """Deliver until the end of the block, then stop in good order."""
        self._start(span)
        try:
            yield self.delivery
            self.delivery.stop()
            await self.task
        finally:
            await self._end()

    async def run(self) -> None:
        """Deliver until that ends by itself.

        Raises:
            Exception: Whatever brought it to its end.
        """
        async with self.running():
            await until(self.task.done)

    @asynccontextmanager
    async def losing_its_lane(self) -> AsyncIterator[Delivery]:
        """Deliver until the end of the block, by which it has found out that the lane is lost.

        Raises:
            AssertionError: It has not.
        """
        self._start(EVERYTHING)
        try:
            yield self.delivery
        finally:
            with suppress(LeaseLost):
                await self._end()
        assert isinstance(self.task.exception(), LeaseLost)

    @asynccontextmanager
    async def crashing(self) -> AsyncIterator[Delivery]:
        """Deliver until the end of the block, then end with nothing more written down."""
        self._start(EVERYTHING)
        try:
            yield self.delivery
        finally:
            await self._end()

    @asynccontextmanager
    async def dying(self) -> AsyncIterator[Delivery]:
        """Deliver until the end of the block, then fall silent: the lane is free when it expires.

        A call under way has no end, as if it had ended the process.
        """
        self._start(EVERYTHING)
        try:
            yield self.delivery
        finally:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task
            await until(lambda: self.recorder.underway == 0)
            self._storage.shutdown()  # what it was writing holds the lane until it is committed
            self._storage = ThreadPoolExecutor(2)
            self.clock.advance((LEASE_MICROS + 1) / 1_000_000)

    def close(self) -> None:
        """Let go of the threads and the connections."""
        self._storage.shutdown()
        self._store.close()

    def _start(self, span: Span) -> None:
        (lane,) = self._lanes.claim(["crm"])
        clock, rate = self.clock, self._subscription.options.rate
        self.delivery = Delivery(
            span,
            caller=Caller(
                self._subscription, log=self.log, clock=clock.seconds, monotonic=clock.seconds
            ),
            ledger=Ledger(
                lane,
                lanes=self._lanes,
                parking=self._parking,
                storage=self._storage,
                sleep=clock.sleep,
            ),
            log=self.log,
            read_page=self._read_page,
            room=Room(),
            parking=self._parking,
            turns=Turns(),
            pace=Pace(rate, monotonic=clock.seconds, sleep=clock.sleep),
            clock=Clock(now=lambda: clock.micros, sleep=clock.sleep, random=lambda: self.chance),
            on_dead=lambda event, attempts, error: self.given_up.append(event.position),
            on_breaker=lambda: self.breaker.append(self.delivery.breaker.is_open),
        )
        self.task = asyncio.create_task(self.delivery.run())

    def _read_page(
        self,
        *,
        after: int,
        limit: int,
        until: int | None,
        matching: Filter,
        shards: tuple[int, int] | None,
        max_bytes: int,
    ) -> Page:
        self.looks += 1
        return self.log.read_page(
            after=after,
            limit=limit,
            until=until,
            matching=matching,
            shards=shards,
            max_bytes=max_bytes,
        )

    async def _end(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        self._lanes.release(self.delivery.ledger.lane)


MakeBench = Callable[[Options], Bench]
