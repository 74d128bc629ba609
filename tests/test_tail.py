"""Tests of `router.tail`: what is read once for all is what each would have read by itself."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.events import Draft, Entry, EventType, Notification
from router.filters import Filter
from router.log import EventLog
from router.pages import Page
from router.store import Store
from router.tail import BYTES, EVENTS, FRESH_MICROS, PAGE, Tail
from tests.entries import NOON, append, make_entry

_numbers = count(1)

TYPES: tuple[EventType, ...] = ("message", "read")
SHARDS = [None, (0, 511), (512, 1023)]


class Desk:
    """A tail of a log, by a clock that is put forward by hand.

    Attributes:
        now: Microseconds.
        looks: How often the log was looked at.
    """

    def __init__(
        self, log: EventLog, *, most_bytes: int = BYTES, most_events: int = EVENTS
    ) -> None:
        self.log = log
        self.now = 1_000_000_000
        self.looks = 0
        self.tail = Tail(
            Counted(log, self),
            types=TYPES,
            now=lambda: self.now,
            most_bytes=most_bytes,
            most_events=most_events,
        )

    def read(
        self,
        after: int,
        *,
        limit: int = 100,
        until: int | None = None,
        types: tuple[str, ...] = TYPES,
        shards: tuple[int, int] | None = None,
        max_bytes: int = BYTES,
    ) -> Page:
        """Read a page through the tail."""
        return self.tail.read_page(
            after=after,
            limit=limit,
            until=until,
            matching=Filter(types=types, live=True),
            shards=shards,
            max_bytes=max_bytes,
        )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Be in the middle of a read, on another thread."""
        with self.tail._lock:
            yield

    def tell(self, *entries: Entry, leaving_out: int | None = None) -> None:
        """Append ``entries``, and tell the tail which events they have become.

        Args:
            *entries: What is appended.
            leaving_out: Of which entry nothing is told.
        """
        told = self.log.append(entries)
        if leaving_out is not None:
            del told[leaving_out : leaving_out + 1]
        self.tail.grow([event for one in told for event in one.events])


class Counted(EventLog):
    """A log that counts how often it is looked at."""

    def __init__(self, log: EventLog, desk: Desk) -> None:
        super().__init__(log.store)
        self._desk = desk

    def read_page(self, **given: object) -> Page:
        """Return a page."""
        self._desk.looks += 1
        return super().read_page(**given)  # type: ignore[arg-type]


@pytest.fixture
def desk(log: EventLog) -> Desk:
    """A tail of an empty log."""
    return Desk(log)


def describe(page: Page) -> list[tuple[int, str, bytes]]:
    """What a handler would see of a page's events."""
    return [(one.position, one.subject, one.notification.body) for one in page.events]


def make_many(events: int, *, size: int = 0) -> Entry:
    """Return a notification of so many events, with a body of that size."""
    body = b'"' + b"x" * (size - 2) + b'"'
    drafts = [
        Draft("$", "message", "text", "", f"c{number}", natural_key=(str(next(_numbers)),))
        for number in range(events)
    ]
    return Entry(Notification("wa", NOON, {}, body), drafts)


actions = st.one_of(
    st.tuples(st.just("append"), st.lists(st.integers(0, 6), min_size=1, max_size=4)),
    st.tuples(st.just("tell"), st.lists(st.integers(0, 6), min_size=1, max_size=4)),
    st.tuples(st.just("tell of some"), st.lists(st.integers(0, 6), min_size=3, max_size=4)),
    st.tuples(st.just("append quiet"), st.lists(st.integers(0, 6), min_size=1, max_size=4)),
    st.tuples(st.just("wake"), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([FRESH_MICROS // 2, FRESH_MICROS])),
    st.tuples(
        st.just("read"), st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(0, 200))
    ),
)


@given(course=st.lists(actions, max_size=40), most=st.sampled_from([4, 20, EVENTS]))
def test_readers_get_what_they_would_read_by_themselves(
    empty_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
    course: list[tuple[str, object]],
    most: int,
) -> None:
    """Wherever readers stand and whatever is dropped, none misses an event or gets another's.

    A page may end sooner than the log, never claim what it has not looked at; and whoever asks
    again after the time for which a look counts gets to the end.
    """
    folder = tmp_path_factory.mktemp("tail")  # of its own: a write-ahead log is of one database
    store = Store(f"sqlite:///{shutil.copy(empty_database, folder / 'tail.db')}")
    with closing(store):
        go_through(EventLog(store), course, most)


def go_through(log: EventLog, course: list[tuple[str, object]], most: int) -> None:
    """Do all that, and hold each page against what the log has."""
    readers = Readers(Desk(log, most_events=most, most_bytes=50 * most))
    for action, given_ in course:
        readers.do(action, given_)
    readers.finish()


class Readers:
    """Some who read through the tail of a desk, each what it wants, and hold it against the log."""

    wanted = ((TYPES, None), (("message",), SHARDS[1]), (("read",), None), (TYPES, SHARDS[2]))

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._cursors = [0] * len(self.wanted)

    def do(self, action: str, given: object) -> None:
        """Take one step of a course."""
        match action, given:
            case "append", list(numbers):
                append(self._desk.log, *(make_kind(number) for number in numbers))
            case "tell", list(numbers):
                self._desk.tell(*(make_kind(number) for number in numbers))
            case "tell of some", list(numbers):
                self._desk.tell(*(make_kind(number) for number in numbers), leaving_out=1)
            case "append quiet", list(numbers):
                append_quiet(self._desk.log, *(make_kind(number) for number in numbers))
            case "wake", _:
                self._desk.tail.grow()
            case "wait", int(micros):
                self._desk.now += micros
            case "read", (int(reader), int(limit), int(max_bytes)):
                self._read(reader, limit, max_bytes)

    def finish(self) -> None:
        """Read on to the end, once the time is over for which a look counts."""
        self._desk.now += FRESH_MICROS
        for reader in range(len(self.wanted)):
            for _ in range(2):  # the first time the end may be that of the last look
                while not self._read(reader, 3, 100).is_last:
                    pass
            assert self._cursors[reader] == self._desk.log.head()

    def _read(self, reader: int, limit: int, max_bytes: int) -> Page:
        types, shards = self.wanted[reader]
        after = self._cursors[reader]
        page = self._desk.read(after, limit=limit, types=types, shards=shards, max_bytes=max_bytes)
        itself = self._desk.log.read_page(
            after=after,
            until=page.reached,
            limit=10_000,
            matching=Filter(types=types, live=True),
            shards=shards,
        )
        assert describe(page) == describe(itself)
        assert after <= page.reached <= self._desk.log.head()
        assert len(page.events) <= limit
        self._cursors[reader] = page.reached
        return page


def append_quiet(log: EventLog, *entries: Entry) -> None:
    """Append what live readers pass over."""
    event = log.store.tables.event
    added = append(log, *entries)
    with log.store.writing() as connection:
        quiet = event.update().where(event.c.position.in_(added))
        connection.execute(quiet.values(reparsed=True, quiet=True))


def make_kind(number: int) -> Entry:
    """Return a notification of one kind: with one or three events, wanted by some or by nobody."""
    if number == 0:
        return make_many(3)
    kinds: list[EventType] = ["message", "read", "sent"]
    return make_entry(f"c{number}", kinds[number % 3])


def test_several_readers_cost_one_look(desk: Desk) -> None:
    """What one has read is there for the others."""
    assert desk.read(0).is_last
    append(desk.log, *(make_entry() for _ in range(10)))
    desk.tail.grow()
    desk.looks = 0
    pages = [desk.read(0) for _ in range(5)]
    assert [len(page.events) for page in pages] == [10] * 5
    assert desk.looks == 1


def test_each_reader_has_notifications_of_its_own(desk: Desk) -> None:
    """What a handler does to a payload is not seen by another plugin's."""
    desk.read(0)
    append(desk.log, make_many(2, size=5))
    desk.tail.grow()
    mine, others = desk.read(0).events, desk.read(0).events
    assert mine[0].notification is mine[1].notification
    assert mine[0].notification is not others[0].notification
    assert mine[0].notification.body is others[0].notification.body


@pytest.mark.parametrize(("waited", "count"), [(FRESH_MICROS - 1, 0), (FRESH_MICROS, 1)])
def test_a_look_counts_for_a_while(desk: Desk, waited: int, count: int) -> None:
    """Without a wake-up, idle readers ask the log together, and only so often."""
    desk.read(0)
    desk.read(0)
    append(desk.log, make_entry())
    desk.now += waited
    assert len(desk.read(0).events) == count


def test_a_wake_up_counts_at_once(desk: Desk) -> None:
    """Who is woken finds what has come, without any time passing."""
    desk.read(0)
    desk.read(0)
    append(desk.log, make_entry())
    assert desk.read(0).events == []
    desk.tail.grow()
    assert [event.position for event in desk.read(0).events] == [1]


def test_who_is_far_behind_reads_by_itself(desk: Desk) -> None:
    """The tail begins at the end of the log; what is older is read from there."""
    append(desk.log, *(make_entry() for _ in range(3)))
    desk.read(3)
    append(desk.log, make_entry())
    desk.tail.grow()
    assert [event.position for event in desk.read(3).events] == [4]
    assert [event.position for event in desk.read(1).events] == [2, 3, 4]


def test_a_page_ends_where_it_is_to(desk: Desk) -> None:
    """By its limit, its last position, and its bytes; each body counts once, the first always."""
    desk.read(0)
    append(desk.log, make_many(2, size=98), make_many(2, size=48), make_many(1, size=98))
    desk.tail.grow()
    for given_, positions, is_last in [
        ({"limit": 3}, [1, 2, 3], False),
        ({"until": 4}, [1, 2, 3, 4], True),
        ({"max_bytes": 0}, [1, 2], False),
        ({"max_bytes": 98}, [1, 2], False),
        ({"max_bytes": 99}, [1, 2, 3, 4], False),
        ({"max_bytes": 147}, [1, 2, 3, 4, 5], True),
    ]:
        page = desk.read(0, **given_)  # type: ignore[arg-type]
        assert ([event.position for event in page.events], page.is_last) == (positions, is_last)


def test_what_is_kept_is_bounded_in_bytes(log: EventLog) -> None:
    """Always; a body counts once, however many events it holds and wherever it is cut."""
    desk = Desk(log, most_bytes=1_000)
    kept = keep(desk, (make_many(4 + number % 2, size=100) for number in range(100)))
    assert max(kept) in range(44, 47)  # ten bodies
    assert min(kept[20:]) in range(20, 31)  # five or six
    assert [event.position for event in desk.read(0, limit=2).events] == [1, 2]


def test_what_is_kept_is_bounded_in_events(log: EventLog) -> None:
    """However small they are."""
    desk = Desk(log, most_events=12)
    kept = keep(desk, (make_many(4, size=100) for _ in range(30)))
    assert (max(kept), min(kept[5:])) == (12, 6)


def test_a_body_that_comes_in_two_pages_does_not_count_for_ever(log: EventLog) -> None:
    """However often that happens, there is room for what is new."""
    desk = Desk(log, most_bytes=1_000)
    kept = keep(desk, (make_many(PAGE + 1, size=100) for _ in range(40)))
    assert min(kept[10:]) > PAGE


def keep(desk: Desk, entries: Iterable[Entry]) -> list[int]:
    """Append these, read on each time, and return how many events were kept then."""
    desk.read(0)
    kept = []
    for entry in entries:
        head = append(desk.log, entry)[-1]
        desk.tail.grow()
        while not desk.read(head - 1).events:
            pass
        low, high = 0, head  # the lowest position that a reader need not look at the log from
        while low < high:
            middle = (low + high) // 2
            before = desk.looks
            desk.read(middle, limit=1)
            low, high = (middle + 1, high) if desk.looks > before else (low, middle)
        kept.append(head - low)
    return kept


def test_what_it_is_told_of_is_not_read(desk: Desk) -> None:
    """Events that follow on what is kept cost no look at the log, and are the same."""
    for _ in range(2):
        assert desk.read(0).is_last
    desk.tell(make_many(2), make_many(1))
    desk.tell(make_kind(0))
    page = desk.read(0)
    assert (len(page.events), page.is_last, desk.looks) == (6, True, 2)
    assert list(page.events) == list(desk.log.read())


def test_events_of_another_process_in_between_are_read(desk: Desk) -> None:
    """Where those that it is told of leave a gap, the log is read, and nothing comes twice."""
    assert desk.read(0).is_last
    append(desk.log, make_many(1))
    desk.tell(make_many(2))
    assert positions(desk.read(0)) == [1, 2, 3]
    desk.tell(make_many(1))
    assert (positions(desk.read(3)), desk.looks) == ([4], 2)


def test_events_in_the_middle_of_which_some_are_missing_are_read(desk: Desk) -> None:
    """Of a batch that was appended in parts another process may have come between two of them."""
    assert desk.read(0).is_last
    first, _other, last = (desk.log.append([make_many(2)])[0].events for _ in range(3))
    desk.tail.grow([*first, *last])
    assert positions(desk.read(0)) == [1, 2, 3, 4, 5, 6]


def test_events_that_it_has_read_are_not_kept_twice(desk: Desk) -> None:
    """Whoever reads between a commit and the word of it has the events already."""
    assert desk.read(0).is_last
    done = desk.log.append([make_many(2)])
    desk.tail.grow()
    assert positions(desk.read(0)) == [1, 2]
    desk.tail.grow(done[0].events)
    desk.tail.grow(done[0].events)
    assert positions(desk.read(0)) == [1, 2]


def test_whoever_appends_waits_for_no_reader(desk: Desk) -> None:
    """While somebody reads, what it is told of is left to the next look."""
    assert desk.read(0).is_last
    with desk.reading():
        desk.tell(make_many(1))
    assert (positions(desk.read(0)), desk.looks) == ([1], 2)


def positions(page: Page) -> list[int]:
    """The positions of its events."""
    return [event.position for event in page.events]
