"""Tests of `router.dispatcher`: a live worker does what operators ask, and tells what happens."""

import pytest

from router.control import Control
from router.dead import DeadLetters
from router.filters import DeadFilter
from router.log import EventLog
from router.options import Options, RetryOptions
from router.retry import Reject, Retry
from router.roster import Roster
from router.subscriptions import Subscription
from tests.dispatching import dispatching
from tests.entries import append_messages
from tests.listener import Listener
from tests.loops import in_loop
from tests.recorder import Recorder
from tests.records import read_blocked, read_checkpoint, read_lanes, read_parked, read_state
from tests.subscribers import EAGER, make_subscription
from tests.waiting import until

ONCE = Options(
    start="beginning", retry=RetryOptions(first=0, factor=1, jitter=False, attempts=1), lanes=2
)


@pytest.fixture
def recorder() -> Recorder:
    """A handler of all events."""
    return Recorder()


def subscribe(recorder: Recorder, options: Options = EAGER) -> Subscription:
    """Return a subscription with that handler."""
    return make_subscription("crm", options, on_event=recorder.on_event)


def owners(log: EventLog) -> list[str | None]:
    """Return who owns the lanes."""
    return [lane.owner for lane in read_lanes(log.store)]


# Pausing.


@in_loop
async def test_a_pause_gives_the_lanes_back(log: EventLog, recorder: Recorder) -> None:
    """The call under way ends, what waits stays; once resumed it all goes on where it stood."""
    control, listener = Control(log.store), Listener()
    recorder.hold(1)
    append_messages(log, ["ana", "ana"])
    async with dispatching(log, subscribe(recorder), listeners=[listener.tell]) as dispatcher:
        await recorder.until_called((1, 1))
        control.pause("crm", actor="ana", reason="a deploy")
        await until(lambda: listener.states() == ["paused"])
        recorder.let_go(1)
        await until(lambda: owners(log) == [None])
        append_messages(log, ["ben"])
        dispatcher.wake()
        assert (recorder.calls, read_checkpoint(log.store)) == ([(1, 1)], 1)
        control.resume("crm", actor="ana")
        await recorder.until_handled([1, 2, 3])
        await until(lambda: listener.states() == ["paused", "active"])
    reasons = [given["reason"] for _, given in listener.told]
    assert reasons[0] == "a deploy"
    assert reasons[1]


@in_loop
async def test_a_pause_keeps_a_failing_one_from_being_called(
    log: EventLog, recorder: Recorder
) -> None:
    """A pause is the operator's word: no breaker that opens or closes takes it back."""
    append_messages(log, [f"c{number}" for number in range(25)])
    retry = RetryOptions(first=0.01, factor=1, jitter=False, attempts=1_000)
    recorder.is_down = True
    control = Control(log.store)
    async with dispatching(
        log, subscribe(recorder, Options(start="beginning", lanes=1, retry=retry))
    ):
        await until(lambda: read_state(log.store) == "failing")
        control.pause("crm", actor="ana")
        await until(lambda: owners(log) == [None])
        recorder.is_down = False
        calls = len(recorder.calls)
        roster = Roster(log.store, pid=1)
        roster.note_breaker("crm", is_open=False)
        roster.note_breaker("crm", is_open=True)
        assert read_state(log.store) == "paused"
        assert len(recorder.calls) == calls
        control.resume("crm", actor="ana")
        await recorder.until_handled(range(1, 26))
        await until(lambda: read_state(log.store) == "active")
        recorder.is_down = True
        append_messages(log, [f"c{number}" for number in range(25)])
        await until(lambda: read_state(log.store) == "failing")


# A plugin that is gone.


@in_loop
async def test_a_plugin_that_is_gone_is_missed(
    log: EventLog, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Its events wait, on record as such, until a worker has loaded it again."""
    async with dispatching(log, subscribe(recorder)):
        pass
    append_messages(log, ["ana"])
    async with dispatching(log, make_subscription("audit", on_message=lambda event: None)):
        assert read_state(log.store) == "missing"
        assert "no plugin 'crm' is loaded" in caplog.text
    async with dispatching(log, subscribe(recorder)):
        await recorder.until_handled([1])
        assert read_state(log.store) == "active"


@in_loop
async def test_a_plugin_that_another_worker_has_is_not_missed(
    log: EventLog, recorder: Recorder
) -> None:
    """Workers may load different plugins."""
    async with (
        dispatching(log, subscribe(recorder)),
        dispatching(log, make_subscription("audit", on_message=lambda event: None)),
    ):
        assert read_state(log.store) == "active"
        append_messages(log, ["ana"])
        await recorder.until_handled([1])


# Dead letters.


@in_loop
async def test_a_hundred_dead_letters_are_sent_again(log: EventLog, recorder: Recorder) -> None:
    """Each is handled once, new events besides; no checkpoint moves back or waits for them."""
    positions = append_messages(log, [f"c{number}" for number in range(100)])
    for position in positions:
        recorder.fail(position, Reject("no"))
    listener = Listener()
    async with dispatching(log, subscribe(recorder, ONCE), listeners=[listener.tell]) as dispatcher:
        await until(lambda: len(read_parked(log.store)) == 100)
        await until(lambda: read_checkpoint(log.store) == 100)
        await until(lambda: len(listener.dead()) == 100)
        counts = DeadLetters(log.store).redrive(actor="ana")
        assert (counts.total, counts.is_carried_out) == (100, False)
        await recorder.until_handled(positions)
        await until(lambda: not read_parked(log.store))
        append_messages(log, ["c0"])
        dispatcher.wake()
        await recorder.until_handled([*positions, 101])
    assert sorted(recorder.calls) == sorted(
        [(one, 1) for one in [*positions, 101]] + [(one, 2) for one in positions]
    )
    assert read_checkpoint(log.store) == 101
    assert sorted(listener.dead()) == [(one, 1, "no") for one in positions]


@in_loop
async def test_what_dies_again_is_dead_again(log: EventLog, recorder: Recorder) -> None:
    """With its limits counted anew, and told once more with all its attempts."""
    append_messages(log, ["ana", "ben"])
    retry = RetryOptions(first=0, factor=1, jitter=False, attempts=2)
    recorder.fail(1, *(ValueError(f"try {number}") for number in range(9)))
    listener = Listener()
    options = Options(start="beginning", retry=retry)
    async with dispatching(log, subscribe(recorder, options), listeners=[listener.tell]):
        await until(lambda: len(listener.dead()) == 1)
        DeadLetters(log.store).redrive(DeadFilter(positions=(1,)), actor="ana")
        await until(lambda: len(listener.dead()) == 2)
    assert listener.dead() == [(1, 2, "ValueError: try 1"), (1, 4, "ValueError: try 3")]
    assert [call for call in recorder.calls if call[0] == 1] == [(1, 1), (1, 2), (1, 3), (1, 4)]


@in_loop
async def test_what_is_discarded_lets_its_subject_go_on(log: EventLog, recorder: Recorder) -> None:
    """What waited behind a dead letter that holds it is handled, and the letter by nobody."""
    append_messages(log, ["ana", "ana", "ben"])
    recorder.fail(1, Reject("no"))
    options = Options(start="beginning", on_dead="hold")
    async with dispatching(log, subscribe(recorder, options)):
        await recorder.until_handled([3])
        await until(lambda: read_blocked(log.store) == {":ana": 1})
        DeadLetters(log.store).discard(actor="ana")
        await recorder.until_handled([2, 3])
        await until(lambda: not read_blocked(log.store))
    assert read_parked(log.store) == {}
    assert recorder.calls.count((1, 1)) == 1


@in_loop
async def test_a_redrive_lets_a_held_subject_go_on(log: EventLog, recorder: Recorder) -> None:
    """The dead letter first, then what waited behind it."""
    append_messages(log, ["ana", "ana"])
    recorder.fail(1, Reject("no"))
    options = Options(start="beginning", on_dead="hold")
    async with dispatching(log, subscribe(recorder, options)):
        await until(lambda: read_blocked(log.store) == {":ana": 1})
        DeadLetters(log.store).redrive(actor="ana")
        await recorder.until_handled([1, 2])
        await until(lambda: not read_blocked(log.store))
    assert recorder.positions == [1, 2]


# Skipping.


@in_loop
async def test_a_skip_passes_over_what_waits(log: EventLog, recorder: Recorder) -> None:
    """What is under way ends, retries up to there are dropped; what comes later is handled."""
    append_messages(log, ["ana", "ben", "ben", "cleo"])
    recorder.hold(1)
    recorder.fail(2, Retry(after="1h"))
    async with dispatching(log, subscribe(recorder)) as dispatcher:
        await until(lambda: 4 in recorder.positions)
        await until(lambda: read_blocked(log.store) == {":ben": 2})
        Control(log.store).skip("crm", to=3, actor="ana")
        recorder.let_go(1)
        await until(lambda: not read_parked(log.store))
        append_messages(log, ["ana", "ben"])
        dispatcher.wake()
        await recorder.until_handled([1, 4, 5, 6])
        await until(lambda: not read_blocked(log.store))
    assert sorted(recorder.calls) == [(1, 1), (2, 1), (4, 1), (5, 1), (6, 1)]
    assert read_checkpoint(log.store) == 6
