"""A connection lent to a handler, which may do all with it but end the transaction."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, event

from router.errors import Unavailable

SAVEPOINT = "router_event"  # of the one event that a handler is called with

# What would end the transaction or the savepoint, behind any comments.
_ENDING = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
    r"(?:BEGIN|START|COMMIT|END|ABORT|PREPARE\s+TRANSACTION"
    r"|ROLLBACK(?!\s+(?:TRANSACTION\s+)?TO)|.*\brouter_event)\b",
    re.IGNORECASE | re.DOTALL,
)
# PostgreSQL takes several statements at once. What parts none: texts, names and comments.
_WHOLE = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/", re.DOTALL)
_METHODS = ("commit", "rollback", "close", "invalidate")


class Lent:
    """Guards the transaction of ``connection`` for the length of a ``with`` block.

    Whoever ended it would have the effects of earlier events of the same transaction committed
    without the record that they were handled: they would be had twice.

    Args:
        connection: What is lent.
        rename: Puts other names of tables into the statements of handlers.

    Attributes:
        connection: What is lent.
    """

    def __init__(
        self, connection: Connection, *, rename: Callable[[str], str] | None = None
    ) -> None:
        self.connection = connection
        self._rename = rename
        # Savepoints by the driver itself: SQLAlchemy's take as long as all the rest of an event.
        self._cursor = connection.connection.cursor()
        self._driver = connection.connection.driver_connection
        self._is_lent = False

    @property
    def is_gone(self) -> bool:
        """Whether the connection has ended with its server, which is no fault of a handler."""
        return bool(getattr(self._driver, "closed", False))

    def tell(self, command: str) -> None:
        """Have the database execute a ``command`` that has no result.

        Raises:
            Unavailable: It did not.
        """
        try:
            self._cursor.execute(command)
        except self.connection.dialect.loaded_dbapi.Error as error:
            words = str(error).partition("\n")[0]  # below it the server quotes what is in rows
            raise Unavailable(f"the database does not take {command}: {words}") from error

    @contextmanager
    def lending(self) -> Iterator[None]:
        """Refuse, while a handler is called, what would end the transaction."""
        self._is_lent = True
        try:
            yield
        finally:
            self._is_lent = False

    def __enter__(self) -> Self:
        """Begin."""
        vars(self.connection).update(dict.fromkeys(_METHODS, self._refuse))
        event.listen(self.connection, "before_cursor_execute", self._check, retval=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the connection back as it was."""
        self._cursor.close()
        event.remove(self.connection, "before_cursor_execute", self._check)
        for name in _METHODS:
            del vars(self.connection)[name]

    def _refuse(self) -> None:
        raise RuntimeError("the router ends this transaction, with the events that it is about")

    def _check(
        self,
        _connection: object,
        _cursor: object,
        statement: str,
        parameters: object,
        *_more: object,
    ) -> tuple[str, object]:
        if self._is_lent:
            if any(_ENDING.match(one) for one in _part(statement)):
                self._refuse()
            if self._rename is not None:
                statement = self._rename(statement)
        return statement, parameters


def _part(statement: str) -> list[str]:
    """Return ``statement``, and behind it those that follow it within the same text."""
    if ";" not in statement:
        return [statement]
    return [statement, *_WHOLE.sub(" ", statement).split(";")[1:]]
