"""Tests of `router.parking`: failed deliveries, and the subjects they block, on record."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import Connection, Table, select

from router.claims import LIVE
from router.events import SHARDS, Event
from router.lane import Lane
from router.log import EventLog
from router.parking import Failure, Held, Parked, Parking
from router.store import Store
from tests.entries import append_messages

LANE = Lane("crm", LIVE, 0, SHARDS - 1, 1, 0, [])
FAILURE = Failure(started_at=5_000_000, duration=0.25, outcome="failed", error="KeyError: 'a'")
AGAIN = Failure(9_000_000, 30.0, "timed out", "TimeoutError: too long", "Traceback …")


class Book:
    """Writes each statement of `Parking` in a transaction of its own and reads tables back.

    Attributes:
        events: Four messages, of ana, ben, ana and ana.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        log = EventLog(store)
        append_messages(log, ["ana", "ben", "ana", "ana"])
        self.events = list(log.read())

    def write(self, *works: Callable[[Connection], None]) -> None:
        """Run ``works`` in one transaction."""
        with self._store.writing() as connection:
            for work in works:
                work(connection)

    def rows(self, table: Table) -> list[dict[str, object]]:
        """Return the rows of a table, without the columns that all of them share."""
        hidden = {"subscription", "run", "shard"}
        with self._store.reading() as connection:
            found = connection.execute(select(table).order_by(*table.primary_key)).mappings()
            return [{key: row[key] for key in row if key not in hidden} for row in found]


@pytest.fixture
def book(store: Store) -> Book:
    """A log with four messages."""
    return Book(store)


@pytest.fixture
def parking(store: Store) -> Parking:
    """What is tested."""
    return Parking(store.tables)


@pytest.fixture
def load(store: Store, parking: Parking) -> Callable[[Lane], Held]:
    """Reads what a lane's owner needs to know."""

    def load(lane: Lane) -> Held:
        with store.reading() as connection:
            return parking.load(connection, lane)

    return load


def park(
    parking: Parking,
    event: Event,
    *,
    next_at: int | None = 6_000_000,
    lane: Lane = LANE,
    blocks: bool = False,
) -> Callable[[Connection], None]:
    """Return what parks ``event`` after its first failure."""

    def write(connection: Connection) -> None:
        parking.park(connection, lane, event, failure=FAILURE, next_at=next_at)
        if blocks:
            parking.block(connection, lane, event)

    return write


def only(rows: list[dict[str, object]], **wanted: object) -> Mapping[str, Any]:
    """Return the only one of ``rows``, after a look at some of its columns."""
    (row,) = rows
    assert {key: row[key] for key in wanted} == wanted
    return row


def test_nothing_is_held_of_a_lane_without_failures(load: Callable[[Lane], Held]) -> None:
    """An empty record is read as such."""
    assert load(LANE) == Held(retries=[], blocked={}, dead=set())


def test_a_parked_delivery_is_on_record(store: Store, book: Book, parking: Parking) -> None:
    """The delivery and the attempt that failed are both written down."""
    book.write(park(parking, book.events[0]))
    only(
        book.rows(store.tables.parked),
        position=1,
        subject=":ana",
        type="message",
        state="retry",
        attempts=1,
        parked_at=5_000_000,
        next_at=6_000_000,
        error="KeyError: 'a'",
    )
    only(
        book.rows(store.tables.attempt),
        position=1,
        number=1,
        started_at=5_000_000,
        duration=0.25,
        outcome="failed",
        error="KeyError: 'a'",
        traceback=None,
    )


def test_a_delivery_without_a_next_attempt_is_dead(
    store: Store, book: Book, parking: Parking, load: Callable[[Lane], Held]
) -> None:
    """A dead letter is on record, but nothing to be tried again."""
    book.write(park(parking, book.events[0], next_at=None))
    only(book.rows(store.tables.parked), state="dead", attempts=1, next_at=None)
    assert load(LANE) == Held(retries=[], blocked={}, dead=set())


def test_an_attempt_is_counted_before_it_is_made(
    store: Store, book: Book, parking: Parking, load: Callable[[Lane], Held]
) -> None:
    """A process that dies in the call leaves the attempt behind as running, and counted."""
    book.write(park(parking, book.events[0]))
    (parked,) = load(LANE).retries
    book.write(lambda it: parking.begin_retry(it, LANE, parked, started_at=9_000_000))
    assert [one.attempts for one in load(LANE).retries] == [2]
    first, second = book.rows(store.tables.attempt)
    assert first["outcome"] == "failed"
    assert (second["number"], second["outcome"], second["error"]) == (2, "running", None)


def test_a_further_failure_takes_the_place_of_the_running_attempt(
    store: Store, book: Book, parking: Parking, load: Callable[[Lane], Held]
) -> None:
    """Each attempt has one row, and the delivery tells of the last one."""
    book.write(park(parking, book.events[0]))
    (parked,) = load(LANE).retries
    book.write(
        lambda it: parking.begin_retry(it, LANE, parked, started_at=9_000_000),
        lambda it: parking.park_again(it, LANE, 1, number=2, failure=AGAIN, next_at=99_000_000),
    )
    _, second = book.rows(store.tables.attempt)
    assert second == {
        "position": 1,
        "number": 2,
        "started_at": 9_000_000,
        "duration": 30.0,
        "outcome": "timed out",
        "error": "TimeoutError: too long",
        "traceback": "Traceback …",
    }
    only(book.rows(store.tables.parked), attempts=2, parked_at=5_000_000, error=AGAIN.error)
    assert load(LANE).retries == [Parked(1, ":ana", 2, 5_000_000, 99_000_000, 5_000_000)]


def test_the_last_failure_makes_a_dead_letter(
    store: Store, book: Book, parking: Parking, load: Callable[[Lane], Held]
) -> None:
    """Without a next attempt a delivery that was parked is dead, and keeps its attempts."""
    book.write(park(parking, book.events[0]))
    (parked,) = load(LANE).retries
    book.write(
        lambda it: parking.begin_retry(it, LANE, parked, started_at=9_000_000),
        lambda it: parking.park_again(it, LANE, 1, number=2, failure=AGAIN, next_at=None),
    )
    only(book.rows(store.tables.parked), state="dead", attempts=2, next_at=None)
    assert len(book.rows(store.tables.attempt)) == 2
    assert load(LANE).retries == []


def test_a_success_leaves_nothing_behind(store: Store, book: Book, parking: Parking) -> None:
    """A delivery that succeeded is struck off with its attempts; others stay."""
    book.write(park(parking, book.events[0]), park(parking, book.events[1]))
    book.write(lambda it: parking.clear(it, LANE, 1))
    only(book.rows(store.tables.parked), position=2)
    only(book.rows(store.tables.attempt), position=2)


def test_a_blocked_subject_is_one_row(
    store: Store, book: Book, parking: Parking, load: Callable[[Lane], Held]
) -> None:
    """However many events wait, only the subject and the position they wait behind are written."""
    book.write(park(parking, book.events[0], blocks=True))
    assert book.rows(store.tables.blocked) == [{"subject": ":ana", "position": 1}]
    assert load(LANE).blocked == {":ana": 1}


def test_a_blocked_subject_comes_on(
    book: Book, parking: Parking, load: Callable[[Lane], Held]
) -> None:
    """How far a blocked subject has been settled moves, and of that subject alone."""
    book.write(
        park(parking, book.events[0], blocks=True),
        park(parking, book.events[1], blocks=True),
        lambda it: parking.advance(it, LANE, ":ana", 3),
    )
    assert load(LANE).blocked == {":ana": 3, ":ben": 2}


def test_a_released_subject_is_free(
    book: Book, parking: Parking, load: Callable[[Lane], Held]
) -> None:
    """Of the subjects that were let go nothing waits; what is parked stays parked."""
    book.write(
        park(parking, book.events[0], blocks=True),
        park(parking, book.events[1], blocks=True),
        lambda it: parking.release(it, LANE, [":ana"]),
    )
    held = load(LANE)
    assert held.blocked == {":ben": 2}
    assert {parked.position for parked in held.retries} == {1, 2}
    book.write(lambda it: parking.release(it, LANE, []))
    assert load(LANE).blocked == {":ben": 2}


def test_a_dead_letter_that_holds_its_subject_is_told(
    book: Book, parking: Parking, load: Callable[[Lane], Held]
) -> None:
    """Of the dead letters a new owner learns those that a subject waits behind, and no others."""
    book.write(
        park(parking, book.events[0], next_at=None, blocks=True),
        park(parking, book.events[1], next_at=None),
    )
    assert load(LANE) == Held(retries=[], blocked={":ana": 1}, dead={":ana"})


def test_a_subject_does_not_wait_behind_the_dead_letter_of_another(
    book: Book, parking: Parking, load: Callable[[Lane], Held]
) -> None:
    """As a skip leaves it: all subjects have come to the position where one has a dead letter."""
    book.write(
        park(parking, book.events[0], next_at=None, blocks=True),
        park(parking, book.events[1], next_at=None, blocks=True),
        lambda it: parking.advance(it, LANE, ":ana", 2),
    )
    assert load(LANE) == Held(retries=[], blocked={":ana": 2, ":ben": 2}, dead={":ben"})


def test_runs_are_kept_apart(
    store: Store, book: Book, parking: Parking, load: Callable[[Lane], Held]
) -> None:
    """A replay that fails with an event leaves what live delivery knows of it alone."""
    replay = Lane("crm", 3, 0, SHARDS - 1, 1, 0, [])
    other = Lane("audit", LIVE, 0, SHARDS - 1, 1, 0, [])
    for lane in (LANE, replay, other):
        book.write(park(parking, book.events[0], lane=lane, blocks=True))
    book.write(
        lambda it: parking.clear(it, replay, 1),
        lambda it: parking.release(it, replay, [":ana"]),
        lambda it: parking.advance(it, other, ":ana", 3),
    )
    assert load(replay) == Held(retries=[], blocked={}, dead=set())
    assert load(LANE).blocked == {":ana": 1}
    assert load(other).blocked == {":ana": 3}
    assert len(book.rows(store.tables.attempt)) == 2


def test_lanes_hold_only_their_shards(
    book: Book, parking: Parking, load: Callable[[Lane], Held]
) -> None:
    """A lane's owner is told what is parked and blocked in its own shards."""
    ana, ben = book.events[0], book.events[1]
    border = max(ana.shard, ben.shard)
    low = Lane("crm", LIVE, 0, border - 1, 1, 0, [])
    high = Lane("crm", LIVE, border, SHARDS - 1, 1, 0, [])
    book.write(park(parking, ana, blocks=True), park(parking, ben, blocks=True))
    by_shard = sorted((ana, ben), key=lambda event: event.shard)
    for lane, event in zip((low, high), by_shard, strict=True):
        held = load(lane)
        assert [parked.position for parked in held.retries] == [event.position]
        assert held.blocked == {event.subject: event.position}


def test_a_delivery_is_parked_once(store: Store, book: Book, parking: Parking) -> None:
    """Parking what is parked is a mistake that the record refuses."""
    book.write(park(parking, book.events[0]))
    with pytest.raises(Exception, match=r"(?i)unique"):
        book.write(park(parking, book.events[0]))
    assert len(book.rows(store.tables.parked)) == 1


def test_a_delivery_may_be_given_up_without_an_attempt(
    store: Store, book: Book, parking: Parking, load: Callable[[Lane], Held]
) -> None:
    """What no attempt is left for becomes a dead letter that says why, and keeps its attempts."""
    book.write(
        park(parking, book.events[0], blocks=True),
        lambda it: parking.give_up(it, LANE, 1, error="nobody saw the end"),
    )
    row = only(book.rows(store.tables.parked), state="dead", attempts=1, next_at=None)
    assert row["error"] == "nobody saw the end"
    assert len(book.rows(store.tables.attempt)) == 1
    assert load(LANE) == Held(retries=[], blocked={":ana": 1}, dead={":ana"})
