"""Connections to either engine that ask the driver of their process before each statement."""

import os
import socket
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Self

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, event

from tests.properties.driver import Driver, Killed


def drive(engine: Engine, driver: Driver) -> None:
    """Let ``driver`` have all connections that ``engine`` opens from now on."""

    def choose(_dialect: object, _record: object, values: Any, settings: dict[str, Any]) -> Any:  # noqa: ANN401
        if engine.dialect.name == "sqlite":
            settings["factory"] = partial(SqliteWire, driver)
            return None
        return PostgresWire.open(driver, *values, **settings)

    event.listen(engine, "do_connect", choose)


class SqliteWire(sqlite3.Connection):
    """A connection to SQLite."""

    HOLDS_UP: ClassVar[bool] = True

    def __init__(self, driver: Driver, *values: Any, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(*values, **settings)
        self.driver = driver

    @property
    def is_busy(self) -> bool:
        """Whether a transaction is open."""
        return self.in_transaction

    def cursor(self, *_factory: object) -> sqlite3.Cursor:  # type: ignore[override]
        """Return a cursor that asks too."""
        return super().cursor(SqliteCursor)

    def commit(self) -> None:
        """Commit, which is a statement like any other."""
        if self.in_transaction:
            self.driver.carry_out(self, "COMMIT", super().commit)

    def lose(self) -> None:
        """Lose the open transaction."""
        super().rollback()

    def make_error(self) -> Exception:
        """Return what a disk that fails comes to."""
        return sqlite3.OperationalError("disk I/O error")


class SqliteCursor(sqlite3.Cursor):
    """A cursor that asks the driver before each statement."""

    connection: SqliteWire

    def execute(self, text: str, *values: Any) -> "SqliteCursor":  # noqa: ANN401
        """Execute one statement."""
        self._ask(text, partial(super().execute, text, *values))
        return self

    def executemany(self, text: str, *values: Any) -> "SqliteCursor":  # noqa: ANN401
        """Execute a statement for several rows, as one."""
        self._ask(text, partial(super().executemany, text, *values))
        return self

    def _ask(self, text: str, work: Callable[[], object]) -> None:
        if text.startswith("PRAGMA"):
            work()
        else:
            self.connection.driver.carry_out(self.connection, text, work)


class PostgresWire(psycopg.Connection[Any]):
    """A connection to PostgreSQL.

    Attributes:
        has_begun: Whether it is used, and no more only set up.
        pid: Of the server's process at the other end.
    """

    HOLDS_UP: ClassVar[bool] = False

    driver: Driver
    has_begun = False
    pid = 0

    @property
    def is_busy(self) -> bool:
        """Whether a transaction is open."""
        return self.info.transaction_status is not TransactionStatus.IDLE

    @classmethod
    def open(cls, driver: Driver, *values: Any, **settings: Any) -> Self:  # noqa: ANN401
        """Connect, unless the process is dead."""
        if driver.is_dead:
            raise Killed
        wire = cls.connect(*values, **settings)
        wire.driver, wire.pid = driver, wire.info.backend_pid
        wire.cursor_factory = PostgresCursor
        wire.server_cursor_factory = PostgresServerCursor
        driver.wires.append(wire)
        return wire

    def ask(self, text: str, work: Callable[[], object]) -> None:
        """Execute a statement, as the driver will have it."""
        self.has_begun = self.has_begun or text.startswith("BEGIN")
        if self.has_begun or self.driver.is_dead:
            self.driver.carry_out(self, text, work)
        else:
            work()

    def commit(self) -> None:
        """Commit, which is a statement like any other."""
        if self.is_busy:
            self.ask("COMMIT", super().commit)

    def lose(self) -> None:
        """Cut the line without a word, whoever is using it: the server rolls back by itself."""
        with (
            suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self.pgconn.socket)) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)

    def make_error(self) -> Exception:
        """Return what a lost connection comes to."""
        with suppress(psycopg.Error):
            self.pgconn.exec_(b"SELECT 1")  # so that all can see that it is lost
        return psycopg.OperationalError("server closed the connection unexpectedly")


class PostgresCursor(psycopg.Cursor[Any]):
    """A cursor that asks the driver before each statement."""

    connection: PostgresWire

    def execute(self, text: Any, *values: Any, **settings: Any) -> Self:  # type: ignore[override]  # noqa: ANN401
        """Execute one statement, or what is sent as one."""
        self.connection.ask(str(text), partial(super().execute, text, *values, **settings))
        return self

    def executemany(self, text: Any, *values: Any, **settings: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        """Execute a statement for several rows, as one."""
        self.connection.ask(str(text), partial(super().executemany, text, *values, **settings))


class PostgresServerCursor(psycopg.ServerCursor[Any]):
    """A cursor whose rows stay with the server until they are wanted."""

    connection: PostgresWire

    def execute(self, text: Any, *values: Any, **settings: Any) -> Self:  # type: ignore[override]  # noqa: ANN401
        """Execute one statement."""
        self.connection.ask(str(text), partial(super().execute, text, *values, **settings))
        return self

    def __del__(self, *_: object) -> None:
        """Do not complain: a lost connection leaves no way to close it."""


def hang_up(driver: Driver) -> list[int]:
    """Close what threads have left open, and return the server's processes at the other ends."""
    wires = [wire for wire in driver.wires if isinstance(wire, PostgresWire)]
    for wire in wires:
        wire.close()
    return [wire.pid for wire in wires]
