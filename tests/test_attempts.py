"""Tests of `router.attempts`: a turn, a call, and the record of what came of it."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, update

from router.attempts import Attempt, Attempts
from router.events import Event, Replaying
from router.lanes import Lanes, LeaseLost
from router.ledger import Ledger, Outcome
from router.log import EventLog
from router.options import Options
from router.parking import Parking
from router.retry import Reject
from router.store import Store
from router.subscriptions import Caller, Failed, Subscription
from router.threads import Threads
from router.turns import Pace, Turns
from tests.bench import HandClock
from tests.entries import append_messages
from tests.loops import in_loop
from tests.recorder import Recorder
from tests.subscribers import EAGER, make_subscription
from tests.waiting import until


class Table:
    """What attempts are made with: a lane, its ledger, turns, and a clock that stands still.

    Attributes:
        events: Two messages of ana, and one of ben.
        told: What was noted and recorded of attempts, in order.
        counted: What the tally was told: done and failed.
    """

    def __init__(self, store: Store) -> None:
        self.log = EventLog(store)
        append_messages(self.log, ["ana", "ana", "ben"])
        self.events = list(self.log.read())
        self.turns = Turns()
        self.clock = HandClock()
        self.told: list[str] = []
        self.counted = [0, 0]
        self._store = store
        self._storage = Threads(2, name="storage")
        lanes = Lanes(store, pid=1)
        lanes.declare("crm", {}, EAGER)
        (lane,) = lanes.claim(["crm"])
        self.ledger = Ledger(
            lane,
            lanes=lanes,
            parking=Parking(store.tables),
            storage=self._storage,
            sleep=self.clock.sleep,
            tally=self._tally,
        )

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
        )

    def attempt(self, at: int = 0, *, number: int = 1) -> Attempt:
        """Return an attempt at one of the events; a further one is written down before."""
        return Attempt(
            self.events[at],
            number,
            note=lambda: self.told.append("noted"),
            record=self._record,
            begin=None if number == 1 else self._begin,
        )

    def take_away(self) -> None:
        """Let another worker take the lane over."""
        table = self._store.tables.lane
        with self._store.writing() as connection:
            connection.execute(update(table).values(epoch=table.c.epoch + 1))

    def close(self) -> None:
        """Let go of the threads."""
        self._storage.shutdown()

    def _begin(self, connection: Connection) -> None:
        self.told.append("began")

    def _record(self, connection: Connection, failed: Failed | None) -> Outcome | None:
        self.told.append("succeeded" if failed is None else failed.failure.outcome)
        return "done" if failed is None else "failed"

    def _tally(self, connection: Connection, *, done: int, failed: int) -> None:
        self.counted[0] += done
        self.counted[1] += failed


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


@in_loop
async def test_a_first_success_costs_no_statement(table: Table, recorder: Recorder) -> None:
    """What succeeds at once is noted and counted; it goes on record with the next flush."""
    attempts = table.make(subscribe(recorder.on_event))
    assert await attempts.make(table.attempt()) is None
    assert table.told == ["noted"]
    assert table.counted == [0, 0]
    await table.ledger.flush()
    assert table.counted == [1, 0]


@in_loop
async def test_a_failure_is_on_record_when_it_is_told(table: Table, recorder: Recorder) -> None:
    """What failed is noted and recorded in one transaction before anything else happens."""
    recorder.fail(1, Reject("no"))
    attempts = table.make(subscribe(recorder.on_event))
    failed = await attempts.make(table.attempt())
    assert failed is not None
    assert failed.is_final
    assert table.told == ["noted", "rejected"]
    assert table.counted == [0, 1]


@in_loop
async def test_a_further_attempt_is_on_record_before_the_call(
    table: Table, recorder: Recorder
) -> None:
    """That it is made is written down first, and how it ended after, be it a success."""
    recorder.hold(1)
    attempts = table.make(subscribe(recorder.on_event))
    making = asyncio.create_task(attempts.make(table.attempt(number=2)))
    await until(lambda: recorder.underway)
    assert table.told == ["began"]
    recorder.let_go(1)
    assert await making is None
    assert table.told == ["began", "noted", "succeeded"]
    assert recorder.calls == [(1, 2)]
    assert table.counted == [1, 0]


@in_loop
async def test_a_subject_is_in_one_call_at_a_time(table: Table, recorder: Recorder) -> None:
    """Attempts at one subject wait for one another; others do not wait for them."""
    recorder.hold(1)
    attempts = table.make(subscribe(recorder.on_event))
    making = [asyncio.create_task(attempts.make(table.attempt(at))) for at in range(3)]
    await until(lambda: recorder.positions == [3])
    assert recorder.calls == [(1, 1), (3, 1)]
    recorder.let_go(1)
    await asyncio.gather(*making)
    assert recorder.positions == [3, 1, 2]


@in_loop
async def test_without_an_order_a_subject_needs_no_turn(table: Table, recorder: Recorder) -> None:
    """With order "none" attempts at one subject are made side by side."""
    recorder.hold(1, 2)
    options = Options(start="beginning", order="none")
    attempts = table.make(subscribe(recorder.on_event, options))
    making = [asyncio.create_task(attempts.make(table.attempt(at))) for at in (0, 1)]
    await until(lambda: recorder.underway == 2)
    recorder.let_go(1, 2)
    await asyncio.gather(*making)


@in_loop
async def test_live_attempts_go_before_those_of_a_replay(table: Table, recorder: Recorder) -> None:
    """Live delivery and replays share the turns of a subject; live ones come first."""
    subscription = subscribe(recorder.on_event)
    live = table.make(subscription)
    replay = table.make(subscription, replaying=Replaying(4, "a test"))
    recorder.hold(1)
    making = [asyncio.create_task(live.make(table.attempt()))]
    await until(lambda: recorder.underway)
    making.append(asyncio.create_task(replay.make(table.attempt(1))))
    await asyncio.sleep(0)
    making.append(asyncio.create_task(live.make(table.attempt(1))))
    await asyncio.sleep(0)
    recorder.let_go(1)
    await asyncio.gather(*making)
    assert [event.replay for event in recorder.handled] == [None, None, Replaying(4, "a test")]


@in_loop
async def test_attempts_keep_the_pace(table: Table, recorder: Recorder) -> None:
    """With a rate, an attempt waits until it may be made."""
    attempts = table.make(subscribe(recorder.on_event, Options(rate=2)))
    making = [asyncio.create_task(attempts.make(table.attempt(at))) for at in (0, 2)]
    await until(lambda: recorder.positions == [1])
    table.clock.advance(0.5)
    await asyncio.gather(*making)
    assert recorder.positions == [1, 3]


@in_loop
async def test_stopping_gives_up_what_waits(table: Table, recorder: Recorder) -> None:
    """What waits for its turn is cancelled, what comes later is never made, calls go on."""
    recorder.hold(1)
    attempts = table.make(subscribe(recorder.on_event))
    underway = asyncio.create_task(attempts.make(table.attempt(0)))
    waiting = asyncio.create_task(attempts.make(table.attempt(1)))
    await until(lambda: recorder.underway)
    attempts.stop()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(asyncio.CancelledError):
        await attempts.make(table.attempt(2))
    recorder.let_go(1)
    assert await underway is None
    assert recorder.calls == [(1, 1)]


@in_loop
async def test_what_came_of_an_attempt_is_not_written_without_the_lane(
    table: Table, recorder: Recorder
) -> None:
    """A failure after another worker took the lane is told to nobody."""
    recorder.hold(1)
    recorder.fail(1, ValueError("busy"))
    attempts = table.make(subscribe(recorder.on_event))
    making = asyncio.create_task(attempts.make(table.attempt()))
    await until(lambda: recorder.underway)
    table.take_away()
    recorder.let_go(1)
    with pytest.raises(LeaseLost):
        await making
    assert "failed" not in table.told


@in_loop
async def test_a_turn_lasts_until_the_plain_handler_returns(table: Table) -> None:
    """A plain handler whose caller was cancelled keeps its subject until it has returned."""
    begun: list[int] = []
    may_end = threading.Event()

    def handle(event: Event) -> None:
        begun.append(event.position)
        assert may_end.wait(10)

    attempts = table.make(subscribe(handle))
    first = asyncio.create_task(attempts.make(table.attempt(0)))
    await until(lambda: begun == [1])
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(attempts.make(table.attempt(1)))
    other = asyncio.create_task(attempts.make(table.attempt(2)))
    await until(lambda: begun == [1, 3])
    may_end.set()
    await asyncio.gather(second, other)
    assert begun == [1, 3, 2]


# Within the transaction.


def write_alias(connection: Connection, event: Event) -> None:
    """Have an effect that can be had once only."""
    insert = "INSERT INTO alias VALUES ('', :contact, '')"
    connection.exec_driver_sql(insert, {"contact": str(event.position)})


def aliases(store: Store) -> list[str]:
    """Return the effects."""
    with store.reading() as connection:
        found = connection.exec_driver_sql("SELECT contact FROM alias ORDER BY contact")
        return list(found.scalars())


@in_loop
async def test_effects_and_record_are_one_transaction(table: Table) -> None:
    """A transactional handler is called while its event is settled, and both are there or none."""
    effects: list[list[str]] = []

    def handle(event: Event, connection: Connection) -> None:
        effects.append(aliases(table.log.store))
        write_alias(connection, event)

    attempts = table.make(subscribe(handle))
    for at in range(3):
        assert await attempts.make(table.attempt(at)) is None
    assert effects == [[], ["1"], ["1", "2"]]
    assert aliases(table.log.store) == ["1", "2", "3"]
    assert table.told == ["noted", "succeeded"] * 3
    assert table.counted == [3, 0]


@in_loop
async def test_a_failed_effect_is_taken_back_and_recorded(table: Table) -> None:
    """When a transactional handler fails, that is on record, and nothing of what it wrote."""

    def handle(event: Event, connection: Connection) -> None:
        write_alias(connection, event)
        raise ValueError("busy")

    attempts = table.make(subscribe(handle))
    failed = await attempts.make(table.attempt())
    assert failed is not None
    assert failed.failure.error == "ValueError: busy"
    assert aliases(table.log.store) == []
    assert (table.told, table.counted) == (["noted", "failed"], [0, 1])


@in_loop
async def test_a_former_owner_calls_no_transactional_handler(table: Table) -> None:
    """Without the lane, the transaction ends before the handler is called."""
    calls: list[int] = []

    def handle(event: Event, connection: Connection) -> None:
        calls.append(event.position)

    attempts = table.make(subscribe(handle))
    table.take_away()
    with pytest.raises(LeaseLost):
        await attempts.make(table.attempt())
    assert (calls, table.told) == ([], ["noted"])


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK", "RELEASE sa_savepoint_1"])
@in_loop
async def test_a_handler_that_ends_the_transaction_has_failed(table: Table, statement: str) -> None:
    """What a handler does behind our back costs its event, and leaves neither effect nor block."""
    calls: list[int] = []

    def handle(event: Event, connection: Connection) -> None:
        calls.append(event.position)
        if event.position == 1:
            connection.exec_driver_sql(statement)

    attempts = table.make(subscribe(handle))
    making = asyncio.create_task(attempts.make(table.attempt()))
    await until(lambda: making.done() or table.clock.sleepers)
    table.clock.advance(60)
    failed = await making
    assert failed is not None
    assert await attempts.make(table.attempt(2)) is None
    assert calls == [1, 3]
    assert table.counted == [1, 1]
