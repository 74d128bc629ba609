"""Tests of reparsed events in delivery: nothing goes live unasked, and replays take them all."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from router.events import Event
from router.filters import Filter
from router.log import EventLog
from router.options import Options, RetryOptions
from router.replay import Replays
from router.store import Store
from router.subscriptions import Subscription
from tests.dispatching import dispatching
from tests.entries import append
from tests.loops import in_loop
from tests.recorder import Recorder
from tests.records import read_blocked, read_checkpoint
from tests.reparsed import fill, make_redelivered, reparse
from tests.sizes import choose
from tests.storing import file_of
from tests.subscribers import make_subscription
from tests.waiting import until

MANY = choose(300, ci=1_000, full=10_000)
SECONDS = 600

EAGER = Options(
    start="beginning", replay="allow", retry=RetryOptions(first=0.001, factor=1, jitter=False)
)


def subscribe(recorder: Recorder) -> Subscription:
    """Return a subscription for all types."""
    return make_subscription("crm", EAGER, on_event=recorder.on_event)


async def until_settled(store: Store, position: int) -> None:
    """Wait until all up to ``position`` is settled on record."""
    await until(lambda: read_checkpoint(store) >= position, seconds=SECONDS)


async def replay(log: EventLog, matching: Filter) -> None:
    """Replay what matches, and wait for the end."""
    replays = Replays(log)
    started = replays.start(replays.plan("crm", matching=matching), reason="missed", by="ana")
    await until(lambda: replays.find(started.id).is_finished, seconds=SECONDS)
    assert replays.find(started.id).done == started.total


def kinds(events: list[Event]) -> tuple[int, int]:
    """Count what was received at first, and what was missed then."""
    missed = sum(event.subtype == "receipts" for event in events)
    return len(events) - missed, missed


@in_loop
async def test_nothing_goes_live_unasked(store: Store, log: EventLog) -> None:
    """A subscription that runs gets none, its checkpoint passes over them, a replay takes all."""
    recorder = Recorder()
    fill(log, MANY)
    async with dispatching(log, subscribe(recorder)):
        await until_settled(store, MANY)
        await asyncio.to_thread(reparse, log)
        await until_settled(store, 2 * MANY)
        append(log, make_redelivered(MANY + 1))  # what comes live goes on behind them
        await until_settled(store, 2 * MANY + 2)
        assert kinds(recorder.handled) == (MANY + 1, 1)

        await replay(log, Filter(reparsed=True))
        assert kinds(recorder.handled) == (MANY + 1, MANY + 1)
        await replay(log, Filter())
        assert kinds(recorder.handled) == (2 * MANY + 2, 2 * MANY + 2)


@in_loop
async def test_what_is_to_be_delivered_goes_live(store: Store, log: EventLog) -> None:
    """Each of them once; a replay gets them all the same."""
    recorder = Recorder()
    fill(log, MANY)
    async with dispatching(log, subscribe(recorder)):
        await until_settled(store, MANY)
        await asyncio.to_thread(reparse, log, deliver=True)
        await until_settled(store, 2 * MANY)
        assert kinds(recorder.handled) == (MANY, MANY)
        assert len({event.id for event in recorder.handled}) == 2 * MANY

        await replay(log, Filter(reparsed=True))
        assert kinds(recorder.handled) == (MANY, 2 * MANY)


@in_loop
async def test_whoever_is_behind_passes_over_them(store: Store, log: EventLog) -> None:
    """One that reads for itself, too: it was born later, and starts at the beginning."""
    recorder = Recorder()
    fill(log, 10)
    reparse(log)
    append(log, make_redelivered(11))
    async with dispatching(log, subscribe(recorder)):
        await until_settled(store, 22)

    assert kinds(recorder.handled) == (11, 1)


@in_loop
async def test_a_subject_that_was_blocked_passes_over_them(store: Store, log: EventLog) -> None:
    """What waits behind a failure is handed over when it is released, but for what is quiet."""
    recorder = Recorder()
    recorder.is_down = True
    fill(log, 7)
    async with dispatching(log, subscribe(recorder)):
        await until(lambda: len(read_blocked(store)) == 7)
        await asyncio.to_thread(reparse, log)
        append(log, make_redelivered(8))  # of a subject that is blocked
        await until_settled(store, 16)
        recorder.is_down = False
        await until(lambda: not read_blocked(store), seconds=SECONDS)

    assert kinds(recorder.handled) == (8, 1)


@pytest.mark.engines("sqlite")
def test_a_log_of_before_knows_no_quiet_events(store: Store, log: EventLog) -> None:
    """Whoever writes without that column appends what is live, as those do that came before it."""
    fill(log, 1)
    with closing(sqlite3.connect(file_of(store))) as database:
        [(default,)] = database.execute(
            "SELECT dflt_value FROM pragma_table_info('event') WHERE name = 'quiet'"
        )
    assert default == "0"
    assert [one.position for one in log.read(matching=Filter(live=True))] == [1]


@pytest.mark.parametrize(
    ("matching", "found"),
    [
        (Filter(), [1, 2, 3, 4]),
        (Filter(live=True), [1, 2]),
        (Filter(reparsed=True), [3, 4]),
        (Filter(reparsed=True, live=True), []),
        (Filter(types=("message",), live=True), [1, 2]),
    ],
)
def test_filters_tell_them_apart(log: EventLog, matching: Filter, found: list[int]) -> None:
    """In pages, counts and ranges."""
    fill(log, 2)
    reparse(log)

    assert [one.position for one in log.read(matching=matching)] == found
    assert sum(log.count_by_type(matching=matching).values()) == len(found)
    assert log.find_range(matching=matching) == ((found[0], found[-1]) if found else None)


def test_filters_written_down_before_are_read(log: EventLog) -> None:
    """A replay of an earlier version takes everything; a filter comes back as it was."""
    assert Filter.from_json('{"types":["read"]}') == Filter(types=("read",))
    for one in (Filter(live=True), Filter(reparsed=True)):
        assert Filter.from_json(one.as_json()) == one
