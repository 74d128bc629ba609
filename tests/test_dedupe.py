"""Tests of `router.dedupe`: what came before is known again, long enough, and then forgotten."""

from collections.abc import Sequence
from hashlib import blake2b

import pytest
from sqlalchemy import func, select

from router import bulk, dedupe
from router.events import Draft, Entry, Notification
from router.log import EventLog
from router.store import Store
from tests.clocks import StillClock
from tests.entries import NOON, make_entry

DAY = 86_400.0


@pytest.fixture
def clock() -> StillClock:
    """The clock of the log."""
    return StillClock()


@pytest.fixture
def log(store: Store) -> EventLog:
    """A log that remembers for 30 days."""
    return EventLog(store, dedupe_seconds=30 * DAY)


def make(body: bytes, *paths: str, keys: Sequence[str | None] = (), source: str = "wa") -> Entry:
    """Return a notification with an event at each path; ``keys`` are their natural ones."""
    drafts = [
        Draft(
            path=path, type="message", subtype="text", natural_key=None if key is None else (key,)
        )
        for path, key in zip(paths, keys or [None] * len(paths), strict=True)
    ]
    return Entry(Notification(source, NOON, {}, body), drafts)


def counts(log: EventLog, *entries: Entry) -> list[tuple[int, int]]:
    """Append, and return how many events of each entry were new and known."""
    return [(len(one.positions), one.known) for one in log.append(entries)]


def remembered(log: EventLog) -> list[int]:
    """How many keys each generation holds."""
    with log.store.reading() as connection:
        return [
            connection.scalars(select(func.count()).select_from(table)).one()
            for table in log.store.tables.dedupe
        ]


def rotate(log: EventLog) -> int:
    """Forget all that may be forgotten; how many steps it took."""
    steps = 1
    while log.dedupe.rotate():
        steps += 1
    return steps


def test_an_identical_redelivery_is_known(log: EventLog) -> None:
    """The same body brings the same elements, whatever headers and time it comes with."""
    entry = make(b"[1, 2]", "$[0]", "$[1]")
    assert counts(log, entry) == [(2, 0)]
    assert counts(log, entry) == [(0, 2)]
    assert log.head() == 2


def test_a_redelivery_within_a_batch_is_known(log: EventLog) -> None:
    """Copies that are appended together are told apart like those that come one by one."""
    entry = make(b"[1, 2]", "$[0]", "$[1]")
    assert counts(log, entry, entry, entry) == [(2, 0), (0, 2), (0, 2)]


def test_without_a_natural_key_another_body_is_another_event(log: EventLog) -> None:
    """Nothing but an identical redelivery is dropped: a byte makes the difference."""
    assert counts(log, make(b"{}", "$"), make(b"{} ", "$")) == [(1, 0), (1, 0)]


def test_twins_in_one_body_are_two_events(log: EventLog) -> None:
    """Equal elements at different paths are not redeliveries of each other."""
    assert counts(log, make(b"[1, 1]", "$[0]", "$[1]")) == [(2, 0)]


def test_elements_in_another_batch_are_known_by_their_natural_keys(log: EventLog) -> None:
    """A provider may pack what it sends again differently; only what is new is stored."""
    counts(log, make(b"[1, 2]", "$[0]", "$[1]", keys=["one", "two"]))
    again = make(b"[2, 3, 1]", "$[0]", "$[1]", "$[2]", keys=["two", "three", "one"])
    assert counts(log, again) == [(1, 2)]
    newest = log.find("3")
    assert (newest.path, newest.notification.body) == ("$[1]", b"[2, 3, 1]")


def test_sources_do_not_share_their_keys(log: EventLog) -> None:
    """What one source sent may be news from another."""
    first = make(b"{}", "$", keys=["one"])
    other = make(b"{}", "$", keys=["one"], source="other")
    assert counts(log, first, other) == [(1, 0), (1, 0)]


def test_a_natural_key_never_equals_a_body(log: EventLog) -> None:
    """Parts of keys cannot run into each other: lengths keep them apart."""
    pairs = [("a", "bc"), ("ab", "c"), ("abc",), ("abc", "")]
    drafts = [Draft(path="$", type="sent", subtype="", natural_key=pair) for pair in pairs]
    assert counts(log, Entry(Notification("wa", NOON, {}, b"{}"), drafts)) == [(4, 0)]


def test_many_events_are_looked_up_in_chunks(log: EventLog) -> None:
    """More keys than one query takes are still all found."""
    paths = [f"$[{number}]" for number in range(2 * bulk.CHUNK + 1)]
    entry = make(b"[]", *paths)
    assert counts(log, entry) == [(len(paths), 0)]
    assert counts(log, entry) == [(0, len(paths))]


def test_what_is_younger_than_30_days_is_never_forgotten(log: EventLog, clock: StillClock) -> None:
    """Over months of daily traffic, each event is known again up to its thirtieth day."""
    daily: list[Entry] = []
    for _ in range(100):
        daily.append(make_entry())
        assert counts(log, daily[-1]) == [(1, 0)]
        rotate(log)
        assert counts(log, *daily[-30:]) == [(0, 1)] * len(daily[-30:])
        clock.now += DAY
    assert sum(remembered(log)) < 65, "the memory holds two times thirty days at most"


def test_what_is_old_enough_is_forgotten(log: EventLog, clock: StillClock) -> None:
    """After two generations an event is new again."""
    entry = make_entry()
    counts(log, entry)
    for _ in range(3):
        clock.now += 30 * DAY
        counts(log, make_entry())
        rotate(log)
    assert counts(log, entry) == [(1, 0)]


@pytest.fixture
def settled(log: EventLog, clock: StillClock) -> Entry:
    """An entry in the older of two generations, the younger of which has just begun."""
    entry = make_entry()
    counts(log, entry)
    rotate(log)  # the first one of a fresh log comes at once, and has nothing to forget
    assert remembered(log) == [1, 0]
    counts(log, make_entry())
    assert remembered(log) == [1, 1]
    return entry


def test_the_clock_alone_forgets_nothing(log: EventLog, clock: StillClock, settled: Entry) -> None:
    """While nothing is appended, a clock that runs ahead by a year changes nothing."""
    clock.now += 365 * DAY
    rotate(log)
    clock.now -= 365 * DAY
    assert remembered(log) == [1, 1]
    assert counts(log, settled) == [(0, 1)]


def test_the_log_alone_forgets_nothing(log: EventLog, clock: StillClock, settled: Entry) -> None:
    """Where an append came under a clock that ran ahead, nothing is forgotten once it is right."""
    clock.now += 365 * DAY
    counts(log, make_entry())
    clock.now -= 365 * DAY
    rotate(log)
    assert remembered(log) == [1, 2]
    assert counts(log, settled) == [(0, 1)]


def test_the_old_generation_is_emptied_in_steps(
    log: EventLog, clock: StillClock, settled: Entry
) -> None:
    """No transaction forgets more than `STEP` keys, and the places change after the last one."""
    table = log.store.tables.dedupe_a
    keys = range(1, 2 * dedupe.STEP + 1)
    with log.store.writing() as connection:
        rows = [{"key": key.to_bytes(16), "position": key} for key in keys]
        connection.execute(table.insert(), rows)
    clock.now += 30 * DAY
    counts(log, make_entry())
    old = []
    while log.dedupe.rotate():
        old.append(remembered(log)[0])
    assert old == [dedupe.STEP + 1, 1, 0]
    counts(log, make_entry())
    assert remembered(log) == [1, 2], "new keys go where the old ones were"


def test_for_ever_is_for_ever(store: Store, clock: StillClock) -> None:
    """Without an end nothing is forgotten, however long it lasts."""
    log = EventLog(store, dedupe_seconds=None)
    entry = make_entry()
    for _ in range(3):
        counts(log, make_entry(), entry)
        clock.now += 1000 * DAY
        assert rotate(log) == 1
    assert counts(log, entry) == [(0, 1)]
    assert remembered(log) == [4, 0]


@pytest.mark.engines("sqlite")
def test_a_key_costs_about_thirty_bytes(log: EventLog) -> None:
    """What `router.dedupe` says of its cost is so."""
    table = log.store.tables.dedupe_a
    with log.store.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        keys = [blake2b(number.to_bytes(8), digest_size=16).digest() for number in range(20_000)]
        connection.execute(table.insert(), [{"key": key, "position": 10**6} for key in keys])
        more = connection.exec_driver_sql("PRAGMA page_count").scalar_one() - pages
    assert 25 <= more * 4096 / 20_000 <= 40
