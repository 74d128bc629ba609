"""A database that watches itself, a clock, and one worker after the other."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import event as note
from sqlalchemy import event

from router.lane import LEASE_MICROS
from router.log import EventLog
from router.store import Store
from tests.properties.clock import QuickClock
from tests.properties.driver import End
from tests.properties.life import Life, hurry
from tests.properties.scripted import Scripted

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


class World:
    """Where workers live and die.

    Attributes:
        clock: What all of them go by.
        log: The log, for those who only look on.
    """

    def __init__(self, url: str) -> None:
        self.clock = QuickClock()
        self._url = url
        store = Store(url, clock=self.clock.operators_seconds)
        event.listen(store.engine, "connect", hurry)
        self.log = EventLog(store)
        self._life: Life | None = None
        self._frozen: Life | None = None

    @property
    def is_at_work(self) -> bool:
        """Whether there is a worker that has not come to its end; may be asked on any thread."""
        return self._life is not None and not self._life.driver.has_come

    def live(
        self,
        plugins: Mapping[str, Scripted],
        *,
        is_done: Callable[[], bool],
        end: End | None = None,
        meanwhile: Sequence[Callable[[], object]] = (),
    ) -> bool:
        """Let a worker live; whether it ended before all was done.

        Args:
            plugins: What it delivers to, by the names of their subscriptions.
            is_done: Whether nothing is left to do, so that it stops in good order.
            end: When and how it ends otherwise.
            meanwhile: What happens while it works. It is not told.
        """
        self.clock.advance(LEASE_MICROS / 1_000_000 + 1)  # what the last one held is free by now
        life = Life(self._url, clock=self.clock, plugins=plugins, end=end, onlooker=self.log)
        self._life = life
        has_come = life.run(is_done, meanwhile)
        self._life = None
        if has_come and end is not None:
            note(f"{end.how}: {life.driver.statement}")
        if life.driver.has_frozen:
            self.bury()
            self._frozen = life
        return has_come

    def thaw(self) -> None:
        """Let the frozen worker, if there is one, find out what has become of its lanes."""
        life, self._frozen = self._frozen, None
        if life is not None:
            note("thawed")
            life.thaw()

    def bury(self) -> None:
        """Let the frozen worker, if there is one, die without having been thawed."""
        life, self._frozen = self._frozen, None
        if life is not None:
            life.bury()

    def close(self) -> None:
        """Let go of the database."""
        self.bury()
        self.log.store.close()


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
