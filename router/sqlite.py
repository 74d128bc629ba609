"""SQLite as a durable log needs it: its settings, its transactions, its checkpoints."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from router import files
from router.errors import StoreError
from router.gate import Gate
from router.kind import Kind
from router.lookup import Lookup
from router.places import Place

LANES = 1
HAS_ONE_WRITER = True
HAS_WAKEUPS = False
HAS_SCHEMAS = False
KEPT = 1

create, file_of = files.create, files.file_of

BUSY_SECONDS = 5.0
CHECKPOINT_BYTES = 4 * 1024 * 1024
RESTART_BYTES = 64 * 1024 * 1024
LEGACY = -1  # sqlite3.LEGACY_TRANSACTION_CONTROL, from Python 3.12 on
# SQLAlchemy puts the driver's default in the place of what the engine was given.
_LOST = (
    "; a connection of the pool that was once used with the option AUTOCOMMIT has lost its "
    "isolation_level: use that on an engine of its own"
)
HOLD_MILLIS = 100  # that a checkpoint may wait for readers while it holds up writers


def open_engine(url: URL, *, create: bool) -> Engine:
    """Return an engine whose commits survive a power cut.

    Args:
        url: A file's URL; relative paths count from the working directory. With ``?timeout=`` in
            it, a lock that another process holds is waited for so many seconds.
        create: Whether a file that does not exist is made; else no connection is, until it exists.

    Raises:
        StoreError: The database is in memory, or is of an asynchronous driver.
    """
    if url.get_driver_name() != "pysqlite":
        raise StoreError(f"{url.drivername} is not a driver that the log uses: write sqlite:///...")
    path = file_of(url)
    if path is None:
        raise StoreError("a log in memory loses everything: name a file, sqlite:///router.db")
    # The driver's own transaction handling lets RELEASE of a savepoint commit: off.
    arguments: dict[str, object] = {"isolation_level": None, "check_same_thread": False}
    arguments["cached_statements"] = 1024  # `router.bulk` makes one for each number of rows
    if "timeout" not in url.query:
        arguments["timeout"] = BUSY_SECONDS
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=16,
        max_overflow=16,
        pool_timeout=BUSY_SECONDS,
        hide_parameters=True,  # they hold bodies, and errors are logged
        connect_args=arguments,
    )
    event.listen(engine, "connect", _set_up)
    if not create and not path.exists():
        event.listen(engine, "do_connect", partial(files.require, path, path.absolute()))
    return engine


def _set_up(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    try:
        (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if journal != "wal":
            raise StoreError(
                f"SQLite keeps a journal of the kind {journal!r} here, and the log needs a "
                "write-ahead log: put the database on a local disk"
            )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: its plain fsync leaves disks' caches
        # A commit that also checkpoints makes one provider in a thousand wait: `Checkpointer`.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    except BaseException:
        connection.close()
        raise


def require_durable(engine: Engine) -> None:
    """Refuse an engine made elsewhere whose settings do not keep what the log promises.

    Raises:
        StoreError: Names the settings and how to make them.
    """
    with engine.connect() as connection:
        journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        level = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
        is_manual = _is_manual(connection.connection.dbapi_connection)
    if journal != "wal" or level < 2 or not is_manual:
        raise StoreError(
            "the SQLite engine is not durable enough for the log: connect with "
            'connect_args={"isolation_level": None} and execute "PRAGMA journal_mode = WAL" and '
            '"PRAGMA synchronous = FULL" on each new connection, and let nothing else send BEGIN; '
            f"or give the router the URL, and keep that engine for yourself{_LOST}"
        )


def _is_manual(driver: object) -> bool:
    """Whether transactions begin and end where we say so.

    Python 3.12's ``autocommit`` takes commit() out of our hands; a listener that emits BEGIN, as
    SQLAlchemy's documentation shows, has opened a transaction by now.
    """
    return (
        isinstance(driver, sqlite3.Connection)
        and driver.isolation_level is None
        and getattr(driver, "autocommit", LEGACY) == LEGACY
        and not driver.in_transaction
    )


def begin_reading(connection: Connection) -> None:
    """Open a transaction that sees one state of the database until it ends."""
    connection.exec_driver_sql("BEGIN")


def begin_writing(
    connection: Connection,
    *,
    kind: Kind = Kind.STEER,
    place: int = 0,
    idle: float | None = None,
    lookup: Lookup | None = None,
) -> None:
    """Open a transaction that holds the only write lock from its start on, whatever it is for."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    if lookup is not None:
        lookup.ask(connection)


def keep(connection: Connection, *, lasting: bool) -> None:
    """Make ready a connection that is kept for writing.

    Unless its commits are ``lasting``, they are durable only with the next commit of one that
    waits for the disk. In a write-ahead log such a commit is lost by a power cut as a whole, with
    all that came after it, and never by the end of a process (sqlite.org/pragma.html, synchronous
    NORMAL).
    """
    if not lasting:
        connection.exec_driver_sql("PRAGMA synchronous = NORMAL")
        connection.rollback()  # ends what SQLAlchemy takes for a transaction


def require_lasting(connection: Connection) -> None:
    """Make sure that a host's connection is in a transaction that keeps what is done in it.

    Raises:
        StoreError: It does not, or there is none; says what to do.
    """
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        raise StoreError(
            "the connection is to commit each statement by itself, and SQLAlchemy ends no "
            "transaction on it: take one whose isolation_level is not AUTOCOMMIT"
        )
    ask = connection.exec_driver_sql
    journal, level = (
        ask(f"PRAGMA {name}").scalar_one() for name in ("journal_mode", "synchronous")
    )
    driver: Any = connection.connection.driver_connection  # sqlite3's, or one around it
    if journal != "wal" or level < 2 or is_handling(driver):
        raise StoreError(
            "the SQLite connection does not keep what the log promises: have its engine connect "
            'with connect_args={"isolation_level": None}, execute "PRAGMA journal_mode = WAL" and '
            '"PRAGMA synchronous = FULL" on each new connection, and begin each transaction with '
            f'"BEGIN IMMEDIATE"{_LOST}'
        )
    if not driver.in_transaction:
        raise StoreError(
            "the SQLite connection is in no transaction, so that each statement would be committed "
            'by itself: execute "BEGIN IMMEDIATE" before the first of them'
        )


def find_place(connection: Connection) -> Place:
    """Return the database by its file, whichever path led to it."""
    files = connection.exec_driver_sql("PRAGMA database_list").all()
    path = next(file for _, name, file in files if name == "main")
    if not path:
        return Place("a database in memory", ("",))
    found = Path(path).stat()
    return Place(f"the file {path}", (f"{found.st_dev}:{found.st_ino}",))


def join(connection: Connection, head: Table) -> None:
    """Let a host's transaction hold the write lock."""
    # A transaction that has only read would, instead of waiting, fail when it is to write.
    connection.execute(update(head).values(log=head.c.log))


def is_handling(driver: Any) -> bool:  # noqa: ANN401 - sqlite3's connection, or one around it
    """Whether the driver begins and commits transactions as it likes, DDL outside of any."""
    is_plain = getattr(driver, "autocommit", LEGACY) == LEGACY
    return is_plain and driver.isolation_level is not None


def read_clock(connection: Connection) -> float | None:
    """Return None: there is no clock but the machine's."""
    return None


def announce(connection: Connection, *, place: int) -> None:
    """Do nothing: there is no server to tell others."""


@contextmanager
def listening(engine: Engine, *, place: int) -> Iterator[Callable[[float], bool]]:
    """Yield what finds nothing: there is no server to hear from."""
    yield lambda seconds: False


def is_locked_out(error: DBAPIError) -> bool:
    """Return False: who holds the only lock is a process whose end takes it along."""
    return False


def end_holders(connection: Connection, table: Table) -> None:
    """Do nothing; see `is_locked_out`."""


def explain(error: DBAPIError) -> str | None:
    """Return what keeps the database from answering; None where a row is at fault.

    The driver's own words alone: SQLAlchemy's add the statement and its parameters.
    """
    if isinstance(error, IntegrityError | DataError | ProgrammingError | NotSupportedError):
        return None
    words = str(error.orig)
    advice = "; make it with `router db upgrade`" if words.startswith("no such table") else ""
    return words + advice


class Checkpointer:
    """Moves the write-ahead log into the database, on a connection of its own.

    Args:
        engine: The database.
        gate: What its writers pass.
        restart_bytes: How long the write-ahead log may be before writers must wait until it can
            begin anew.
    """

    def __init__(self, engine: Engine, *, gate: Gate, restart_bytes: int = RESTART_BYTES) -> None:
        self._engine = engine
        self._gate = gate
        self._restart_bytes = restart_bytes
        path = file_of(engine.url)
        self._wal = None if path is None else path.with_name(path.name + "-wal")

    def check(self) -> None:
        """Checkpoint if the write-ahead log has grown, holding up writers only if it must."""
        size = self._wal.stat().st_size if self._wal and self._wal.exists() else 0
        # The file never shrinks: how much of it is in use, only a checkpoint can tell.
        if size > CHECKPOINT_BYTES and self._checkpoint("PASSIVE") > self._restart_bytes:
            with self._gate.turn():
                self._checkpoint("RESTART")

    def _checkpoint(self, mode: str) -> int:
        """Checkpoint, and return the bytes in the write-ahead log."""
        with self._engine.connect() as connection:
            ask = connection.exec_driver_sql
            wait = ask("PRAGMA busy_timeout").scalar_one()
            ask(f"PRAGMA busy_timeout = {HOLD_MILLIS}")
            try:
                _busy, pages, _moved = ask(f"PRAGMA wal_checkpoint({mode})").one()
            finally:
                ask(f"PRAGMA busy_timeout = {wait}")
            return int(pages) * int(ask("PRAGMA page_size").scalar_one())
