"""Connections that are kept for one kind of work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError


class Dedicated:
    """Lends out a connection, again and again; after a failure it is a new one.

    What writes hundreds of times a second would otherwise take a connection from the pool, put
    its settings right and give it back each time, which takes as long as the writing.

    Args:
        engine: Where it comes from: one less for others.
        set_up: Called with it when it is new. It never goes back to the engine's pool.
        most: How many are kept. What is lent out beyond that is closed when it comes back.
    """

    def __init__(
        self, engine: Engine, *, set_up: Callable[[Connection], object], most: int = 1
    ) -> None:
        self._engine = engine
        self._set_up = set_up
        self._most = most
        self._lock = threading.Lock()
        self._idle: list[Connection] = []

    @contextmanager
    def lent(self, begin: Callable[[Connection], object] = lambda _: None) -> Iterator[Connection]:
        """Yield one; whoever fails with it ends it, and with it the transaction that is open.

        Args:
            begin: Opens a transaction on it. Where it has died with its server meanwhile, that is
                done again with a new one.
        """
        connection = self._begin(begin)
        try:
            yield connection
        except BaseException:
            _end(connection)
            raise
        with self._lock:
            self._idle.append(connection)
            former = self._idle.pop(0) if len(self._idle) > self._most else None
        if former is not None:  # other threads had opened theirs meanwhile
            _end(former)

    def close(self) -> None:
        """Close those that are not lent out."""
        while (connection := self._take()) is not None:
            _end(connection)

    def _begin(self, begin: Callable[[Connection], object]) -> Connection:
        kept = self._take()
        connection = kept or self._open()
        try:
            begin(connection)
        except BaseException as error:
            _end(connection)
            if kept is None or not is_gone(error):
                raise
        else:
            return connection
        self.close()  # the others are no better
        return self._begin(begin)

    def _take(self) -> Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _open(self) -> Connection:
        connection = self._engine.connect()
        try:
            self._set_up(connection)
        except BaseException:
            _end(connection)
            raise
        return connection


def is_gone(error: BaseException) -> bool:
    """Whether the connection that failed had ended before, with its server or on the way."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _end(connection: Connection) -> None:
    """Close ``connection`` for good: nobody else is to get it, with its settings, from a pool."""
    connection.invalidate()
    connection.close()
