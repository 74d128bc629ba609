"""Tests of `EventLog.read` and its kin: pages, filters, ranges, names; nothing skipped."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from router.errors import Unavailable, UnknownName
from router.events import SHARDS
from router.filters import Filter
from router.log import MOST, EventLog
from tests.drafts import make, other, positions
from tests.entries import NOON, append, append_messages, make_entry


def test_reads_page_by_page(log: EventLog) -> None:
    """Pages follow each other without a gap or an overlap, whatever their size."""
    append_messages(log, ["ana"] * 7)
    for page in (1, 2, 3, 6, 7, 8):
        assert positions(log.read(page=page)) == [1, 2, 3, 4, 5, 6, 7]
        assert positions(log.read(after=2, until=5, page=page)) == [3, 4, 5]


def test_a_page_says_how_far_it_reached(log: EventLog) -> None:
    """A full page ends at its last event, the last one at the end of what there is to read."""
    append(log, *(make_entry(type_=one) for one in ("sent", "read", "sent", "read", "read")))
    sent = Filter(types=("sent",))
    page = log.read_page(after=0, limit=1, matching=sent)
    assert (positions(page.events), page.reached, page.is_last) == ([1], 1, False)
    page = log.read_page(after=1, limit=1, matching=sent)
    assert (positions(page.events), page.reached, page.is_last) == ([3], 3, False)
    page = log.read_page(after=3, limit=1, matching=sent)
    assert (positions(page.events), page.reached, page.is_last) == ([], 5, True)
    page = log.read_page(after=0, limit=9, until=2, matching=sent)
    assert (positions(page.events), page.reached, page.is_last) == ([1], 2, True)


def test_a_page_never_leads_back(log: EventLog) -> None:
    """Who reads behind the end, or behind ``until``, has reached where it stood already."""
    append_messages(log, ["ana"] * 3)
    assert log.read_page(after=9, limit=5).reached == 9
    assert log.read_page(after=2, limit=5, until=1).reached == 2


def test_a_page_has_its_limits(log: EventLog) -> None:
    """A page of none would never end, and one of too many is more than a query can hold."""
    entries = [make(b"%d" % number, other()) for number in range(MOST + 1)]
    for first in range(0, MOST + 1, 1_000):  # a server gives each append a second, however it fares
        append(log, *entries[first : first + 1_000])
    assert positions(log.read_page(after=0, limit=0).events) == [1]
    page = log.read_page(after=0, limit=10**9)
    assert (page.reached, page.is_last) == (MOST, False)
    assert len(list(log.read(page=10**9))) == MOST + 1


def test_a_page_of_large_bodies_is_cut(log: EventLog) -> None:
    """A page stops when its bodies are large enough, and the next goes on right behind it."""
    append(log, *(make_entry(text="x" * 1000) for _ in range(5)))
    page = log.read_page(after=0, limit=10, max_bytes=2500)
    assert (positions(page.events), page.reached, page.is_last) == ([1, 2, 3], 3, False)
    page = log.read_page(after=3, limit=10, max_bytes=2500)
    assert (positions(page.events), page.reached, page.is_last) == ([4, 5], 5, True)


@pytest.mark.parametrize("max_bytes", [1, 0, -1])
def test_a_body_larger_than_a_page_is_read(log: EventLog, max_bytes: int) -> None:
    """The first body comes whatever its size, so that reading always gets on."""
    append(log, *(make_entry(text="x" * 1000) for _ in range(3)))
    page = log.read_page(after=0, limit=10, max_bytes=max_bytes)
    assert (positions(page.events), page.is_last) == ([1], False)


def test_bodies_are_cut_in_order_of_events(log: EventLog) -> None:
    """An event that was found later in an old body does not push out those before it."""
    old, new = append(log, make_entry(text="x" * 1000), make_entry(text="x" * 1000))
    table = log.store.tables.event
    with log.store.writing() as connection:
        row = dict(connection.execute(select(table)).mappings().first() or {})
        connection.execute(table.insert(), {**row, "position": 3, "id": "-", "reparsed": True})
        connection.execute(log.store.tables.head.update().values(position=3))
    page = log.read_page(after=old, limit=10, max_bytes=1)
    assert (positions(page.events), page.reached, page.is_last) == ([new], new, False)
    page = log.read_page(after=new, limit=10, max_bytes=1)
    assert ([event.notification_id for event in page.events], page.is_last) == ([old], True)


def test_each_body_is_fetched_and_decoded_once(log: EventLog) -> None:
    """The events of one notification share it."""
    log.append([make(b'["one", "two"]', other("$[0]"), other("$[1]"))])
    first, second = log.read()
    assert first.notification is second.notification
    assert (first.payload, second.payload) == ("one", "two")


MINUTE = timedelta(minutes=1)


@pytest.fixture
def varied(log: EventLog) -> EventLog:
    """A log of three events that have little in common."""
    append(
        log,
        make_entry("ana", "message", subtype="text", channel="1", received_at=NOON),
        make_entry("bo", "sent", subtype="sent", channel="2", received_at=NOON + MINUTE),
        make_entry(
            "ana", "error", subtype="failed", channel="2", source="b", received_at=NOON + 2 * MINUTE
        ),
    )
    return log


@pytest.mark.parametrize(
    ("matching", "expected"),
    [
        (Filter(), [1, 2, 3]),
        (Filter(types=("sent", "error")), [2, 3]),
        (Filter(types=("other",)), []),
        (Filter(subtypes=("text", "failed")), [1, 3]),
        (Filter(sources=("b",)), [3]),
        (Filter(sources=("wa", "b")), [1, 2, 3]),
        (Filter(channels=("2",)), [2, 3]),
        (Filter(subjects=("1:ana", "2:ana")), [1, 3]),
        (Filter(since=NOON + MINUTE), [2, 3]),
        (Filter(until=NOON + MINUTE), [1]),
        (Filter(since=NOON, until=NOON), []),
        (Filter(since=NOON + MINUTE, until=NOON + 2 * MINUTE), [2]),
        (Filter(types=("message", "sent"), channels=("2",), sources=("wa",)), [2]),
    ],
    ids=repr,
)
def test_reads_and_counts_what_matches(
    varied: EventLog, matching: Filter, expected: list[int]
) -> None:
    """Every field that is given must match, and within it any of its values."""
    assert positions(varied.read(matching=matching)) == expected
    counts = varied.count_by_type(matching=matching)
    types = {1: "message", 2: "sent", 3: "error"}
    assert counts == {types[position]: 1 for position in expected}
    again = Filter.from_json(matching.as_json())
    assert again == matching


def test_reads_events_by_their_ids(varied: EventLog) -> None:
    """Ids that are not ours, or of another log, match nothing."""
    first, second, third = (event.id for event in varied.read())
    stranger = third[:-1] + "1"  # the position of another event
    ids = (first, stranger, "nonsense", third)
    assert positions(varied.read(matching=Filter(ids=ids))) == [1, 3]
    assert positions(varied.read(matching=Filter(ids=(stranger, "nonsense")))) == []
    assert second not in ids


def test_counts_within_a_range(varied: EventLog) -> None:
    """The range is open at its start and closed at its end."""
    assert varied.count_by_type(after=1) == {"sent": 1, "error": 1}
    assert varied.count_by_type(until=1) == {"message": 1}
    assert varied.count_by_type(after=1, until=2) == {"sent": 1}


def test_finds_the_range_of_what_matches(varied: EventLog) -> None:
    """The first and the last position, within bounds; there is none where nothing matches."""
    assert varied.find_range() == (1, 3)
    assert varied.find_range(matching=Filter(types=("sent", "error"))) == (2, 3)
    assert varied.find_range(after=1, until=2) == (2, 2)
    assert varied.find_range(after=3) is None
    assert varied.find_range(matching=Filter(types=("read",))) is None


def test_reads_a_range_of_shards(log: EventLog) -> None:
    """Lanes that tile the shards read each event exactly once."""
    append_messages(log, [f"contact {number}" for number in range(50)])
    middle = SHARDS // 2
    low = log.read_page(after=0, limit=100, shards=(0, middle - 1)).events
    high = log.read_page(after=0, limit=100, shards=(middle, SHARDS - 1)).events
    assert low
    assert high
    assert all(event.shard < middle for event in low)
    assert sorted(positions(low) + positions(high)) == list(range(1, 51))


@pytest.mark.engines("sqlite")
def test_no_transaction_stays_open_between_pages(log: EventLog) -> None:
    """A reader that stops in the middle keeps no checkpoint from finishing."""
    append_messages(log, ["ana"] * 4)
    reading = log.read(page=2)
    next(reading)
    append_messages(log, ["bo"])
    with log.store.engine.connect() as connection:
        busy, pages, moved = connection.exec_driver_sql("PRAGMA wal_checkpoint(RESTART)").one()
    assert (busy, pages) == (0, moved)
    assert positions(reading) == [2, 3, 4, 5]


def test_reads_what_is_appended_meanwhile(log: EventLog) -> None:
    """Without ``until`` reading goes on to the end as it is then; with it, not beyond."""
    append_messages(log, ["ana"] * 2)
    reading, bounded = log.read(page=1), log.read(page=1, until=2)
    next(reading)
    next(bounded)
    append_messages(log, ["bo"])
    assert positions(reading) == [2, 3]
    assert positions(bounded) == [2]


def test_finds_an_event_by_position_and_id(log: EventLog) -> None:
    """Both names lead to the same event."""
    append_messages(log, ["ana", "bo"])
    found = log.find("2")
    assert (found.position, found.subject) == (2, ":bo")
    assert log.find(found.id) == found


@pytest.mark.parametrize(
    "name",
    ["0", "2", "-1", "", "01", "\u0661", "x", "9" * 18, "9" * 19, "9" * 5000, "$.entry"],
    ids=lambda name: name[:20],
)
def test_what_is_not_there_is_named(log: EventLog, name: str) -> None:
    """A name that leads nowhere is an error that says where to look."""
    append_messages(log, ["ana"])
    with pytest.raises(UnknownName, match=r"there is no event .* `router events list`"):
        log.find(name)


def test_an_id_of_another_log_is_not_ours(log: EventLog) -> None:
    """The position in an id is not enough: the rest must be right, too."""
    append_messages(log, ["ana"])
    [found] = log.read()
    stranger = ("0" if found.id[0] != "0" else "1") + found.id[1:]
    with pytest.raises(UnknownName):
        log.find(stranger)


def test_a_log_is_opened_by_its_url(database: str) -> None:
    """A script needs the URL and nothing else."""
    log = EventLog(database)
    append_messages(log, ["ana"])
    assert [event.type for event in log.read()] == ["message"]
    log.store.close()


def test_logs_under_a_prefix_are_apart(database: str) -> None:
    """The prefix decides whose events are read."""
    plain = EventLog(database)
    other_log = EventLog(plain.store.engine, table_prefix="other_")
    with pytest.raises(Unavailable, match=r"other_head.* `router db upgrade`"):
        other_log.head()
    plain.store.close()
