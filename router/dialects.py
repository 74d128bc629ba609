"""What the store asks of a database engine; `sqlite` and `postgresql` answer, side by side."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from router import postgresql, sqlite
from router.errors import StoreError
from router.kind import Kind
from router.lookup import Lookup
from router.places import Place


class Dialect(Protocol):
    """One engine's own way of doing what the log needs; a module is one.

    Attributes:
        LANES: Into how many lanes a subscription is divided, unless its options say otherwise.
        HAS_ONE_WRITER: Whether one write transaction keeps out all others.
        HAS_WAKEUPS: Whether processes can tell each other that the log has grown.
        HAS_SCHEMAS: Whether tables may live in a schema.
        KEPT: How many connections are kept for each kind of writing, at most.
    """

    LANES: int
    HAS_ONE_WRITER: bool
    HAS_WAKEUPS: bool
    HAS_SCHEMAS: bool
    KEPT: int

    def open_engine(self, url: URL, *, create: bool) -> Engine:
        """Return an engine that keeps what it is given; nothing has connected yet."""

    def create(self, engine: Engine) -> None:
        """Make the database where that is a file that does not exist."""

    def require_durable(self, engine: Engine) -> None:
        """Refuse an engine made elsewhere whose settings do not keep what the log promises."""

    def keep(self, connection: Connection, *, lasting: bool) -> None:
        """Make ready a new connection that is kept for writing."""

    def begin_reading(self, connection: Connection) -> None:
        """Open a transaction that sees one state of the database until it ends."""

    def begin_writing(
        self,
        connection: Connection,
        *,
        kind: Kind,
        place: int,
        idle: float | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        """Open a transaction that writes; see `Store.writing`. ``place`` stands for the log."""

    def require_lasting(self, connection: Connection) -> None:
        """Make sure that a host's connection is in a transaction that keeps what is done in it.

        Raises:
            StoreError: It does not, or there is none; says what to do.
        """

    def find_place(self, connection: Connection) -> Place:
        """Return which database the connection is on."""

    def join(self, connection: Connection, head: Table) -> None:
        """Let a host's transaction be one that appends; ``head`` is the log's."""

    def read_clock(self, connection: Connection) -> float | None:
        """Return the server's time in seconds since 1970; None where it is the machine's own."""

    def announce(self, connection: Connection, *, place: int) -> None:
        """Tell all who listen at a log that it has grown."""

    def listening(
        self, engine: Engine, *, place: int
    ) -> AbstractContextManager[Callable[[float], bool]]:
        """Yield what waits some seconds for announcements, and returns whether there were any."""

    def is_locked_out(self, error: DBAPIError) -> bool:
        """Whether a lock of somebody else kept it from going on for too long."""

    def end_holders(self, connection: Connection, table: Table) -> None:
        """End the transactions that lock rows of ``table`` for a process that stands still."""

    def explain(self, error: DBAPIError) -> str | None:
        """Return what keeps the database from answering; None where a row is at fault."""


_DIALECTS: dict[str, Dialect] = {"sqlite": sqlite, "postgresql": postgresql}


def find_dialect(name: str) -> Dialect:
    """Return that of the engine ``name``.

    Raises:
        StoreError: The log is not made for that engine.
    """
    if name not in _DIALECTS:
        known = " and ".join(_DIALECTS)
        raise StoreError(f"the log stores on {known}, not on {name}")
    return _DIALECTS[name]
