"""Tests of `router.batches`: several calls in one transaction, each taken back by itself."""

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import Connection, text

from router.batches import SECONDS, WANTED_SECONDS, Attempt, Batch, Record
from router.errors import Unavailable
from router.events import Event
from router.failures import Failed
from router.log import EventLog
from router.replay_counts import Count
from router.store import Store
from router.subscriptions import Caller, Undone
from tests.entries import append_messages
from tests.subscribers import make_subscription

Handle = Callable[[Event, Connection], None]


def write_alias(connection: Connection, event: Event) -> None:
    """Have an effect that can be had once only."""
    insert = "INSERT INTO alias VALUES ('', :contact, '')"
    connection.execute(text(insert), {"contact": str(event.position)})


class Calls:
    """A transactional plugin over a log with some events, and what becomes of its calls.

    Attributes:
        calls: The positions it was called with.
        recorded: Position, and whether it failed, of each attempt that was written down.
        ticks: What the clock shows, each time that it is looked at; then it stands still.
        is_wanted: Whether somebody waits for the database.
    """

    def __init__(self, log: EventLog, conversations: Sequence[str]) -> None:
        append_messages(log, conversations)
        self.store = log.store
        self.calls: list[int] = []
        self.recorded: list[tuple[int, bool]] = []
        self.ticks: list[float] = []
        self.is_wanted = False
        self._log = log
        self._now = 0.0
        self._does: dict[int, Handle] = {}
        subscription = make_subscription(on_event=self._handle)
        self._caller = Caller(subscription, log=log)

    def on(self, position: int, does: Handle) -> None:
        """Do something in the call with this event, after its effect."""
        self._does[position] = does

    def make(self, *, settles: bool = True, must_wait: bool = True) -> Batch:
        """Return a batch of first attempts at all events."""
        attempts = [
            Attempt(event, 1, self._recording(event), lambda failed: must_wait, settles=settles)
            for event in self._log.read()
        ]
        return Batch(
            attempts,
            caller=self._caller,
            monotonic=self._tell_time,
            is_wanted=lambda: self.is_wanted,
        )

    def run(self, batch: Batch) -> None:
        """Do as the ledger does: again in a new transaction, where one came to nothing."""
        while True:
            try:
                with self.store.writing() as connection:
                    batch(connection)
            except Unavailable:
                continue
            return

    def effects(self) -> list[int]:
        """Return the positions whose effect is there."""
        with self.store.reading() as connection:
            found = connection.exec_driver_sql("SELECT contact FROM alias ORDER BY contact")
            return [int(contact) for contact in found.scalars()]

    def _tell_time(self) -> float:
        self._now = self.ticks.pop(0) if self.ticks else self._now
        return self._now

    def _recording(self, event: Event) -> Record:
        def record(connection: Connection, failed: Failed | None) -> Count | None:
            self.recorded.append((event.position, failed is not None))
            return (event.type, "done") if failed is None else None

        return record

    def _handle(self, event: Event, connection: Connection) -> None:
        self.calls.append(event.position)
        write_alias(connection, event)
        if event.position in self._does:
            self._does[event.position](event, connection)


def fail(event: Event, connection: Connection) -> None:
    """Raise an error."""
    raise ValueError("busy")


def run_sql(statement: str) -> Handle:
    """Return what runs a statement past every guard."""

    def run(event: Event, connection: Connection) -> None:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute(statement)

    return run


def test_all_calls_are_of_one_transaction(log: EventLog) -> None:
    """Each event is called for once, in order, and settled; its effect is there."""
    calls = Calls(log, ["ana", "ben", "ana"])
    batch = calls.make()
    calls.run(batch)
    assert calls.calls == calls.effects() == batch.settled == [1, 2, 3]
    assert batch.counts == Counter({("message", "done"): 3})
    assert [one.failed for one in batch.ended] == [None] * 3


def test_a_failed_event_is_taken_back_alone(log: EventLog) -> None:
    """Of a failed call no effect is left; what came before and after stays, as does its record."""
    calls = Calls(log, ["ana", "ben", "cleo"])
    calls.on(2, fail)
    batch = calls.make()
    calls.run(batch)
    assert calls.effects() == [1, 3]
    assert calls.recorded == [(1, False), (2, True), (3, False)]
    assert batch.settled == [1, 2, 3]
    assert [one.failed is not None for one in batch.ended] == [False, True, False]


def test_nothing_is_called_behind_a_failed_event_of_its_subject(log: EventLog) -> None:
    """It is settled without a call, since it waits on record; other subjects go on."""
    calls = Calls(log, ["ana", "ana", "ben", "ana"])
    calls.on(1, fail)
    batch = calls.make()
    calls.run(batch)
    assert calls.calls == [1, 3]
    assert batch.settled == [1, 2, 3, 4]
    assert [one.was_made for one in batch.ended] == [True, False, True, False]
    assert calls.recorded == [(1, True), (3, False)]


def test_where_nothing_waits_a_subject_goes_on_behind_a_failure(log: EventLog) -> None:
    """What is dead and released holds up nobody of its subject."""
    calls = Calls(log, ["ana", "ana"])
    calls.on(1, fail)
    calls.run(calls.make(must_wait=False))
    assert calls.calls == [1, 2]


def test_what_was_settled_before_ends_with_the_failure(log: EventLog) -> None:
    """Of events that waited behind their subject, those behind a failed one are left for later."""
    calls = Calls(log, ["ana", "ana", "ana"])
    calls.on(2, fail)
    batch = calls.make(settles=False)
    calls.run(batch)
    assert calls.calls == [1, 2]
    assert (len(batch.ended), batch.settled) == (2, [])


@pytest.mark.parametrize(("took", "count"), [(SECONDS - 0.000_1, 3), (SECONDS, 2)])
def test_a_batch_ends_when_its_time_is_over(log: EventLog, took: float, count: int) -> None:
    """It begins no call after 5 ms; what it has not called is left as it was."""
    calls = Calls(log, ["ana", "ben", "cleo"])
    calls.ticks = [0, 0, took]
    batch = calls.make()
    calls.run(batch)
    assert len(calls.calls) == len(batch.ended) == len(calls.effects()) == count


def test_a_batch_makes_one_call_however_late_it_is(log: EventLog) -> None:
    """Who always comes too late still gets on."""
    calls = Calls(log, ["ana", "ben"])
    calls.is_wanted = True
    calls.ticks = [0, 1000]
    calls.run(calls.make())
    assert calls.calls == [1]


@pytest.mark.parametrize(("took", "count"), [(WANTED_SECONDS - 0.000_1, 3), (WANTED_SECONDS, 2)])
def test_an_append_that_waits_ends_a_batch_sooner(log: EventLog, took: float, count: int) -> None:
    """The appender waits for 2 ms of calls, not for 5: with less, calls would not keep up."""
    calls = Calls(log, ["ana", "ben", "cleo"])
    calls.is_wanted = True
    calls.ticks = [0, 0, took]
    calls.run(calls.make())
    assert len(calls.calls) == count


@pytest.mark.parametrize("statement", ["ROLLBACK", "RELEASE router_event"])
def test_an_event_that_ends_its_transaction_is_not_called_again(
    log: EventLog, statement: str
) -> None:
    """What gets past the guard costs its event alone; the effects of the others are there once."""
    calls = Calls(log, ["ana", "ben", "cleo"])
    calls.on(2, run_sql(statement))
    batch = calls.make()
    calls.run(batch)
    assert calls.calls == [1, 2, 1, 3]
    assert calls.effects() == [1, 3]
    assert [one.failed is not None for one in batch.ended] == [False, True, False]
    assert batch.settled == [1, 2, 3]


def test_what_came_to_nothing_leaves_no_trace(log: EventLog, store: Store) -> None:
    """After an undone transaction a batch knows of nothing that it has settled or counted."""
    calls = Calls(log, ["ana", "ben"])
    calls.on(2, run_sql("ROLLBACK"))
    batch = calls.make()
    with pytest.raises(Undone), store.writing() as connection:
        batch(connection)
    assert calls.effects() == []
    calls.run(batch)
    assert calls.calls == [1, 2, 1]
    assert (batch.settled, batch.counts) == ([1, 2], Counter({("message", "done"): 1}))


@pytest.mark.engines("postgresql")
def test_a_server_that_goes_in_the_middle_of_a_call_is_no_failure(log: EventLog) -> None:
    """All is done again on another connection, and no event is charged with an attempt."""
    calls = Calls(log, ["ana", "ben"])
    end = run_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    def end_once(event: Event, connection: Connection) -> None:
        if calls.calls.count(2) == 1:
            end(event, connection)

    calls.on(2, end_once)
    calls.run(calls.make())
    assert calls.calls == [1, 2, 1, 2]
    assert calls.recorded[-2:] == [(1, False), (2, False)]
    assert calls.effects() == [1, 2]
