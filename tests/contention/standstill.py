"""One transaction stands still behind a statement until another has done what it can."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from sqlalchemy import Connection, event, text

from router.store import Store

SECONDS = 20.0  # in which whoever is not held up gets on, however busy the machine is
WAITING = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


class Outcome(NamedTuple):
    """What came of the two.

    Attributes:
        first: What the one that stood still has returned, or the exception that ended it.
        second: Likewise of the other.
        has_waited: Whether the second had to wait until the first went on.
    """

    first: Any
    second: Any
    has_waited: bool


class Standstill:
    """Holds up a thread behind a statement, once.

    Args:
        store: The database of the one that stands still; nobody else uses this object.
        behind: What is in the statement.
        nth: Behind which of those statements.
    """

    def __init__(self, store: Store, *, behind: str, nth: int = 1) -> None:
        self._store = store
        self._behind = behind
        self._left = nth
        self._reached = threading.Event()
        self._go_on = threading.Event()
        event.listen(store.engine, "after_cursor_execute", self._see)

    def run(self, first: Callable[[], object], second: Callable[[], object]) -> Outcome:
        """Run ``first`` to the statement, ``second`` as far as it comes, then both to their end."""
        with ThreadPoolExecutor(2) as threads:
            ahead = threads.submit(_try, first)
            try:
                assert self._reached.wait(SECONDS), f"{self._behind!r} is not executed"
                behind = threads.submit(_try, second)
                end = time.monotonic() + SECONDS
                while not behind.done() and not self._is_anybody_waiting():
                    assert time.monotonic() < end, "the second one neither waits nor gets on"
                    time.sleep(0.002)
                has_waited = not behind.done()
            finally:
                self._go_on.set()
            return Outcome(ahead.result(SECONDS), behind.result(SECONDS), has_waited)

    def _see(self, _connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if self._behind in statement:
            self._left -= 1
            if self._left == 0:
                self._reached.set()
                self._go_on.wait(SECONDS)

    def _is_anybody_waiting(self) -> bool:
        with self._store.engine.connect() as connection:
            return int(connection.execute(WAITING).scalar_one()) > 0


def _try(work: Callable[[], object]) -> object:
    try:
        return work()
    except Exception as error:
        return error
