"""The worker of a process: it claims lanes, delivers them, keeps their leases, gives them back."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from router.alerts import Alerts, Tell
from router.bell import Bell
from router.claims import LIVE
from router.clock import Clock, make_clock
from router.deliveries import Deliveries
from router.delivery import Delivery
from router.errors import RouterError, Unavailable, trace
from router.events import Event
from router.intents import Intents
from router.lane import Key, Lane, LeaseLost, Place
from router.lanes import Lanes
from router.log import EventLog
from router.opening import Objection, Opener
from router.outlet import Outlet
from router.periodic import Periodic
from router.rebuild_record import RebuildRecord
from router.rebuilds import Rebuilds
from router.replay_runs import ReplayRuns
from router.rests import Rests
from router.roster import Roster
from router.subscriptions import Subscription
from router.tail import Tail
from router.wakeups import Listener
from router.watch import Watch

T = TypeVar("T")

RENEW = 2.0  # seconds between two renewals of a lease of six
LOOK = 1.0  # seconds between two looks for lanes and replays that wait for an owner
DRAIN = 30.0  # seconds that a stop waits for the calls under way
BREATH = 0.001  # seconds between two looks whether all is done
LAST_WRITE = 5.0  # more, to write down what has come of the others

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
        outlet: Where the HTTP requests of handlers leave; None lets them reach what is public.
    """

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        *,
        log: EventLog,
        drain: float = DRAIN,
        clock: Clock | None = None,
        listeners: Sequence[Tell] = (),
        outlet: Outlet | None = None,
    ) -> None:
        self._subscriptions = {one.name: one for one in subscriptions}
        self._log = log
        self._drain = drain
        self._clock = clock or make_clock(log.store.now)
        self._roster = Roster(log.store, pid=os.getpid())
        self._lanes = Lanes(log.store, worker=self._roster.worker)
        self._runs = ReplayRuns(log.store)
        self._intents = Intents(log.store)
        self._alerts = Alerts(listeners)
        self._watch = Watch(list(self._subscriptions), roster=self._roster, alerts=self._alerts)
        types = tuple(sorted({type_ for one in subscriptions for type_ in one.handlers}))
        self._tail = Tail(log, types=types, now=self._clock.now)
        self._outlet = outlet or Outlet()
        self._opener = Opener(
            self._subscriptions,
            log=log,
            lanes=self._lanes,
            runs=self._runs,
            tail=self._tail,
            clock=self._clock,
            outlet=self._outlet,
        )
        self._deliveries = Deliveries()
        self._bell = Bell(self._deliveries.wake)
        self._rests = Rests(self._clock.now)
        self._stopping = asyncio.Event()
        self._rebuilds = Rebuilds(
            RebuildRecord(log.store, worker=self._roster.worker),
            running=self._deliveries.running,
            runs=self._opener.rebuilds,
            ask=self._store,
            claim=self._claim,
            stopping=self._stopping,
        )
        self._has_tables_left = False  # by rebuilds that have ended
        self._leaving: set[Place] = set()  # what other workers are to have
        self._looking: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        # A thread, not the loop: a handler that blocks the loop must not cost the leases.
        self._listener = Listener(log.store, on_wake=self.wake)
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
        self._listener.start()
        self._looking = self._loop.create_task(self._look())

    def wake(self, events: Sequence[Event] = ()) -> None:
        """Tell the deliveries, from any thread, that the log has grown: by ``events``, if given."""
        self._tail.grow(events)
        self._bell.ring()

    async def catch_up(self) -> None:
        """Wait until nothing is to be done before time passes, or something new comes."""
        in_a_row = 0  # what one look has missed, a handler may have brought about: then the next
        while in_a_row < 2:
            in_a_row = in_a_row + 1 if await self._is_still() else 0
            await asyncio.sleep(BREATH)

    async def _is_still(self) -> bool:
        await self._look_once()
        head = await self._store(self._log.head)
        is_resting = not all(map(self._rests.is_over, self._subscriptions))
        return not (is_resting or self._opener.rebuilds) and self._deliveries.are_still(head)

    async def stop(self) -> None:
        """Begin no call any more, wait for those under way, write all down, give the lanes back."""
        self._stopping.set()
        self._deliveries.stop()
        if self._looking is not None:
            await asyncio.wait((self._looking,))  # a claim under way must not come after the leave
        if not await self._deliveries.wait(self._drain):
            lanes = len(self._deliveries.running)
            logger.warning("%d lanes did not drain in %g s", lanes, self._drain)
            self._deliveries.cut_all()
            await self._deliveries.wait(LAST_WRITE)
        await self._deliveries.cancel()
        await self._alerts.stop(seconds=LAST_WRITE)
        await asyncio.to_thread(self._leases.stop)
        await asyncio.to_thread(self._listener.stop)
        try:
            await self._store(self._roster.leave)
        except Unavailable as error:
            logger.warning("the lanes were not given back; their leases will expire: %s", error)
        finally:
            self._opener.close()
            await self._outlet.close()

    async def _store(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._opener.storage, work)

    async def _look(self) -> None:
        while not await self._clock.wait_for(self._stopping, seconds=LOOK):
            try:
                await self._look_once()
            except RouterError as error:
                logger.warning("the look for what is to be done failed: %s", error)
            except Exception as error:
                logger.error("the look for what is to be done failed\n%s", trace(error))

    async def _look_once(self) -> None:
        async with self._one_at_a_time:
            await self._heed()
            await self._share()
            await self._claim()
            await self._rebuilds.look()
            if self._has_tables_left:
                await self._store(partial(self._runs.sweep, list(self._subscriptions)))

    async def _heed(self) -> None:
        """See to what operators have asked for."""
        stopped = self._watch.heed(await self._store(self._watch.look))
        self._deliveries.stop(lambda key: key[0] in stopped)
        replays = self._deliveries.runs - {LIVE}
        halted = await self._store(partial(self._runs.find_halted, replays))
        self._deliveries.stop(lambda key: key[1] in halted)
        for intent in await self._store(partial(self._intents.find, list(self._subscriptions))):
            self._deliveries.obey(intent)

    async def _share(self) -> None:
        find = partial(self._lanes.find_surplus, list(self._subscriptions))
        leaving = self._leaving = await self._store(find)
        self._deliveries.stop(lambda key: (key[0], key[2]) in leaving)

    async def _claim(self) -> None:
        free = self._subscriptions.keys() - self._rebuilds.halted
        names = [name for name in free if self._rests.is_over(name)]
        self._has_tables_left = await self._store(partial(self._runs.take_up, names))
        held, leaving = frozenset(self._deliveries.held), frozenset(self._leaving)
        claim = partial(self._lanes.claim, names, held=held, leaving=leaving)
        for lane in await self._store(claim):
            self._deliveries.begin(lane, self._deliver(lane))

    async def _deliver(self, lane: Lane) -> None:
        if lane.is_suspect:
            text = "the last %d owners of a lane of %r fell silent at %d: one event at a time"
            logger.warning(text, lane.takeovers, lane.subscription, lane.checkpoint)
        try:
            delivery = await self._run(lane)
            await self._conclude(lane, delivery)
        except LeaseLost as error:
            logger.warning("%s", error)
            await self._give_back(lane)  # if it has no other owner
        except Objection as error:
            logger.error("replay %d of %r ends: %s", lane.run, lane.subscription, error)
            await self._store(partial(self._refuse, lane, str(error)))
        except Exception as error:
            await self._break_off(lane, error)
        finally:
            self._deliveries.end(lane)
            if lane.run not in self._deliveries.runs:
                self._opener.forget(lane.run)
            if not self._stopping.is_set():
                self._note_breaker(lane.subscription)  # whoever delivers it next finds out anew

    async def _conclude(self, lane: Lane, delivery: Delivery) -> None:
        """Write down how a delivery has ended, and give its lane back."""
        if delivery.skipping is not None:
            await delivery.skip()
        if delivery.is_finished:
            await delivery.ledger.write(partial(self._finish, lane))
        elif self._stopping.is_set():
            return  # all that it owns is given back together
        elif delivery.skipping is None and lane.subscription not in self._rebuilds.halted:
            await self._deliveries.wait_beside(lane)
        await self._store(partial(self._lanes.release, lane))  # unless it was struck off

    async def _run(self, lane: Lane) -> Delivery:
        delivery = await self._opener.open(
            lane,
            on_dead=partial(self._watch.tell_dead, lane.subscription),
            on_breaker=partial(self._note_breaker, lane.subscription),
        )
        self._deliveries.running[lane.key] = delivery
        if self._stopping.is_set():
            delivery.stop()
        await delivery.run()
        return delivery

    def _note_breaker(self, name: str) -> None:
        self._watch.note_breaker(name, is_open=self._deliveries.is_failing(name))

    def _finish(self, lane: Lane, connection: Connection) -> None:
        if self._intents.carry_out_all(connection, lane):
            return  # its next owner finds on record what has come of it
        self._lanes.remove(lane, connection)
        self._runs.finish(connection, lane)

    def _refuse(self, lane: Lane, why: str) -> None:
        self._runs.fail(lane.run, why)
        self._lanes.release(lane)

    async def _break_off(self, lane: Lane, error: Exception) -> None:
        """Give back a lane whose delivery has failed, and leave it alone for a while."""
        name = lane.subscription
        seconds = self._rests.begin(name)
        reason = error if isinstance(error, RouterError) else trace(error)
        logger.error("the delivery to %r broke off; again in %g s: %s", name, seconds, reason)
        self._deliveries.cut(lane.key)
        await self._give_back(lane)

    async def _give_back(self, lane: Lane) -> None:
        """Give back a lane that is delivered no more, or leave it to expire."""
        try:
            await self._store(partial(self._lanes.release, lane))
        except Exception as failure:
            text = "a lane of %r was not given back; it will expire: %s"
            logger.warning(text, lane.subscription, type(failure).__name__)

    def _renew(self) -> None:
        held = frozenset(self._deliveries.held)
        lost = held - self._lanes.renew(held)
        if lost and self._loop is not None:
            self._loop.call_soon_threadsafe(self._drop, lost)

    def _drop(self, lost: frozenset[Key]) -> None:
        for key in lost:
            logger.warning("another worker has taken over a lane of %r", key[0])
            self._deliveries.cut(key)
