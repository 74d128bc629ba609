"""Replays as a worker carries them out: handed over in order, retried, brought to their end."""

from collections.abc import Callable

import pytest

from router.events import Event, EventType, Replaying
from router.filters import Filter
from router.hookspecs import hookimpl
from router.log import EventLog
from router.options import Options, RetryOptions
from router.replay import Replays
from router.replay_record import Replay
from router.retry import Reject, Retry
from router.subscriptions import Subscription
from tests.dispatching import dispatching, make_dispatcher
from tests.entries import append, append_messages, make_entry
from tests.loops import in_loop
from tests.recorder import Recorder
from tests.records import read_blocked, read_checkpoint, read_lanes, read_parked
from tests.subscribers import make_subscription
from tests.waiting import until

EVERYTHING = Filter()
KINDS: list[EventType] = ["message", "read", "message"]
ALLOWING = Options(start="beginning", replay="allow", retry=RetryOptions(first=0, attempts=3))


@pytest.fixture
def replays(log: EventLog) -> Replays:
    """What is tested."""
    return Replays(log)


@pytest.fixture
def recorder() -> Recorder:
    """A handler of all events."""
    return Recorder()


def subscribe(recorder: Recorder, options: Options = ALLOWING) -> Subscription:
    """Return a subscription with that handler."""
    return make_subscription("crm", options, on_event=recorder.on_event)


def start(replays: Replays, *, first: int = 1, end: int | None = None) -> Replay:
    """Start a replay of the positions from ``first`` to below ``end``."""
    plan = replays.plan("crm", first=first, end=end, matching=EVERYTHING)
    return replays.start(plan, reason="a test", by="me")


async def until_done(replays: Replays, number: int = 1) -> Replay:
    """Wait until a replay has come to its end, and return it."""
    await until(lambda: replays.find(number).state == "done")
    return replays.find(number)


def replayed(recorder: Recorder) -> list[int]:
    """Return the positions of what was handled in a replay."""
    return [event.position for event in recorder.handled if event.replay is not None]


@in_loop
async def test_a_replay_is_worked_off(log: EventLog, replays: Replays, recorder: Recorder) -> None:
    """Each event of the range is handled once more, and knows why; live progress stays as it is."""
    append_messages(log, ["ana", "ben", "ana", "ben", "ana"])
    async with dispatching(log, subscribe(recorder)):
        await recorder.until_handled([1, 2, 3, 4, 5])
        replay = start(replays, first=2, end=5)
        done = await until_done(replays)
    assert (done.total, done.done, done.failed) == (3, 3, 0)
    assert sorted(replayed(recorder)) == [2, 3, 4]
    reasons = {event.replay for event in recorder.handled[5:]}
    assert reasons == {Replaying(replay.id, "a test")}
    assert read_checkpoint(log.store) == 5
    assert read_lanes(log.store, run=1) == []


@in_loop
async def test_a_plugin_that_never_ran_may_be_given_history(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """A subscription born at the log's end gets what came before by a replay alone."""
    append_messages(log, ["ana", "ben", "ana"])
    async with dispatching(log, subscribe(recorder, Options(start="now", replay="allow"))):
        start(replays)
        await until_done(replays)
        assert sorted(replayed(recorder)) == sorted(recorder.positions) == [1, 2, 3]
    assert read_checkpoint(log.store) == 3


@in_loop
async def test_a_replay_keeps_the_order_of_subjects(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """Within a replay, too, each subject's events come in log order, one after another."""
    names = ["ana", "ben", "cleo", "dora"]
    options = Options(start="now", replay="allow", lanes=4)
    positions = append_messages(log, names * 50)
    async with dispatching(log, subscribe(recorder, options)):
        start(replays)
        done = await until_done(replays)
    assert (done.total, done.done) == (200, 200)
    assert sorted(recorder.positions) == positions
    for name in names:
        assert recorder.of(name) == sorted(recorder.of(name))
    assert recorder.doubled == []


@in_loop
async def test_a_replay_is_done_with_its_last_lane(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """As long as one lane of a replay has not come to its end, the replay runs."""
    positions = append_messages(log, [str(number) for number in range(30)])
    recorder.hold(1)
    subscription = subscribe(recorder, Options(start="now", replay="allow", lanes=4))
    async with dispatching(log, subscription):
        start(replays)
        await until(lambda: replays.find(1).state == "running")
        await until(lambda: len(read_lanes(log.store, run=1)) == 1)
        assert replays.find(1).state == "running"
        recorder.let_go(1)
        await until_done(replays)
    assert sorted(recorder.positions) == positions


@in_loop
async def test_live_events_go_before_a_replay(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """A subject is called one at a time, live or replayed, and what is live waits for one call."""
    append_messages(log, ["ana"] * 4)
    subscription = subscribe(recorder, Options(start="now", replay="allow", lanes=1))
    recorder.hold(1)
    async with dispatching(log, subscription) as dispatcher:
        start(replays)
        await recorder.until_called((1, 1))
        append_messages(log, ["ana", "ben"])
        dispatcher.wake()
        await recorder.until_handled([6])
        assert recorder.underway == 1
        recorder.let_go(1)
        await until_done(replays)
        await recorder.until_handled([1, 2, 3, 4, 5, 6])
    assert recorder.of("ana") == [1, 5, 2, 3, 4]
    assert recorder.doubled == []


@in_loop
async def test_failures_of_a_replay_are_its_own(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """What fails in a replay is retried, parked and counted there; live delivery goes on."""
    append_messages(log, ["ana", "ben", "ana"])
    subscription = subscribe(recorder, Options(start="now", replay="allow", retry=ALLOWING.retry))
    recorder.fail(1, ValueError("busy"))
    recorder.fail(2, Reject("no such customer"))
    async with dispatching(log, subscription) as dispatcher:
        start(replays)
        done = await until_done(replays)
        append_messages(log, ["ben"])
        dispatcher.wake()
        await recorder.until_handled([1, 3, 4])
    assert (done.total, done.done, done.failed) == (3, 2, 1)
    assert read_parked(log.store, run=1)[2].state == "dead"
    assert list(read_parked(log.store, run=1)) == [2]
    assert (read_parked(log.store), read_blocked(log.store)) == ({}, {})


@in_loop
async def test_a_replay_waits_for_its_retries(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """A replay is not done while one of its deliveries is to be tried again."""
    append_messages(log, ["ana", "ana"])
    recorder.fail(1, Retry(after="1h"))
    async with dispatching(log, subscribe(recorder, Options(start="now", replay="allow"))):
        start(replays)
        await until(lambda: read_parked(log.store, run=1))
    replay = replays.find(1)
    assert (replay.state, replay.done) == ("running", 0)
    assert read_blocked(log.store, run=1) == {":ana": 1}


@in_loop
async def test_a_replay_survives_a_restart(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """A replay goes on where it was when its worker comes back, and counts each event once."""
    positions = append_messages(log, [str(number) for number in range(20)])
    subscription = subscribe(recorder, Options(start="now", replay="allow", concurrency=1, lanes=1))
    recorder.hold(10)
    first = make_dispatcher(log, subscription, drain=0.01)
    await first.start()
    start(replays)
    await until(lambda: recorder.underway == 1)
    await first.stop()
    assert replays.find(1).state == "running"
    assert replays.find(1).done == 9
    recorder.let_go(10)
    async with dispatching(log, subscription):
        done = await until_done(replays)
    assert (done.done, done.failed) == (20, 0)
    assert recorder.positions == positions
    assert replayed(recorder) == positions


@in_loop
async def test_a_replay_that_was_planned_without_a_worker_waits_for_one(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """A replay is started from the database alone, and worked off once its plugin runs."""
    async with dispatching(log, subscribe(recorder)):
        append_messages(log, ["ana"])
    start(replays)
    async with dispatching(log, make_subscription("audit", on_event=Recorder().on_event)):
        assert replays.find(1).state == "planned"
    assert replays.find(1).state == "planned"
    async with dispatching(log, subscribe(recorder)):
        await until_done(replays)
    assert replayed(recorder) == [1]


@in_loop
async def test_an_empty_replay_is_done_at_once(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """A replay of nothing comes to its end, on each lane."""
    async with dispatching(log, subscribe(recorder, Options(replay="allow", lanes=3))):
        start(replays)
        done = await until_done(replays)
        append_messages(log, ["ana"])
        start(replays, first=1, end=1)
        await until_done(replays, 2)
    assert (done.total, done.done, done.failed) == (0, 0, 0)
    assert read_lanes(log.store, run=1) == []
    assert replayed(recorder) == []


@in_loop
async def test_only_what_matches_is_replayed(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """A replay with a filter hands over what it counted, and passes the rest."""
    append_messages(log, ["ana", "ben", "ana", "ben"])
    async with dispatching(log, subscribe(recorder, Options(start="now", replay="allow"))):
        plan = replays.plan("crm", matching=Filter(subjects=(":ben",)))
        replays.start(plan, reason="test", by="me")
        done = await until_done(replays)
    assert (done.total, done.done) == (2, 2)
    assert recorder.positions == [2, 4]


@in_loop
async def test_types_that_are_skipped_are_not_called(log: EventLog, replays: Replays) -> None:
    """Of a plugin with several policies a replay calls the handlers that allow it."""
    called: list[int] = []
    skipped: list[int] = []

    @hookimpl(replay="allow")
    def on_message(event: Event) -> None:
        called.append(event.position)

    @hookimpl(replay="skip")
    def on_read(event: Event) -> None:
        skipped.append(event.position)

    append(log, *(make_entry("ana", kind) for kind in KINDS))
    hooks: dict[str, Callable[..., object]] = {"on_message": on_message, "on_read": on_read}
    async with dispatching(log, make_subscription("crm", Options(start="now"), **hooks)):
        start(replays)
        done = await until_done(replays)
    assert (done.total, done.done) == (2, 2)
    assert (called, skipped) == ([1, 3], [])


@in_loop
async def test_several_replays_run_side_by_side(
    log: EventLog, replays: Replays, recorder: Recorder
) -> None:
    """Each replay has a run, counts and progress of its own; a subject is in one call at a time."""
    append_messages(log, ["ana", "ben", "ana"])
    async with dispatching(log, subscribe(recorder)):
        numbers = [start(replays, first=first).id for first in (1, 2, 3)]
        ends = [await until_done(replays, number) for number in numbers]
    assert [(one.total, one.done) for one in ends] == [(3, 3), (2, 2), (1, 1)]
    for number, expected in zip(numbers, ([1, 2, 3], [2, 3], [3]), strict=True):
        mine = [one.position for one in recorder.handled if one.replay and one.replay.id == number]
        assert sorted(mine) == expected
    assert recorder.doubled == []
