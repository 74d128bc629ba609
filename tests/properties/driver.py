"""A driver of SQLite whose process dies, stops or freezes at a given statement."""

import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

from sqlalchemy import Engine, event

T = TypeVar("T")

How = Literal["crash before", "crash after", "stop", "freeze"]


class Killed(Exception):
    """The process of this database connection is dead."""


class End(NamedTuple):
    """How a process ends.

    Attributes:
        at: The number of the statement at which it does; BEGIN, SAVEPOINT and COMMIT count too.
        how: In a crash neither what comes later nor the open transaction reaches the database;
            the statement itself does where the crash comes after it. To stop is to end in good
            order. Who freezes does nothing more until thawed, and notices nothing.
    """

    at: int
    how: How


class Driver:
    """Stands between one process and the database, and brings its end about.

    Args:
        end: When and how; None leaves the process alone.

    Attributes:
        has_come: Whether the end has been reached.
        is_dead: Whether nothing of the process reaches the database any more.
        has_frozen: Whether another process may have taken over what this one still works on.
        statement: At which the end came.
    """

    def __init__(self, end: End | None = None) -> None:
        self.has_come = False
        self.is_dead = False
        self.has_frozen = False
        self.statement = ""
        self._end = end
        self._number = 0
        self._lock = threading.Lock()
        self._thawed = threading.Event()
        self._thawed.set()

    def drive(self, engine: Engine) -> None:
        """Be the driver of all connections that ``engine`` opens from now on."""
        event.listen(engine, "do_connect", self._choose)

    def kill(self) -> None:
        """End the process here and now."""
        self.is_dead = self.has_come = True
        self._thawed.set()

    def is_frozen(self) -> bool:
        """Whether the process is frozen by now; else it never will be."""
        with self._lock:
            if self._end is not None and self._end.how == "freeze" and not self.has_frozen:
                self._end = None
            return self.has_frozen

    def thaw(self) -> None:
        """Let a frozen process go on as if nothing had happened."""
        self._thawed.set()

    def carry_out(self, connection: "Connection", text: str, work: Callable[[], T]) -> T:
        """Execute a statement, unless the process is dead before.

        Raises:
            Killed: It is dead, before or after. Its transaction is undone.
        """
        how = self._count(text)
        if text.startswith("BEGIN"):  # who froze within a transaction would hold up all others
            self._thawed.wait()
        if self.is_dead or how == "crash before":
            self._die(connection)
        result = work()
        if how == "crash after":
            self._die(connection)
        return result

    def _count(self, text: str) -> How | None:
        """Count a statement; how the process ends at it."""
        with self._lock:
            if self._end is None or text.startswith("PRAGMA"):
                return None
            self._number += 1
            is_due = self._number >= self._end.at and not self.has_come
            if not is_due or (self._end.how == "freeze" and not text.startswith("BEGIN")):
                return None
            self.statement = text.partition("(")[0].strip()
            if self._end.how == "freeze":
                self.has_frozen = True
                self._thawed.clear()
            self.has_come = True
            return self._end.how

    def _die(self, connection: "Connection") -> None:
        self.kill()
        connection.undo()
        raise Killed

    def _choose(
        self, _dialect: object, _record: object, _values: object, settings: dict[str, Any]
    ) -> None:
        settings["factory"] = partial(Connection, self)


class Connection(sqlite3.Connection):
    """A connection that asks its driver before each statement."""

    def __init__(self, driver: Driver, *values: Any, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(*values, **settings)
        self.driver = driver

    def cursor(self, *_factory: object) -> sqlite3.Cursor:  # type: ignore[override]
        """Return a cursor that asks too."""
        return super().cursor(Cursor)

    def commit(self) -> None:
        """Commit, which is a statement like any other."""
        if self.in_transaction:
            self.driver.carry_out(self, "COMMIT", super().commit)

    def undo(self) -> None:
        """Lose the open transaction as in a crash, which nobody can prevent."""
        super().rollback()


class Cursor(sqlite3.Cursor):
    """A cursor that asks the driver before each statement."""

    connection: Connection

    def execute(self, text: str, *values: Any) -> "Cursor":  # noqa: ANN401
        """Execute one statement."""
        work = partial(super().execute, text, *values)
        self.connection.driver.carry_out(self.connection, text, work)
        return self

    def executemany(self, text: str, *values: Any) -> "Cursor":  # noqa: ANN401
        """Execute a statement for several rows, as one."""
        work = partial(super().executemany, text, *values)
        self.connection.driver.carry_out(self.connection, text, work)
        return self
