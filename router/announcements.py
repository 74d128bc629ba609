"""How PostgreSQL tells other processes that a log has grown: NOTIFY and LISTEN."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

from sqlalchemy import Connection, Engine


def announce(connection: Connection, *, place: int) -> None:
    """Tell all who listen at a log, when the transaction is committed, that it has grown."""
    connection.exec_driver_sql(f"NOTIFY router_{place}")


class _Driver(Protocol):
    """What is used of the driver's connection, which is not imported: not everybody has it."""

    autocommit: bool

    def execute(self, query: str) -> object: ...

    def notifies(self, *, timeout: float, stop_after: int) -> Iterable[object]: ...

    def close(self) -> None: ...


@contextmanager
def listening(engine: Engine, *, place: int) -> Iterator[Callable[[float], bool]]:
    """Yield what waits some seconds for announcements, and returns whether there were any.

    It needs a session of its own for all its life, which a pooler of transactions does not give.
    """
    connection = engine.raw_connection()
    driver = cast("_Driver", connection.driver_connection)
    connection.detach()  # it never goes back to the pool
    try:
        driver.autocommit = True
        driver.execute(f"LISTEN router_{place}")
        yield lambda seconds: any(True for _ in driver.notifies(timeout=seconds, stop_after=1))
    finally:
        driver.close()
