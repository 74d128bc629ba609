"""Tests of `router.attempts`: a call waits for its turn, is made, and gives the turn back."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, update

from router.attempts import Attempts
from router.batches import WANTED_SECONDS, Attempt
from router.events import Event, Replaying
from router.failures import Failed
from router.lane import LeaseLost
from router.lanes import Lanes
from router.ledger import Ledger
from router.log import EventLog
from router.options import Options
from router.parking import Parking
from router.replay_counts import Count
from router.roster import Roster
from router.store import Store
from router.subscriptions import Caller, Subscription
from router.threads import Threads
from router.turns import Pace, Turns
from tests.bench import HandClock
from tests.entries import append_messages
from tests.loops import in_loop
from tests.recorder import Recorder
from tests.subscribers import EAGER, make_subscription
from tests.waiting import until

REPLAYING = Replaying(4, "a test")


class Table:
    """What attempts are made with: a lane, its ledger, turns, and a clock that stands still.

    Attributes:
        events: Two messages of ana, and one of ben.
        told: What was recorded of attempts, in order.
        is_wanted: Whether somebody else waits to write.
    """

    def __init__(self, store: Store) -> None:
        self.log = EventLog(store)
        append_messages(self.log, ["ana", "ana", "ben"])
        self.events = list(self.log.read())
        self.turns = Turns()
        self.clock = HandClock()
        self.told: list[str] = []
        self.is_wanted = False
        self._store = store
        self._storage = Threads(2, name="storage")
        roster = Roster(store, pid=1)
        roster.declare("crm", {}, EAGER)
        lanes = Lanes(store, worker=roster.worker)
        (lane,) = lanes.claim(["crm"])
        self.ledger = Ledger(
            lane,
            lanes=lanes,
            parking=Parking(store.tables),
            storage=self._storage,
            sleep=self.clock.sleep,
        )
        self.ledger.progress.take([1, 2, 3], reached=3)

    def make(self, subscription: Subscription, *, replaying: Replaying | None = None) -> Attempts:
        """Return what makes attempts."""
        return Attempts(
            caller=Caller(subscription, log=self.log),
            ledger=self.ledger,
            turns=self.turns,
            pace=Pace(
                subscription.options.rate, monotonic=self.clock.seconds, sleep=self.clock.sleep
            ),
            replaying=replaying,
            is_wanted=lambda: self.is_wanted,
            monotonic=self.clock.seconds,
        )

    def attempts(self, *at: int) -> list[Attempt]:
        """Return first attempts at these events, all of them where none are named."""
        events = [self.events[one] for one in at] if at else self.events
        return [Attempt(event, 1, self._record, lambda failed: True) for event in events]

    def begin(self, connection: Connection) -> None:
        """Write down that an attempt is made."""
        self.told.append("began")

    def take_away(self) -> None:
        """Let another worker take the lane over."""
        table = self._store.tables.lane
        with self._store.writing() as connection:
            connection.execute(update(table).values(epoch=table.c.epoch + 1))

    def close(self) -> None:
        """Let go of the threads."""
        self._storage.shutdown()

    def _record(self, connection: Connection, failed: Failed | None) -> Count | None:
        self.told.append("succeeded" if failed is None else failed.failure.outcome)
        return "message", "done" if failed is None else "failed"


@pytest.fixture
def table(store: Store) -> Iterator[Table]:
    """A table with all that attempts are made with."""
    table = Table(store)
    yield table
    table.close()


@pytest.fixture
def recorder() -> Recorder:
    """A handler of all events."""
    return Recorder()


def subscribe(handler: Callable[..., object], options: Options = EAGER) -> Subscription:
    """Return a subscription with this handler of all events."""
    return make_subscription("crm", options, on_event=handler)


# A call by itself.


@in_loop
async def test_an_attempt_is_on_record_before_the_call(table: Table, recorder: Recorder) -> None:
    """Where something is to be written down first, the handler is called after the commit."""
    recorder.hold(1)
    attempts = table.make(subscribe(recorder.on_event))
    calling = asyncio.create_task(attempts.call(table.events[0], number=2, begin=table.begin))
    await until(lambda: recorder.underway)
    assert table.told == ["began"]
    recorder.let_go(1)
    assert await calling is None
    assert recorder.calls == [(1, 2)]


@in_loop
async def test_nobody_is_called_without_the_lane(table: Table, recorder: Recorder) -> None:
    """Who cannot write that the attempt is made does not make it, and gives the turn back."""
    attempts = table.make(subscribe(recorder.on_event))
    table.take_away()
    with pytest.raises(LeaseLost):
        await attempts.call(table.events[0], number=2, begin=table.begin)
    assert recorder.calls == []
    assert table.turns.try_take(":ana")


@in_loop
async def test_a_subject_is_in_one_call_at_a_time(table: Table, recorder: Recorder) -> None:
    """Attempts at one subject wait for one another; others do not wait for them."""
    recorder.hold(1)
    attempts = table.make(subscribe(recorder.on_event))
    calling = [asyncio.create_task(attempts.call(one, number=1)) for one in table.events]
    await until(lambda: recorder.positions == [3])
    assert recorder.calls == [(1, 1), (3, 1)]
    recorder.let_go(1)
    await asyncio.gather(*calling)
    assert recorder.positions == [3, 1, 2]


@in_loop
async def test_without_an_order_a_subject_needs_no_turn(table: Table, recorder: Recorder) -> None:
    """With order "none" attempts at one subject are made side by side."""
    recorder.hold(1, 2)
    attempts = table.make(subscribe(recorder.on_event, Options(start="beginning", order="none")))
    calling = [asyncio.create_task(attempts.call(one, number=1)) for one in table.events[:2]]
    await until(lambda: recorder.underway == 2)
    recorder.let_go(1, 2)
    await asyncio.gather(*calling)


@in_loop
async def test_live_attempts_go_before_those_of_a_replay(table: Table, recorder: Recorder) -> None:
    """Live delivery and replays share the turns of a subject; live ones come first."""
    subscription = subscribe(recorder.on_event)
    live, replay = table.make(subscription), table.make(subscription, replaying=REPLAYING)
    recorder.hold(1)
    calling = []
    for attempts, at in ((live, 0), (replay, 1), (live, 1)):
        calling.append(asyncio.create_task(attempts.call(table.events[at], number=1)))
        await asyncio.sleep(0)
    await until(lambda: recorder.underway)
    recorder.let_go(1)
    await asyncio.gather(*calling)
    assert [event.replay for event in recorder.handled] == [None, None, REPLAYING]


@in_loop
async def test_attempts_keep_the_pace(table: Table, recorder: Recorder) -> None:
    """With a rate, an attempt waits until it may be made, not a microsecond less."""
    attempts = table.make(subscribe(recorder.on_event, Options(rate=2)))
    calling = [asyncio.create_task(attempts.call(table.events[at], number=1)) for at in (0, 2)]
    await until(lambda: recorder.positions == [1])
    table.clock.advance(0.499_999)
    for _ in range(20):
        await asyncio.sleep(0)
    assert recorder.positions == [1]
    table.clock.advance(0.000_001)
    await asyncio.gather(*calling)
    assert recorder.positions == [1, 3]


@in_loop
async def test_stopping_gives_up_what_waits(table: Table, recorder: Recorder) -> None:
    """What waits for its turn is cancelled, what comes later is never made, calls go on."""
    recorder.hold(1)
    attempts = table.make(subscribe(recorder.on_event))
    underway = asyncio.create_task(attempts.call(table.events[0], number=1))
    waiting = asyncio.create_task(attempts.call(table.events[1], number=1))
    await until(lambda: recorder.underway)
    attempts.stop()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(asyncio.CancelledError):
        await attempts.call(table.events[2], number=1)
    recorder.let_go(1)
    assert await underway is None
    assert recorder.calls == [(1, 1)]
    assert table.turns.try_take(":ana")


@in_loop
async def test_what_is_written_down_is_made(table: Table, recorder: Recorder) -> None:
    """A stop that comes while an attempt goes on record is too late: it counts, so it is made."""
    attempts = table.make(subscribe(recorder.on_event))

    def begin(connection: Connection) -> None:
        attempts.stop()

    assert await attempts.call(table.events[0], number=2, begin=begin) is None
    assert recorder.calls == [(1, 2)]


@in_loop
async def test_a_turn_lasts_until_the_plain_handler_returns(table: Table) -> None:
    """A plain handler whose caller was cancelled keeps its subject until it has returned."""
    begun: list[int] = []
    may_end = threading.Event()

    def handle(event: Event) -> None:
        begun.append(event.position)
        assert may_end.wait(10)

    attempts = table.make(subscribe(handle))
    first = asyncio.create_task(attempts.call(table.events[0], number=1))
    await until(lambda: begun == [1])
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(attempts.call(table.events[1], number=1))
    other = asyncio.create_task(attempts.call(table.events[2], number=1))
    await until(lambda: begun == [1, 3])
    may_end.set()
    await asyncio.gather(second, other)
    assert begun == [1, 3, 2]


# Calls within a transaction.


def note(into: list[int]) -> Callable[[Event, Connection], None]:
    """Return a handler that notes the positions of the events it is called with."""

    def handle(event: Event, connection: Connection) -> None:
        into.append(event.position)

    return handle


@in_loop
async def test_several_calls_are_one_transaction(table: Table) -> None:
    """What was called is recorded and settled in one, and its turns are given back."""
    calls: list[int] = []
    attempts = table.make(subscribe(note(calls)))
    ended = await attempts.call_within(table.attempts(), begin=table.begin)
    assert [one.attempt.event.position for one in ended] == calls == [1, 2, 3]
    assert table.told == ["began"] + ["succeeded"] * 3
    assert table.ledger.progress.pending == 0
    assert all(table.turns.try_take(subject) for subject in (":ana", ":ben"))


@in_loop
async def test_whoever_waits_to_write_ends_the_batch(table: Table) -> None:
    """What was not called is not settled: it is of the next batch."""
    calls: list[int] = []

    def handle(event: Event, connection: Connection) -> None:
        calls.append(event.position)
        table.clock.advance(2 * WANTED_SECONDS)

    table.is_wanted = True
    attempts = table.make(subscribe(handle))
    assert len(await attempts.call_within(table.attempts())) == 1
    assert calls == [1]
    assert table.ledger.progress.checkpoint == 1


@in_loop
async def test_a_batch_ends_before_a_turn_that_is_taken(table: Table) -> None:
    """Where a replay calls for a subject, what comes before it need not wait for that."""
    calls: list[int] = []
    attempts = table.make(subscribe(note(calls)))
    assert table.turns.try_take(":ben")
    assert len(await attempts.call_within(table.attempts())) == 2
    assert calls == [1, 2]
    last = asyncio.create_task(attempts.call_within(table.attempts(2)))
    await until(lambda: table.turns.is_wanted(":ben"))
    assert calls == [1, 2]
    table.turns.give_back(":ben")
    assert len(await last) == 1
    assert calls == [1, 2, 3]


@in_loop
async def test_with_a_pace_a_batch_is_one_call(table: Table) -> None:
    """A rate spaces calls, and so each is a transaction of its own."""
    calls: list[int] = []
    attempts = table.make(subscribe(note(calls), Options(rate=2)))
    assert len(await attempts.call_within(table.attempts())) == 1
    assert calls == [1]


@in_loop
async def test_a_replays_batch_says_so(table: Table) -> None:
    """A transactional handler learns which replay calls it."""
    found: list[Replaying | None] = []

    def handle(event: Event, connection: Connection) -> None:
        found.append(event.replay)

    attempts = table.make(subscribe(handle), replaying=REPLAYING)
    await attempts.call_within(table.attempts(0))
    assert found == [REPLAYING]


@in_loop
async def test_a_former_owner_calls_no_transactional_handler(table: Table) -> None:
    """Without the lane the transaction ends before a handler is called, and turns are free."""
    calls: list[int] = []
    attempts = table.make(subscribe(note(calls)))
    table.take_away()
    with pytest.raises(LeaseLost):
        await attempts.call_within(table.attempts())
    assert (calls, table.told) == ([], [])
    assert all(table.turns.try_take(subject) for subject in (":ana", ":ben"))
