"""Tests of `EventLog.append`: events come in once, in order, without gaps, or not at all."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, event, func, select, text

from router.errors import StoreError, Unavailable
from router.events import Draft, Entry, Notification, shard_of
from router.log import EventLog
from tests.drafts import make, other, positions
from tests.entries import NOON, append_messages
from tests.storing import failing_commits


def rows(log: EventLog, table: str) -> int:
    """How many rows a table has."""
    with log.store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(text(table))).scalar_one())


def test_an_event_is_read_back_as_it_was_appended(log: EventLog) -> None:
    """Every field of the notification and of the event comes back."""
    moment = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
    draft = Draft(
        path="$.messages[0]",
        type="message",
        subtype="text",
        channel="+15550001122",
        conversation="ana",
        external_id="wamid.1",
        occurred_at=moment,
    )
    sent = Notification("wa", NOON, {"user-agent": "x\u00ff"}, b'{"messages": ["hola"]}')
    [appended] = log.append([Entry(sent, [draft])])
    assert (appended.positions, appended.known) == ((1,), 0)
    [found] = log.read()
    assert (found.position, found.type, found.subtype) == (1, "message", "text")
    assert (found.channel, found.subject) == ("+15550001122", "+15550001122:ana")
    assert (found.external_id, found.occurred_at) == ("wamid.1", moment)
    assert (found.path, found.payload) == ("$.messages[0]", "hola")
    assert (found.source, found.received_at) == ("wa", NOON)
    assert (found.notification.headers, found.notification.body) == (sent.headers, sent.body)
    assert found.notification_id == found.notification.id == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00\xff\xfe", b'"\xed\xa0\x80"', b'{"a": "\\ud800"}', "\u2028\U0001f600".encode()],
)
def test_a_body_is_kept_byte_for_byte(log: EventLog, body: bytes) -> None:
    """Whatever the bytes are: the log is no judge of them."""
    log.append([make(body, other())])
    [found] = log.read()
    assert found.notification.body == body


def test_positions_have_no_gaps(log: EventLog) -> None:
    """Each event comes right behind the one before it, within a batch and across batches."""
    first = log.append([make(b"[1]", other("$[0]"), other("$")), make(b"[2]", other())])
    second = log.append([make(b"[3]", other("$[0]"), other("$"))])
    assert [one.positions for one in first + second] == [(1, 2), (3,), (4, 5)]
    assert log.head() == 5
    assert positions(log.read()) == [1, 2, 3, 4, 5]


def test_a_notification_is_called_after_its_first_event(log: EventLog) -> None:
    """Its id is that event's position, which no other notification can have."""
    log.append([make(b"[1]", other("$[0]"), other("$")), make(b"[2]", other())])
    assert [event.notification_id for event in log.read()] == [1, 1, 3]


def test_what_is_known_leaves_no_row(log: EventLog) -> None:
    """A notification that brings nothing new is not stored again."""
    entry = make(b"{}", other())
    log.append([entry])
    log.append([entry, entry])
    assert (rows(log, "notification"), rows(log, "event"), log.head()) == (1, 1, 1)


def test_nothing_can_be_appended(log: EventLog) -> None:
    """No entries, or an entry without events, change nothing."""
    assert log.append([]) == []
    [appended] = log.append([make(b"{}")])
    assert (appended.positions, appended.known) == ((), 0)
    assert (log.head(), rows(log, "notification")) == (0, 0)


def test_a_subject_decides_the_shard(log: EventLog) -> None:
    """The column holds what `shard_of` says."""
    append_messages(log, ["ana", "bo"])
    with log.store.reading() as connection:
        shards = connection.scalars(select(log.store.tables.event.c.shard)).all()
    assert shards == [shard_of(":ana"), shard_of(":bo")]


def test_ids_carry_their_position(log: EventLog) -> None:
    """An id is found without an index on ids; no two are alike."""
    append_messages(log, ["ana"] * 3)
    ids = [event.id for event in log.read()]
    assert len(set(ids)) == 3
    assert [log.find(one).position for one in ids] == [1, 2, 3]


@pytest.mark.parametrize(
    "bad",
    [
        other(conversation="\ud800"),
        other(channel="\udfff"),
        other(subtype="\ud83d"),
        other(external_id="\ud800"),
        other(conversation="a\0b"),
        other(path='$."a\0b"'),
        other(path='$."\ud800"'),
        other(path="entry[0]"),
        other(path=""),
        other(type="massage"),
        other(type=None),
        other(path=None),
        other(natural_key=(7,)),
        None,
    ],
    ids=repr,
)
def test_an_event_that_no_engine_takes_is_refused(log: EventLog, bad: Draft) -> None:
    """It fails before anything is written, and its text is in no message."""
    with pytest.raises(StoreError, match="event of source 'wa' cannot be stored") as caught:
        log.append([make(b"1", other()), make(b"2", bad)])
    assert "\\u" not in str(caught.value)
    assert (log.head(), rows(log, "notification")) == (0, 0)


@pytest.mark.parametrize("bad", [datetime(2026, 1, 1), "yesterday"])
def test_a_time_that_is_none_is_refused(log: EventLog, bad: object) -> None:
    """A time without a zone, or none at all, undoes the whole batch."""
    with pytest.raises(StoreError, match="a time"):
        log.append([make(b"1", other()), make(b"2", other(occurred_at=bad))])
    assert (log.head(), rows(log, "notification"), rows(log, "dedupe_a")) == (0, 0, 0)
    append_messages(log, ["ana"])
    assert positions(log.read()) == [1]


@contextmanager
def failing(log: EventLog, word: str) -> Iterator[None]:
    """Make the disk fail at each statement that has ``word`` in it."""

    def fail(_connection: Connection, _cursor: object, statement: str, *_others: object) -> None:
        if word in statement:
            raise sqlite3.OperationalError("disk I/O error")

    event.listen(log.store.engine, "before_cursor_execute", fail)
    yield
    event.remove(log.store.engine, "before_cursor_execute", fail)


@pytest.mark.parametrize(
    "word",
    ["BEGIN", "SELECT", "INSERT INTO notification", "INSERT INTO event", "INSERT INTO d", "UPDATE"],
)
def test_a_rollback_leaves_no_hole(log: EventLog, word: str) -> None:
    """Wherever an append breaks off, nothing of it is left and the next takes its positions."""
    append_messages(log, ["ana"])
    entry = make(b"[1]", other("$[0]"), other("$"))
    with failing(log, word), pytest.raises((Unavailable, sqlite3.OperationalError)):
        log.append([entry])
    assert (log.head(), rows(log, "notification"), rows(log, "dedupe_a")) == (1, 1, 1)
    assert log.append([entry])[0].positions == (2, 3)


def test_a_failing_commit_leaves_nothing(log: EventLog) -> None:
    """What was not committed is not there, and may be appended again."""
    entry = make(b"{}", other())
    with failing_commits(log.store), pytest.raises((Unavailable, sqlite3.OperationalError)):
        log.append([entry])
    assert log.head() == 0, "no connection of the pool still holds the transaction"
    assert log.append([entry])[0].positions == (1,)
