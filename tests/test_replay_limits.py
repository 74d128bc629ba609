"""Tests of how many calls replays make at a time, and how many a second, beside live delivery."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from router.clock import Clock
from router.dispatcher import Dispatcher
from router.events import Event
from router.log import EventLog
from router.options import Options
from router.replay import Replays
from router.subscriptions import Subscription
from tests.dispatching import dispatching, nap
from tests.entries import append_messages
from tests.loops import in_loop
from tests.recorder import Recorder
from tests.records import read_lanes
from tests.subscribers import make_subscription
from tests.waiting import until

# One engine is enough: what is tested is the pace of calls, not SQL.
pytestmark = pytest.mark.engines("sqlite")

NAMES = [f"c{number}" for number in range(12)]
LONG = 1_000.0  # seconds between two calls, at the rates below


@pytest.fixture
def replays(log: EventLog) -> Replays:
    """Where replays are on record, with a log of messages of twelve subjects."""
    append_messages(log, NAMES)
    return Replays(log)


@pytest.fixture
def recorder() -> Recorder:
    """A handler of all events, which waits in each call until it is let go."""
    recorder = Recorder()
    recorder.hold(*range(1, 13))
    return recorder


class Threaded:
    """A plain handler of all events, which waits in each call until all are let go.

    Attributes:
        may_end: Whether they are let go.
        underway: How many calls are under way.
        most: How many were at once at most.
        handled: How many have ended.
    """

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.underway = self.most = self.handled = 0
        self._lock = threading.Lock()

    def on_event(self, event: Event) -> None:
        """Handle an event."""
        with self._lock:
            self.underway += 1
            self.most = max(self.most, self.underway)
        assert self.may_end.wait(10)
        with self._lock:
            self.underway -= 1
            self.handled += 1


def subscribe(
    handler: Callable[..., object],
    *,
    concurrency: int = 32,
    lanes: int = 1,
    rate: float | None = None,
) -> Subscription:
    """Return a subscription, born at the log's end, with this handler of all events."""
    options = Options(replay="allow", concurrency=concurrency, lanes=lanes, rate=rate, start="now")
    return make_subscription("crm", options, on_event=handler)


def start(
    replays: Replays, *, end: int = 13, rate: float | None = None, concurrency: int | None = None
) -> int:
    """Start a replay of all up to ``end`` and return its id."""
    plan = replays.plan("crm", end=end)
    return replays.start(plan, reason="test", by="me", rate=rate, concurrency=concurrency).id


async def until_done(replays: Replays, *numbers: int) -> None:
    """Wait until all of these replays have come to their end."""
    await until(lambda: all(replays.find(number).state == "done" for number in numbers))


async def until_looked(replays: Replays) -> None:
    """Let the dispatcher do what it would do by then: it begins and ends another replay."""
    await until_done(replays, start(replays, end=1))


@pytest.mark.parametrize("lanes", [1, 4])
@in_loop
async def test_async_calls_of_a_replay_are_no_more_than_it_asks_for(
    log: EventLog, replays: Replays, recorder: Recorder, lanes: int
) -> None:
    """However many lanes they come from; live delivery has its own number of calls."""
    async with dispatching(log, subscribe(recorder.on_event, lanes=lanes)) as dispatcher:
        number = start(replays, concurrency=3)
        await until(lambda: recorder.underway == 3)
        await until_looked(replays)
        assert recorder.most == 3
        append_messages(log, ["live"])
        dispatcher.wake()
        await until(lambda: recorder.positions == [13])
        recorder.let_go(*range(1, 13))
        await until_done(replays, number)
    assert recorder.most == 4
    assert len(recorder.handled) == 13


@pytest.mark.parametrize("lanes", [1, 4])
@in_loop
async def test_plain_calls_of_a_replay_are_no_more_than_it_asks_for(
    log: EventLog, replays: Replays, lanes: int
) -> None:
    """They have so many threads."""
    handler = Threaded()
    async with dispatching(log, subscribe(handler.on_event, lanes=lanes)):
        number = start(replays, concurrency=3)
        await until(lambda: handler.underway == 3)
        await until_looked(replays)
        handler.may_end.set()
        await until_done(replays, number)
    assert (handler.most, handler.handled) == (3, 12)


@in_loop
async def test_a_replay_may_ask_for_more_calls_than_live_delivery_makes(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """What it asks for counts instead of the options."""
    async with dispatching(log, subscribe(recorder.on_event, concurrency=2)):
        start(replays, concurrency=7)
        await until(lambda: recorder.underway == 7)
        await until_looked(replays)
        recorder.let_go(*range(1, 13))
        await until_done(replays, 1)
    assert recorder.most == 7


@in_loop
async def test_replays_of_a_subscription_share_its_number_of_async_calls(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """However many there are, together they make no more calls than live delivery may."""
    async with dispatching(log, subscribe(recorder.on_event, concurrency=4)):
        numbers = [start(replays) for _ in range(3)]
        await until(lambda: recorder.underway == 4)
        await until_looked(replays)
        recorder.let_go(*range(1, 13))
        await until_done(replays, *numbers)
    assert recorder.most == 4
    assert len(recorder.handled) == 36
    assert recorder.doubled == []


@in_loop
async def test_replays_of_a_subscription_share_its_number_of_plain_calls(
    log: EventLog, replays: Replays
) -> None:
    """With plain handlers, too."""
    handler = Threaded()
    async with dispatching(log, subscribe(handler.on_event, concurrency=4)):
        numbers = [start(replays) for _ in range(3)]
        await until(lambda: handler.underway == 4)
        await until_looked(replays)
        handler.may_end.set()
        await until_done(replays, *numbers)
    assert (handler.most, handler.handled) == (4, 36)


@in_loop
async def test_a_replay_that_waits_for_others_may_be_paused(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """What waits for its place lets go at once, and comes again once it is resumed."""
    async with dispatching(log, subscribe(recorder.on_event, concurrency=4)):
        start(replays, end=5)
        await until(lambda: recorder.underway == 4)
        start(replays)
        await until_looked(replays)
        replays.pause(2, actor="ana")
        await until(lambda: [lane.owner for lane in read_lanes(log.store, run=2)] == [None])
        assert recorder.underway == 4
        recorder.let_go(*range(1, 13))
        await until_done(replays, 1)
        assert sorted(recorder.positions) == [1, 2, 3, 4]
        replays.resume(2, actor="ana")
        await until_done(replays, 2)
    assert sorted(recorder.positions) == sorted([*range(1, 5), *range(1, 13)])
    assert replays.find(2).done == 12


class Sleepers:
    """Those who sleep long: they keep a pace, and wake up when the test wants it."""

    def __init__(self) -> None:
        self.asleep: list[asyncio.Future[None]] = []

    async def sleep(self, seconds: float) -> None:
        """Sleep until woken; everybody else but naps."""
        if seconds < LONG / 2:
            await nap(seconds)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asleep.append(future)
        await future

    def wake(self) -> None:
        """End their sleep."""
        for future in self.asleep:
            future.set_result(None)
        self.asleep.clear()


def make_dispatcher(log: EventLog, subscription: Subscription, sleepers: Sleepers) -> Dispatcher:
    """Return a dispatcher that sleeps as they do."""
    clock = Clock(now=log.store.now, sleep=sleepers.sleep, random=lambda: 0.5)
    return Dispatcher([subscription], log=log, clock=clock)


async def follow_pace(log: EventLog, subscription: Subscription, recorder: Recorder) -> None:
    """Check that of what the replays on record do, one call goes at a time."""
    sleepers = Sleepers()
    dispatcher = make_dispatcher(log, subscription, sleepers)
    recorder.let_go(*range(1, 13))
    await dispatcher.start()
    for count in range(1, 4):
        await until(lambda: len(sleepers.asleep) == 1)
        await until_looked(Replays(log))
        assert len(sleepers.asleep) == 1
        assert len(recorder.handled) == count
        sleepers.wake()
    await dispatcher.stop()


@in_loop
async def test_the_lanes_of_a_replay_share_its_rate(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """Calls are spaced as the replay asks for, whichever lane they come from."""
    subscription = subscribe(recorder.on_event, lanes=4)
    async with dispatching(log, subscription):
        pass
    start(replays, rate=1 / LONG)
    await follow_pace(log, subscription, recorder)


@in_loop
async def test_a_replay_that_waits_for_its_pace_may_be_paused(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """It lets go at once, and goes on with the next event once it is resumed."""
    subscription = subscribe(recorder.on_event, concurrency=1)
    async with dispatching(log, subscription):
        pass
    start(replays, rate=1 / LONG)
    sleepers = Sleepers()
    recorder.let_go(*range(1, 13))
    dispatcher = make_dispatcher(log, subscription, sleepers)
    await dispatcher.start()
    await until(lambda: sleepers.asleep)
    replays.pause(1, actor="ana")
    await until(lambda: [lane.owner for lane in read_lanes(log.store, run=1)] == [None])
    assert (recorder.positions, replays.find(1).done) == ([1], 1)
    replays.resume(1, actor="ana")
    await until(lambda: recorder.positions == [1, 2])
    await dispatcher.stop()


@in_loop
async def test_replays_of_a_subscription_share_its_rate(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """Also those that ask for a higher one: what the subscription bears does not change."""
    subscription = subscribe(recorder.on_event, rate=1 / LONG)
    async with dispatching(log, subscription):
        pass
    start(replays, rate=1_000)
    start(replays, end=4)
    await follow_pace(log, subscription, recorder)
