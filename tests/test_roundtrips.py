"""Tests of `router.roundtrips` and `router.lookup`: an append is two ways to a server and back."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from router import postgresql
from router.errors import Unavailable
from router.log import EventLog
from router.lookup import Lookup
from router.schema import make_tables
from router.store import Store
from tests.entries import append, append_messages, make_entry
from tests.faults.proxy import Line, Proxy

pytestmark = pytest.mark.engines("postgresql")

BEGIN = b"enable_seqscan = off"  # of an append
MANY = 8  # appends after which the driver has prepared what it prepares
SECONDS = 20.0  # in which whoever is not held up gets on


class Traced:
    """A log of which libpq writes down what goes to the server and comes back.

    Args:
        url: Of the database.
        folder: Where it is written down.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._made: list[psycopg.Connection] = []
        self._file = folder / "messages.txt"
        store = Store(url)
        event.listen(store.engine, "connect", lambda driver, _: self._made.append(driver))
        self.log = EventLog(store)

    def count_ways(self, work: Callable[[], object]) -> int:
        """Return how often the server was asked for something that was waited for."""
        [driver] = [one for one in self._made if not one.closed]
        with self._file.open("w") as file:
            driver.pgconn.trace(file.fileno())
            work()
            driver.pgconn.untrace()
            os.fsync(file.fileno())
        return self._file.read_text().count("ReadyForQuery")


@contextmanager
def tracing(url: str, folder: Path) -> Iterator[Traced]:
    """Yield a traced log that has only the connection that appends are written on."""
    traced = Traced(url, folder)
    for _ in range(MANY):
        append(traced.log, make_entry())
    yield traced
    traced.log.store.close()


@contextmanager
def passing(url: str, see: Callable[[Line, bytes], None]) -> Iterator[EventLog]:
    """Yield a log whose messages ``see`` sees on their way to the server."""
    with Proxy(url, see=see).running() as proxy:
        store = Store(proxy.url)
        yield EventLog(store)
        store.close()


@pytest.fixture
def no_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old libpq."""
    monkeypatch.setattr(psycopg.Pipeline, "is_supported", lambda: False)


# How many ways it takes.


@pytest.mark.parametrize("options", ["", "?prepare_threshold=none"])
def test_an_append_is_two_ways_to_the_server(database: str, tmp_path: Path, options: str) -> None:
    """It begins and looks what is there; it writes and commits. However many events it has."""
    with tracing(database + options, tmp_path) as traced:
        entries = [make_entry(text="x" * 4_000) for _ in range(70)]
        assert traced.count_ways(lambda: traced.log.append(entries)) == 2
        assert traced.count_ways(lambda: traced.log.append(entries)) == 2
        assert traced.count_ways(lambda: append(traced.log, make_entry())) == 2
        assert traced.log.head() == MANY + 71


@pytest.mark.usefixtures("no_pipelines")
def test_without_pipelines_the_commit_is_a_way_of_its_own(database: str, tmp_path: Path) -> None:
    """The driver's library may be older than they are."""
    with tracing(database, tmp_path) as traced:
        assert traced.count_ways(lambda: append(traced.log, make_entry())) == 3
        assert traced.log.head() == MANY + 1


# What it looks up.


@pytest.mark.parametrize("switch", ["on", "off"])
def test_keys_are_known_however_the_server_reads_texts(database: str, switch: str) -> None:
    """A backslash is one, whatever is usual at that server."""
    store = Store(f"{database}?options=-cstandard_conforming_strings%3D{switch}")
    log = EventLog(store)
    entries = [make_entry() for _ in range(100)]
    log.append(entries[::2])
    assert [one.known for one in log.append(entries)] == [1, 0] * 50
    store.close()


def test_names_are_written_as_they_are(store: Store) -> None:
    """A sign by which the driver's marks begin is none where it has nothing to fill in."""
    lookup = Lookup(make_tables(prefix="50%"), [b"%b"])
    assert 'FROM "50%head" ' in lookup.write(store.engine.dialect)


# What goes wrong.


def test_what_fails_at_the_beginning_is_no_fault_of_a_row(store: Store, database: str) -> None:
    """Neither the head nor the keys can be looked up."""
    other = Store(database, table_prefix="other_")
    with pytest.raises(Unavailable, match="`router db upgrade`"):
        append_messages(EventLog(other), "a")
    other.close()
    assert append_messages(EventLog(store), "a") == [1]


@pytest.mark.parametrize("events", [1, 400])
def test_rows_that_are_refused_are_not_committed(store: Store, events: int) -> None:
    """The error is that of the row; the server has passed over the COMMIT behind it."""
    log = EventLog(store)
    append_messages(log, "a")
    entries = [make_entry(text="x" * 100) for _ in range(events)]
    with store.writing() as connection:
        connection.execute(text("UPDATE head SET position = 0"))
    for _ in range(2):
        with pytest.raises(IntegrityError, match="UniqueViolation") as caught:
            log.append(entries)
        assert "DETAIL" not in str(caught.value)
    with store.writing() as connection:
        connection.execute(text("UPDATE head SET position = 1"))
    assert [at for one in log.append(entries) for at in one.positions] == [*range(2, events + 2)]


@pytest.mark.parametrize("word", ["BEGIN", "INSERT", "COMMIT"])
def test_a_lost_answer_is_told_and_the_same_is_known_again(database: str, word: str) -> None:
    """Whether it was the last: whoever appends again has each event once."""
    cut = [word.encode()]

    def see(line: Line, data: bytes) -> None:
        if BEGIN in data:
            line.statements = 0
        if cut and line.statements is not None and cut[0] in data:
            cut.clear()
            line.is_cut = True
            if word == "INSERT":  # whose answer comes with that of the COMMIT: it gets there itself
                line.close()

    with passing(database, see) as log:
        entries = [make_entry(), make_entry()]
        with pytest.raises(Unavailable):
            log.append(entries)
        again = log.append(entries)
        assert [one.known for one in again] == [int(word == "COMMIT")] * 2
        assert [event.position for event in log.read()] == [1, 2]


def test_who_stands_still_before_the_commit_is_ended_by_who_comes_next(
    database: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own time-out does not begin amid a pipeline; but nobody keeps the head."""
    monkeypatch.setattr(postgresql, "APPEND_LOCK", 0.1)
    monkeypatch.setattr(postgresql, "APPEND_IDLE", 0.1)
    written, go_on = threading.Event(), threading.Event()
    frozen = Store(database)

    def freeze(_connection: object, _cursor: object, statement: str, *_others: object) -> None:
        if "INSERT" in statement:
            written.set()
            go_on.wait(SECONDS)

    event.listen(frozen.engine, "after_cursor_execute", freeze)
    log = EventLog(store)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(append_messages, EventLog(frozen), "a")
        try:
            assert written.wait(SECONDS)
            with pytest.raises(Unavailable, match="lock timeout"):
                append_messages(log, "b")
            assert append_messages(log, "c") == [1]
        finally:
            go_on.set()
        with pytest.raises(Unavailable):
            first.result(SECONDS)
    frozen.close()
    assert [event.position for event in log.read()] == [1]
