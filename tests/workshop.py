"""A workshop: the parts of a delivery put together by hand, so that each can be tried alone."""

from collections.abc import Callable

from msgspec import structs

from router.agenda import Agenda
from router.attempts import Attempts
from router.breaker import SUBJECTS, Breaker
from router.clock import Clock
from router.events import Event
from router.firsts import Firsts
from router.lanes import Lanes
from router.ledger import Ledger
from router.log import EventLog
from router.parking import Parking
from router.roster import Roster
from router.slots import Slots
from router.store import Store
from router.subscriptions import Caller, Subscription
from router.threads import Threads
from router.turns import Pace, Turns
from router.verdicts import Verdicts
from tests.bench import HandClock
from tests.records import LaneRow, ParkedRow, read_blocked, read_lanes, read_parked


class Workshop:
    """What first attempts are made with, by a clock that only the test puts forward.

    Attributes:
        clock: It stands at the moment of the claim.
        changes: How often something was said to have changed.
        dead: Position and attempts of what was told to be dead.
    """

    def __init__(self, store: Store, subscription: Subscription) -> None:
        self.clock = HandClock()
        self.store = store = Store(store.engine, clock=self.clock.seconds)
        self.log = EventLog(store)
        self.changes = 0
        self.dead: list[tuple[int, int]] = []
        self._storage = Threads(2, name="storage")
        self.turns = Turns()
        self.slots = Slots(subscription.options.concurrency, on_change=self.note_change)
        self.agenda = Agenda()
        clock = Clock(now=lambda: self.clock.micros, sleep=self.clock.sleep, random=lambda: 0.5)
        self.breaker = Breaker(now=clock.now, on_change=self.note_change)
        roster = Roster(store, pid=1)
        roster.declare(subscription.name, {}, structs.replace(subscription.options, lanes=1))
        lanes = Lanes(store, worker=roster.worker)
        (lane,) = lanes.claim([subscription.name])
        parking = Parking(store.tables)
        self.ledger = Ledger(
            lane, lanes=lanes, parking=parking, storage=self._storage, sleep=self.clock.sleep
        )
        self.caller = Caller(
            subscription, log=self.log, clock=self.clock.seconds, monotonic=self.clock.seconds
        )
        self.attempts = Attempts(
            caller=self.caller,
            ledger=self.ledger,
            turns=self.turns,
            pace=Pace(
                subscription.options.rate, monotonic=self.clock.seconds, sleep=self.clock.sleep
            ),
            replaying=None,
            is_wanted=lambda: False,
            monotonic=self.clock.seconds,
        )
        self.verdicts = Verdicts(
            subscription.options,
            lane=lane,
            agenda=self.agenda,
            breaker=self.breaker,
            clock=clock,
            on_dead=lambda event, attempts, error: self.dead.append((event.position, attempts)),
        )
        self.firsts = Firsts(
            attempts=self.attempts,
            ledger=self.ledger,
            parking=parking,
            verdicts=self.verdicts,
            clock=clock,
        )

    def take(self) -> list[Event]:
        """Take all events that are in the log, as a delivery takes them."""
        events = list(self.log.read(after=self.ledger.progress.cursor))
        reached = events[-1].position
        self.ledger.progress.take([event.position for event in events], reached=reached)
        return events

    def open_breaker(self) -> None:
        """Let calls for other subjects fail until the breaker opens."""
        for number in range(SUBJECTS):
            self.breaker.fail(f"other {number}")
        assert self.breaker.is_open

    def note_change(self) -> None:
        """Count a change."""
        self.changes += 1

    @property
    def pending(self) -> list[int]:
        """The positions that are taken and not settled."""
        progress = self.ledger.progress
        return [one for one in range(1, progress.cursor + 1) if progress.has_pending(one, one)]

    def parked(self) -> dict[int, ParkedRow]:
        """Return the parked deliveries on record."""
        return read_parked(self.store)

    def blocked(self) -> dict[str, int]:
        """Return the blocked subjects on record."""
        return read_blocked(self.store)

    def recorded(self) -> LaneRow:
        """Return the lane as it is on record."""
        (lane,) = read_lanes(self.store)
        return lane

    def close(self) -> None:
        """Let go of the threads and the connections."""
        self.caller.close()
        self._storage.shutdown()
        self.store.close()


MakeWorkshop = Callable[[Subscription], Workshop]
