"""Tests of `router.outbox` in trouble: what is refused, and who waits for whom."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from router import Router, postgresql
from router.errors import StoreError, Unavailable
from router.events import Event
from router.hookspecs import hookimpl
from router.log import EventLog
from router.rows import Appended
from router.store import Store
from tests.embedding.hosts import (
    LONG,
    TIMEOUT,
    append,
    count_rows,
    find_accounts,
    hosting,
    open_account,
    read,
)
from tests.entries import make_entry
from tests.loops import in_loop
from tests.posting import StubSource, ask
from tests.waiting import until

# What is refused.


@pytest.mark.engines("postgresql")
def test_a_connection_to_another_kind_of_database_is_refused(router: Router) -> None:
    """A connection that cannot be of the log's database is named."""
    words = "leads to sqlite, and the log is on postgresql"
    with create_engine("sqlite://").connect() as connection:
        with pytest.raises(StoreError, match=words):
            append(router, "ana", connection=connection)
        connection.engine.dispose()


def test_an_asynchronous_connection_is_refused(router: Router, host: Engine) -> None:
    """A connection that can only be awaited is told how it lends the one inside."""
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
    url = host.url.set(drivername=drivers[host.dialect.name])
    connection: Any = create_async_engine(url).connect()  # it need not have begun
    with pytest.raises(StoreError, match=r"await connection.run_sync\(lambda own: router.append\("):
        append(router, "ana", connection=connection)


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize(
    ("level", "arguments", "begin", "words"),
    [
        ("NORMAL", {"isolation_level": None}, "BEGIN", "synchronous = FULL"),
        ("FULL", {}, "INSERT INTO account VALUES ('x')", '"isolation_level": None'),
        ("FULL", {"isolation_level": None}, "SELECT 1", "in no transaction.*BEGIN IMMEDIATE"),
    ],
    ids=["NORMAL", "driver's transactions", "none"],
)
def test_a_weak_transaction_on_sqlite_is_refused(
    router: Router, host: Engine, level: str, arguments: dict[str, object], begin: str, words: str
) -> None:
    """A connection that keeps less than the log promises is refused, with what would mend it."""
    weak = create_engine(host.url, connect_args=arguments)
    with weak.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
        connection.exec_driver_sql(begin)
        with pytest.raises(StoreError, match=words):
            append(router, "ana", connection=connection)
        connection.rollback()
    weak.dispose()
    assert router.log.head() == 0


@pytest.mark.engines("sqlite")
def test_an_engine_without_a_write_ahead_log_is_refused(router: Router) -> None:
    """A journal of another kind is refused as well: it is another database, or about to be."""
    other = create_engine("sqlite://", connect_args={"isolation_level": None})
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        with pytest.raises(StoreError, match="journal_mode = WAL"):
            append(router, "ana", connection=connection)
    other.dispose()


@pytest.mark.engines("sqlite")
def test_a_deferred_transaction_waits_for_the_lock(router: Router, host: Engine) -> None:
    """A host that has only begun takes the write lock before it looks where the log ends."""
    plain = create_engine(host.url, connect_args={"isolation_level": None, "timeout": 20})
    done = threading.Event()
    with plain.connect() as connection, ThreadPoolExecutor(1) as threads:
        connection.exec_driver_sql("PRAGMA synchronous = FULL")
        connection.exec_driver_sql("BEGIN")

        def act() -> Appended:
            found = append(router, "late", connection=connection)
            done.set()
            connection.commit()
            return found

        with host.begin() as other:
            append(router, "early", connection=other)
            appending = threads.submit(act)
            assert not done.wait(0.05)
        assert appending.result().positions == (2,)
    plain.dispose()


def test_a_connection_that_commits_by_itself_is_refused(router: Router, host: Engine) -> None:
    """Without a transaction the head would be let go between two statements, or nothing be kept."""
    with host.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        with pytest.raises(StoreError, match="isolation_level is not AUTOCOMMIT"):
            append(router, "ana", connection=connection)
    assert router.log.head() == 0


@pytest.mark.engines("sqlite")
def test_a_connection_that_has_committed_by_itself_is_refused(router: Router, host: Engine) -> None:
    """What the option AUTOCOMMIT has taken from a connection of the pool is named."""
    with host.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
    with host.connect() as connection, pytest.raises(StoreError, match=r"used with .*AUTOCOMM"):
        append(router, "ana", connection=connection)


@pytest.mark.engines("postgresql")
def test_a_commit_waits_for_the_disk(router: Router, host: Engine) -> None:
    """Where a host's sessions do not wait for it, the transaction that appends does."""
    with host.connect() as connection:
        connection.execute(text("SET synchronous_commit = off"))
        connection.commit()
        append(router, "ana", connection=connection)
        assert connection.scalars(text("SHOW synchronous_commit")).one() == "on"
        connection.commit()
        assert connection.scalars(text("SHOW synchronous_commit")).one() == "off"


@pytest.mark.engines("postgresql")
def test_an_older_view_of_the_database_is_told(router: Router, host: Engine) -> None:
    """Who sees the database as it was before others appended cannot append, and may try again."""
    with host.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ")
        connection.execute(text("SELECT 1"))
        append(router, "early")
        with pytest.raises(Unavailable, match="concurrent update"):
            append(router, "late", connection=connection)
        connection.rollback()
        assert append(router, "late", connection=connection).positions == (2,)
        connection.commit()
    assert router.log.head() == 2


def test_a_log_that_is_only_read_is_refused(database: str, host: Engine) -> None:
    """A log that was opened to be read takes nothing, by whose connection soever."""
    store = Store(database, writes=False)
    with host.begin() as connection, pytest.raises(StoreError, match="opened to be read"):
        EventLog(store).append([make_entry()], connection=connection)
    store.close()


@in_loop
async def test_a_transactional_handler_is_refused(database: str) -> None:
    """The transaction of a handler is the router's: it would hold the head for many events."""

    class Nosy:
        plugin_name = "nosy"

        @hookimpl
        def on_other(self, event: Event, connection: Connection) -> None:
            with pytest.raises(StoreError, match="in the middle of a transaction"):
                append(router, "ben", connection=connection)
            refused.append(event.position)

    refused: list[int] = []
    async with Router(database, plugins=[Nosy()]) as router:
        await asyncio.to_thread(append, router, "ana")
        await until(lambda: refused)
        assert router.log.head() == 1


# What goes wrong.


def test_a_failed_append_leaves_the_transaction_as_it_was(router: Router, host: Engine) -> None:
    """What a statement of the append chokes on costs the event, and nothing of the host's."""
    with host.begin() as connection:
        table = router.log.store.tables.dedupe_a.name
        connection.execute(text(REFUSALS[host.dialect.name].format(table=table)))
    with host.begin() as connection:
        open_account(connection, "ana")
        with pytest.raises(IntegrityError, match="not_today"):
            append(router, "ana", connection=connection)
        open_account(connection, "ben")
    assert find_accounts(host) == ["ana", "ben"]
    assert sum(count_rows(router.log).values()) == router.log.head() == 0


REFUSALS = {
    "sqlite": "CREATE TRIGGER refusal BEFORE INSERT ON {table}"
    " BEGIN SELECT RAISE(ABORT, 'not_today'); END",
    "postgresql": "ALTER TABLE {table} ADD CONSTRAINT not_today CHECK (position = 0)",
}


def test_a_host_that_may_not_wait_goes_on_without(
    router: Router, host: Engine, database: str
) -> None:
    """While another transaction holds the head it is told so, and may commit its own."""
    plain = {"isolation_level": None, "timeout": TIMEOUT}  # begins no transaction of its own
    is_sqlite = host.dialect.name == "sqlite"
    engine = create_engine(database, connect_args=plain if is_sqlite else {})
    begin = "PRAGMA synchronous = FULL; BEGIN" if is_sqlite else "SET LOCAL lock_timeout = 50"
    with host.connect() as first, engine.connect() as second:
        append(router, "ana", connection=first)
        for one in begin.split("; "):
            second.exec_driver_sql(one)
        with pytest.raises(Unavailable, match="lock"):
            append(router, "ben", connection=second)
        first.commit()
        open_account(second, "ben")
        second.commit()
    engine.dispose()
    assert read(router.log) == [(1, "bank:ana")]
    assert find_accounts(host) == ["ben"]


@pytest.mark.engines("sqlite", "postgresql")
@in_loop
async def test_receivers_answer_503_while_a_host_holds_the_head(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notification that comes meanwhile is refused before long, and taken when it comes again."""
    monkeypatch.setattr(postgresql, "APPEND_LOCK", TIMEOUT)
    monkeypatch.setattr(postgresql, "APPEND_IDLE", LONG)
    slow = f"{database}?timeout={TIMEOUT}" if database.startswith("sqlite") else database
    with hosting(database) as host:
        async with Router(slow, sources=[StubSource()], delivers=False) as router:
            with host.connect() as connection:
                append(router, "ana", connection=connection)
                answer = await ask(router.asgi(), "/webhooks/wa", body=b"{}")
                connection.commit()
            assert answer.status == 503
            assert "lock" in answer.problem["detail"]
            assert (await ask(router.asgi(), "/webhooks/wa", body=b"{}")).status == 200
            assert read(router.log) == [(1, "bank:ana"), (2, ":ana")]


@pytest.mark.engines("postgresql")
def test_a_host_that_stands_still_loses_the_head(
    router: Router, host: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An append that has waited in vain ends the transaction that does nothing; it never was."""
    monkeypatch.setattr(postgresql, "APPEND_LOCK", TIMEOUT)
    monkeypatch.setattr(postgresql, "APPEND_IDLE", 0.0)
    with host.connect() as connection:
        open_account(connection, "ana")
        append(router, "ana", connection=connection)
        with pytest.raises(Unavailable, match="lock"):
            router.log.append([make_entry("ben")])
        monkeypatch.setattr(postgresql, "APPEND_LOCK", LONG)
        assert router.log.append([make_entry("cid")])[0].positions == (1,)
        with pytest.raises(Exception, match=r"terminat|closed|lost"):
            connection.execute(text("SELECT 1"))
        connection.invalidate()
    assert find_accounts(host) == []
    assert read(router.log) == [(1, ":cid")]
