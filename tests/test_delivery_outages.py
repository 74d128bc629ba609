"""Tests of `router.delivery`: an outage of the plugin's, and the time and room that it takes."""

import pytest
from sqlalchemy import Connection

from router.breaker import SUBJECTS
from router.events import Event
from router.log import EventLog
from router.options import Options, RetryOptions
from router.room import BYTES
from tests.bench import Bench, MakeBench
from tests.dispatching import dispatching
from tests.entries import append, append_messages, make_entry
from tests.listener import Listener
from tests.loops import in_loop
from tests.records import read_parked, read_state
from tests.subscribers import make_subscription
from tests.waiting import until

# One engine is enough: what is tested is the breaker, not SQL.
pytestmark = pytest.mark.engines("sqlite")

CONCURRENCY = 10
RETRY = RetryOptions(first=10, factor=1, jitter=False)
OPTIONS = Options(start="beginning", concurrency=CONCURRENCY, retry=RETRY)
NAMES = [f"c{number}" for number in range(100)]


async def probe(bench: Bench) -> None:
    """Let the time come for all that has failed, and wait until it has failed again."""
    await bench.pass_time(10)
    await until(
        lambda: all((row.next_at or 0) > bench.clock.micros for row in bench.parked().values())
    )


@in_loop
async def test_an_outage_costs_a_bounded_number_of_rows(make_bench: MakeBench) -> None:
    """Once nearly everything fails nothing new is tried, for as long as that lasts."""
    bench = make_bench(OPTIONS)
    append_messages(bench.log, NAMES * 3)
    bench.recorder.is_down = True
    async with bench.running():
        await until(lambda: bench.breaker == [True])
        for _ in range(5):
            await probe(bench)
        tried = {position for position, _ in bench.recorder.calls}
        assert SUBJECTS <= len(tried) <= SUBJECTS + CONCURRENCY
        assert len(bench.recorder.calls) >= 4 * len(tried)  # they are the probes
        assert set(bench.parked()) == tried
        assert len(bench.blocked()) == len(tried)


@in_loop
async def test_behind_what_dies_in_an_outage_one_event_is_a_probe(make_bench: MakeBench) -> None:
    """The subjects of dead letters may go on, but not all at once into the same fate."""
    retry = RetryOptions(first=10, factor=1, jitter=False, attempts=2)
    bench = make_bench(Options(start="beginning", concurrency=CONCURRENCY, retry=retry))
    append_messages(bench.log, NAMES * 2)
    bench.recorder.is_down = True
    async with bench.running():
        await until(lambda: bench.breaker == [True])
        await until(lambda: len(bench.parked()) >= SUBJECTS and bench.recorder.underway == 0)
        tried = {position for position, _ in bench.recorder.calls}
        await bench.pass_time(10)
        await until(lambda: set(bench.given_up) == tried)
        await until(lambda: len(bench.parked()) == len(tried) + 1)
        await bench.pass_time(1)
        await bench.settled()
        assert len({position for position, _ in bench.recorder.calls} - tried) == 1


@in_loop
async def test_the_first_success_lets_all_go_on(make_bench: MakeBench) -> None:
    """One probe that succeeds ends the outage; each subject is handled in its order, once."""
    bench = make_bench(OPTIONS)
    positions = append_messages(bench.log, NAMES * 3)
    bench.recorder.is_down = True
    async with bench.running():
        await until(lambda: bench.breaker == [True])
        await probe(bench)
        bench.recorder.is_down = False
        await bench.pass_time(10)
        await bench.recorder.until_handled(positions)
        assert bench.breaker == [True, False]
    for name in NAMES:
        assert bench.recorder.of(name) == sorted(bench.recorder.of(name))
    assert (bench.parked(), bench.blocked(), bench.given_up) == ({}, {}, [])
    assert bench.recorded()[:2] == (300, "[]")


@in_loop
async def test_where_nothing_is_tried_again_something_new_is_a_probe(
    make_bench: MakeBench,
) -> None:
    """When all that has failed is dead, one new event at a time finds out how things stand."""
    retry = RetryOptions(first=0.001, attempts=1, jitter=False)
    bench = make_bench(Options(start="beginning", concurrency=CONCURRENCY, retry=retry))
    positions = append_messages(bench.log, NAMES)
    bench.recorder.is_down = True
    async with bench.running():
        await until(lambda: bench.breaker == [True])
        await until(lambda: len(bench.given_up) > SUBJECTS + CONCURRENCY)
        bench.recorder.is_down = False
        await until(lambda: bench.breaker == [True, False])
        await until(lambda: len(bench.recorder.handled) + len(bench.given_up) == len(positions))
    assert bench.recorder.handled


@in_loop
async def test_many_events_of_one_subject_are_no_outage(make_bench: MakeBench) -> None:
    """Whatever fails, and however often, the breaker is for many subjects alone."""
    bench = make_bench(Options(start="beginning", order="none", retry=RETRY))
    append_messages(bench.log, ["ana"] * 100)
    bench.recorder.is_down = True
    async with bench.running():
        await until(lambda: len(bench.parked()) == 100)
    assert bench.breaker == []


@pytest.mark.parametrize("kind", ["plain", "transactional"])
@in_loop
async def test_an_outage_is_on_record_and_told(log: EventLog, kind: str) -> None:
    """Its state is `failing` as long as it lasts, and everybody hears of both changes."""
    is_down = True
    handled: list[int] = []

    def handle(event: Event) -> None:
        if is_down:
            raise ConnectionError("nobody answers")
        handled.append(event.position)

    def write(event: Event, connection: Connection) -> None:
        handle(event)

    retry = RetryOptions(first=0.05, factor=1, attempts=1_000, jitter=False)
    options = Options(start="beginning", concurrency=4, retry=retry)
    on_event = handle if kind == "plain" else write
    subscription = make_subscription("crm", options, on_event=on_event)
    listener = Listener()
    append_messages(log, NAMES * 2)
    async with dispatching(log, subscription, listeners=[listener.tell]):
        await until(lambda: read_state(log.store) == "failing")
        await until(lambda: len(read_parked(log.store)) >= SUBJECTS)
        assert len(read_parked(log.store)) < 100
        await until(lambda: listener.states() == ["failing"])
        is_down = False
        await until(lambda: len(handled) == 200)
        await until(lambda: read_state(log.store) == "active")
        await until(lambda: listener.states() == ["failing", "active"])
        await until(lambda: not read_parked(log.store))
    assert sorted(handled) == list(range(1, 201))


# Time.


async def until_tried(bench: Bench, count: int) -> None:
    """Wait until the event was tried so many times and that is on record."""
    await until(lambda: bench.outcomes(1) == ["failed"] * count)


@in_loop
async def test_time_in_which_nobody_delivers_does_not_count(make_bench: MakeBench) -> None:
    """An event is given up after so long a time in which it could have been handled."""
    retry = RetryOptions(first=10, factor=1, jitter=False, give_up_after=40)
    bench = make_bench(Options(start="beginning", retry=retry))
    append_messages(bench.log, ["ana"])
    bench.recorder.is_down = True
    async with bench.running():
        await until_tried(bench, 1)
        for count in (2, 3):
            await bench.pass_time(10)
            await until_tried(bench, count)
    bench.clock.advance(100_000)
    async with bench.running():
        await until_tried(bench, 4)
        assert bench.given_up == []
        await bench.pass_time(10)
        await until_tried(bench, 5)
        assert bench.given_up == []
        await bench.pass_time(10)
        await until(lambda: bench.given_up == [1])
    assert len(bench.outcomes(1)) == 6


# Room.


@in_loop
async def test_memory_is_bounded_by_bytes(make_bench: MakeBench) -> None:
    """Behind an event that does not come on, large bodies are not read beyond the bound."""
    size = BYTES // 16
    bench = make_bench(Options(start="beginning", concurrency=1))
    entries = [make_entry("ana", text="x" * size) for _ in range(40)]
    positions = append(bench.log, *entries)
    bench.recorder.hold(1)
    async with bench.running() as delivery:
        await until(lambda: delivery.ledger.progress.pending >= 15)
        for _ in range(3):
            await bench.pass_time(1)
            await bench.settled()
        assert delivery.ledger.progress.pending <= 17
        bench.recorder.let_go(1)
        await bench.recorder.until_handled(positions)
    assert bench.recorder.positions == positions
