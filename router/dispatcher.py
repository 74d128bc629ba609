"""The worker of a process: it claims lanes, delivers them, keeps their leases, gives them back."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import random
from typing import TypeVar

from sqlalchemy import Connection

from router.delivery import Delivery, Span
from router.errors import Unavailable
from router.events import Replaying
from router.filters import Filter
from router.lanes import LIVE, Lane, Lanes, LeaseLost
from router.ledger import Ledger
from router.log import EventLog
from router.parking import Parking
from router.periodic import Periodic
from router.replay import Replay, Replays
from router.retries import Clock
from router.subscriptions import Caller, Subscription
from router.turns import Pace, Turns

T = TypeVar("T")

RENEW = 2.0  # seconds between two renewals of a lease of six
LOOK = 1.0  # seconds between two looks for lanes and replays that wait for an owner
DRAIN = 30.0  # seconds that a stop waits for the calls under way
STORAGE_THREADS = 4

logger = logging.getLogger("router.dispatcher")


class Dispatcher:
    """Runs the subscriptions of one process: `start`, later `stop`.

    Args:
        subscriptions: What to deliver to.
        log: What to deliver.
        drain: Seconds that `stop` waits for handlers that were called.
    """

    def __init__(
        self, subscriptions: Sequence[Subscription], *, log: EventLog, drain: float = DRAIN
    ) -> None:
        self._subscriptions = {one.name: one for one in subscriptions}
        self._log = log
        self._drain = drain
        self._lanes = Lanes(log.store, pid=os.getpid())
        self._replays = Replays(log)
        self._parking = Parking(log.store.tables)
        self._clock = Clock(now=log.store.now, sleep=asyncio.sleep, random=random)
        self._storage = ThreadPoolExecutor(STORAGE_THREADS, thread_name_prefix="router-storage")
        self._callers = {one.name: Caller(one, log=log) for one in subscriptions}
        self._turns = {one.name: Turns() for one in subscriptions}
        self._running: dict[tuple[str, int, int, int], Delivery] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        # A thread, not the loop: a handler that blocks the loop must not cost the leases.
        self._leases = Periodic(self._renew, seconds=RENEW, name="router-leases")

    async def start(self) -> None:
        """Bring the subscriptions into being, then deliver in the background."""
        self._loop = asyncio.get_running_loop()
        await self._store(self._lanes.enrol)
        for one in self._subscriptions.values():
            await self._store(partial(self._lanes.declare, one.name, one.policies, one.options))
        await self._claim()
        self._leases.start()
        self._spawn(self._look())

    def wake(self) -> None:
        """Tell the deliveries, from any thread, that the log has grown."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    async def stop(self) -> None:
        """Begin no call any more, wait for those under way, write all down, give the lanes back."""
        for delivery in self._running.values():
            delivery.stop()
        end = time.monotonic() + self._drain
        while self._running and time.monotonic() < end:
            await asyncio.sleep(0.01)
        if self._running:
            logger.warning("%d lanes did not drain in %g s", len(self._running), self._drain)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._leases.stop)
        try:
            await self._store(self._lanes.leave)
        except Unavailable as error:
            logger.warning("the lanes were not given back; their leases will expire: %s", error)
        for caller in self._callers.values():
            caller.close()
        self._storage.shutdown(wait=False)

    def _wake(self) -> None:
        for delivery in self._running.values():
            delivery.wake()

    async def _store(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._storage, work)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self._claim()
            except Unavailable as error:
                logger.warning("no lanes were claimed: %s", error)

    async def _claim(self) -> None:
        names = list(self._subscriptions)
        await self._store(partial(self._replays.take_up, names))
        for lane in await self._store(partial(self._lanes.claim, names)):
            replay = None
            if lane.run != LIVE:
                replay = await self._store(partial(self._replays.find, lane.run))
            delivery = self._make_delivery(lane, replay)
            self._running[lane.key] = delivery
            self._spawn(self._deliver(delivery))

    def _make_delivery(self, lane: Lane, replay: Replay | None) -> Delivery:
        subscription = self._subscriptions[lane.subscription]
        rate = subscription.options.rate
        span = Span(Filter(types=tuple(subscription.handlers)))
        tally = None
        if replay is not None:
            rate = replay.rate or rate
            span = Span(replay.matching, replay.end - 1, Replaying(replay.id, replay.reason))
            tally = partial(self._replays.tally, number=replay.id)
        return Delivery(
            span,
            caller=self._callers[lane.subscription],
            ledger=Ledger(
                lane,
                lanes=self._lanes,
                parking=self._parking,
                storage=self._storage,
                sleep=asyncio.sleep,
                tally=tally,
            ),
            log=self._log,
            parking=self._parking,
            turns=self._turns[lane.subscription],
            pace=Pace(rate, monotonic=time.monotonic, sleep=asyncio.sleep),
            clock=self._clock,
        )

    async def _deliver(self, delivery: Delivery) -> None:
        lane = delivery.ledger.lane
        try:
            await delivery.run()
            if delivery.is_finished:
                await delivery.ledger.write(partial(self._finish, lane))
        except LeaseLost as error:
            logger.warning("%s", error)
        except Exception:
            logger.exception("the delivery to %r broke off; it begins again", lane.subscription)
            await self._store(partial(self._lanes.release, lane))
        finally:
            del self._running[lane.key]

    def _finish(self, lane: Lane, connection: Connection) -> None:
        self._lanes.remove(lane, connection)
        self._replays.finish(connection, lane)

    def _renew(self) -> None:
        before = set(self._running)
        lost = before - self._lanes.renew()
        if lost and self._loop is not None:
            self._loop.call_soon_threadsafe(self._drop, lost)

    def _drop(self, lost: set[tuple[str, int, int, int]]) -> None:
        for key in lost & set(self._running):
            logger.warning("another worker has taken over a lane of %r", key[0])
            self._running[key].stop()
            self._running[key].cut()
