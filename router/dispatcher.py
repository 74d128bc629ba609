"""The worker of a process: it claims lanes, delivers them, keeps their leases, gives them back."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from random import random
from typing import TypeVar

from sqlalchemy import Connection

from router.alerts import Alerts, Tell
from router.bell import Bell
from router.claims import LIVE
from router.clock import Clock
from router.delivery import Delivery
from router.errors import RouterError, Unavailable, trace
from router.events import Event, Replaying
from router.filters import Filter
from router.intake import Reader, Span
from router.intents import Intents
from router.lanes import Key, Lane, Lanes, LeaseLost
from router.ledger import Ledger
from router.log import EventLog
from router.parking import Parking
from router.periodic import Periodic
from router.replay import Replays
from router.rests import Rests
from router.roster import Roster
from router.subscriptions import Caller, Subscription
from router.tail import Tail
from router.threads import Threads
from router.turns import Pace, Turns
from router.watch import Watch

T = TypeVar("T")

RENEW = 2.0  # seconds between two renewals of a lease of six
LOOK = 1.0  # seconds between two looks for lanes and replays that wait for an owner
DRAIN = 30.0  # seconds that a stop waits for the calls under way
LAST_WRITE = 5.0  # more, to write down what has come of the others
STORAGE_THREADS = 4

logger = logging.getLogger("router.dispatcher")


class Dispatcher:
    """Runs the subscriptions of one process: `start`, later `stop`.

    Args:
        subscriptions: What to deliver to.
        log: What to deliver.
        drain: Seconds that `stop` waits for handlers that were called.
        clock: Time and chance; None is the database's clock and real ones.
        listeners: Told of dead letters and changes of state, as the hooks `on_dead` and
            `on_subscription_state` are.
    """

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        *,
        log: EventLog,
        drain: float = DRAIN,
        clock: Clock | None = None,
        listeners: Sequence[Tell] = (),
    ) -> None:
        self._subscriptions = {one.name: one for one in subscriptions}
        self._log = log
        self._drain = drain
        self._clock = clock or Clock(now=log.store.now, sleep=asyncio.sleep, random=random)
        self._roster = Roster(log.store, pid=os.getpid())
        self._lanes = Lanes(log.store, worker=self._roster.worker)
        self._replays = Replays(log)
        self._intents = Intents(log.store)
        self._alerts = Alerts(listeners)
        self._watch = Watch(list(self._subscriptions), roster=self._roster, alerts=self._alerts)
        types = tuple(sorted({type_ for one in subscriptions for type_ in one.handlers}))
        self._tail = Tail(log, types=types, now=self._clock.now)
        self._parking = Parking(log.store.tables)
        self._storage = Threads(STORAGE_THREADS, name="router-storage")
        self._callers = {one.name: self._make_caller(one) for one in subscriptions}
        self._turns = {one.name: Turns() for one in subscriptions}
        self._paces = {one.name: self._make_pace(one.options.rate) for one in subscriptions}
        self._bell = Bell(self._wake)
        self._rests = Rests(self._clock.now)
        self._held: set[Key] = set()  # what is claimed and not given back
        self._running: dict[Key, Delivery] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        # A thread, not the loop: a handler that blocks the loop must not cost the leases.
        self._leases = Periodic(self._renew, seconds=RENEW, name="router-leases")

    async def start(self) -> None:
        """Bring the subscriptions into being, then deliver in the background."""
        self._loop = asyncio.get_running_loop()
        self._bell.hang(self._loop)
        for name in await self._store(partial(self._roster.enrol, list(self._subscriptions))):
            logger.warning("no plugin %r is loaded: its events wait until one is", name)
        for one in self._subscriptions.values():
            await self._store(partial(self._roster.declare, one.name, one.policies, one.options))
        self._watch.heed(await self._store(self._watch.look))
        await self._claim()
        self._leases.start()
        self._looking = self._loop.create_task(self._look())

    def wake(self, events: Sequence[Event] = ()) -> None:
        """Tell the deliveries, from any thread, that the log has grown: by ``events``, if given."""
        self._tail.grow(events)
        self._bell.ring()

    async def stop(self) -> None:
        """Begin no call any more, wait for those under way, write all down, give the lanes back."""
        self._stopping.set()
        for delivery in self._running.values():
            delivery.stop()
        if self._looking is not None:
            await asyncio.wait((self._looking,))  # a claim under way must not come after the leave
        if not await self._wait_for_tasks(self._drain):
            logger.warning("%d lanes did not drain in %g s", len(self._running), self._drain)
            for delivery in self._running.values():
                delivery.cut()
            await self._wait_for_tasks(LAST_WRITE)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._alerts.stop(seconds=LAST_WRITE)
        await asyncio.to_thread(self._leases.stop)
        try:
            await self._store(self._roster.leave)
        except Unavailable as error:
            logger.warning("the lanes were not given back; their leases will expire: %s", error)
        finally:
            for caller in self._callers.values():
                caller.close()
            self._storage.shutdown()

    async def _wait_for_tasks(self, seconds: float) -> bool:
        """Wait until all deliveries have ended; whether they have."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        return not self._tasks

    async def _store(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._storage, work)

    def _wake(self) -> None:
        for delivery in self._running.values():
            delivery.wake()

    async def _look(self) -> None:
        while not await self._clock.wait_for(self._stopping, seconds=LOOK):
            try:
                await self._heed()
                await self._claim()
            except RouterError as error:
                logger.warning("no lanes were claimed: %s", error)
            except Exception as error:
                logger.error("no lanes were claimed\n%s", trace(error))

    async def _heed(self) -> None:
        """See to what operators have asked for."""
        for name in self._watch.heed(await self._store(self._watch.look)):
            for key, delivery in self._running.items():
                if key[0] == name:
                    delivery.stop()
        for intent in await self._store(partial(self._intents.find, list(self._subscriptions))):
            for (name, run, _, _), delivery in self._running.items():
                if (name, run) == (intent.subscription, intent.run):
                    delivery.obey(intent)

    async def _claim(self) -> None:
        names = [name for name in self._subscriptions if self._rests.is_over(name)]
        await self._store(partial(self._replays.take_up, names))
        claim = partial(self._lanes.claim, names, held=frozenset(self._held))
        for lane in await self._store(claim):
            self._held.add(lane.key)
            task = asyncio.get_running_loop().create_task(self._deliver(lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, lane: Lane) -> None:
        if lane.is_suspect:
            text = "the last %d owners of a lane of %r fell silent at %d: one event at a time"
            logger.warning(text, lane.takeovers, lane.subscription, lane.checkpoint)
        try:
            delivery = await self._run(lane)
            if delivery.skipping is not None:
                await delivery.skip()
            if delivery.is_finished:
                await delivery.ledger.write(partial(self._finish, lane))
            elif not self._stopping.is_set():  # it was paused, or is to go on from what is skipped
                await self._store(partial(self._lanes.release, lane))
        except LeaseLost as error:
            logger.warning("%s", error)
        except Exception as error:
            await self._break_off(lane, error)
        finally:
            self._held.discard(lane.key)
            self._running.pop(lane.key, None)
            if not self._stopping.is_set():
                self._note_breaker(lane.subscription)  # whoever delivers it next finds out anew

    async def _run(self, lane: Lane) -> Delivery:
        delivery = self._running[lane.key] = await self._open(lane)
        if self._stopping.is_set():
            delivery.stop()
        await delivery.run()
        return delivery

    async def _open(self, lane: Lane) -> Delivery:
        subscription = self._subscriptions[lane.subscription]
        pace = self._paces[lane.subscription]
        span = Span(Filter(types=tuple(subscription.handlers)))
        tally = None
        read_page: Reader = self._tail.read_page
        if lane.run != LIVE:
            read_page = self._log.read_page
            replay = await self._store(partial(self._replays.find, lane.run))
            span = Span(replay.matching, replay.end - 1, Replaying(replay.id, replay.reason))
            tally = partial(self._replays.tally, number=replay.id)
            pace = self._make_pace(replay.rate) if replay.rate else pace
        ledger = Ledger(
            lane,
            lanes=self._lanes,
            parking=self._parking,
            storage=self._storage,
            sleep=self._clock.sleep,
            tally=tally,
        )
        return Delivery(
            span,
            caller=self._callers[lane.subscription],
            ledger=ledger,
            log=self._log,
            read_page=read_page,
            parking=self._parking,
            turns=self._turns[lane.subscription],
            pace=pace,
            clock=self._clock,
            on_dead=partial(self._watch.tell_dead, lane.subscription),
            on_breaker=partial(self._note_breaker, lane.subscription),
        )

    def _note_breaker(self, name: str) -> None:
        """Note whether the live delivery of a subscription fails; its replays are apart."""
        is_open = any(
            delivery.breaker.is_open
            for (owner, run, _, _), delivery in self._running.items()
            if (owner, run) == (name, LIVE)
        )
        self._watch.note_breaker(name, is_open=is_open)

    def _finish(self, lane: Lane, connection: Connection) -> None:
        self._lanes.remove(lane, connection)
        self._replays.finish(connection, lane)

    async def _break_off(self, lane: Lane, error: Exception) -> None:
        """Give back a lane whose delivery has failed, and leave it alone for a while."""
        name = lane.subscription
        seconds = self._rests.begin(name)
        reason = error if isinstance(error, RouterError) else trace(error)
        logger.error("the delivery to %r broke off; again in %g s: %s", name, seconds, reason)
        self._cut(lane.key)
        try:
            await self._store(partial(self._lanes.release, lane))
        except Exception as failure:
            text = "a lane of %r was not given back; it will expire: %s"
            logger.warning(text, name, type(failure).__name__)

    def _renew(self) -> None:
        held = frozenset(self._held)
        lost = held - self._lanes.renew(held)
        if lost and self._loop is not None:
            self._loop.call_soon_threadsafe(self._drop, lost)

    def _drop(self, lost: frozenset[Key]) -> None:
        for key in lost:
            logger.warning("another worker has taken over a lane of %r", key[0])
            self._cut(key)

    def _cut(self, lost: Key) -> None:
        """End a delivery and, with a live one, the replays that take turns with it."""
        name, run, first_shard, _ = lost
        for key, delivery in self._running.items():
            is_beside = run == LIVE and (key[0], key[2]) == (name, first_shard)
            if key == lost or is_beside:
                delivery.cut()

    def _make_caller(self, subscription: Subscription) -> Caller:
        clock = self._clock
        return Caller(subscription, log=self._log, clock=lambda: clock.now() / 1_000_000)

    def _make_pace(self, rate: float | None) -> Pace:
        return Pace(rate, monotonic=time.monotonic, sleep=self._clock.sleep)
