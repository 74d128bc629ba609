"""Tests of `router.postgresql`: whom it connects to, and how its transactions wait."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError

from router import postgresql
from router.errors import StoreError, Unavailable
from router.kind import Kind
from router.log import EventLog
from router.store import Store
from tests.clusters import Server
from tests.entries import append, make_entry
from tests.loops import in_loop
from tests.storing import add, count, write
from tests.waiting import until

pytestmark = pytest.mark.engines("postgresql")

SETTINGS = (
    "lock_timeout",
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "synchronous_commit",
)
LIMITS = {
    "APPEND_LOCK": 2.0,
    "APPEND_IDLE": 1.0,
    "OTHER_LOCK": 12.0,
    "OTHER_IDLE": 10.0,
    "STATEMENT": 5.0,
}


def read_settings(connection: Connection) -> dict[str, str]:
    """Return how this very transaction waits, as the server has it."""
    shown = {name: f"SHOW {name}" for name in SETTINGS}
    return {name: connection.exec_driver_sql(ask).scalar_one() for name, ask in shown.items()}


@pytest.fixture
def patience() -> None:
    """None: how long PostgreSQL waits is what is tested."""


@pytest.fixture
def host(database: str) -> Iterator[Engine]:
    """An engine that somebody else has made."""
    engine = create_engine(database)
    yield engine
    engine.dispose()


# Whom it connects to.


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("140012, 'UTF8', 'on', 'on'", "PostgreSQL 14 is older than 15"),
        ("150000, 'LATIN1', 'on', 'on'", "encoded in LATIN1.*ENCODING 'UTF8'"),
        ("180006, 'UTF8', 'off', 'on'", "runs with fsync off"),
        ("180006, 'UTF8', 'on', 'off'", "runs with full_page_writes off"),
        ("180006, 'UTF8', 'off', 'off'", "fsync and full_page_writes off"),
    ],
)
def test_a_server_that_does_not_keep_what_it_is_given_is_refused(
    database: str, host: Engine, monkeypatch: pytest.MonkeyPatch, settings: str, reason: str
) -> None:
    """Whoever made the engine; the message says what is wrong, and nobody stays connected."""
    monkeypatch.setattr(postgresql, "_SETTINGS", f"SELECT {settings}")
    with pytest.raises(StoreError, match=reason):
        Store(host)
    store = Store(database)
    made: list[psycopg.Connection] = []
    event.listen(store.engine, "connect", lambda driver, _: made.append(driver), insert=True)
    with pytest.raises(StoreError, match=reason), store.reading():
        pass
    assert [driver.closed for driver in made] == [True]
    store.close()


def test_a_database_of_another_encoding_is_refused(postgres: Server) -> None:
    """Events are in Unicode. Where nothing else was said, a server is of none."""
    name = postgres.make(encoding="SQL_ASCII")
    store = Store(postgres.url(name))
    with pytest.raises(StoreError, match="encoded in SQL_ASCII"):
        store.require_current()
    store.close()
    postgres.drop(name)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql+psycopg2://host/log", r"write postgresql\+psycopg://"),
        ("postgresql+asyncpg://host/log", r"write postgresql\+psycopg://"),
        (
            "postgresql+psycopg://host/log?prepare_threshold=often",
            "a number from 1 on, or none, not 'often'",
        ),
        ("postgresql+psycopg://host/log?prepare_threshold=-1", "a number from 1 on, or none"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, reason: str) -> None:
    """It is told how to write it, before anything connects."""
    with pytest.raises(StoreError, match=reason):
        Store(url)


def test_an_engine_of_another_driver_is_refused() -> None:
    """Errors and settings are read as this one driver has them."""
    engine: Any = SimpleNamespace(driver="pg8000")
    with pytest.raises(StoreError, match="pg8000: the log uses psycopg"):
        postgresql.require_durable(engine)


@pytest.mark.parametrize(
    ("options", "threshold", "seconds", "name"),
    [
        ("", 5, "2", "notification-router"),
        ("?prepare_threshold=none", None, "2", "notification-router"),
        ("?prepare_threshold=9&connect_timeout=9&application_name=mine", 9, "9", "mine"),
    ],
)
def test_the_url_may_say_how_to_connect(
    database: str, options: str, threshold: int | None, seconds: str, name: str
) -> None:
    """What it says overrules what is usual, and the rest stays."""
    engine = postgresql.open_engine(make_url(database + options), create=False)
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        found = driver.info.get_parameters()
        assert driver.prepare_threshold == threshold
    assert (found["connect_timeout"], found["application_name"]) == (seconds, name)
    assert found["tcp_user_timeout"] == "3000"
    engine.dispose()


def test_a_hosts_engine_is_left_as_it_was(host: Engine) -> None:
    """Its connections begin and end transactions as before, and it stays open."""
    store = Store(host)
    write(store, "a")
    assert count(store) == 1
    store.close()
    with host.connect() as connection:
        assert connection.get_isolation_level() == "READ COMMITTED"
        add(connection, store, "b")
        connection.rollback()
        assert read_settings(connection)["synchronous_commit"] == "on"
    assert count(store) == 1
    store.close()


# How its transactions wait.


def test_each_kind_of_transaction_waits_in_its_own_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An append for the shortest; an owner's handlers for locks as long as they like."""
    for limit, seconds in LIMITS.items():  # in other tests a busy machine may take longer
        monkeypatch.setattr(postgresql, limit, seconds)
    with store.writing(Kind.APPEND) as connection:
        append = read_settings(connection)
    with store.writing(Kind.OWN) as connection:
        owner = read_settings(connection)
    with store.writing(Kind.OWN, idle=30) as connection:
        computing = read_settings(connection)
    with store.writing() as connection:
        steering = read_settings(connection)
    with store.writing(Kind.LEASE) as connection:
        lease = read_settings(connection)
    assert [tuple(found.values()) for found in (append, owner, computing, steering, lease)] == [
        ("2s", "5s", "1s", "on"),
        ("0", "0", "10s", "off"),
        ("0", "0", "30s", "off"),
        ("12s", "0", "10s", "on"),
        ("0", "0", "10s", "on"),
    ]


def test_settings_end_with_their_transaction(store: Store) -> None:
    """A session is handed on as it was: a pooler may give it to somebody else."""
    for kind in (Kind.APPEND, Kind.OWN):
        for word in ("COMMIT", "ROLLBACK"):
            with store.writing(kind) as connection:
                inside = read_settings(connection)
                connection.exec_driver_sql(word)
                outside = read_settings(connection)
            assert inside != outside
            assert tuple(outside.values()) == ("0", "0", "0", "on")


@pytest.mark.parametrize(
    ("usual", "lasting"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")]
)
def test_a_commit_that_is_to_last_waits_for_the_disk(
    database: str, usual: str, lasting: str
) -> None:
    """Whatever is usual at that server; where that is more than the disk, it stays so."""
    store = Store(f"{database}?options=-csynchronous_commit%3D{usual}")
    for kind in (Kind.APPEND, Kind.STEER):
        with store.writing(kind) as connection:
            assert read_settings(connection)["synchronous_commit"] == lasting
    store.close()


def test_a_reader_sees_one_state_and_changes_nothing(store: Store) -> None:
    """What is committed meanwhile is not seen, and the server refuses what writes."""
    with store.reading() as connection:
        before = connection.execute(text("SELECT count(*) FROM worker")).scalar_one()
        write(store, "a")
        after = connection.execute(text("SELECT count(*) FROM worker")).scalar_one()
        assert (before, after) == (0, 0)
        with pytest.raises(DBAPIError, match="read-only"):
            add(connection, store, "b")
    assert count(store) == 1


def test_an_append_does_not_wait_for_the_head_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who locked it may have frozen: a provider is told to come again."""
    monkeypatch.setattr(postgresql, "APPEND_LOCK", 0.05)
    locking = text("SELECT position FROM head FOR UPDATE")

    def append() -> None:
        with store.writing(Kind.APPEND) as connection:
            connection.execute(locking)

    with store.engine.connect() as other:
        other.execute(locking)
        with pytest.raises(Unavailable, match="lock timeout"):
            append()
    append()


def test_whoever_stands_still_is_ended(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that froze loses its transaction, and finds that out when it goes on."""
    monkeypatch.setattr(postgresql, "APPEND_IDLE", 0.05)
    gone = text("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = :pid")

    def freeze() -> None:
        with store.writing(Kind.APPEND) as connection, store.engine.connect() as other:
            backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            while not other.execute(gone, {"pid": backend}).scalar_one():
                other.rollback()
            add(connection, store, "a")

    with pytest.raises(Unavailable):
        freeze()
    assert count(store) == 0


@pytest.mark.parametrize("is_other_log", [False, True])
def test_what_is_to_be_alone_waits_for_its_like(store: Store, *, is_other_log: bool) -> None:
    """Of two processes that steer one log the second waits, as long as it is the same log."""
    prefix = "other_" if is_other_log else ""
    other = Store(store.engine, table_prefix=prefix)
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")

    def steer() -> None:
        with other.writing():
            pass

    with ThreadPoolExecutor(1) as thread:
        with store.writing():
            second = thread.submit(steer)
            with store.engine.connect() as looking:
                while not (second.done() or looking.execute(waiting).scalar_one()):
                    looking.rollback()
            assert second.done() is is_other_log
        second.result(10)
    other.close()


# What an error says.


@pytest.mark.parametrize(
    "error",
    [
        errors.UniqueViolation,
        errors.NotNullViolation,
        errors.NumericValueOutOfRange,
        errors.UntranslatableCharacter,
        errors.SyntaxError,
        errors.UndefinedColumn,
        errors.CardinalityViolation,
        errors.FeatureNotSupported,
        errors.ProgramLimitExceeded,
        errors.RaiseException,
        errors.WithCheckOptionViolation,
        errors.TriggeredActionException,
    ],
)
def test_what_a_row_is_at_fault_for_is_explained_by_nothing(error: type[psycopg.Error]) -> None:
    """It would fail again, however long one waits."""
    assert postgresql.explain(DBAPIError("INSERT", {}, error("no"))) is None


@pytest.mark.parametrize(
    "error",
    [
        errors.SerializationFailure,
        errors.DeadlockDetected,
        errors.LockNotAvailable,
        errors.QueryCanceled,
        errors.AdminShutdown,
        errors.CannotConnectNow,
        errors.DiskFull,
        errors.TooManyConnections,
        errors.ReadOnlySqlTransaction,
        errors.IdleInTransactionSessionTimeout,
        errors.InvalidPassword,
        errors.InsufficientPrivilege,
        psycopg.OperationalError,
        psycopg.InterfaceError,
    ],
)
def test_what_the_server_is_at_fault_for_is_explained(error: type[psycopg.Error]) -> None:
    """In the driver's own words, the first line of them: the others may hold what was written."""
    found = DBAPIError("INSERT", {"a": "secret"}, error("not now\nDETAIL: secret"))
    assert postgresql.explain(found) == "not now"


def test_an_error_without_words_has_its_name() -> None:
    """Better than nothing."""
    found = DBAPIError("INSERT", {}, psycopg.OperationalError())
    assert postgresql.explain(found) == "OperationalError"


def test_a_table_that_is_missing_is_advice(store: Store) -> None:
    """It comes of a database that was not brought to this version."""
    with pytest.raises(Unavailable, match="`router db upgrade`"), store.reading() as connection:
        connection.exec_driver_sql("SELECT * FROM nothing")


# Prepared statements.


def use_a_session_of_another(store: Store) -> None:
    """Execute a statement often enough to be prepared, where its name is taken."""
    with store.writing() as connection:
        for number in range(100):
            connection.exec_driver_sql(f"PREPARE _pg3_{number} AS SELECT 1")
        for _ in range(3):
            connection.execute(text("SELECT 1"))


def test_a_statement_that_a_pooler_left_behind_is_no_fault_of_a_row(database: str) -> None:
    """A session that holds another one's prepared statement is "not now": nothing is stored."""
    store = Store(f"{database}?prepare_threshold=1")
    with pytest.raises(Unavailable, match="already exists"):
        use_a_session_of_another(store)
    store.close()


def test_statements_are_not_prepared_at_their_first_use() -> None:
    """What is sent in one go to open a transaction cannot be: 0 is refused, not met later."""
    with pytest.raises(StoreError, match="prepare_threshold is a number from 1 on, or none"):
        Store("postgresql+psycopg://router@127.0.0.1/events?prepare_threshold=0")


@in_loop
async def test_appends_find_keys_by_index_whatever_the_server_knew(
    database: str, store: Store
) -> None:
    """A plan from when the table was empty would read all of it again and again, until ANALYZE."""
    counted = text(
        "SELECT sum(seq_tup_read)::int FROM pg_stat_user_tables"
        " WHERE relname LIKE 'dedupe%' HAVING sum(n_tup_ins) >= 2000"
    )
    with store.engine.begin() as connection:
        connection.execute(text("SELECT pg_stat_reset()"))
    appending = Store(database)
    for _ in range(20):
        append(EventLog(appending), *(make_entry() for _ in range(100)))
    appending.close()  # which tells the server's statistics

    def count_scanned() -> int | None:
        with store.engine.connect() as connection:
            return connection.scalars(counted).one_or_none()

    await until(lambda: count_scanned() is not None)
    assert count_scanned() == 0
