"""Two workers of one subscription at a time: each dies, freezes and is cut off by itself."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import Connection, TextClause, text

from router.clock import Clock
from router.dispatcher import Dispatcher
from router.errors import RouterError
from router.events import Event
from router.lane import LEASE_MICROS
from router.log import EventLog
from router.options import Options, RetryOptions
from router.store import Store
from router.subscriptions import Subscription
from tests.bench import HandClock
from tests.properties.driver import Driver, End, Killed
from tests.properties.grounds import Ground, hurry
from tests.properties.scripted import DWELL, EFFECT
from tests.properties.wires import drive, hang_up
from tests.subscribers import make_subscription

BREATH = 0.004  # seconds of real time between two seconds of the clock
MOST = 400  # seconds by the clock in which everything must have come to rest
LAPSE = LEASE_MICROS // 1_000_000 + 2  # seconds for which a frozen worker stays so
REST = text("""
SELECT owner, count(*) FROM lane, head WHERE checkpoint = position AND done = '[]'
AND NOT EXISTS (SELECT 1 FROM parked WHERE state = 'retry')
AND NOT EXISTS (SELECT 1 FROM blocked)
GROUP BY owner
""")
LANES = text("SELECT * FROM lane ORDER BY first_shard")
EFFECTS = text("SELECT position FROM effect ORDER BY number")


class Worker:
    """One of the two.

    Args:
        url: Of the log.
        clock: What both go by.
        subscription: What it delivers to.
    """

    def __init__(self, url: str, clock: HandClock, subscription: Subscription) -> None:
        self.driver = Driver()
        self.frozen_for = 0
        self._store = Store(url, clock=clock.seconds)
        hurry(self._store)
        drive(self._store.engine, self.driver)
        self._dispatcher = Dispatcher(
            [subscription],
            log=EventLog(self._store),
            clock=Clock(now=self._store.now, sleep=clock.sleep, random=lambda: 0.5),
        )
        self._renewing: asyncio.Task[None] | None = None

    @property
    def is_well(self) -> bool:
        """Whether it is neither dead nor frozen."""
        return not self.driver.has_come

    async def start(self) -> None:
        """Begin to deliver."""
        await self._dispatcher.start()

    async def renew(self) -> None:
        """Do what the thread of the leases does, by a clock that is quicker than that."""
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(asyncio.to_thread(self._renew))
        while self.is_well and not self._renewing.done():
            await asyncio.sleep(0.001)

    def thaw(self) -> None:
        """Let it go on as if nothing had happened."""
        self.frozen_for = 0
        self.driver.thaw()
        self.driver.plan(None)

    async def stop(self) -> list[int]:
        """End it, dead or alive, and return the server's processes that it has talked to."""
        with suppress(Killed, RouterError):
            await self._dispatcher.stop()
        if self._renewing is not None:
            await asyncio.wait({self._renewing})
        self._store.close()
        return hang_up(self.driver)

    def _renew(self) -> None:
        with suppress(Killed, RouterError):
            self._dispatcher._renew()


class Pair:
    """Two workers and the log that they deliver.

    Args:
        ground: What it stands on.
        url: Of the log there.
        lanes: Of the subscription.
        failing: The positions of events whose first call fails.

    Attributes:
        log: As those who look on see it.
    """

    def __init__(self, ground: Ground, url: str, *, lanes: int, failing: Sequence[int]) -> None:
        self._ground = ground
        self._url = url
        self._failing = set(failing)
        self._clock = HandClock()
        store = Store(url, clock=self._clock.seconds)
        hurry(store)
        self.log = EventLog(store)
        retry = RetryOptions(first=0.5, attempts=1_000, give_up_after=1e9)
        options = Options(start="beginning", lanes=lanes, retry=retry)

        def on_event(event: Event, connection: Connection) -> None:
            values = {"name": "crm", "run": 0, "at": event.position}
            connection.execute(EFFECT, values)
            time.sleep(DWELL)
            if event.position in self._failing:
                self._failing.discard(event.position)
                raise ValueError("busy")

        self._subscription = make_subscription("crm", options, on_event=on_event)
        self._workers: list[Worker] = []

    async def start(self) -> None:
        """Let both begin."""
        for _ in range(2):
            self._workers.append(await self._hire())

    def harm(self, which: int, end: End) -> None:
        """Let one of them come to an ``end``, counted from here on."""
        if self._workers[which].is_well:
            self._workers[which].driver.plan(end)

    async def pass_time(self, seconds: int) -> None:
        """Let time pass. Whoever has died has a successor at once, and who is frozen thaws."""
        for _ in range(seconds):
            for at, worker in enumerate(self._workers):
                if worker.driver.is_dead:
                    await self._let_go(worker)
                    self._workers[at] = await self._hire()
                elif worker.driver.has_come:
                    worker.frozen_for += 1
                    if worker.frozen_for > LAPSE:
                        worker.thaw()
                else:
                    await worker.renew()
            await self._tick()

    async def rest(self) -> None:
        """Let all be done, each event and the sharing out of lanes."""
        for worker in self._workers:
            if worker.is_well:
                worker.driver.plan(None)
        seconds = 0
        while not self._is_at_rest():
            seconds += 1
            assert seconds < MOST, f"no rest: {self._select(LANES)}"
            await self.pass_time(1)

    async def stop(self) -> None:
        """End both."""
        for worker in self._workers:
            worker.driver.thaw()
            await self._let_go(worker)
        self.log.store.close()

    def effects(self) -> list[int]:
        """The positions of the events whose effects are there, in the order of the effects."""
        return [int(str(row[0])) for row in self._select(EFFECTS)]

    def broken(self) -> list[tuple[object, ...]]:
        """What the database has seen that may never be."""
        return self._select(text("SELECT * FROM broken"))

    def shares(self) -> list[int]:
        """How many lanes each owner has that have come to the head, if nothing waits in any."""
        return sorted(int(str(row[1])) for row in self._select(REST))

    def _is_at_rest(self) -> bool:
        lanes = self._subscription.options.lanes or 1
        is_shared = self.shares() == sorted([lanes // 2, lanes - lanes // 2])
        return is_shared and all(worker.is_well for worker in self._workers)

    async def _hire(self) -> Worker:
        worker = Worker(self._url, self._clock, self._subscription)
        await worker.start()
        return worker

    async def _let_go(self, worker: Worker) -> None:
        stopping = asyncio.create_task(worker.stop())
        while not stopping.done():  # what waits for the clock has to come to its end
            await self._tick(0.01)
        self._ground.wait_until_gone(await stopping)

    async def _tick(self, seconds: float = 1.0) -> None:
        self._clock.advance(seconds)
        await asyncio.sleep(BREATH)

    def _select(self, query: TextClause) -> list[tuple[object, ...]]:
        with self.log.store.reading() as connection:
            return [tuple(row) for row in connection.execute(query)]
