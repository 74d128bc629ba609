"""Tests of `router.dispatcher`: a worker delivers all that is in the log, from start to stop."""

import asyncio
import threading
import time
from random import Random

import pytest
from sqlalchemy import Connection, select, text, update

from router.events import Event
from router.log import EventLog
from router.options import Options, RetryOptions
from router.retry import Reject, Retry
from router.store import Store
from router.subscriptions import Subscription
from tests.dispatching import dispatching, make_dispatcher
from tests.entries import append, append_messages, make_entry
from tests.loops import in_loop
from tests.recorder import Recorder
from tests.records import (
    ParkedRow,
    count_attempts,
    read_blocked,
    read_checkpoint,
    read_lanes,
    read_parked,
)
from tests.subscribers import EAGER, make_subscription
from tests.waiting import until

AT_ONCE = RetryOptions(first=0, factor=1, jitter=False, attempts=3)


@pytest.fixture
def recorder() -> Recorder:
    """A handler of all events."""
    return Recorder()


def subscribe(recorder: Recorder, name: str = "crm", /, options: Options = EAGER) -> Subscription:
    """Return a subscription with that handler."""
    return make_subscription(name, options, on_event=recorder.on_event)


def take_away(store: Store) -> None:
    """Let another worker take all lanes over."""
    table = store.tables.lane
    with store.writing() as connection:
        taken = {"epoch": table.c.epoch + 1, "owner": "another", "expires_at": 2**60}
        connection.execute(update(table).values(taken))


def forget_progress(store: Store) -> None:
    """Put all lanes back to the beginning of the log, as no transaction of ours does."""
    with store.writing() as connection:
        connection.execute(update(store.tables.lane).values(checkpoint=0, done="[]"))


def read_workers(store: Store) -> set[str]:
    """Return the ids of the workers on record."""
    with store.reading() as connection:
        return set(connection.scalars(select(store.tables.worker.c.id)))


# Order.


@pytest.mark.parametrize("lanes", [1, 8])
@in_loop
async def test_each_subject_is_handled_in_log_order(
    log: EventLog, recorder: Recorder, lanes: int
) -> None:
    """Under concurrency, with failures, each event is handled once and each subject in order."""
    chance = Random(7)  # noqa: S311 - the same ones each time
    names = [f"c{number}" for number in range(12)]
    positions = append_messages(log, [chance.choice(names) for _ in range(400)])
    for position in chance.sample(positions, 40):
        recorder.fail(position, ValueError("busy"))
    options = Options(start="beginning", retry=AT_ONCE, concurrency=5, lanes=lanes)
    async with dispatching(log, subscribe(recorder, options=options)):
        await recorder.until_handled(positions)
        await until(lambda: read_checkpoint(log.store) == 400)
    for name in names:
        assert recorder.of(name) == sorted(recorder.of(name))
    assert recorder.doubled == []
    assert (read_parked(log.store), read_blocked(log.store)) == ({}, {})


@in_loop
async def test_plain_handlers_keep_the_order_too(log: EventLog) -> None:
    """On threads, as on the loop, a subject's events are handled one after another."""
    names = ["ana", "ben", "cleo"]
    positions = append_messages(log, names * 40)
    handled: dict[str, list[int]] = {}
    underway: set[str] = set()

    def handle(event: Event) -> None:
        assert event.subject not in underway
        underway.add(event.subject)
        handled.setdefault(event.subject, []).append(event.position)
        underway.remove(event.subject)

    async with dispatching(log, make_subscription(on_message=handle)):
        await until(lambda: sum(map(len, handled.values())) == len(positions))
    assert all(found == sorted(found) for found in handled.values())
    assert read_parked(log.store) == {}


@in_loop
async def test_a_failing_subject_delays_no_other(log: EventLog, recorder: Recorder) -> None:
    """While one subject fails and another hangs, all others come on, and the order is kept."""
    append_messages(log, ["ana", "ben"])
    recorder.fail(1, Retry(after="1h"))
    recorder.hold(2)
    async with dispatching(log, subscribe(recorder)) as dispatcher:
        await until(lambda: read_blocked(log.store))
        positions = append_messages(log, ["ana", "cleo", "ben", "dora"] * 50)
        dispatcher.wake()
        await recorder.until_handled([one for one in positions if one % 2 == 0])
        recorder.let_go(2)
    assert recorder.of("ana") == []


@in_loop
async def test_two_subscriptions_are_independent(log: EventLog, recorder: Recorder) -> None:
    """A plugin that fails, and one that hangs, change nothing for a third."""
    failing, hanging = Recorder(), Recorder()
    positions = append_messages(log, ["ana", "ben", "ana"])
    for position in positions:
        failing.fail(position, Reject("no"))
    hanging.hold(1, 2)
    others = subscribe(failing, "failing"), subscribe(hanging, "hanging")
    async with dispatching(log, *others, subscribe(recorder)):
        await recorder.until_handled(positions)
        await until(lambda: len(read_parked(log.store, "failing")) == 3)
        await until(lambda: hanging.underway == 2)
        hanging.let_go(1, 2)
        await hanging.until_handled(positions)
    assert read_parked(log.store) == {}
    for name in ("crm", "failing", "hanging"):
        assert read_checkpoint(log.store, name) == 3


# Where a subscription begins, and how far it has come.


@pytest.mark.parametrize(("start", "expected"), [("now", [3]), ("beginning", [1, 2, 3])])
@in_loop
async def test_a_subscription_begins_where_its_options_say(
    log: EventLog, recorder: Recorder, start: str, expected: list[int]
) -> None:
    """A new plugin gets what comes from now on, or all that there is."""
    append_messages(log, ["ana", "ben"])
    options = Options(start="now") if start == "now" else Options(start="beginning")
    async with dispatching(log, subscribe(recorder, options=options)) as dispatcher:
        append_messages(log, ["cleo"])
        dispatcher.wake()
        await recorder.until_handled(expected)


@in_loop
async def test_the_start_is_of_the_first_time_alone(log: EventLog, recorder: Recorder) -> None:
    """A plugin that was stopped for a while gets what came meanwhile, whatever its start."""
    subscription = subscribe(recorder, options=Options(start="now"))
    append_messages(log, ["ana"])
    async with dispatching(log, subscription):
        pass
    append_messages(log, ["ben"])
    async with dispatching(log, subscription):
        await recorder.until_handled([2])


@in_loop
async def test_the_checkpoint_passes_what_nobody_handles(log: EventLog, recorder: Recorder) -> None:
    """Events of types without a handler are not delivered and hold nothing back."""
    append(log, make_entry("ana", "message"), make_entry("ana", "read"), make_entry("ana", "sent"))
    async with dispatching(log, make_subscription(on_message=recorder.on_event)):
        await recorder.until_handled([1])
    assert read_checkpoint(log.store) == 3


@in_loop
async def test_a_subscription_goes_on_where_it_stopped(log: EventLog, recorder: Recorder) -> None:
    """What was handled before a restart is not handled again."""
    for last in (3, 6, 9):
        append_messages(log, ["ana", "ben", "ana"])
        async with dispatching(log, subscribe(recorder)):
            await recorder.until_handled(range(1, last + 1))
    assert read_checkpoint(log.store) == 9


@in_loop
async def test_a_wake_up_may_come_from_any_thread(log: EventLog, recorder: Recorder) -> None:
    """The writer's thread tells of new events, before the start and after the end, too."""
    dispatcher = make_dispatcher(log, subscribe(recorder))
    dispatcher.wake()
    await dispatcher.start()
    append_messages(log, ["ana"])
    thread = threading.Thread(target=dispatcher.wake)
    thread.start()
    await recorder.until_handled([1])
    await dispatcher.stop()
    thread.join()
    dispatcher.wake()


# Failures.


@in_loop
async def test_a_delivery_is_dead_after_its_attempts(log: EventLog, recorder: Recorder) -> None:
    """What fails as often as it may is set aside, and its subject goes on."""
    append_messages(log, ["ana", "ana"])
    recorder.fail(1, *(ValueError(f"try {number}") for number in range(9)))
    options = Options(start="beginning", retry=AT_ONCE)
    async with dispatching(log, subscribe(recorder, options=options)):
        await recorder.until_handled([2])
    assert recorder.calls == [(1, 1), (1, 2), (1, 3), (2, 1)]
    assert read_parked(log.store) == {1: ParkedRow("dead", 3, None)}
    assert count_attempts(log.store, 1) == 3
    assert read_checkpoint(log.store) == 2


@in_loop
async def test_a_rejected_delivery_is_dead_at_once(log: EventLog, recorder: Recorder) -> None:
    """`Reject` sets an event aside without another attempt."""
    append_messages(log, ["ana", "ana"])
    recorder.fail(1, Reject("no such customer"))
    async with dispatching(log, subscribe(recorder)):
        await recorder.until_handled([2])
    assert recorder.calls == [(1, 1), (2, 1)]
    assert read_parked(log.store) == {1: ParkedRow("dead", 1, None)}


@in_loop
async def test_a_dead_letter_may_hold_its_subject(log: EventLog, recorder: Recorder) -> None:
    """With on_dead "hold" the subject waits behind the dead letter, also after a restart."""
    append_messages(log, ["ana", "ana", "ben"])
    recorder.fail(1, Reject("no"))
    options = Options(start="beginning", on_dead="hold", lanes=1)
    subscription = subscribe(recorder, options=options)
    async with dispatching(log, subscription):
        await recorder.until_handled([3])
        await until(lambda: read_blocked(log.store) == {":ana": 1})
    append_messages(log, ["ana", "ben"])
    async with dispatching(log, subscription):
        await recorder.until_handled([3, 5])
    assert read_checkpoint(log.store) == 5
    assert read_blocked(log.store) == {":ana": 1}


@in_loop
async def test_a_retry_survives_a_restart(log: EventLog, recorder: Recorder) -> None:
    """A delivery that waits for its next attempt gets it after a restart, its subject behind it."""
    append_messages(log, ["ana", "ana", "ben"])
    recorder.fail(1, Retry(after="1h"))
    subscription = subscribe(recorder)
    async with dispatching(log, subscription):
        await until(lambda: read_parked(log.store))
        await recorder.until_handled([3])
    table = log.store.tables.parked
    with log.store.writing() as connection:
        connection.execute(update(table).values(next_at=log.store.now()))
    async with dispatching(log, subscription):
        await recorder.until_handled([1, 2, 3])
    assert recorder.calls[-2:] == [(1, 2), (2, 1)]
    assert (read_parked(log.store), read_blocked(log.store)) == ({}, {})


@in_loop
async def test_an_error_that_says_anything_is_set_aside(log: EventLog, recorder: Recorder) -> None:
    """An error that quotes what no database holds is a failure like any other."""
    append_messages(log, ["ana", "ana"])
    options = Options(start="beginning", retry=AT_ONCE)
    recorder.fail(1, ValueError("\ud83d"), Retry("\0"), Reject("\udc00 and \0"))
    async with dispatching(log, subscribe(recorder, options=options)):
        await recorder.until_handled([2])
    assert read_parked(log.store) == {1: ParkedRow("dead", 3, None)}


# Start and stop.


@in_loop
async def test_a_stop_lets_a_running_handler_finish(log: EventLog, recorder: Recorder) -> None:
    """What was begun is finished and on record; no lane and no worker is left behind."""
    append_messages(log, ["ana", "ana"])
    recorder.hold(1)
    dispatcher = make_dispatcher(log, subscribe(recorder))
    await dispatcher.start()
    await recorder.until_called((1, 1))
    assert len(read_workers(log.store)) == 1
    stopping = asyncio.create_task(dispatcher.stop())
    await asyncio.sleep(0)
    assert recorder.underway == 1
    recorder.let_go(1)
    await stopping
    assert recorder.calls == [(1, 1)]
    assert recorder.positions == [1]
    (lane,) = read_lanes(log.store)
    assert (lane.checkpoint, lane.owner) == (1, None)
    assert read_workers(log.store) == set()


@in_loop
async def test_a_stop_waits_for_plain_handlers(log: EventLog) -> None:
    """A handler on a thread may finish, too."""
    append_messages(log, ["ana", "ana"])
    begun, may_end = threading.Event(), threading.Event()
    handled: list[int] = []

    def handle(event: Event) -> None:
        begun.set()
        may_end.wait(timeout=10)
        handled.append(event.position)

    dispatcher = make_dispatcher(log, make_subscription(on_message=handle))
    await dispatcher.start()
    await until(begun.is_set)
    stopping = asyncio.create_task(dispatcher.stop())
    await asyncio.sleep(0)
    may_end.set()
    await stopping
    assert handled == [1]
    assert read_checkpoint(log.store) == 1


@in_loop
async def test_a_stop_does_not_wait_for_ever(log: EventLog, recorder: Recorder) -> None:
    """A handler that does not end is cancelled after the time to drain; its event comes again."""
    append_messages(log, ["ana", "ben"])
    recorder.hold(1)
    subscription = subscribe(recorder)
    async with dispatching(log, subscription, drain=0.01):
        await recorder.until_handled([2])
    assert recorder.underway == 0
    (lane,) = read_lanes(log.store)
    assert (lane.checkpoint, lane.done, lane.owner) == (0, "[[2,2]]", None)
    recorder.let_go(1)
    async with dispatching(log, subscription):
        await recorder.until_handled([1, 2])
    assert recorder.calls == [(1, 1), (2, 1), (1, 1)]


@in_loop
async def test_a_plain_handler_that_hangs_does_not_hold_up_a_stop(log: EventLog) -> None:
    """A handler on a thread that does not return is left behind, and its event comes again."""
    append_messages(log, ["ana"])
    begun, may_end = threading.Event(), threading.Event()

    def handle(event: Event) -> None:
        begun.set()
        may_end.wait(timeout=30)

    async with dispatching(log, make_subscription(on_message=handle), drain=0.01):
        await until(begun.is_set)
    assert not may_end.is_set()
    (lane,) = read_lanes(log.store)
    assert (lane.checkpoint, lane.owner) == (0, None)
    may_end.set()


@in_loop
async def test_a_dispatcher_without_work_starts_and_stops(log: EventLog) -> None:
    """With no subscription there is nothing to claim and nothing to wait for."""
    async with dispatching(log):
        pass
    assert read_workers(log.store) == set()


# Several workers.


@in_loop
async def test_another_worker_takes_over_after_a_stop(log: EventLog, recorder: Recorder) -> None:
    """A second worker waits beside the first, and delivers once that has given its lanes back."""
    other = Recorder()
    options = Options(start="beginning", lanes=4)
    append_messages(log, ["ana", "ben", "cleo"])
    first = make_dispatcher(log, subscribe(recorder, options=options))
    await first.start()
    await recorder.until_handled([1, 2, 3])
    async with dispatching(log, subscribe(other, options=options)) as second:
        await first.stop()
        append_messages(log, ["ana", "ben", "cleo"])
        second.wake()
        await other.until_handled([4, 5, 6])
    assert sorted(recorder.positions) == [1, 2, 3]
    assert [lane.owner for lane in read_lanes(log.store)] == [None] * 4


@in_loop
async def test_a_worker_that_has_lost_its_lane_writes_nothing_more(
    log: EventLog, recorder: Recorder
) -> None:
    """Whatever a former owner still does leaves no trace: no checkpoint, no failure, no block."""
    append_messages(log, ["ana", "ben", "cleo"])
    recorder.hold(1, 2)
    recorder.fail(1, Reject("no"))
    async with dispatching(log, subscribe(recorder)):
        await recorder.until_handled([3])
        take_away(log.store)
        before = read_lanes(log.store)
        recorder.let_go(1, 2)
        await until(lambda: recorder.underway == 0)
    assert read_lanes(log.store) == before
    assert (read_parked(log.store), read_blocked(log.store)) == ({}, {})


@in_loop
async def test_a_worker_notices_that_it_has_lost_a_lane(log: EventLog, recorder: Recorder) -> None:
    """The calls of a lane that another worker took are cancelled, even if nothing is to write."""
    append_messages(log, ["ana"])
    recorder.hold(1)
    async with dispatching(log, subscribe(recorder)):
        await until(lambda: recorder.underway == 1)
        take_away(log.store)
        await until(lambda: recorder.underway == 0)
    assert recorder.handled == []


@in_loop
async def test_a_delivery_that_breaks_off_begins_again(database: str, recorder: Recorder) -> None:
    """What goes wrong in our own work costs a rest, and no event."""
    skipped = 0.0
    store = Store(database, clock=lambda: time.time() + skipped)
    log = EventLog(store)
    append_messages(log, ["ana", "ben"])
    recorder.fail(1, Reject("no"))
    async with dispatching(log, subscribe(recorder)):
        await until(lambda: read_parked(store))
    forget_progress(store)
    recorder.fail(1, Reject("no"))  # which is parked already
    async with dispatching(log, subscribe(recorder)):
        await until(lambda: recorder.calls.count((1, 1)) == 2)
        await until(lambda: read_lanes(store)[0].owner is None)
        append_messages(log, ["ben"])
        skipped = 3600.0
        await until(lambda: 3 in recorder.positions)
    assert recorder.calls.count((1, 1)) == 3
    assert read_checkpoint(store) == 3
    store.close()


@in_loop
async def test_a_paused_subscription_is_not_delivered(log: EventLog, recorder: Recorder) -> None:
    """A subscription that is paused when a worker starts gets nothing until it is active again."""
    subscription = subscribe(recorder)
    async with dispatching(log, subscription):
        pass
    table = log.store.tables.subscription
    with log.store.writing() as connection:
        connection.execute(update(table).values(state="paused"))
    append_messages(log, ["ana"])
    async with dispatching(log, subscription) as dispatcher:
        dispatcher.wake()
        assert read_lanes(log.store)[0].owner is None
        with log.store.writing() as connection:
            connection.execute(update(table).values(state="active"))
        await recorder.until_handled([1])


# Handlers within the transaction.


def insert_alias(connection: Connection, event: Event) -> None:
    """Have an effect that may be had once only."""
    insert = "INSERT INTO alias VALUES (:channel, :contact, '')"
    connection.execute(text(insert), {"channel": event.channel, "contact": event.id})


def count_aliases(store: Store) -> int:
    """Count the effects."""
    with store.reading() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM alias").scalar_one())


@in_loop
async def test_transactional_effects_are_there_once(log: EventLog) -> None:
    """What a handler writes through the connection is there exactly once, whatever fails."""
    positions = append_messages(log, ["ana", "ben", "ana", "cleo"])
    calls: list[int] = []

    def handle(event: Event, connection: Connection) -> None:
        calls.append(event.position)
        insert_alias(connection, event)
        if calls.count(event.position) < event.position % 3:
            raise ValueError("busy")

    options = Options(start="beginning", retry=AT_ONCE)
    subscription = make_subscription(options=options, on_message=handle)
    async with dispatching(log, subscription):
        await until(lambda: count_aliases(log.store) == len(positions))
        await until(lambda: not read_parked(log.store))
    assert sorted(calls) == [1, 2, 2, 3, 4]
    assert read_checkpoint(log.store) == 4


@in_loop
async def test_a_transactional_effect_and_its_checkpoint_are_one(log: EventLog) -> None:
    """Where an effect is on record, so is that its event is settled."""
    append_messages(log, ["ana", "ben"])

    def handle(event: Event, connection: Connection) -> None:
        insert_alias(connection, event)

    def read() -> tuple[int, int]:
        with log.store.reading() as connection:
            query = "SELECT checkpoint, (SELECT count(*) FROM alias) FROM lane"
            checkpoint, effects = connection.exec_driver_sql(query).one()
        return checkpoint, effects

    async with dispatching(log, make_subscription(on_message=handle)):
        seen: set[tuple[int, int]] = set()
        while (2, 2) not in seen:
            seen.add(read())
            await asyncio.sleep(0)
    assert seen <= {(0, 0), (1, 1), (2, 2)}
