"""Tests of `router.writer`: what waits is appended together, and answered after its own commit."""

import asyncio
import threading

import pytest

from router.errors import Unavailable
from router.events import Event
from router.log import EventLog
from router.rows import Appended
from router.writer import MAX_BATCH, MAX_EVENTS, Writer
from tests.entries import make_entry
from tests.loops import in_loop
from tests.submitting import (
    Statements,
    held,
    large_entry,
    settle,
    submit,
    writing,
)
from tests.waiting import until


@pytest.mark.engines("sqlite")
@in_loop
async def test_what_waits_shares_a_transaction(log: EventLog) -> None:
    """Requests that come while one is being written are all written in the next transaction."""
    statements = Statements(log)
    async with writing(Writer(log)) as writer:
        with held(log):
            first = await submit(writer, make_entry())
            await until(lambda: log.store.gate.is_append_waiting)
            others = await submit(writer, *(make_entry() for _ in range(200)))
        results = await settle(first + others)
    assert statements.transactions == 2
    assert [one.positions for one in results if isinstance(one, Appended)] == [
        (position,) for position in range(1, 202)
    ]


@in_loop
async def test_each_is_answered_after_its_commit(log: EventLog) -> None:
    """Whoever is answered finds the event in the log, for every other connection to see."""
    async with writing(Writer(log)) as writer:

        async def append() -> None:
            appended = await writer.append(make_entry())
            assert appended.positions[-1] <= log.head()

        await asyncio.gather(*(append() for _ in range(100)))


@pytest.mark.engines("sqlite")
@in_loop
async def test_no_batch_is_too_large(log: EventLog) -> None:
    """A batch holds so many entries at most, and takes none on beyond so many events."""
    statements = Statements(log)
    async with writing(Writer(log)) as writer:
        with held(log):
            tasks = await submit(writer, make_entry())
            await until(lambda: log.store.gate.is_append_waiting)
            tasks += await submit(writer, *(make_entry() for _ in range(MAX_BATCH + 1)))
        await settle(tasks)
        assert statements.transactions == 3
        with held(log):
            tasks = await submit(writer, make_entry())
            await until(lambda: log.store.gate.is_append_waiting)
            entries = (large_entry(MAX_EVENTS // 2, size=2 + at) for at in range(3))
            tasks += await submit(writer, *entries)
        await settle(tasks)
        assert statements.transactions == 6
    assert log.head() == 1 + MAX_BATCH + 1 + 1 + 3 * (MAX_EVENTS // 2)


@pytest.mark.engines("sqlite")
@in_loop
async def test_other_writers_pass_between_batches(log: EventLog) -> None:
    """However much is submitted, whoever holds leases gets a turn after one batch."""
    order: list[int] = []

    def write() -> None:
        with log.store.writing():
            order.append(log.head())

    async with writing(Writer(log)) as writer:
        with held(log):
            tasks = await submit(writer, *(make_entry() for _ in range(3 * MAX_BATCH)))
            thread = threading.Thread(target=write)
            thread.start()
            await until(lambda: log.store.gate.waiting == 2)
        await settle(tasks)
        await asyncio.to_thread(thread.join)
    assert order[0] <= MAX_BATCH


@pytest.mark.engines("sqlite")
@in_loop
async def test_a_full_queue_is_refused(log: EventLog) -> None:
    """One entry more than may wait is refused at once; when there is room, it is taken."""
    async with writing(Writer(log, max_waiting=3)) as writer:
        with held(log):
            tasks = await submit(writer, make_entry())
            await until(lambda: log.store.gate.is_append_waiting)
            tasks += await submit(writer, *(make_entry() for _ in range(3)))
            with pytest.raises(Unavailable, match="than there is room for"):
                await writer.append(make_entry())
        await settle(tasks)
        await writer.append(make_entry())
    assert log.head() == 5


@pytest.mark.engines("sqlite")
@in_loop
async def test_a_queue_of_large_bodies_is_refused(log: EventLog) -> None:
    """Bytes are counted, too, and are free again once they are taken out."""
    async with writing(Writer(log, max_bytes=250)) as writer:
        with held(log):
            tasks = await submit(writer, make_entry())
            await until(lambda: log.store.gate.is_append_waiting)
            tasks += await submit(writer, *(large_entry(1, size=100 + at) for at in range(2)))
            with pytest.raises(Unavailable, match="than there is room for"):
                await writer.append(large_entry(1, size=60))
            tasks += await submit(writer, large_entry(1, size=40))
        await settle(tasks)
        await writer.append(large_entry(1, size=60))
    assert log.head() == 5


@in_loop
async def test_a_body_larger_than_the_queue_is_taken_alone(log: EventLog) -> None:
    """What may be received at all can be stored: else it would be refused for ever."""
    async with writing(Writer(log, max_bytes=10)) as writer:
        assert (await writer.append(large_entry(1, size=1000))).positions == (1,)


@in_loop
async def test_a_stop_appends_what_waits(log: EventLog) -> None:
    """Nothing that was taken is dropped, and nothing is taken any more."""
    writer = Writer(log)
    with pytest.raises(Unavailable, match="has not been started"):
        await writer.append(make_entry())
    writer.start()
    with held(log):
        tasks = await submit(writer, *(make_entry() for _ in range(2 * MAX_BATCH)))
        stopping = asyncio.ensure_future(asyncio.to_thread(writer.stop))
        while not tasks[-1].done():
            tasks += await submit(writer, make_entry())
        assert str(tasks.pop().exception()).startswith("the router is stopping")
    await stopping
    results = await settle(tasks)
    assert all(isinstance(one, Appended) for one in results)
    assert log.head() == len(tasks)


@in_loop
async def test_a_client_that_has_gone_costs_nothing(log: EventLog) -> None:
    """Its notification is stored all the same, and its neighbours are answered."""
    async with writing(Writer(log)) as writer:
        with held(log):
            gone, stays = await submit(writer, make_entry(), make_entry())
            gone.cancel()
            await asyncio.sleep(0)
        assert (await stays).positions == (2,)
    assert log.head() == 2


@in_loop
async def test_tells_of_new_events(log: EventLog) -> None:
    """It calls back with the events that a commit added, and not after one that added none."""
    told: list[Event] = []
    entry = make_entry()
    async with writing(Writer(log, on_append=told.extend)) as writer:
        await writer.append(entry)
        await until(lambda: len(told) == 1)
        await writer.append(entry)
        await writer.append(make_entry())
        await until(lambda: len(told) == 2)
    assert told == list(log.read())
