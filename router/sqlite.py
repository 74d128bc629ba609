"""SQLite as a durable log needs it: its settings, its transactions, its checkpoints."""

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from router.errors import StoreError
from router.gate import Gate

BUSY_SECONDS = 5.0
CHECKPOINT_BYTES = 4 * 1024 * 1024
RESTART_BYTES = 64 * 1024 * 1024


def open_engine(url: URL, *, create: bool) -> Engine:
    """Return an engine whose commits survive a power cut.

    Args:
        url: A file's URL; relative paths count from the working directory.
        create: Whether a file that does not exist is made.

    Raises:
        StoreError: The database is in memory, or does not exist.
    """
    path = file_of(url)
    if path is None:
        raise StoreError("a log in memory loses everything: name a file, sqlite:///router.db")
    if not create and not path.exists():
        raise StoreError(f"there is no database {path}: create it with `router db upgrade`")
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=16,
        max_overflow=16,
        # The driver's own transaction handling lets RELEASE of a savepoint commit: off.
        connect_args={"isolation_level": None, "timeout": BUSY_SECONDS, "check_same_thread": False},
    )
    event.listen(engine, "connect", _set_up)
    return engine


def _set_up(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # A commit that also checkpoints makes one provider in a thousand wait: `Checkpointer` does it.
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def require_durable(engine: Engine) -> None:
    """Refuse an engine made elsewhere whose settings do not keep what the log promises.

    Raises:
        StoreError: Names the settings and how to make them.
    """
    with engine.connect() as connection:
        journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        level = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
        driver = connection.connection.dbapi_connection
        is_manual = getattr(driver, "isolation_level", "") is None
    if journal != "wal" or level < 2 or not is_manual:
        raise StoreError(
            "the SQLite engine is not durable enough for the log: connect with "
            'connect_args={"isolation_level": None} and execute "PRAGMA journal_mode = WAL" and '
            '"PRAGMA synchronous = FULL" on each new connection'
        )


def begin_reading(connection: Connection) -> None:
    """Open a transaction that sees one state of the database until it ends."""
    connection.exec_driver_sql("BEGIN")


def begin_writing(connection: Connection) -> None:
    """Open a transaction that holds the only write lock from its start on."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def file_of(url: URL) -> Path | None:
    """Return the path of the database, or None where it is in memory."""
    if not url.database or url.database == ":memory:" or "mode=memory" in str(url):
        return None
    return Path(url.database.removeprefix("file:"))


class Checkpointer:
    """Moves the write-ahead log into the database, on a connection of its own."""

    def __init__(self, engine: Engine, *, gate: Gate) -> None:
        self._engine = engine
        self._gate = gate
        path = file_of(engine.url)
        self._wal = None if path is None else path.with_name(path.name + "-wal")

    def check(self) -> None:
        """Checkpoint if the write-ahead log has grown, holding up writers only if it must."""
        size = self._wal.stat().st_size if self._wal and self._wal.exists() else 0
        if size > RESTART_BYTES:
            with self._gate.turn():
                self._checkpoint("RESTART")
        elif size > CHECKPOINT_BYTES:
            self._checkpoint("PASSIVE")

    def _checkpoint(self, mode: str) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA wal_checkpoint({mode})")
