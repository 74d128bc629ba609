"""Tests of `router.dispatcher`: several workers divide lanes, and pass them on to each other."""

import asyncio
from collections import Counter

from sqlalchemy import select

from router.claims import LIVE
from router.events import SHARDS
from router.filters import Filter
from router.log import EventLog
from router.options import Options, RetryOptions
from router.replay import Replays
from router.subscriptions import Subscription
from tests.dispatching import SHORT, dispatching
from tests.entries import append_messages
from tests.loops import in_loop
from tests.recorder import Recorder
from tests.records import read_parked
from tests.subscribers import make_subscription
from tests.waiting import until

FEW = Options(
    start="beginning", lanes=4, retry=RetryOptions(first=0, factor=1, jitter=False, attempts=3)
)
NAMES = [f"contact {number}" for number in range(40)]


def subscribe(recorder: Recorder, options: Options = FEW) -> Subscription:
    """Return a subscription with that handler."""
    return make_subscription("crm", options, on_event=recorder.on_event)


def owners(log: EventLog) -> list[str | None]:
    """Return who owns the live lanes, in the order of their shards."""
    lane = log.store.tables.lane.c
    query = select(lane.owner).where(lane.run == LIVE).order_by(lane.first_shard)
    with log.store.reading() as connection:
        return list(connection.scalars(query))


def shares(log: EventLog) -> list[int]:
    """Return how many lanes each owner has."""
    return sorted(Counter(one for one in owners(log) if one is not None).values())


@in_loop
async def test_a_worker_that_comes_gets_its_share(log: EventLog) -> None:
    """The first one gives up what is beyond its own; both deliver, each event once and in order."""
    first, second = Recorder(), Recorder()
    async with dispatching(log, subscribe(first)) as one:
        await until(lambda: shares(log) == [4])
        positions = append_messages(log, NAMES)
        one.wake()
        await first.until_handled(positions)
        async with dispatching(log, subscribe(second)) as other:
            await until(lambda: shares(log) == [2, 2])
            positions += append_messages(log, NAMES)
            one.wake()
            other.wake()
            await until(lambda: len(first.handled) + len(second.handled) == len(positions))
    assert sorted(first.positions + second.positions) == positions
    lower = {event.shard < SHARDS // 2 for event in second.handled}
    assert lower == {False}
    for name in NAMES:
        handled = first.of(name) + second.of(name)
        assert handled == sorted(handled)


@in_loop
async def test_the_lanes_of_a_worker_that_leaves_go_to_the_other(log: EventLog) -> None:
    """Whoever stays has all of them, and goes on where the one that left had come to."""
    first, second = Recorder(), Recorder()
    async with dispatching(log, subscribe(first)) as one:
        async with dispatching(log, subscribe(second)) as other:
            await until(lambda: shares(log) == [2, 2])
            positions = append_messages(log, NAMES)
            one.wake()
            other.wake()
            await until(lambda: len(first.handled) + len(second.handled) == len(positions))
        await until(lambda: shares(log) == [4])
        before = len(second.handled)
        positions += append_messages(log, NAMES)
        one.wake()
        await until(lambda: len(first.handled) + before == len(positions))
    assert sorted(first.positions + second.positions) == positions
    assert (len(second.handled), read_parked(log.store)) == (before, {})


@in_loop
async def test_a_lane_is_given_back_when_its_replays_have_ended(log: EventLog) -> None:
    """A call of a replay holds its lane: the next owner would know nothing of its turn."""
    positions = append_messages(log, NAMES)
    held = next(event for event in log.read() if event.shard >= SHARDS // 2)
    options = Options(start="now", lanes=2, replay="allow")
    first, second = Recorder(), Recorder()
    first.hold(held.position)
    replays = Replays(log)
    async with dispatching(log, subscribe(first, options)):
        await until(lambda: shares(log) == [2])
        replays.start(replays.plan("crm", first=1, matching=Filter()), reason="repair", by="ana")
        await until(lambda: first.underway and len(first.handled) == len(positions) - 1)
        async with dispatching(log, subscribe(second, options)):
            await asyncio.sleep(SHORT * 20)  # many looks of both
            assert (shares(log), second.calls) == ([2], [])
            first.let_go(held.position)
            await until(lambda: shares(log) == [1, 1])
            await until(lambda: replays.find(1).state == "done")
    assert sorted(first.positions + second.positions) == positions
    assert replays.find(1).done == len(positions)
