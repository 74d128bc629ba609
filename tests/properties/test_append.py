"""Whatever is appended, and however it fails: positions have no gaps and no event comes twice."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
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
from sqlalchemy import func, select

from router.errors import RouterError, StoreError, Unavailable
from router.events import Draft, Entry
from router.log import EventLog
from router.rows import Appended
from router.store import Store
from router.writer import Writer
from tests.properties.drafts import BAD, Key, bad_drafts, drafts, entries_of, key_of
from tests.properties.driver import Driver, End, Killed
from tests.properties.grounds import Ground, hurry
from tests.properties.wires import drive, hang_up

BAD_ENTRIES = entries_of(bad_drafts, least=1)
STATEMENTS = 12  # more than an append of these sizes sends

batches = st.lists(entries_of(drafts), max_size=5)
mixed_batches = st.lists(entries_of(drafts) | BAD_ENTRIES, max_size=6)
failures = st.builds(
    End, st.integers(1, STATEMENTS), st.sampled_from(["fail before", "fail after"])
)
crashes = st.builds(
    End, st.integers(1, STATEMENTS), st.sampled_from(["crash before", "crash after"])
)


class Log(RuleBasedStateMachine):
    """A log, and beside it a list of what must be in it."""

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        self._ground = ground
        self._stack = ExitStack()
        self._url = self._stack.enter_context(ground.laid())
        self._stored: list[tuple[Key, Draft, bytes]] = []
        self._notifications = 0
        self._open()

    def _open(self) -> None:
        store = Store(self._url)
        self._driver = Driver()
        hurry(store)
        drive(store.engine, self._driver)
        self._log = EventLog(store)

    def _close(self) -> None:
        self._log.store.close()
        self._ground.wait_until_gone(hang_up(self._driver))

    def teardown(self) -> None:
        """Close the log and throw it away."""
        self._close()
        self._stack.close()

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

    @rule(good=batches, bad=BAD_ENTRIES, at=st.integers(0, 5))
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

    @rule(entries=batches.filter(bool), end=failures)
    def break_off(self, entries: list[Entry], end: End) -> None:
        """A statement fails, or the commit, or only its answer is lost: all is there, or nothing.

        Whoever appends again is told what is there by now.
        """
        self._driver.plan(end)
        try:
            told = self._log.append(entries)
        except Unavailable:
            self._note_end(entries, end)
            told = self._log.append(entries)
        self._driver.plan(None)
        self._check(entries, told)

    @rule(entries=batches.filter(bool), end=crashes)
    def crash(self, entries: list[Entry], end: End) -> None:
        """The process dies at some statement: another one finds all of it, or nothing."""
        self._driver.plan(end)
        try:
            self._check(entries, self._log.append(entries))
        except Killed:
            self._note_end(entries, end)
        self._driver.kill()
        self.reopen()

    def _note_end(self, entries: Sequence[Entry], end: End) -> None:
        note(f"{end.how}: {self._driver.statement[:20]}")
        if self._driver.statement == "COMMIT" and end.how.endswith("after"):
            for entry in entries:
                self._expect(entry)

    @rule()
    def reopen(self) -> None:
        """Close the log and open it again."""
        self._close()
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


def test_appending(ground: Ground) -> None:
    """Invariants 1 and 2 hold under batches, duplicates, bad rows, rollbacks and reopening."""
    tries = round(settings().max_examples // 2 * ground.EFFORT)
    run_state_machine_as_test(
        cast("type[Log]", partial(Log, ground)),
        settings=settings(max_examples=tries, stateful_step_count=15),
    )
