"""Which database a connection is on: a host's must be on that of the log."""

from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakSet

from sqlalchemy import Connection, Engine
from sqlalchemy.pool import Pool

from router.errors import StoreError


@dataclass(frozen=True, slots=True)
class Place:
    """One database.

    Attributes:
        name: What it is called in a message.
        marks: What it is known by, in an order of the engine's own; None is one that cannot be seen
            from here.
    """

    name: str
    marks: tuple[str | None, ...]

    def may_be(self, other: "Place") -> bool:
        """Whether nothing that is known of both tells them apart."""
        pairs = zip(self.marks, other.marks, strict=True)
        return all(ours is None or theirs is None or ours == theirs for ours, theirs in pairs)


class Whereabouts:
    """Knows which connections are on the database of an engine; each pool is asked once.

    Args:
        engine: Of the log.
        find: Asks a connection for its place.
    """

    def __init__(self, engine: Engine, *, find: Callable[[Connection], Place]) -> None:
        self._engine = engine
        self._find = find
        self._known: WeakSet[Pool] = WeakSet()

    def require_kind(self, connection: Connection) -> None:
        """Refuse what cannot be a connection to the log's database.

        Raises:
            StoreError: Says what it is.
        """
        if not isinstance(connection, Connection):
            raise StoreError(
                f"the connection is a {type(connection).__name__}, not one of SQLAlchemy's "
                "Connection: of a session take session.connection(), and of an AsyncConnection "
                "`await connection.run_sync(lambda own: router.append(..., connection=own))`"
            )
        theirs, ours = connection.dialect.name, self._engine.dialect.name
        if theirs != ours:
            raise StoreError(f"the connection leads to {theirs}, and the log is on {ours}")

    def require_here(self, connection: Connection) -> None:
        """Refuse a connection to another database.

        Raises:
            StoreError: Names both.
        """
        pool = connection.engine.pool
        if pool is self._engine.pool or pool in self._known:
            return
        theirs = self._find(connection)
        with self._engine.connect() as own:
            ours = self._find(own)
        if not theirs.may_be(ours):
            raise StoreError(
                f"the connection is on {theirs.name}, and the log is on {ours.name}: an event "
                "joins a transaction on the log's own database only"
            )
        self._known.add(pool)
