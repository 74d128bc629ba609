"""The driver of one process: it dies, stops, freezes or is cut off at a given statement."""

import threading
from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple, Protocol, TypeVar

T = TypeVar("T")

How = Literal["crash before", "crash after", "stop", "freeze", "fail before", "fail after"]


class Killed(Exception):
    """The process of this database connection is dead."""


class End(NamedTuple):
    """How a process ends, or what goes wrong in it.

    Attributes:
        at: The number of the statement at which it does; BEGIN, SAVEPOINT and COMMIT count too.
        how: In a crash neither what comes later nor the open transaction reaches the database;
            the statement itself does where the crash comes after it. To stop is to end in good
            order. Who freezes does nothing more until thawed, and notices nothing. Where the
            statement fails, the transaction is lost and the process goes on; after the statement
            means that it was carried out and nobody was told, be it a COMMIT.
    """

    at: int
    how: How


class Wire(Protocol):
    """A connection whose statements pass a driver.

    Attributes:
        HOLDS_UP: Whether an open transaction keeps out all other writers until its process ends.
            A server ends the session of one that stands still.
    """

    HOLDS_UP: ClassVar[bool]

    @property
    def is_busy(self) -> bool:
        """Whether a transaction is open."""

    def lose(self) -> None:
        """Lose the open transaction as in a crash, which nobody can prevent."""

    def make_error(self) -> Exception:
        """Return what the driver of the database says when it has lost its connection."""


class Driver:
    """Stands between one process and the database, and brings its end about.

    Args:
        end: When and how; None leaves the process alone.

    Attributes:
        has_come: Whether the end has been reached.
        is_dead: Whether nothing of the process reaches the database any more.
        has_frozen: Whether another process may have taken over what this one still works on.
        has_failed: Whether a statement has failed, so that work may be done again.
        statement: At which the end came.
        wires: The connections to a server that there were.
    """

    def __init__(self, end: End | None = None) -> None:
        self.has_come = False
        self.is_dead = False
        self.has_frozen = False
        self.has_failed = False
        self.statement = ""
        self.wires: list[Wire] = []
        self._end = end
        self._number = 0
        self._lock = threading.Lock()
        self._thawed = threading.Event()
        self._thawed.set()

    def plan(self, end: End | None) -> None:
        """Count the statements anew, up to another ``end``."""
        with self._lock:
            self._end, self._number = end, 0
            self.has_come = self.has_failed = False
            self.statement = ""

    def kill(self) -> None:
        """End the process here and now."""
        self.is_dead = self.has_come = True
        self._thawed.set()
        for wire in list(self.wires):
            wire.lose()

    def is_frozen(self) -> bool:
        """Whether the process is frozen by now; else it never will be."""
        with self._lock:
            if self._end is not None and self._end.how == "freeze" and not self.has_frozen:
                self._end = None
            return self.has_frozen

    def thaw(self) -> None:
        """Let a frozen process go on as if nothing had happened."""
        self._thawed.set()

    def carry_out(self, wire: Wire, text: str, work: Callable[[], T]) -> T:
        """Execute a statement, unless the process is dead before.

        Raises:
            Killed: It is dead, before or after. Its transaction is undone.
        """
        how = self._count(wire, text)
        is_first = text.startswith("BEGIN")
        if how == "freeze":
            self._leave_to_server()
        if how == "freeze" or is_first:
            self._thawed.wait()
        if self.is_dead or how == "crash before":
            self._die(wire)
        if how == "fail before":
            self._fail(wire)
        result = work()
        if how == "crash after":
            self._die(wire)
        if how == "fail after":
            self._fail(wire)
        return result

    def _count(self, wire: Wire, text: str) -> How | None:
        """Count a statement; what happens at it."""
        with self._lock:
            if self._end is None:
                return None
            self._number += 1
            if self._number < self._end.at:
                return None
            if self._end.how == "freeze" and wire.HOLDS_UP and not text.startswith("BEGIN"):
                return None
            how, self._end = self._end.how, None
            self.statement = text.partition("(")[0].strip()
            if how.startswith("fail"):
                self.has_failed = True
                return how
            if how == "freeze":
                self.has_frozen = True
                self._thawed.clear()
            self.has_come = True
            return how

    def _leave_to_server(self) -> None:
        """Lose what is under way: a server waits for some seconds only, which nobody has here."""
        for wire in list(self.wires):
            if wire.is_busy:
                wire.lose()

    def _die(self, wire: Wire) -> None:
        self.kill()
        wire.lose()
        raise Killed

    def _fail(self, wire: Wire) -> None:
        wire.lose()
        raise wire.make_error()
