"""However handlers fail and workers die: nothing is lost, doubled on record, or out of order."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Row

from router.filters import Filter
from router.lanes import LIVE
from router.log import EventLog
from router.options import OnDead, Options, Order, RetryOptions, Start
from router.progress import load_ranges
from router.replay import DONE, Replays
from tests.entries import append_messages
from tests.properties.crashes import End, World
from tests.properties.scripted import Ending, Kind, Scripted
from tests.records import ParkedRow, read_blocked, read_parked

# What may never be on record is noted by the database itself, and what handlers write is kept.
WATCH = """
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


class Plan(msgspec.Struct, frozen=True):
    """What happens to a subscription.

    Attributes:
        scripts: How the calls for each event end.
        chunks: The conversations of the events that come before each worker.
        ends: How each worker but the last ends.
        late: The conversations of the events that come when the last one has nothing left to do.
    """

    kind: Kind
    scripts: list[list[Ending]]
    chunks: list[list[str]]
    ends: list[End]
    late: list[str]
    lanes: int
    concurrency: int
    attempts: int = 20
    order: Order = "subject"
    on_dead: OnDead = "release"

    def make_plugin(self, world: World, *, start: Start = "beginning") -> Scripted:
        """Return the subscription's plugin."""
        options = Options(
            start=start,
            order=self.order,
            on_dead=self.on_dead,
            lanes=self.lanes,
            concurrency=self.concurrency,
            retry=RetryOptions(first=0.5, attempts=self.attempts, give_up_after=1e9),
            # The time of an async handler is the loop's, that of others the quick clock's.
            timeout=0.02 if self.kind == "async" else 86_400,
            replay="allow",
        )
        scripts = dict(enumerate(self.scripts, start=1))
        return Scripted(self.kind, scripts=scripts, options=options, dawdle=world.dawdle)


KINDS: list[Kind] = ["plain", "async", "transactional"]
conversations = st.lists(st.sampled_from("abc"), max_size=8)


def plans(
    endings: list[Ending], *, calls: int, **others: st.SearchStrategy[object]
) -> st.SearchStrategy[Plan]:
    """Return plans in which so many ``calls`` for an event end in one of these ways."""
    ends = st.builds(End, at=st.integers(1, 20), is_sudden=st.sampled_from([True, True, False]))
    scripts = st.lists(st.lists(st.sampled_from(endings), max_size=calls), max_size=12)
    return st.sampled_from([1, 2, 3, 3]).flatmap(
        lambda lives: st.builds(
            Plan,
            kind=st.sampled_from(KINDS),
            scripts=scripts,
            chunks=st.lists(conversations, min_size=lives, max_size=lives),
            ends=st.lists(ends, min_size=lives - 1, max_size=lives - 1),
            late=conversations,
            lanes=st.integers(1, 2),
            concurrency=st.sampled_from([1, 2, 8]),
            **others,
        )
    )


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


@contextmanager
def make_world(empty_database: Path) -> Iterator[World]:
    """Make a world whose database watches itself."""
    with TemporaryDirectory(prefix="router-delivery-") as folder:
        path = shutil.copy(empty_database, folder)
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(WATCH)
        world = World(f"sqlite:///{path}")
        try:
            yield world
        finally:
            world.close()


def live_through(
    plan: Plan,
    world: World,
    plugins: Mapping[str, Scripted],
    records: Sequence[Record],
    *,
    is_quiet: Callable[[], bool],
) -> None:
    """Let worker after worker live and die; the last one lives until all is quiet."""
    late = [plan.late]

    def is_done() -> bool:
        if not is_quiet():
            return False
        if late:
            append_messages(world.log, late.pop())  # nobody is told of it
            return False
        return True

    for chunk, end in zip(plan.chunks, [*plan.ends, None], strict=True):
        append_messages(world.log, chunk)
        for record in records:
            record.begin_life()
        subscriptions = [plugin.live(name) for name, plugin in plugins.items()]
        has_ended = world.live(subscriptions, is_done=is_quiet if end else is_done, end=end)
        if end and has_ended:
            note(f"a worker ended {'suddenly' if end.is_sudden else 'gently'}")
        for record in records:
            record.check()


ORDERS = st.sampled_from(["subject", "subject", "none"])
FAILURES: list[Ending] = ["fail", "fail", "again", "late", "interrupt", "ok", "reject"]


@settings(max_examples=settings().max_examples // 2)
@given(
    plan=plans(
        FAILURES,
        calls=4,
        attempts=st.integers(1, 3),
        order=ORDERS,
        on_dead=st.sampled_from(["release", "release", "hold"]),
    )
)
def test_whatever_fails_each_event_is_dealt_with(empty_database: Path, plan: Plan) -> None:
    """Each event is handled, dead or waits on record, in its order; effects are there once."""
    with make_world(empty_database) as world:
        plugin = plan.make_plugin(world)
        record = Record(world.log, "crm", plugin)
        live_through(plan, world, {"crm": plugin}, [record], is_quiet=record.is_quiet)
        everything = set(range(1, world.log.head() + 1))
        dead, waiting = set(record.parked()), record.waiting()
        assert record.course.done.keys() | dead | waiting == everything
        is_held = plan.on_dead == "hold" and plan.order == "subject"
        assert waiting == (record.held() if is_held else set())
        if plan.kind == "transactional":
            assert sorted(record.effects()) == sorted(everything - dead - waiting)


@settings(max_examples=settings().max_examples // 5)
@given(kind=st.sampled_from(KINDS), attempts=st.integers(2, 3), at=st.integers(4, 12))
def test_a_call_that_its_worker_does_not_outlive_counts(
    empty_database: Path, kind: Kind, attempts: int, at: int
) -> None:
    """Whenever a worker dies over an event that always fails, no attempt is made twice or late."""
    plan = Plan(
        kind=kind,
        scripts=[["fail"] * 5],
        chunks=[["a"], []],
        ends=[End(at, is_sudden=True)],
        late=["a"],
        lanes=1,
        concurrency=1,
        attempts=attempts,
    )
    with make_world(empty_database) as world:
        plugin = plan.make_plugin(world)
        record = Record(world.log, "crm", plugin)
        live_through(plan, world, {"crm": plugin}, [record], is_quiet=record.is_quiet)
        assert [(row.state, row.attempts) for row in record.parked().values()] == [
            ("dead", attempts)
        ]
        assert record.course.done.keys() == {2}


@settings(max_examples=settings().max_examples // 4)
@given(
    plan=plans(["fail", "again", "late", "interrupt"], calls=2, order=ORDERS), past=conversations
)
def test_a_replay_gives_what_live_delivery_gave(
    empty_database: Path, plan: Plan, past: list[str]
) -> None:
    """A replay brings a new subscription to where one that lived through it all has come."""
    with make_world(empty_database) as world:
        append_messages(world.log, past)
        plugins = {"old": plan.make_plugin(world), "new": plan.make_plugin(world, start="now")}
        world.live([plugins["new"].live("new")], is_done=lambda: True)
        replays = Replays(world.log)
        replay = replays.start(replays.plan("new", matching=Filter()), reason="", by="")
        old, new = (Record(world.log, name, plugin) for name, plugin in plugins.items())
        again = Record(world.log, "new", plugins["new"], run=replay.id)

        def is_quiet() -> bool:
            is_live = old.is_quiet() and new.is_quiet()
            return is_live and replays.find(replay.id).state == DONE

        live_through(plan, world, plugins, [old, new, again], is_quiet=is_quiet)
        found = replays.find(replay.id)
        assert (found.done, found.failed) == (found.total, 0) == (len(past), 0)
        arrange = list if plan.order == "subject" else sorted
        folded = {
            subject: arrange(one for one in positions if one <= len(past))
            for subject, positions in old.fold().items()
        }
        replayed = {subject: arrange(positions) for subject, positions in again.fold().items()}
        assert replayed == {subject: found for subject, found in folded.items() if found}
        assert min(new.course.done, default=len(past) + 1) > len(past)
