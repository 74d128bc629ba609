"""One database: its engine, its tables, and the two ways to talk to it, reading and writing."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from router import migrate, sqlite
from router.clock import ServerClock
from router.dedicated import Dedicated, is_gone
from router.dialects import find_dialect
from router.errors import StoreError, Unavailable
from router.gate import Gate, OpenGate
from router.kind import Kind
from router.lookup import Lookup
from router.periodic import Periodic
from router.places import Whereabouts
from router.schema import Tables, make_tables

CHECK_SECONDS = 1.0  # between two looks at the size of SQLite's write-ahead log


class Store:
    """The one place that knows which engine is underneath.

    Args:
        database: A URL, or an engine that the caller keeps and disposes of; a few of its
            connections are kept for writing until `close`.
        schema: The schema of the tables, where the engine has schemas.
        table_prefix: Put before each table's name.
        create: Whether a SQLite file that does not exist is made; else whoever connects is refused.
        listen: The URL at which announcements are heard, where ``database`` leads to a pooler that
            does not pass them on; "off" is not to listen, nor to announce anything.
        clock: Seconds since 1970; None is the database's own clock.
        writes: Whether anything may be written that stays.

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
        listen: str | None = None,
        clock: Callable[[], float] | None = None,
        writes: bool = True,
    ) -> None:
        self._is_ours = isinstance(database, str)
        if not isinstance(database, str | Engine):
            raise StoreError(
                f"the log needs a URL as text, or an Engine, not {type(database).__name__}; beside "
                "an asynchronous engine it has one of its own, from the URL"
            )
        self.engine = _open(database, create=create) if isinstance(database, str) else database
        self._dialect = find_dialect(self.engine.dialect.name)
        if not self._is_ours:
            with self._translated():
                self._dialect.require_durable(self.engine)
        if schema is not None and not self._dialect.HAS_SCHEMAS:
            raise StoreError(f"a log on SQLite has no schema: leave {schema!r} out")
        self._listen, self._writes = listen, writes
        self.tables: Tables = make_tables(schema=schema, prefix=table_prefix)
        self.gate = Gate() if self._dialect.HAS_ONE_WRITER else OpenGate()
        self._kept = {
            lasting: Dedicated(
                self.engine,
                set_up=partial(self._dialect.keep, lasting=lasting),
                most=self._dialect.KEPT,
            )
            for lasting in (True, False)
        }
        self._whereabouts = Whereabouts(self.engine, find=self._dialect.find_place)
        self._clock = clock or ServerClock()
        self._place = zlib.crc32(f"{schema}.{table_prefix}".encode()) >> 1  # fits an int4
        self._begin = partial(self._dialect.begin_writing, place=self._place)
        self._checkpoints: Periodic | None = None

    @property
    def lanes(self) -> int:
        """Into how many lanes a subscription is divided, unless its options say otherwise."""
        return self._dialect.LANES

    @property
    def has_wakeups(self) -> bool:
        """Whether processes can tell each other that the log has grown."""
        return self._dialect.HAS_WAKEUPS and self._listen != "off"

    def announce(self) -> None:
        """Tell all who listen that the log has grown, in a transaction of its own.

        Raises:
            Unavailable: The database does not answer.
        """
        with self.writing(Kind.OWN) as connection:  # to lose a hint does no harm
            self._dialect.announce(connection, place=self._place)

    @contextmanager
    def listening(self) -> Iterator[Callable[[float], bool]]:
        """Yield what waits some seconds for announcements, and returns whether there were any.

        Raises:
            Unavailable: The database does not answer; also when it is waited for.
        """
        is_apart = self._listen is not None
        engine = _open(self._listen, create=False) if self._listen is not None else self.engine
        try:
            with self._translated(), self._dialect.listening(engine, place=self._place) as wait:
                yield wait
        except engine.dialect.loaded_dbapi.Error as error:
            raise Unavailable(f"the database does not announce anything now: {error}") from error
        finally:
            if is_apart:
                engine.dispose()

    def now(self) -> int:
        """The database's clock, in microseconds since 1970; SQLite's is the machine's own."""
        return int(self._clock() * 1_000_000)

    def create(self) -> None:
        """Make the database where that is a file that does not exist."""
        self._dialect.create(self.engine)

    def require_current(self) -> None:
        """Refuse a database whose tables are not those of this version.

        Raises:
            SchemaError: Names both revisions and what to do.
            Unavailable: The database does not answer.
        """
        with self._translated():
            migrate.require_current(self.engine, self.tables)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the database."""
        with self._translated(), self._connected() as connection:
            self._set_clock(connection)
            yield connection

    @contextmanager
    def writing(
        self, kind: Kind = Kind.STEER, *, idle: float | None = None, lookup: Lookup | None = None
    ) -> Iterator[Connection]:
        """Yield a connection whose work is committed at the end of the block, or none of it.

        Where many may write at once, whoever goes by what it has read locks that first.

        Args:
            kind: What it is for. The commit of an owner's does not wait for the disk: it is there
                for all to see, and survives the process; a power cut undoes it, with whatever came
                after it, unless one that waits came after it.
            idle: Seconds for which the server lets it stand still between two statements.
            lookup: Asked at its beginning.

        Raises:
            Unavailable: The database does not answer, is locked by another process, or is full.
            StoreError: It was opened to write nothing that stays.
        """
        if not self._writes:
            raise StoreError("this log was opened to be read: nothing is written to it")
        is_append = kind is Kind.APPEND
        begin = partial(self._begin, kind=kind, idle=idle, lookup=lookup)
        with (
            self.gate.turn(appending=is_append),
            self._translated(),
            self._freeing_head() if is_append else nullcontext(),
            self._kept[kind is not Kind.OWN].lent(begin) as connection,
        ):
            if kind in (Kind.LEASE, Kind.STEER):
                self._set_clock(connection)
            yield connection
            connection.commit()
            self.start_checkpoints()  # within the gate: never by two threads at once

    @contextmanager
    def joining(self, connection: Connection) -> Iterator[Connection]:
        """Let what is appended in the block be a part of the transaction on a host's connection.

        Where the block fails that is undone, and the transaction may go on.

        Raises:
            Unavailable: The database does not take it now.
            StoreError: The connection is to another database, or in no transaction that keeps what
                the log promises; or this thread is in one of the router's.
        """
        self._whereabouts.require_kind(connection)
        if not self._writes:
            raise StoreError("this log was opened to be read: nothing is written to it")
        self.gate.require_outside()
        with self._translated():
            self._dialect.require_lasting(connection)
            self._whereabouts.require_here(connection)
            self._dialect.join(connection, self.tables.head)
            with connection.begin_nested():
                if self.has_wakeups:  # before the head is locked; it is heard when all is committed
                    self._dialect.announce(connection, place=self._place)
                yield connection

    @contextmanager
    def rehearsing(self, *, idle: float) -> Iterator[Connection]:
        """Yield a connection like that of an owner; at the end of the block all is undone.

        Args:
            idle: Seconds for which the server lets it stand still between two statements.

        Raises:
            Unavailable: The database does not answer, is locked by another process, or is full.
        """
        begin = partial(self._begin, kind=Kind.OWN, idle=idle)
        with self.gate.turn(), self._translated(), self._kept[False].lent(begin) as connection:
            yield connection
            connection.rollback()

    def _connected(self) -> Connection:
        """Return a connection that has begun to read."""
        for is_last in (False, True):
            connection = self.engine.connect()
            try:
                self._dialect.begin_reading(connection)
            except DBAPIError as error:
                connection.close()
                if is_last or not is_gone(error):
                    raise  # else the pool has let go of all that are as old
            else:
                break
        return connection

    @contextmanager
    def _freeing_head(self) -> Iterator[None]:
        """Let nobody who stands still keep the head from those who come later."""
        try:
            yield
        except DBAPIError as error:
            if self._dialect.is_locked_out(error):
                with self.engine.begin() as connection:
                    self._dialect.end_holders(connection, self.tables.head)
            raise

    def _set_clock(self, connection: Connection) -> None:
        if isinstance(self._clock, ServerClock):
            self._clock.set(partial(self._dialect.read_clock, connection))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the driver's words for "not now" into ours; what a row caused passes unchanged."""
        try:
            yield
        except DBAPIError as error:
            if (words := self._dialect.explain(error)) is None:
                _shorten(error)
                raise
            raise Unavailable(f"the database does not take it now: {words}") from error
        except PoolTimeout as error:
            raise Unavailable(
                "all connections to the database are in use: give its pool more of them, some of "
                "which are kept for writing"
            ) from error

    def start_checkpoints(self) -> None:
        """Keep SQLite's write-ahead log short from a thread, until `close`; writing starts it."""
        if self._checkpoints is None and isinstance(self.gate, Gate):
            check = self._translated()(sqlite.Checkpointer(self.engine, gate=self.gate).check)
            self._checkpoints = Periodic(check, seconds=CHECK_SECONDS, name="router-checkpoints")
            self._checkpoints.start()

    def close(self) -> None:
        """Let go of the database; an engine that was handed in stays open."""
        if self._checkpoints is not None:
            self._checkpoints.stop()
            self._checkpoints = None
        for kept in self._kept.values():
            kept.close()
        if self._is_ours:
            self.engine.dispose()


def _shorten(error: DBAPIError) -> None:
    """Leave out the driver's details, below its first line: they quote what was to be stored."""
    error.statement = (error.statement or "")[:300]  # of a long one the values, too
    for one in filter(None, (error, error.orig)):
        one.args = (*str(*one.args[:1]).splitlines()[:1], *one.args[1:])


def _open(database: str, *, create: bool) -> Engine:
    try:
        url = make_url(database)
    except ArgumentError as error:
        raise StoreError(
            f"the database URL cannot be read: {error}; write one like sqlite:///router.db or "
            "postgresql+psycopg://user@host/database"
        ) from error
    return find_dialect(url.get_backend_name()).open_engine(url, create=create)
