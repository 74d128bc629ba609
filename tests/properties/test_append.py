"""Whatever is appended, and however it fails: positions have no gaps and no event comes twice."""

import asyncio
import shutil
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import cast

from hypothesis import event as note
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, event, func, select

from router.errors import RouterError, StoreError, Unavailable
from router.events import Draft, Entry, Notification
from router.log import EventLog
from router.rows import Appended
from router.store import Store
from router.writer import Writer
from tests.entries import NOON

Key = tuple[object, ...]

PATHS = ("$", "$.a", "$.b[0]")
BAD = ("bad",)  # the natural key of what cannot be stored, and therefore is never known
STATEMENTS = 12  # more than an append of these sizes sends

drafts = st.builds(
    Draft,
    path=st.sampled_from(PATHS),
    type=st.sampled_from(["message", "sent", "other"]),
    subtype=st.just("text"),
    conversation=st.sampled_from(["ana", "bo", "", "\u00e9\U0001f600"]),
    # Few, so that they meet again in this batch, in the next one, and in another body.
    natural_key=st.none() | st.tuples(st.sampled_from("xyz"), st.sampled_from("12")),
)
bad_drafts = st.builds(
    Draft,
    path=st.sampled_from(["$", "nowhere"]),
    type=st.just("other"),
    subtype=st.sampled_from(["text", "\ud800", "a\0b"]),
    # Where nothing else is wrong, it fails in the middle of the transaction: this time has no zone.
    occurred_at=st.just(datetime(2026, 1, 1)),
    natural_key=st.just(BAD),
)


def entries_of(found: st.SearchStrategy[Draft], *, least: int = 0) -> st.SearchStrategy[Entry]:
    """Return entries of such drafts, some in the same body."""
    notifications = st.builds(
        Notification,
        source=st.sampled_from(["wa", "other"]),
        received_at=st.just(NOON),
        headers=st.just({}),
        body=st.sampled_from([b'{"a": 1}', b'{"b": [2]}', b"\xff", b'"\\ud800"']),
    )
    return st.builds(Entry, notifications, st.lists(found, min_size=least, max_size=4))


batches = st.lists(entries_of(drafts), max_size=5)
mixed_batches = st.lists(entries_of(drafts) | entries_of(bad_drafts, least=1), max_size=6)


def key_of(entry: Entry, draft: Draft) -> Key:
    """Return what tells an event from all others, in other words than the log's."""
    if draft.natural_key is None:
        return entry.notification.source, entry.notification.body, draft.path
    return entry.notification.source, draft.natural_key


class Log(RuleBasedStateMachine):
    """A log, and beside it a list of what must be in it."""

    def __init__(self, empty_database: Path) -> None:
        super().__init__()
        self._folder = Path(mkdtemp(prefix="router-append-"))
        shutil.copy(empty_database, self._folder / "router.db")
        self._stored: list[tuple[Key, Draft, bytes]] = []
        self._notifications = 0
        self._open()

    def _open(self) -> None:
        self._log = EventLog(Store(f"sqlite:///{self._folder / 'router.db'}"))

    def teardown(self) -> None:
        """Close the log and throw it away."""
        self._log.store.close()
        shutil.rmtree(self._folder)

    def _expect(self, entry: Entry) -> tuple[tuple[int, ...], int]:
        """Append an entry to the list; which positions it must get, and how many are known."""
        known = {key for key, _, _ in self._stored}
        before = len(self._stored)
        for draft in entry.drafts:
            if (key := key_of(entry, draft)) not in known:
                known.add(key)
                self._stored.append((key, draft, entry.notification.body))
        new = range(before + 1, len(self._stored) + 1)
        self._notifications += bool(new)
        return tuple(new), len(entry.drafts) - len(new)

    @rule(entries=batches)
    def append(self, entries: list[Entry]) -> None:
        """Append a batch, of which some or all may be known."""
        done = self._log.append(entries)
        self._check(entries, done)
        for one in done:
            assert [self._log.find(event.id) for event in one.events] == list(one.events)

    def _check(self, entries: Sequence[Entry], done: Sequence[Appended]) -> None:
        """Hold what the log tells of ``entries`` against what it must tell."""
        expected = [self._expect(entry) for entry in entries]
        assert [(one.positions, one.known) for one in done] == expected

    @rule(entries=batches.filter(bool))
    def append_again(self, entries: list[Entry]) -> None:
        """Append a batch twice over, at once and again: each event comes once."""
        told = self._log.append(entries + entries)
        self._check(entries + entries, told)
        again = self._log.append(entries)
        assert all(not one.positions for one in again)

    @rule(good=batches, bad=entries_of(bad_drafts, least=1), at=st.integers(0, 5))
    def append_what_is_bad(self, good: list[Entry], bad: Entry, at: int) -> None:
        """A bad entry undoes the batch that it is in."""
        try:
            self._log.append([*good[:at], bad, *good[at:]])
        except RouterError:
            return
        raise AssertionError(f"{bad} was stored")

    @rule(entries=mixed_batches)
    def write(self, entries: list[Entry]) -> None:
        """Through the writer a bad entry fails alone."""
        results = asyncio.run(write_all(self._log, entries))
        for entry, result in zip(entries, results, strict=True):
            if BAD in [draft.natural_key for draft in entry.drafts]:
                assert isinstance(result, StoreError)
            else:
                assert isinstance(result, Appended)
                self._check([entry], [result])

    @rule(entries=batches.filter(bool), number=st.integers(1, STATEMENTS))
    def break_off(self, entries: list[Entry], number: int) -> None:
        """The database fails at some statement, or at the commit: nothing is left of it."""
        with Breaking(self._log, at=number) as breaking:
            try:
                told = self._log.append(entries)
            except (Unavailable, sqlite3.OperationalError):
                note(f"broke off at: {breaking.text[:20]}")
                return
        self._check(entries, told)

    @rule()
    def reopen(self) -> None:
        """Close the log and open it again."""
        self._log.store.close()
        self._open()

    @invariant()
    def positions_have_no_gaps(self) -> None:
        """Events stand one behind the other, and the head at the last of them."""
        found = list(self._log.read(page=3))
        assert [one.position for one in found] == list(range(1, len(self._stored) + 1))
        assert self._log.head() == len(self._stored)

    @invariant()
    def each_event_is_stored_once(self) -> None:
        """What is read is what was appended, in its order, and nothing besides is stored."""
        found = [
            (one.path, one.type, one.subject, one.notification.body) for one in self._log.read()
        ]
        assert found == [
            (draft.path, draft.type, draft.subject, body) for _, draft, body in self._stored
        ]
        tables = self._log.store.tables
        with self._log.store.reading() as connection:
            counts = [
                connection.scalars(select(func.count()).select_from(table)).one()
                for table in (tables.notification, tables.dedupe_a, tables.dedupe_b)
            ]
        assert counts == [self._notifications, len(self._stored), 0]


class Breaking:
    """Lets the database fail once, at the statement of that number or at the commit."""

    def __init__(self, log: EventLog, *, at: int) -> None:
        self._engine = log.store.engine
        self._left = at
        self.text = ""

    def __enter__(self) -> "Breaking":
        """Begin to count."""
        event.listen(self._engine, "before_cursor_execute", self._count)
        event.listen(self._engine, "commit", self._commit)
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the database alone again."""
        event.remove(self._engine, "before_cursor_execute", self._count)
        event.remove(self._engine, "commit", self._commit)

    def _count(self, _connection: Connection, _cursor: object, text: str, *_others: object) -> None:
        self._left -= 1
        if self._left == 0:
            self.text = text
            raise sqlite3.OperationalError("disk I/O error")

    def _commit(self, connection: Connection) -> None:
        self._count(connection, None, "COMMIT")


async def write_all(log: EventLog, entries: Sequence[Entry]) -> list[Appended | BaseException]:
    """Append through a writer, all at once."""
    writer = Writer(log)
    writer.start()
    with log.store.gate.turn():
        tasks = [asyncio.ensure_future(writer.append(entry)) for entry in entries]
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.to_thread(writer.stop)
    return results


def test_appending(empty_database: Path) -> None:
    """Invariants 1 and 2 hold under batches, duplicates, bad rows, rollbacks and reopening."""
    tries = settings.default.max_examples // 2 if settings.default else 25
    run_state_machine_as_test(
        cast("type[Log]", partial(Log, empty_database)),
        settings=settings(max_examples=tries, stateful_step_count=15),
    )
