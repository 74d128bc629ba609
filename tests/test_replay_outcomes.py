"""Tests of what comes of replays that are carried out: counts, dead letters, changed plugins."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from router.context import Context
from router.events import Event
from router.hookspecs import hookimpl
from router.intents import REDRIVE, Intents
from router.log import EventLog
from router.options import Options, RetryOptions
from router.replay import Replays
from router.replay_record import Replay
from router.retry import Reject, Retry
from router.subscriptions import Subscription
from tests.asking import ask
from tests.dispatching import dispatching
from tests.entries import append, append_messages, make_entry
from tests.loops import in_loop
from tests.recorder import Recorder
from tests.records import read_lanes, read_parked
from tests.subscribers import make_subscription
from tests.waiting import until

OPTIONS = Options(start="now", retry=RetryOptions(first=0, attempts=3))


@pytest.fixture
def replays(log: EventLog) -> Replays:
    """Where replays are on record, with a log of four messages and two reads."""
    append_messages(log, ["ana", "ben", "ana", "cem"])
    append(log, make_entry("ana", "read"), make_entry("ben", "read"))
    return Replays(log)


def start(replays: Replays) -> Replay:
    """Start a replay of all."""
    return replays.start(replays.plan("crm"), reason="test", by="me")


async def until_state(replays: Replays, state: str) -> Replay:
    """Wait until the replay is in this state, and return it."""
    await until(lambda: replays.find(1).state == state)
    return replays.find(1)


def fail(event: Event, context: Context) -> None:
    """Fail for good at 2, and once at 4."""
    if event.position == 2:
        raise Reject("no such customer")
    if event.position == 4 and context.attempt == 1:
        raise Retry(after="0s")


@hookimpl(replay="allow")
async def handle_on_the_loop(event: Event, context: Context) -> None:
    """Handle a message."""
    fail(event, context)


@hookimpl(replay="allow")
def handle_on_a_thread(event: Event, context: Context) -> None:
    """Handle a message."""
    fail(event, context)


@hookimpl(replay="allow")
def handle_in_the_transaction(event: Event, context: Context, connection: Connection) -> None:
    """Handle a message."""
    fail(event, context)


@hookimpl(replay="skip")
def skip(event: Event) -> None:
    """Handle a read, but in no replay."""
    assert event.replay is None


@pytest.mark.parametrize(
    "handler", [handle_on_the_loop, handle_on_a_thread, handle_in_the_transaction]
)
@in_loop
async def test_what_came_of_it_is_counted_by_type(
    log: EventLog, replays: Replays, handler: Callable[..., object]
) -> None:
    """Each event once, however often it was tried; what was skipped is counted from the start."""
    subscription = make_subscription("crm", OPTIONS, on_message=handler, on_read=skip)
    async with dispatching(log, subscription):
        assert start(replays).by_type == {"read": {"skipped": 2}}
        done = await until_state(replays, "done")
    assert (done.total, done.done, done.failed) == (4, 3, 1)
    assert done.by_type == {"message": {"done": 3, "failed": 1}, "read": {"skipped": 2}}
    assert (done.retrying, done.blocked) == (0, 0)


@in_loop
async def test_a_dead_letter_of_a_replay_is_sent_again(log: EventLog, replays: Replays) -> None:
    """It counts as failed no more, and as done once it is; the replay has ended again then."""
    recorder = Recorder()
    recorder.fail(2, Reject("no such customer"))
    recorder.hold(2)
    options = Options(start="now", replay="allow")
    async with dispatching(log, make_subscription("crm", options, on_message=recorder.on_event)):
        start(replays)
        await until(lambda: recorder.underway)
        recorder.let_go(2)
        failed = await until_state(replays, "done")
        assert (failed.done, failed.failed) == (3, 1)
        recorder.hold(2)
        ask(Intents(log.store), log.store, REDRIVE, 2, run=1)
        await until(lambda: recorder.underway)
        again = replays.find(1)
        assert (again.state, again.done, again.failed) == ("running", 3, 0)
        assert again.finished_at is None
        recorder.let_go(2)
        done = await until_state(replays, "done")
    assert (done.done, done.failed) == (4, 0)
    assert done.by_type == {"message": {"done": 4, "failed": 0}}
    assert sorted(recorder.positions) == [1, 2, 3, 4]
    assert read_parked(log.store, run=1) == {}


def subscribe(recorder: Recorder, *, replay: str, hook: str = "on_event") -> Subscription:
    """Return a subscription of which the handler wants this of replays."""
    options = {"allow": Options(start="now", replay="allow"), "skip": Options(start="now")}
    return make_subscription("crm", options[replay], **{hook: recorder.on_event})


@pytest.mark.parametrize(
    ("replay", "hook", "why"),
    [
        (
            "skip",
            "on_message",
            "the handler for message may have effects outside the database by now: if they are "
            "wanted, start another replay with --include-effects",
        ),
        ("allow", "on_sent", "the plugin has no handler for message any more"),
    ],
)
@in_loop
async def test_a_replay_fails_where_the_plugin_has_changed(
    log: EventLog, replays: Replays, replay: str, hook: str, why: str
) -> None:
    """It ends with the reason, calls nobody, and leaves nothing behind; live delivery goes on."""
    recorder = Recorder()
    async with dispatching(log, subscribe(recorder, replay="allow", hook="on_message")):
        pass
    start(replays)
    async with dispatching(log, subscribe(recorder, replay=replay, hook=hook)) as dispatcher:
        failed = await until_state(replays, "failed")
        await until(lambda: read_lanes(log.store, run=1) == [])
        append(log, make_entry("ana", "message"), make_entry("ana", "sent"))
        dispatcher.wake()
        await until(lambda: recorder.handled)
    assert failed.last_error == why
    assert (failed.done, failed.failed, failed.finished_at is None) == (0, 0, False)
    assert all(event.replay is None for event in recorder.handled)
