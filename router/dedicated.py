"""A connection that is kept for one kind of work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine


class Dedicated:
    """Lends out one connection, again and again; after a failure it is a new one.

    What writes hundreds of times a second would otherwise take a connection from the pool, put
    its settings right and give it back each time, which takes as long as the writing.

    Args:
        engine: Where it comes from: one less for others.
        set_up: Called with it when it is new. It never goes back to the engine's pool.
    """

    def __init__(self, engine: Engine, *, set_up: Callable[[Connection], object]) -> None:
        self._engine = engine
        self._set_up = set_up
        self._lock = threading.Lock()
        self._idle: Connection | None = None

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """Yield it; whoever fails with it ends it, and with it the transaction that is open."""
        connection = self._take() or self._open()
        try:
            yield connection
        except BaseException:
            _end(connection)
            raise
        with self._lock:
            former, self._idle = self._idle, connection
        if former is not None:  # another thread had opened one meanwhile
            _end(former)

    def close(self) -> None:
        """Close it, unless it is lent out."""
        if (connection := self._take()) is not None:
            _end(connection)

    def _take(self) -> Connection | None:
        with self._lock:
            connection, self._idle = self._idle, None
        return connection

    def _open(self) -> Connection:
        connection = self._engine.connect()
        try:
            self._set_up(connection)
        except BaseException:
            _end(connection)
            raise
        return connection


def _end(connection: Connection) -> None:
    """Close ``connection`` for good: nobody else is to get it, with its settings, from a pool."""
    connection.invalidate()
    connection.close()
