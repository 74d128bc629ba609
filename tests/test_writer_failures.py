"""Tests of `router.writer` where something fails: nobody is answered wrongly, and it goes on."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import Connection

from router.errors import StoreError, Unavailable, Unreadable
from router.events import Draft, Entry, Event, Notification, Unsplit
from router.log import EventLog
from router.rows import Appended, Prepared
from router.store import Store
from router.writer import Writer
from tests.entries import NOON, make_entry
from tests.loops import in_loop
from tests.storing import failing_commits
from tests.submitting import (
    Statements,
    bad_entry,
    count,
    held,
    settle,
    submit,
    writing,
)
from tests.waiting import until


@in_loop
async def test_nobody_is_answered_when_the_commit_fails(log: EventLog) -> None:
    """What is known of a failed commit is nothing: each is told so, and may come again."""
    entries = [make_entry() for _ in range(20)]
    async with writing(Writer(log)) as writer:
        with failing_commits(log.store):
            results = await settle(await submit(writer, *entries))
            assert not any(isinstance(one, Appended) for one in results)
        assert log.head() == 0
        results = await settle(await submit(writer, *entries))
    assert all(isinstance(one, Appended) for one in results)
    assert count(log) == 20


@pytest.mark.engines("sqlite")
@in_loop
async def test_a_bad_entry_fails_alone(log: EventLog) -> None:
    """Its neighbours in the batch are stored, in order and without a gap."""
    statements = Statements(log)
    entries = [make_entry() for _ in range(64)]
    entries[40:40] = [bad_entry()]
    async with writing(Writer(log)) as writer:
        with held(log):
            tasks = await submit(writer, make_entry())
            await until(lambda: log.store.gate.is_append_waiting)
            tasks += await submit(writer, *entries)
        results = await settle(tasks)
    bad = results.pop(41)
    assert isinstance(bad, StoreError)
    assert [one.positions for one in results if isinstance(one, Appended)] == [
        (position,) for position in range(1, 66)
    ]
    assert statements.transactions < 16, "the good ones are still stored together"


@in_loop
async def test_an_entry_that_the_database_refuses_fails_alone(
    log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    """So does what only the driver finds out; the log line says which source, not what it sent."""
    late = Entry(
        Notification("wa", NOON, {}, b"+5215512345678"),
        [Draft(path="$", type="message", subtype="text", external_id=b"\xff")],  # type: ignore[arg-type]
    )
    naive = Entry(
        Notification("wa", NOON.replace(tzinfo=None), {}, b"+5215512345678"),
        [Draft(path="$", type="message", subtype="text")],
    )
    async with writing(Writer(log)) as writer:
        tasks = await submit(writer, make_entry(), late, make_entry(), naive, make_entry())
        results = await settle(tasks)
    assert [type(one) for one in results] == [
        Appended,
        StoreError,
        Appended,
        StoreError,
        Appended,
    ]
    assert log.head() == 3
    assert "a notification of source 'wa' cannot be stored" in caplog.text
    assert "+5215512345678" not in caplog.text


@in_loop
async def test_a_body_that_cannot_be_read_costs_nobody_else(log: EventLog) -> None:
    """Whoever sent it is told; bodies are split on the thread of the writer, not on the loop."""
    threads = set()

    def split(body: bytes) -> Sequence[Draft]:
        threads.add(threading.current_thread().name)
        if body == b"no JSON":
            raise Unreadable("the body is not one JSON value")
        return [Draft(path="$", type="message", subtype="text")]

    def unsplit(body: bytes) -> Unsplit:
        return Unsplit(Notification("wa", NOON, {}, body), split)

    async with writing(Writer(log)) as writer:
        bodies = (b"[1]", b"no JSON", b"[2]")
        tasks = [asyncio.ensure_future(writer.append(unsplit(body))) for body in bodies]
        results = await settle(tasks)
    assert [type(one) for one in results] == [Appended, Unreadable, Appended]
    assert [event.notification.body for event in log.read()] == [b"[1]", b"[2]"]
    assert threads == {"router-writer"}


@pytest.fixture
def hurried(database: str) -> Iterator[EventLog]:
    """A log that waits for no lock."""
    store = Store(f"{database}?timeout=0")
    yield EventLog(store)
    store.close()


@pytest.mark.engines("sqlite")
@in_loop
async def test_a_locked_database_is_tried_once_for_all(hurried: EventLog) -> None:
    """While another process holds the lock, a batch is refused as one and not one by one."""
    statements = Statements(hurried)
    other = sqlite3.connect(hurried.store.engine.url.database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with writing(Writer(hurried)) as writer:
        with held(hurried):
            tasks = await submit(writer, *(make_entry() for _ in range(50)))
        results = await settle(tasks)
        other.close()
        assert all(isinstance(one, Unavailable) for one in results)
        assert len({id(one) for one in results}) == 50, "each request raises an error of its own"
        assert statements.transactions <= 2
        assert (await writer.append(make_entry())).positions == (1,)


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


@pytest.mark.engines("sqlite")  # whose gate holds the writer up
def test_a_loop_that_has_ended_costs_nothing(
    log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer to an event loop that is closed is dropped, and those to others are given."""
    writer = Writer(log)
    writer.start()

    async def leave() -> None:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, lambda: None)
        await future
        asyncio.ensure_future(writer.append(make_entry())).add_done_callback(lambda _task: None)
        await asyncio.sleep(0)

    with held(log):
        asyncio.run(leave())
    assert asyncio.run(writer.append(make_entry())).positions == (2,)
    writer.stop()
    assert "1 answers came after their event loop had ended" in caplog.text


@in_loop
async def test_a_callback_that_fails_stops_nothing(
    log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread that everybody waits for lives on."""
    number = "+52" + "1" * 11

    def fail(_events: Sequence[Event]) -> None:
        raise RuntimeError(number)

    with caplog.at_level(logging.ERROR):
        async with writing(Writer(log, on_append=fail)) as writer:
            await writer.append(make_entry())
            assert (await writer.append(make_entry())).positions == (2,)
    assert "nobody was told of new events" in caplog.text
    assert number not in caplog.text


@in_loop
async def test_nobody_waits_longer_than_the_database_is_waited_for(log: EventLog) -> None:
    """While it says nothing at all a request is told so; what it brought is stored all the same."""
    may_go_on = threading.Event()

    class Silent(EventLog):
        def append_prepared(
            self, entries: Sequence[Prepared], *, connection: Connection | None = None
        ) -> list[Appended]:
            may_go_on.wait(timeout=30)
            return super().append_prepared(entries, connection=connection)

    entry = make_entry()
    async with writing(Writer(Silent(log.store), patience=0.01)) as writer:
        with pytest.raises(Unavailable, match="has not answered in time"):
            await writer.append(entry)
        may_go_on.set()
        await until(lambda: log.head() == 1)
    assert count(log) == 1
