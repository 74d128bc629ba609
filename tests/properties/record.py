"""What is on record of one run of a subscription, read without the code that wrote it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, text

from router.claims import LIVE
from router.events import Event
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
AND NOT EXISTS (SELECT 1 FROM intent NATURAL JOIN mine)
AND NOT EXISTS (
    SELECT 1 FROM blocked NATURAL JOIN mine NATURAL JOIN subscription
    LEFT JOIN parked USING (subscription, run, position)
    WHERE options NOT LIKE '%"on_dead":"hold"%' OR parked.state IS NULL
)
"""
ORPHANS = "SELECT * FROM attempt NATURAL LEFT JOIN parked_key WHERE is_parked IS NULL"
REDRIVEN = "SELECT * FROM parked WHERE state = 'retry' AND intent IS NOT NULL"  # it would be again
PAUSED = "SELECT * FROM subscription WHERE name = :name AND state = 'paused'"
OWNED = """
SELECT * FROM lane WHERE (subscription, run) = (:name, :run)
AND owner = (SELECT id FROM worker ORDER BY started_at DESC LIMIT 1)
"""
ALONE = "SELECT * FROM attempt WHERE (subscription, run) = (:name, :run) AND outcome = 'alone'"
ASKED = "SELECT * FROM parked WHERE (subscription, run) = (:name, :run) AND intent IS NOT NULL"
EFFECTS = "SELECT position FROM effect WHERE (subscription, run) = (:name, :run) ORDER BY number"
LANES = "SELECT * FROM lane WHERE (subscription, run) = (:name, :run) ORDER BY first_shard"


class Record:
    """What is on record of one run of a subscription, and whether that may be.

    Args:
        log: The log.
        name: Of the subscription.
        plugin: Its plugin.
        run: 0 for live delivery, else the replay's id.
        after: The last position that it does not get.

    Attributes:
        course: The same as the plugin sees it.
        set_aside: The positions that operators discarded or skipped, so that nothing need have
            come of them.
        suspects: The positions of those whose process died while nothing else ran.
        name: Of the subscription.
        run: 0 for live delivery, else the replay's id.
    """

    def __init__(
        self, log: EventLog, name: str, plugin: Scripted, *, run: int = LIVE, after: int = 0
    ) -> None:
        self.course = plugin.course(run)
        self.set_aside: set[int] = set()
        self.suspects: set[int] = set()
        self.plugin = plugin
        self._log = log
        self.name = name
        self.run = run
        self._after = after

    def begin_life(self) -> None:
        """Tell the plugin what may not happen again.

        An owner that died in the last attempt that an event had, or in one beside which nothing
        else ran, has left it to the next one to give the event up.
        """
        self._find_suspects()
        parked, limit_of = self.parked(), self.course.limit_of
        dead = {at for at, row in parked.items() if row.state == "dead"}
        spent = {at for at, row in parked.items() if row.attempts >= limit_of(at)}
        settled = self.settled() | (dead - self._asked())
        self.course.begin_life(settled, dead | spent | self.suspects)
        self.course.is_paused = self.is_paused()

    def check(self) -> None:
        """Check what holds whenever nobody is at work."""
        self._find_suspects()
        broken = [*self.broken(), *self.select(ORPHANS)]
        assert broken == [], f"{broken}"
        parked = self.parked()
        self._check_parked(parked)
        settled = self.settled()
        lost = settled - self.course.done.keys() - self.set_aside
        assert lost == set(), f"settled on record, but nothing has come of it: {lost}"
        if self.plugin.kind == "transactional":
            effects = self.effects()
            assert len(effects) == len(set(effects)), "an effect is there twice"
            assert settled - set(effects) <= self.set_aside, "an effect is lost"
            # Of what a replay has settled in a lane that has come to its end, no lane tells.
            assert self._covered() & set(effects) <= settled, "an effect of what is not done"

    def _find_suspects(self) -> None:
        self.suspects |= {row.position for row in self.select(ALONE)}

    def _check_parked(self, parked: Mapping[int, ParkedRow]) -> None:
        """Attempts stay within their limit, nobody is blamed for another, and rows are few."""
        limit_of, rejected = self.course.limit_of, self.course.rejected
        asked = self._asked()
        waiting = Counter[str]()
        for position, row in parked.items():
            assert row.attempts <= limit_of(position), "too many attempts"
            if row.state == "dead":
                is_exhausted = row.attempts >= limit_of(position)
                is_to_blame = position in rejected or position in self.suspects
                is_known = is_exhausted or is_to_blame or position in asked
                assert is_known, f"dead for no reason: {position}"
            elif position not in self.course.redriven:
                waiting[self._log.find(str(position)).subject] += 1
        if self.plugin.options.order == "subject":
            assert set(waiting.values()) <= {1}, "more than one event of a subject is tried again"

    def broken(self) -> list[object]:
        """What should not have been done, as far as that is plain at once."""
        on_record = [*self.select("SELECT * FROM broken"), *self.select(REDRIVEN)]
        return [*self.course.broken, *on_record]

    def is_quiet(self) -> bool:
        """Whether nothing is left to do, now or later."""
        return bool(self.select(QUIET))

    def is_born(self) -> bool:
        """Whether there is such a run."""
        return bool(self._lanes())

    def is_paused(self) -> bool:
        """Whether an operator has paused the subscription."""
        return bool(self.select(PAUSED))

    def is_let_go(self) -> bool:
        """Whether the last worker owns no lane of the run."""
        return not self.select(OWNED)

    def parked(self) -> dict[int, ParkedRow]:
        """What is parked, by position."""
        return read_parked(self._log.store, self.name, run=self.run)

    def dead(self) -> list[int]:
        """The positions of the dead letters."""
        return sorted(at for at, row in self.parked().items() if row.state == "dead")

    def lanes(self) -> list[tuple[int, str, int]]:
        """How far each lane has come, and how many owners have fallen silent there."""
        return [(lane.checkpoint, lane.done, lane.takeovers) for lane in self._lanes()]

    def waiting(self) -> set[int]:
        """The positions of the events that wait behind another of their subject."""
        return self._behind(read_blocked(self._log.store, self.name, run=self.run))

    def held(self) -> set[int]:
        """The positions of the events behind a dead one of their subject."""
        dead = self.dead()
        events = sorted(self._log.read(), key=lambda event: -event.position)
        return self._behind({one.subject: one.position for one in events if one.position in dead})

    def settled(self) -> set[int]:
        """The positions that need nothing more and are not dead."""
        found: set[int] = set()
        events = list(self._log.read())
        for lane in self._lanes():
            spans = [(self._after + 1, lane.checkpoint), *load_ranges(lane.done)]
            found |= {
                event.position
                for event in _of_lane(lane, events)
                if any(first <= event.position <= last for first, last in spans)
            }
        return found - self.parked().keys() - self.waiting()

    def fold(self) -> dict[str, list[int]]:
        """What has come of each subject: its events in the order in which they were handled."""
        done = self.course.done
        folded: dict[str, list[int]] = {}
        for position in self.effects() or done:
            folded.setdefault(done[position], []).append(position)
        return folded

    def effects(self) -> list[int]:
        """The positions of the events whose effects are there, in the order of the effects."""
        return [row.position for row in self.select(EFFECTS)]

    def select(self, query: str) -> list[Row[*tuple[Any, ...]]]:
        """Return what ``query`` gives for the run."""
        asked = text(query)
        values = {"name": self.name, "run": self.run}
        with self._log.store.reading() as connection:
            return list(connection.execute(asked, values))

    def _asked(self) -> set[int]:
        """The positions of the dead letters that an operator wants redriven or discarded."""
        return {row.position for row in self.select(ASKED)}

    def _covered(self) -> set[int]:
        """The positions of the events of all lanes that there are."""
        events = list(self._log.read())
        return {event.position for lane in self._lanes() for event in _of_lane(lane, events)}

    def _lanes(self) -> list[Row[*tuple[Any, ...]]]:
        return self.select(LANES)

    def _behind(self, heads: Mapping[str, int]) -> set[int]:
        return {
            event.position
            for event in self._log.read()
            if event.position > heads.get(event.subject, event.position)
        }


def _of_lane(lane: Row[*tuple[Any, ...]], events: Sequence[Event]) -> Iterator[Event]:
    return (event for event in events if lane.first_shard <= event.shard <= lane.last_shard)
