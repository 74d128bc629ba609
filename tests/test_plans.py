"""Tests of what the engines make of our statements: in a large log, none of them reads all of it.

``ROUTER_TEST_SIZE=full`` fills a million events instead of fifty thousand.
"""

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import select

from router.backlog import count_skipping
from router.claims import LIVE, find_free, has_more_to_do
from router.dead import DeadLetters
from router.dedupe import STEP
from router.events import Draft, Entry, Notification, from_micros
from router.filters import DeadFilter, Filter
from router.kind import Kind
from router.lane import Lane
from router.log import PAGE, EventLog
from router.parking import Failure, Parking, read_parked
from router.replay import Replays
from router.retention import Retention
from router.status import Status
from router.store import Store
from router.stored import read_stored
from tests import databases, fills
from tests.clusters import Server
from tests.plans import Watch, Way, explaining, make_watch

COUNT = 1_000_000 if os.environ.get("ROUTER_TEST_SIZE") == "full" else 50_000
LARGE = {"event", "notification", "dedupe_a", "dedupe_b", "parked", "blocked", "attempt"}
FEW = 4 * PAGE  # rows for a page: each event, its notification, and the event once more
TYPES = ("message", "error")
SUBJECT = "42:c77"
LANE = Lane("crm", LIVE, 0, 127, 1, COUNT - 100, [])


@pytest.fixture(scope="module")
def find_large(
    empty_database: Path, postgres: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str]]:
    """Returns the URL of a large log on an engine, which is filled when it is first asked for."""
    name = postgres.make()

    @cache
    def find(engine: str) -> str:
        if engine == "sqlite":
            url = databases.copy(empty_database, tmp_path_factory.mktemp("large"))
        else:
            url = postgres.url(name)
            databases.make_empty(url)
        store = Store(url)
        fills.fill(store, COUNT)
        store.close()
        return url

    yield find
    postgres.drop(name)


class Scene(NamedTuple):
    """A large log, and what tells how its statements are carried out."""

    log: EventLog
    watch: Watch


@pytest.fixture(params=["sqlite", "postgresql", "postgresql without values"])
def scene(find_large: Callable[[str], str], request: pytest.FixtureRequest) -> Iterator[Scene]:
    """The log, on PostgreSQL also with plans that know of no value."""
    engine, _, is_generic = request.param.partition(" ")
    plans = "force_generic_plan" if is_generic else "auto"
    store = Store(explaining(find_large(engine), plans=plans))
    watch = make_watch(store.engine)
    yield Scene(EventLog(store), watch)
    store.close()


def at(number: int) -> datetime:
    """When the event of that number was received."""
    return from_micros(fills.BEGAN + number * fills.MICROS)


def require_few(ways: list[Way], *, most: int) -> None:
    """Require that no large table was read as a whole, nor more of it than is fair."""
    large = [way for way in ways if way.table in LARGE]
    assert large, "nothing was asked of any large table"
    for way in large:
        assert way.by is not None, f"all of {way.table} is read: {way.statement}"
    touched = sum(way.touched or 0 for way in large)
    assert touched <= most, f"{touched} rows are looked at: {[way[:3] for way in large]}"


def page(log: EventLog, matching: Filter, *, after: int = 0, **more: object) -> None:
    """Read one page."""
    log.read_page(after=after, limit=PAGE, matching=matching, **more)  # type: ignore[arg-type]


def first_page(log: EventLog, matching: Filter) -> None:
    """Read as a list does: as much as a page, then no more."""
    for number, _ in enumerate(log.read(matching=matching), 1):
        if number == PAGE:
            return


LIVE_TYPES = Filter(types=TYPES, live=True)
READING: dict[str, tuple[Callable[[EventLog], object], int]] = {
    "the tail": (lambda log: page(log, LIVE_TYPES, after=COUNT - 100), FEW),
    "the tail for a lane": (
        lambda log: page(log, LIVE_TYPES, after=COUNT - 100, shards=LANE.range),
        FEW,
    ),
    # What is not of its shards or types is passed over: a lane in eight, a type in three.
    "a lane far behind": (lambda log: page(log, LIVE_TYPES, shards=LANE.range), 16 * PAGE * 4),
    "a rare type": (lambda log: page(log, Filter(types=("error",), live=True)), FEW * 2),
    "a range": (lambda log: page(log, Filter(), after=COUNT // 2, until=COUNT // 2 + 900), FEW),
    "a subject": (lambda log: page(log, Filter(types=TYPES, subjects=(SUBJECT,))), FEW),
    "a blocked subject": (
        lambda log: page(
            log, Filter(types=TYPES, subjects=(SUBJECT,), live=True), after=COUNT // 3
        ),
        FEW,
    ),
    "a subject that talks a lot": (
        lambda log: page(log, Filter(subjects=(fills.BUSY,))),
        25 * PAGE,
    ),
    "a channel": (lambda log: page(log, Filter(types=TYPES, channels=("42",))), 3 * FEW),
    "a channel without events": (lambda log: page(log, Filter(channels=("43",))), FEW),
    "since": (lambda log: first_page(log, Filter(since=at(COUNT - 1_000))), 3 * FEW),
    "since long ago": (lambda log: first_page(log, Filter(since=at(COUNT // 2))), 2 * COUNT),
    "until": (lambda log: first_page(log, Filter(until=at(1_000))), 4 * FEW),
    "a period": (
        lambda log: first_page(log, Filter(since=at(COUNT // 2), until=at(COUNT // 2 + 100))),
        FEW,
    ),
    "types since": (
        lambda log: first_page(log, Filter(types=TYPES, since=at(COUNT - 1_000))),
        3 * FEW,
    ),
    "a source": (lambda log: first_page(log, Filter(sources=("coreapp",))), 40 * PAGE),
    "an event": (lambda log: log.find(str(COUNT // 2)), 5),
    "an event by its id": (
        lambda log: page(log, Filter(ids=("00000000-0000-8000-8000-000000000005",))),
        5,
    ),
    "what a replay counts of a type": (
        lambda log: log.count_by_type(matching=Filter(types=("error",))),
        COUNT // 100,
    ),
    "what a replay counts of a subject": (
        lambda log: log.count_by_type(matching=Filter(subjects=(SUBJECT,))),
        FEW,
    ),
    "what a replay counts of a period": (
        lambda log: log.count_by_type(matching=Filter(since=at(COUNT - 1_000))),
        2 * FEW,
    ),
    "the range of a period": (
        lambda log: log.find_range(matching=Filter(since=at(COUNT - 1_000))),
        2 * FEW,
    ),
    "notifications since": (
        lambda log: next(read_stored(log.store, "coreapp", since=at(COUNT - 1_000))),
        3 * FEW,
    ),
}


@pytest.mark.parametrize("what", READING)
def test_reading_takes_what_it_wants(scene: Scene, what: str) -> None:
    """What is read of the log is found by an index, however large the log is."""
    read, most = READING[what]
    require_few(scene.watch(lambda: read(scene.log)), most=most)


def _load(log: EventLog) -> None:
    with log.store.writing(Kind.OWN) as connection:
        Parking(log.store.tables).load(connection, LANE)


def _retry(log: EventLog) -> None:
    """Do to a delivery that is due what its owner does."""
    tables = log.store.tables
    parking, now = Parking(tables), log.store.now()
    position = fills.FAILED * fills.OTHERS
    query = select(tables.parked).where(
        tables.parked.c.subscription == "crm",
        tables.parked.c.run == LIVE,
        tables.parked.c.position == position,
    )
    with log.store.writing(Kind.OWN) as connection:
        parked = read_parked(connection.execute(query).one())
        parking.begin_retry(connection, LANE, parked, started_at=now)
        failure = Failure(now, 0.1, "failed", "KeyError")
        number = parked.attempts + 1
        parking.park_again(
            connection, LANE, parked.position, number=number, failure=failure, next_at=now
        )
        parking.advance(connection, LANE, parked.subject, parked.position)
        parking.release(connection, LANE, [parked.subject])
        parking.clear(connection, LANE, parked.position)
        connection.rollback()


def _claim(log: EventLog) -> None:
    tables = log.store.tables
    with log.store.writing(Kind.LEASE) as connection:
        find_free(connection, tables, ["crm", "old"], "w", now=log.store.now(), locking=True)
        for row in connection.execute(select(tables.lane)).all():
            has_more_to_do(connection, tables, row)


def _append(log: EventLog) -> None:
    drafts = [Draft(path=f"$[{number}]", type="other", subtype="") for number in range(200)]
    log.append([Entry(Notification("wa", at(COUNT), {}, b"[]"), drafts)])


def _skip(log: EventLog) -> None:
    with log.store.reading() as connection:
        count_skipping(connection, log.store.tables, "crm", position=COUNT)


OF_ONE = COUNT // fills.FAILED // fills.OTHERS  # deliveries that one subscription has parked
WORKING: dict[str, tuple[Callable[[EventLog], object], int]] = {
    "appending": (_append, 400),  # nothing, or each key once
    "loading a lane": (_load, 8 * OF_ONE),
    "a retry": (_retry, 100),
    "claiming": (_claim, 2 * fills.LANES * 2 * OF_ONE),
    "status": (lambda log: Status(log.store).subscription("crm"), 4 * OF_ONE + 10),
    "status far behind": (lambda log: Status(log.store).subscription("old"), 10),
    "dead letters": (
        lambda log: DeadLetters(log.store).list(DeadFilter(subscriptions=("crm",)), limit=100),
        20 * 100,
    ),
    "replays": (lambda log: Replays(log).list(limit=100), 10),
    "a plan of retention": (lambda log: Retention(log.store).plan(at(500)), FEW),
    "what a skip counts": (_skip, 100 * OF_ONE),
}


@pytest.mark.parametrize("what", WORKING)
def test_working_takes_what_it_wants(scene: Scene, what: str) -> None:
    """What workers and operators ask is found by an index: of one subscription, not of all."""
    work, most = WORKING[what]
    require_few(scene.watch(lambda: work(scene.log)), most=most)


def test_forgetting_takes_one_step(scene: Scene) -> None:
    """To forget some keys, the others are not read, however many there are."""
    for _ in range(2):
        ways = scene.watch(scene.log.dedupe.rotate)
        require_few(ways, most=2 * STEP + 2)


def test_pruning_takes_one_chunk(scene: Scene) -> None:
    """To find what nobody needs any more, what failed is not read as a whole, again and again."""
    retention = Retention(scene.log.store, sleep=lambda _: None)
    plan = retention.plan(at(1))
    ways = scene.watch(lambda: retention.prune(plan, by="ana"))
    require_few(ways, most=FEW)
