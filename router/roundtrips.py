"""Several statements in one way to a PostgreSQL server and back, by psycopg."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, CursorResult, event
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError


def keep(connection: Connection) -> None:
    """Let `execute_all` return, on this connection, what the last of its statements has found."""
    event.listen(connection, "after_cursor_execute", _go_to_last)


def execute_all(connection: Connection, text: str) -> CursorResult[*tuple[Any, ...]]:
    """Execute ``text``, statements without marks: a single message, which is executed as a whole.

    Each statement sees what was committed before it began.
    """
    return connection.exec_driver_sql(text, execution_options={"no_parameters": True})


def execute_last(connection: Connection, text: str, values: tuple[object, ...]) -> None:
    """Execute the last statement of a transaction, and commit; what fails is not committed.

    Where the driver's library has no pipelines, the commit is left to the caller. To commit once
    more does nothing.

    Args:
        connection: Of our own, with psycopg, whose driver leaves BEGIN to us.
        text: A statement without a result.
        values: Its parameters.

    Raises:
        DBAPIError: As SQLAlchemy would. Where the connection has ended, it is not known whether the
            transaction was committed.
    """
    driver: Any = connection.connection.driver_connection
    if not connection.dialect.loaded_dbapi.Pipeline.is_supported():
        connection.exec_driver_sql(text, values)
        return
    with _translated(connection, text), driver.pipeline(), driver.cursor() as cursor:
        connection.exec_driver_sql(text, values)
        # A message of its own, without waiting; where the statement fails, the server passes over
        # it. Never prepared: whoever looks at what is sent sees it.
        cursor.execute("COMMIT", prepare=False)


def _go_to_last(_connection: Connection, cursor: DBAPICursor, *_others: object) -> None:
    """SQLAlchemy would look at the first result, which is that of BEGIN."""
    while cursor.nextset():
        pass


@contextmanager
def _translated(connection: Connection, text: str) -> Iterator[None]:
    """Have the driver's own errors look as if they had come by way of SQLAlchemy."""
    dialect = connection.dialect
    base = dialect.loaded_dbapi.Error
    driver: Any = connection.connection.driver_connection
    try:
        yield
    except base as error:
        is_gone = dialect.is_disconnect(error, driver, None)
        if is_gone:
            with suppress(DBAPIError):  # which its pool hears of: it lets go of all that are as old
                connection.exec_driver_sql("SELECT 1")
        raise DBAPIError.instance(
            text,
            None,
            error,
            base,
            hide_parameters=True,
            connection_invalidated=is_gone,
            dialect=dialect,
        ) from error
