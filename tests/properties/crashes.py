"""A worker that may die at any commit, on a clock that runs as fast as anybody sleeps."""

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from sqlalchemy import Connection, event

from router.dispatcher import Dispatcher
from router.lanes import LEASE_MICROS
from router.log import EventLog
from router.retries import Clock
from router.store import Store
from router.subscriptions import Subscription
from tests.entries import append_messages
from tests.waiting import until

# What may never be on record is noted by the database itself, and what handlers write is kept.
RULES = """
CREATE TABLE effect (subscription TEXT, run INTEGER, position INTEGER);
CREATE TABLE broken (what TEXT);
CREATE VIEW parked_key AS SELECT subscription, run, position, 1 AS is_parked FROM parked;
CREATE TRIGGER lanes_go_on BEFORE UPDATE ON lane
WHEN NEW.checkpoint < OLD.checkpoint OR NEW.epoch < OLD.epoch BEGIN
    INSERT INTO broken VALUES ('a lane went back to ' || NEW.checkpoint);
END;
CREATE TRIGGER attempts_go_on BEFORE UPDATE ON parked
WHEN NEW.attempts < OLD.attempts BEGIN
    INSERT INTO broken VALUES ('fewer attempts at ' || NEW.position);
END;
"""


class Killed(Exception):
    """The process of this database connection is dead."""


class End(NamedTuple):
    """How a worker ends.

    Attributes:
        at: The number of the commit at which it does.
        is_sudden: Whether neither this nor anything later reaches the database, as in a crash. What
            went before in the same transaction is undone with it.
    """

    at: int
    is_sudden: bool


class Watch:
    """Waits for the end of a worker, and brings it about.

    Attributes:
        has_come: Whether it has been reached.
    """

    def __init__(self, store: Store, end: End | None) -> None:
        self.has_come = False
        self._left = end.at if end else None
        self._is_sudden = end is not None and end.is_sudden
        self._lock = threading.Lock()
        event.listen(store.engine, "commit", self._count)
        event.listen(store.engine, "before_cursor_execute", self._check)

    def _count(self, _connection: Connection) -> None:
        with self._lock:
            if self._left is not None:
                self._left -= 1
                self.has_come = self._left <= 0
        self._check()

    def _check(self, *_statement: object) -> None:
        if self.has_come and self._is_sudden:
            raise Killed


def _hurry(connection: object, _entry: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")  # type: ignore[attr-defined]  # no power cut


class QuickClock:
    """A clock that whoever sleeps puts forward.

    Attributes:
        micros: Its time, in microseconds since 1970.
    """

    def __init__(self) -> None:
        self.micros = 1_000_000_000

    def advance(self, seconds: float) -> None:
        """Put it forward."""
        self.micros += round(seconds * 1_000_000)

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.advance(seconds)
        await asyncio.sleep(0.001)

    def seconds(self) -> float:
        """Return its time in seconds since 1970."""
        return self.micros / 1_000_000


class World:
    """A database, a clock, and one worker after the other.

    Attributes:
        clock: What all workers go by.
        log: The log, for those who only look on.
    """

    def __init__(self, url: str) -> None:
        self.clock = QuickClock()
        self._url = url
        self.log = EventLog(self._open())

    def dawdle(self) -> None:
        """Let more time pass than any call may take."""
        self.clock.advance(100 * 86_400)

    def live(
        self,
        subscriptions: Sequence[Subscription],
        *,
        is_done: Callable[[], bool],
        end: End | None = None,
        late: Sequence[str] = (),
    ) -> bool:
        """Run a worker to its end; whether that came before all was done.

        Args:
            subscriptions: What it delivers to.
            is_done: Whether nothing is left to do, so that it stops in good order.
            end: When and how it ends otherwise.
            late: The conversations of events that come meanwhile. It is not told of them.
        """
        self.clock.micros += LEASE_MICROS + 1  # what the last one held is free by now
        store = self._open()
        watch = Watch(store, end)
        try:
            asyncio.run(self._run(subscriptions, store, watch, is_done, late))
        finally:
            store.close()
        return watch.has_come

    def close(self) -> None:
        """Let go of the database."""
        self.log.store.close()

    def _open(self) -> Store:
        store = Store(self._url, clock=self.clock.seconds)
        event.listen(store.engine, "connect", _hurry)
        return store

    async def _run(
        self,
        subscriptions: Sequence[Subscription],
        store: Store,
        watch: Watch,
        is_done: Callable[[], bool],
        late: Sequence[str],
    ) -> None:
        clock = Clock(now=store.now, sleep=self.clock.sleep, random=lambda: 0.5)
        dispatcher = Dispatcher(subscriptions, log=EventLog(store), clock=clock)
        try:
            with suppress(Killed):
                await dispatcher.start()
                for conversation in late:
                    await asyncio.sleep(0.004)
                    await asyncio.to_thread(append_messages, self.log, [conversation])
                await until(lambda: watch.has_come or is_done(), seconds=20)
        finally:
            with suppress(Killed):  # the dead write nothing down: only threads and tasks end here
                await dispatcher.stop()


@contextmanager
def make_world(empty_database: Path) -> Iterator[World]:
    """Make a world whose database watches itself."""
    with TemporaryDirectory(prefix="router-delivery-") as folder:
        path = shutil.copy(empty_database, folder)
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(RULES)
        world = World(f"sqlite:///{path}")
        try:
            yield world
        finally:
            world.close()
