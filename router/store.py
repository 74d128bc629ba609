"""One database: its engine, its tables, and the two ways to talk to it, reading and writing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from router import migrate, sqlite
from router.dedicated import Dedicated
from router.errors import StoreError, Unavailable
from router.gate import Gate
from router.periodic import Periodic
from router.schema import Tables, make_tables

CHECK_SECONDS = 1.0  # between two looks at the size of SQLite's write-ahead log


class Store:
    """The one place that knows which engine is underneath.

    Args:
        database: A URL, or an engine that the caller keeps and disposes of; two of its connections
            are kept for writing until `close`.
        schema: The schema of the tables, where the engine has schemas.
        table_prefix: Put before each table's name.
        create: Whether a SQLite file that does not exist is made.
        clock: Seconds since 1970.

    Raises:
        StoreError: The database cannot be opened, or is not set up to keep what it is given.
    """

    def __init__(
        self,
        database: str | Engine,
        *,
        schema: str | None = None,
        table_prefix: str = "",
        create: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._is_ours = isinstance(database, str)
        self.engine = _open(database, create=create) if isinstance(database, str) else database
        if self.engine.dialect.name != "sqlite":
            raise StoreError(f"this version stores on SQLite, not on {self.engine.dialect.name}")
        if not self._is_ours:
            with _translated():
                sqlite.require_durable(self.engine)
        self.tables: Tables = make_tables(schema=schema, prefix=table_prefix)
        self.gate = Gate()
        self._lasting = Dedicated(self.engine, set_up=lambda connection: None)
        self._passing = Dedicated(self.engine, set_up=sqlite.wait_for_no_disk)
        self._clock = clock
        self._checkpoints: Periodic | None = None

    def now(self) -> int:
        """The database's clock, in microseconds since 1970; SQLite's is the machine's own."""
        return int(self._clock() * 1_000_000)

    def require_current(self) -> None:
        """Refuse a database whose tables are not those of this version.

        Raises:
            SchemaError: Names both revisions and what to do.
            Unavailable: The database does not answer.
        """
        with _translated():
            migrate.require_current(self.engine, self.tables)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the database."""
        with _translated(), self.engine.connect() as connection:
            sqlite.begin_reading(connection)
            yield connection

    @contextmanager
    def writing(self, *, appending: bool = False, lasting: bool = True) -> Iterator[Connection]:
        """Yield a connection whose work is committed at the end of the block, or none of it.

        Args:
            appending: Whether it goes before other writers of this process.
            lasting: Whether the commit waits for the disk. One that does not is there for all to
                see, and survives the process; a power cut undoes it, with whatever came after it,
                unless a lasting one came after it.

        Raises:
            Unavailable: The database does not answer, is locked by another process, or is full.
        """
        writer = self._lasting if lasting else self._passing
        with self.gate.turn(appending=appending), _translated(), writer.lent() as connection:
            sqlite.begin_writing(connection)
            yield connection
            connection.commit()
            self.start_checkpoints()  # within the gate: never by two threads at once

    def start_checkpoints(self) -> None:
        """Keep the write-ahead log short from a thread, until `close`; any writing starts it."""
        if self._checkpoints is None:
            check = _translated()(sqlite.Checkpointer(self.engine, gate=self.gate).check)
            self._checkpoints = Periodic(check, seconds=CHECK_SECONDS, name="router-checkpoints")
            self._checkpoints.start()

    def close(self) -> None:
        """Let go of the database; an engine that was handed in stays open."""
        if self._checkpoints is not None:
            self._checkpoints.stop()
            self._checkpoints = None
        self._lasting.close()
        self._passing.close()
        if self._is_ours:
            self.engine.dispose()


def _open(database: str, *, create: bool) -> Engine:
    try:
        url = make_url(database)
    except ArgumentError as error:
        raise StoreError(
            f"the database URL cannot be read: {error}; write one like sqlite:///router.db"
        ) from error
    if url.get_backend_name() != "sqlite":
        raise StoreError(f"this version stores on SQLite, not on {url.get_backend_name()}")
    return sqlite.open_engine(url, create=create)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's words for "not now" into ours; errors that a row caused pass unchanged."""
    try:
        yield
    except (IntegrityError, DataError, ProgrammingError, NotSupportedError):
        raise
    except DBAPIError as error:
        # The driver's own words alone: SQLAlchemy's add the statement and its parameters.
        words = str(error.orig)
        advice = "; make it with `router db upgrade`" if words.startswith("no such table") else ""
        raise Unavailable(f"the database does not take it now: {words}{advice}") from error
    except PoolTimeout as error:
        raise Unavailable(
            "all connections to the database are in use: give its pool more of them, two of which "
            "are kept for writing"
        ) from error
