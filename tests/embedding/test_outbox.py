"""Tests of `router.outbox`: what a host appends is there with its transaction, or never was."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from sqlalchemy import Connection, Engine, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session

from router import Router
from router.errors import StoreError, UnknownName, Unreadable
from router.events import Draft, Event
from router.hookspecs import hookimpl
from router.log import EventLog
from router.rows import Appended
from tests.ears import listening
from tests.embedding.hosts import (
    append,
    count_rows,
    find_accounts,
    hosting,
    open_account,
    opened,
    read,
)
from tests.entries import make_entry
from tests.loops import in_loop
from tests.posting import StubSource
from tests.waiting import until

# With the transaction.


def test_what_is_committed_is_there_with_the_hosts_own(router: Router, host: Engine) -> None:
    """The host's row and its event appear together, and the event stands in its order."""
    append(router, "first")
    with host.begin() as connection:
        open_account(connection, "ana")
        appended = append(router, "ana", connection=connection)
        assert read(router.log) == [(1, "bank:first")]
    append(router, "last")
    assert [(one.position, one.subtype) for one in appended.events] == [(2, "account.opened")]
    assert read(router.log) == [(1, "bank:first"), (2, "bank:ana"), (3, "bank:last")]
    assert find_accounts(host) == ["ana"]
    assert router.log.find("2") == appended.events[0]


def test_what_is_rolled_back_never_was(router: Router, host: Engine) -> None:
    """Nothing is left: no row, no gap in the positions, nothing that dedupe remembers."""
    append(router, "first")
    before = count_rows(router.log)
    with host.connect() as connection:
        open_account(connection, "ana")
        assert append(router, "ana", connection=connection).positions == (2,)
        connection.rollback()
    assert count_rows(router.log) == before
    assert router.log.head() == 1
    assert append(router, "ana").positions == (2,)
    assert find_accounts(host) == []


def test_a_savepoint_of_the_host_may_undo_it(router: Router, host: Engine) -> None:
    """What was appended behind a savepoint goes with it, and the transaction may append more."""
    with host.begin() as connection:
        append(router, "ana", connection=connection)
        behind = connection.begin_nested()
        append(router, "ben", connection=connection)
        behind.rollback()
        assert append(router, "cid", connection=connection).positions == (2,)
    assert read(router.log) == [(1, "bank:ana"), (2, "bank:cid")]


def test_repeats_are_told(router: Router, host: Engine) -> None:
    """What the log knows is not appended again, be it of this transaction or of an earlier one."""
    append(router, "ana")
    with host.begin() as connection:
        assert append(router, "ana", connection=connection) == Appended((), 1)
        new = append(router, "ben", connection=connection)
        assert (new.positions, new.known) == ((2,), 0)
        assert append(router, "ben", connection=connection) == Appended((), 1)
    assert append(router, "ben") == Appended((), 1)
    assert count_rows(router.log)["notification"] == 2


def test_many_hosts_and_receivers_leave_no_gap(router: Router, database: str) -> None:
    """Whoever appends at once, commits and rolls back: readers see positions without gaps."""
    numbers = range(12)

    def act(number: int) -> bool:
        is_kept = number % 3 != 1
        with host.connect() as connection:
            append(router, f"host {number}", connection=connection)
            if is_kept:
                connection.commit()
            else:
                connection.rollback()
        router.log.append([make_entry(f"receiver {number}")])
        found = [position for position, _ in read(router.log)]
        return found == list(range(1, len(found) + 1))

    with hosting(database) as host, ThreadPoolExecutor(4) as threads:
        assert all(threads.map(act, numbers))
    kept = {f"bank:host {number}" for number in numbers if number % 3 != 1}
    subjects = [subject for _, subject in read(router.log)]
    assert {one for one in subjects if one.startswith("bank:")} == kept
    assert len(subjects) == len(kept) + len(numbers)


def test_a_session_appends_by_its_connection(router: Router, host: Engine) -> None:
    """With the ORM it is the session's transaction: an event goes with what that has done."""
    for name, is_kept in (("ana", False), ("ben", True)):
        with Session(host) as session:
            open_account(session.connection(), name)
            append(router, name, connection=session.connection())
            if is_kept:
                session.commit()
    assert read(router.log) == [(1, "bank:ben")]
    assert find_accounts(host) == ["ben"]


@pytest.mark.engines("postgresql")
def test_a_schema_holds_the_log(database: str, host: Engine) -> None:
    """So it is where the router's tables live in a schema, and have a prefix."""
    router = Router(database, schema="notify", table_prefix="its_")
    router.create_tables()
    for is_kept in (False, True):
        with host.connect() as connection:
            append(router, "ana", connection=connection)
            if is_kept:
                connection.commit()
    assert read(router.log) == [(1, "bank:ana")]
    assert EventLog(router.log.store.engine).head() == 0
    router.log.store.close()


@pytest.mark.parametrize("driver", ["psycopg_async", "asyncpg"])
@pytest.mark.engines("postgresql")
@in_loop
async def test_an_asynchronous_host_appends_by_run_sync(
    router: Router, driver: str, database: str
) -> None:
    """Whatever driver a host's connection has, it appends; and what it rolls back never was."""
    engine = create_async_engine(make_url(database).set(drivername=f"postgresql+{driver}"))
    await append_by_run_sync(router, engine)


@pytest.mark.engines("sqlite")
@in_loop
async def test_an_asynchronous_host_appends_on_sqlite(router: Router, database: str) -> None:
    """So does one of an asynchronous driver of SQLite that is set up as it has to be."""
    engine = create_async_engine(
        make_url(database).set(drivername="sqlite+aiosqlite"),
        connect_args={"isolation_level": None},
    )

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    await append_by_run_sync(router, engine)


async def append_by_run_sync(router: Router, engine: AsyncEngine) -> None:
    """Commit, roll back, commit, and repeat; then see what is in the log."""
    async with engine.connect() as connection:
        for name, is_kept in (("ana", True), ("ben", False), ("cid", True), ("ana", True)):
            await connection.run_sync(lambda own, who=name: append(router, who, connection=own))  # type: ignore[misc]
            await (connection.commit() if is_kept else connection.rollback())
    await engine.dispose()
    assert read(router.log) == [(1, "bank:ana"), (2, "bank:cid")]
    assert router.log.find("1").payload == {"opened": "ana"}


# What a source finds.


def test_a_source_finds_what_is_in_a_body(router: Router, host: Engine) -> None:
    """Without events they are found as in a request; credentials among its headers are not kept."""
    headers = {"Content-Type": "application/json", "Authorization": "secret"}
    with host.begin() as connection:
        (event,) = router.append("wa", b"{}", headers=headers, connection=connection).events
    assert (event.source, event.subject) == ("wa", ":ana")
    assert router.log.find("1").notification.headers == {"content-type": "application/json"}


def test_an_unknown_source_needs_events(router: Router) -> None:
    """A name that is no source's is refused unless it is said what is in the body."""
    with pytest.raises(UnknownName, match=r"'was' is unknown: did you mean wa.*`events`"):
        router.append("was", b"{}")


def test_a_source_has_a_name_that_every_engine_keeps(router: Router) -> None:
    """One that is too long for its column is refused, where one engine would cut it off."""
    router.append("b" * 255, b"{}", events=opened("ana"))
    with pytest.raises(StoreError, match="no more than 255 characters"):
        router.append("b" * 256, b"{}", events=opened("ben"))
    assert [event.source for event in router.log.read()] == ["b" * 255]


def test_an_unreadable_body_is_refused(database: str) -> None:
    """What a source cannot read is not appended: the host is told, as a provider is."""

    def refuse(_body: bytes) -> list[Draft]:
        raise Unreadable("not JSON")

    router = Router(database, sources=[StubSource(splits=refuse)])
    with pytest.raises(Unreadable):
        router.append("wa", b"<html>")
    assert router.log.head() == 0
    router.log.store.close()


# Delivery.


class Plugin:
    """Notes the subjects and positions of what it is handed."""

    plugin_name = "crm"

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.positions: list[int] = []

    @hookimpl
    def on_other(self, event: Event) -> None:
        """Note it."""
        self.seen.append(event.subject)
        self.positions.append(event.position)


@in_loop
async def test_a_worker_has_what_was_committed(database: str) -> None:
    """A handler gets what a host has committed, in order, and nothing of what was rolled back."""
    plugin = Plugin()

    def act(name: str, *, is_kept: bool) -> list[str]:
        with host.connect() as connection:
            append(router, name, connection=connection)
            seen = list(plugin.seen)
            if is_kept:
                connection.commit()
        router.wake()
        return seen

    with hosting(database) as host:
        async with Router(database, plugins=[plugin]) as router:
            for name, is_kept in (("ana", True), ("ben", False), ("cid", True)):
                assert f"bank:{name}" not in await asyncio.to_thread(act, name, is_kept=is_kept)
                if is_kept:
                    await until(lambda: len(plugin.seen) == router.log.head())
            await asyncio.to_thread(append, router, "dan")
            await until(lambda: len(plugin.seen) == 3)
    assert plugin.seen == ["bank:ana", "bank:cid", "bank:dan"]


@in_loop
async def test_a_subscription_has_all_in_order(database: str) -> None:
    """Whoever appends beside whom, a conversation's events are handled in the order of the log."""
    plugin = Plugin()

    def act(number: int) -> None:
        body = json.dumps(number).encode()
        events = [msgspec.structs.replace(opened("all")[0], natural_key=(str(number),))]
        if number % 4 == 0:
            router.append("bank", body, events=events)
            return
        with host.connect() as connection:
            router.append("bank", body, events=events, connection=connection)
            if number % 4 == 1:
                connection.rollback()
            else:
                connection.commit()

    with hosting(database) as host, ThreadPoolExecutor(4) as threads:
        async with Router(database, plugins=[plugin]) as router:
            loop = asyncio.get_running_loop()
            await asyncio.gather(*(loop.run_in_executor(threads, act, at) for at in range(24)))
            router.wake()
            await until(lambda: len(plugin.positions) >= 18)
    assert plugin.positions == list(range(1, 19))


@pytest.mark.engines("postgresql")
def test_other_processes_hear_of_the_commit(router: Router, host: Engine) -> None:
    """Workers elsewhere are woken by the commit of the host, or by the router after its own."""
    with listening(router.log.store) as ear:
        with host.begin() as connection:
            append(router, "ana", connection=connection)
        assert ear.wait_for(2)
        append(router, "ben")
        assert ear.wait_for(3)
