"""Opening the delivery of a lane: with what it has for itself, and what it shares with others."""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from router import dependents, fresh_tables
from router.claims import LIVE
from router.clock import Clock
from router.delivery import Delivery
from router.errors import RouterError
from router.events import Replaying
from router.filters import Filter
from router.intake import Reader, Span
from router.lane import Lane
from router.lanes import Lanes
from router.ledger import Ledger
from router.log import EventLog
from router.outlet import Outlet
from router.parking import Parking
from router.rebuilds import find_rebuild_objection
from router.replay_counts import add_counts
from router.replay_plan import find_objection
from router.replay_record import Replay
from router.replay_runs import ReplayRuns
from router.room import Room
from router.subscriptions import Caller, Subscription
from router.tail import Tail
from router.threads import Threads
from router.traced import TracedCaller
from router.turns import Pace, Turns
from router.verdicts import OnDead

# Of threads that talk to the database. Those of replays are few: what they do, live delivery waits
# for at the gate.
STORAGE, REPLAY_STORAGE = 4, 2
GRACE = 10.0  # seconds beyond a handler's time for which its transaction may stand still
REPLAY_EVENTS = 10_000  # that all replays of a process may hold together
REPLAY_BYTES = 64 * 1024 * 1024  # of bodies, likewise


class Objection(RouterError):
    """A replay must not be carried out any more; says why."""


class Means(msgspec.Struct, frozen=True):
    """What the deliveries of one kind share: live ones of a subscription, its replays, or one."""

    caller: Caller
    pace: Pace


class Opener:
    """Opens deliveries, live ones and those of replays.

    Args:
        subscriptions: To which, by name.
        log: What is delivered.
        lanes: Writes down how far they have come.
        runs: Knows the replays.
        clock: Time and chance.
        outlet: Where the HTTP requests of handlers leave.

    Attributes:
        storage: The threads that talk to the database for all but replays.
        rebuilds: Those whose deliveries are open, and the names of their subscriptions.
    """

    def __init__(
        self,
        subscriptions: Mapping[str, Subscription],
        *,
        log: EventLog,
        lanes: Lanes,
        runs: ReplayRuns,
        tail: Tail,
        clock: Clock,
        outlet: Outlet,
    ) -> None:
        self.storage = Threads(STORAGE, name="router-storage")
        self._replay_storage = Threads(REPLAY_STORAGE, name="router-replay-storage")
        self._subscriptions = subscriptions
        self._log = log
        self._lanes = lanes
        self._runs = runs
        self._tail = tail
        self._clock = clock
        self._outlet = outlet
        self._parking = Parking(log.store.tables)
        self._replay_room = Room(events=REPLAY_EVENTS, size=REPLAY_BYTES)
        self._turns = {name: Turns() for name in subscriptions}
        self._live = {name: self._make_means(one) for name, one in subscriptions.items()}
        self._replaying = {
            name: Means(self._make_caller(one), self._make_pace(None, name))
            for name, one in subscriptions.items()
        }
        self.rebuilds: dict[int, str] = {}
        self._runs_own: dict[int, Means] = {}

    async def open(
        self, lane: Lane, *, on_dead: OnDead, on_breaker: Callable[[], None]
    ) -> Delivery:
        """Return the delivery of ``lane``, which has not begun.

        Raises:
            Objection: It is of a replay that must not be carried out any more.
        """
        replay = None
        if lane.run != LIVE:
            loop = asyncio.get_running_loop()
            replay = await loop.run_in_executor(self.storage, partial(self._runs.find, lane.run))
            self._require_allowed(replay)
            if replay.rebuilds:
                await loop.run_in_executor(self.storage, partial(self._make_tables, replay))
                self.rebuilds[lane.run] = lane.subscription
        means = self._find_means(lane.subscription, replay)
        tables = self._log.store.tables
        ledger = Ledger(
            lane,
            lanes=self._lanes,
            parking=self._parking,
            storage=self._replay_storage if replay else self.storage,
            sleep=self._clock.sleep,
            tally=partial(add_counts, tables=tables, number=replay.id) if replay else None,
            tell=partial(
                self._log.meters.deliver, lane.subscription, "replay" if replay else "live"
            ),
            patience=means.caller.subscription.options.timeout + GRACE,
        )
        span = self._make_span(lane, replay)
        read_page: Reader = self._tail.read_page
        if replay:
            read_page = partial(self._log.read_page, replay=span.replay)
        return Delivery(
            span,
            caller=means.caller,
            ledger=ledger,
            log=self._log,
            read_page=read_page,
            room=self._replay_room if replay else Room(),
            parking=self._parking,
            turns=self._turns[lane.subscription],
            pace=means.pace,
            clock=self._clock,
            on_dead=on_dead,
            on_breaker=on_breaker,
        )

    def forget(self, run: int) -> None:
        """Let go of what only the deliveries of one replay have used; none is open any more."""
        self.rebuilds.pop(run, None)
        means = self._runs_own.pop(run, None)
        if means is not None:
            means.caller.close()

    def close(self) -> None:
        """Let go of all threads."""
        for means in [*self._live.values(), *self._replaying.values(), *self._runs_own.values()]:
            means.caller.close()
        self.storage.shutdown()
        self._replay_storage.shutdown()

    def _require_allowed(self, replay: Replay) -> None:
        subscription = self._subscriptions[replay.subscription]
        why = find_objection(
            subscription.policies, replay.matching.types, include_effects=replay.include_effects
        )
        if why is None and replay.rebuilds:
            why = find_rebuild_objection(subscription, replay.rebuilds)
            if why is None and set(replay.matching.types) != set(subscription.handlers):
                why = "its plugin handles other types by now: start another rebuild"
        if why is not None:
            raise Objection(why)

    def _make_tables(self, replay: Replay) -> None:
        """Make the tables that a rebuild fills, unless they are there."""
        metadata = self._subscriptions[replay.subscription].tables
        if metadata is not None and replay.rebuilds:
            with self._log.store.writing() as connection:
                names = fresh_tables.name_fresh(replay.rebuilds, replay.id)
                if why := dependents.find_hindrance(connection, names):
                    raise Objection(why)
                fresh_tables.create(connection, metadata, names)

    def _make_span(self, lane: Lane, replay: Replay | None) -> Span:
        if replay is None:
            types = tuple(self._subscriptions[lane.subscription].handlers)
            return Span(Filter(types=types, live=True))
        end = None if replay.is_rebuild else replay.end - 1  # what comes meanwhile is taken, too
        return Span(replay.matching, end, Replaying(replay.id, replay.reason))

    def _find_means(self, name: str, replay: Replay | None) -> Means:
        if replay is None:
            return self._live[name]
        if not (replay.rate or replay.concurrency or replay.rebuilds):
            return self._replaying[name]
        if replay.id not in self._runs_own:
            subscription, limit = self._subscriptions[name], replay.concurrency
            rename = None
            if replay.rebuilds:
                names = fresh_tables.name_fresh(replay.rebuilds, replay.id)
                rename = fresh_tables.make_renaming(names)
            caller = self._make_caller(subscription, concurrency=limit, rename=rename)
            self._runs_own[replay.id] = Means(caller, self._make_pace(replay.rate, name))
        return self._runs_own[replay.id]

    def _make_means(self, subscription: Subscription) -> Means:
        pace = self._make_pace(subscription.options.rate)
        return Means(self._make_caller(subscription), pace)

    def _make_caller(
        self,
        subscription: Subscription,
        *,
        concurrency: int | None = None,
        rename: Callable[[str], str] | None = None,
    ) -> Caller:
        tracing = self._log.tracing
        make = Caller if tracing is None else partial(TracedCaller, tracing=tracing)
        return make(
            subscription,
            log=self._log,
            clock=self._clock.seconds,
            monotonic=self._clock.timer,
            concurrency=concurrency,
            rename=rename,
            outlet=self._outlet,
        )

    def _make_pace(self, rate: float | None, within: str | None = None) -> Pace:
        return Pace(
            rate,
            monotonic=time.monotonic,
            sleep=self._clock.sleep,
            within=None if within is None else self._live[within].pace,
        )
