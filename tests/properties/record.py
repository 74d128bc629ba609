"""What is on record of one run of a subscription, read without the code that wrote it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from router.lanes import LIVE
from router.log import EventLog
from router.progress import load_ranges
from tests.properties.scripted import Scripted
from tests.records import ParkedRow, read_blocked, read_parked

# Gives a row if all is read, nothing is tried again, and subjects wait behind the dead at most.
QUIET = """
WITH mine AS (SELECT :name AS subscription, :run AS run)
SELECT 1 FROM head WHERE EXISTS (SELECT 1 FROM lane NATURAL JOIN mine)
AND NOT EXISTS (SELECT 1 FROM lane NATURAL JOIN mine WHERE checkpoint < position OR done <> '[]')
AND NOT EXISTS (SELECT 1 FROM parked NATURAL JOIN mine WHERE state = 'retry')
AND NOT EXISTS (
    SELECT 1 FROM blocked NATURAL JOIN mine NATURAL JOIN subscription
    LEFT JOIN parked USING (subscription, run, position)
    WHERE json_extract(options, '$.on_dead') <> 'hold' OR parked.state IS NULL
)
"""


class Record:
    """What is on record of one run of a subscription, and whether that may be."""

    def __init__(self, log: EventLog, name: str, plugin: Scripted, *, run: int = LIVE) -> None:
        self.course = plugin.courses[run]
        self._limit = plugin.options.retry.attempts
        self._log = log
        self._name = name
        self._run = run

    def begin_life(self) -> None:
        """Tell the plugin what may not happen again."""
        given_up = {at for at, row in self.parked().items() if row.attempts >= self._limit}
        self.course.begin_life(self._settled(), given_up)

    def check(self) -> None:
        """Check what holds at any time."""
        assert self.course.broken == []
        assert self.select("SELECT * FROM broken") == []
        assert all(row.attempts <= self._limit for row in self.parked().values())
        orphans = "SELECT * FROM attempt NATURAL LEFT JOIN parked_key WHERE is_parked IS NULL"
        assert self.select(orphans) == []

    def is_quiet(self) -> bool:
        """Whether nothing is left to do, now or later."""
        return bool(self.select(QUIET, {"name": self._name, "run": self._run}))

    def parked(self) -> dict[int, ParkedRow]:
        """What is parked, by position."""
        return read_parked(self._log.store, self._name, run=self._run)

    def waiting(self) -> set[int]:
        """The positions of the events that wait behind another of their subject."""
        return self._behind(read_blocked(self._log.store, self._name, run=self._run))

    def held(self) -> set[int]:
        """The positions of the events behind a dead one of their subject."""
        dead = self.parked()
        events = sorted(self._log.read(), key=lambda event: -event.position)
        return self._behind({one.subject: one.position for one in events if one.position in dead})

    def _behind(self, heads: Mapping[str, int]) -> set[int]:
        return {
            event.position
            for event in self._log.read()
            if event.position > heads.get(event.subject, event.position)
        }

    def fold(self) -> dict[str, list[int]]:
        """What has come of each subject: its events in the order in which they were handled."""
        done = self.course.done
        folded: dict[str, list[int]] = {}
        for position in self.effects() or done:
            folded.setdefault(done[position], []).append(position)
        return folded

    def effects(self) -> list[int]:
        """The positions of the events whose effects are there, in the order of the effects."""
        query = "SELECT position FROM effect WHERE (subscription, run) = (?, ?) ORDER BY rowid"
        return [row.position for row in self.select(query, (self._name, self._run))]

    def select(
        self, query: str, values: tuple[object, ...] | dict[str, object] = ()
    ) -> list[Row[*tuple[Any, ...]]]:
        """Return what ``query`` gives."""
        with self._log.store.reading() as connection:
            return list(connection.exec_driver_sql(query, values))

    def _settled(self) -> set[int]:
        found: set[int] = set()
        query = "SELECT * FROM lane WHERE (subscription, run) = (?, ?)"
        for lane in self.select(query, (self._name, self._run)):
            spans = [(0, lane.checkpoint), *load_ranges(lane.done)]
            found |= {
                event.position
                for event in self._log.read()
                if lane.first_shard <= event.shard <= lane.last_shard
                and any(first <= event.position <= last for first, last in spans)
            }
        retried = {at for at, row in self.parked().items() if row.state == "retry"}
        return found - retried - self.waiting()
