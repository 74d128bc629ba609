"""Tests of replays that are paused, resumed and cancelled while a dispatcher carries them out."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from router.log import EventLog
from router.options import Options, RetryOptions
from router.replay import Replays
from router.replay_record import Replay
from router.retry import Reject, Retry
from router.store import Store
from router.subscriptions import Subscription
from tests.dispatching import dispatching
from tests.entries import append_messages
from tests.loops import in_loop
from tests.recorder import Recorder
from tests.records import read_blocked, read_checkpoint, read_lanes, read_parked
from tests.subscribers import make_subscription
from tests.waiting import until


@pytest.fixture
def replays(log: EventLog) -> Replays:
    """Where replays are on record."""
    return Replays(log)


@pytest.fixture
def recorder() -> Recorder:
    """A handler of all events."""
    return Recorder()


def subscribe(
    handler: Callable[..., object], *, concurrency: int = 32, lanes: int = 1
) -> Subscription:
    """Return a subscription, born at the log's end, with this handler of all events."""
    retry = RetryOptions(first=3600, jitter=False)
    options = Options(
        replay="allow", concurrency=concurrency, lanes=lanes, retry=retry, start="now"
    )
    return make_subscription("crm", options, on_event=handler)


def start(replays: Replays, *, first: int = 1) -> Replay:
    """Start a replay from ``first`` on."""
    return replays.start(replays.plan("crm", first=first), reason="test", by="me")


async def until_state(replays: Replays, state: str, number: int = 1) -> Replay:
    """Wait until a replay is in this state, and return it."""
    await until(lambda: replays.find(number).state == state)
    return replays.find(number)


async def until_heeded(replays: Replays) -> None:
    """Wait until the dispatcher has looked at what was asked of it before."""
    for _ in range(2):  # it may have been in the midst of a look
        number = start(replays, first=1_000).id
        await until_state(replays, "done", number)


async def until_free(store: Store) -> None:
    """Wait until nobody owns the lanes of the first replay."""
    await until(lambda: all(lane.owner is None for lane in read_lanes(store, run=1)))


@in_loop
async def test_a_paused_replay_goes_on_where_it_was(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """It lets go once the calls under way have ended, and repeats and leaves out none later."""
    positions = append_messages(log, [f"c{number}" for number in range(20)])
    recorder.hold(10)
    async with dispatching(log, subscribe(recorder.on_event, concurrency=1)) as dispatcher:
        start(replays)
        await until(lambda: recorder.underway)
        assert replays.pause(1, actor="ana")
        await until_heeded(replays)
        recorder.let_go(10)
        await until_free(log.store)
        paused = replays.find(1)
        assert recorder.positions == positions[:10]
        assert paused.done == 10
        append_messages(log, ["ana"])
        dispatcher.wake()
        await until(lambda: 21 in recorder.positions)  # what is live goes on
        assert replays.find(1) == paused
        assert replays.resume(1, actor="ana")
        done = await until_state(replays, "done")
    assert (done.done, done.failed) == (20, 0)
    assert sorted(recorder.positions) == [*positions, 21]
    assert [one for one in recorder.positions if one != 21] == positions
    assert read_checkpoint(log.store) == 21


@in_loop
async def test_a_replay_stays_paused_over_a_restart(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """Neither does it begin where it was paused before anybody took it up."""
    append_messages(log, ["ana", "ben"])
    async with dispatching(log, subscribe(recorder.on_event)):
        pass
    start(replays)
    replays.pause(1, actor="ana")
    async with dispatching(log, subscribe(recorder.on_event)):
        start(replays, first=2)
        await until_state(replays, "done", 2)
        assert (replays.find(1).state, read_lanes(log.store, run=1)) == ("paused", [])
        assert recorder.positions == [2]
        replays.resume(1, actor="ana")
        await until_state(replays, "done")
    assert sorted(recorder.positions) == [1, 2, 2]


@in_loop
async def test_a_cancelled_replay_leaves_its_dead_letters_alone(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """It ends for good: nothing of it is called any more, retried or blocked; live goes on."""
    append_messages(log, ["ana", "ben", "ben", "cem", "dee"])
    recorder.fail(1, Reject("no such customer"))
    recorder.fail(2, Retry(after="1h"))
    recorder.hold(4)
    async with dispatching(log, subscribe(recorder.on_event, concurrency=2)) as dispatcher:
        start(replays)
        await until(lambda: len(read_parked(log.store, run=1)) == 2 and recorder.underway)
        await until(lambda: recorder.positions == [5])
        replays.cancel(1, actor="ana")
        recorder.let_go(4)
        await until(lambda: read_lanes(log.store, run=1) == [])
        append_messages(log, ["ben"])
        dispatcher.wake()
        await until(lambda: 6 in recorder.positions)
    assert recorder.positions == [5, 4, 6]
    found = replays.find(1)
    assert (found.state, found.done, found.failed) == ("cancelled", 2, 1)
    assert (found.retrying, found.blocked) == (0, 0)
    assert {at: row.state for at, row in read_parked(log.store, run=1).items()} == {1: "dead"}
    assert read_blocked(log.store, run=1) == {}
    assert read_attempts(log.store) == [1]
    assert read_checkpoint(log.store) == 6


def read_attempts(store: Store) -> list[int]:
    """Return the positions of which attempts of the first replay are on record."""
    table = store.tables.attempt.c
    with store.reading() as connection:
        return list(connection.scalars(select(table.position).where(table.run == 1)))


@in_loop
async def test_nothing_waits_for_a_cancelled_replay_whichever_lane_ends_last(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """What one lane leaves behind goes, too, where another one just comes to its end."""
    append_messages(log, ["ana", "leo"])  # of different lanes of two
    recorder.fail(1, Retry(after="1h"))
    recorder.hold(2)
    async with dispatching(log, subscribe(recorder.on_event, lanes=2)):
        start(replays)
        await until(lambda: read_parked(log.store, run=1) and recorder.underway)
        replays.cancel(1, actor="ana")
        await until(lambda: len(read_lanes(log.store, run=1)) == 1)
        recorder.let_go(2)
        await until(lambda: read_lanes(log.store, run=1) == [])
    found = replays.find(1)
    assert (found.state, found.done, found.retrying, found.blocked) == ("cancelled", 1, 0, 0)
    assert (read_parked(log.store, run=1), read_blocked(log.store, run=1)) == ({}, {})
