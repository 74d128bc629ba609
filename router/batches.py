"""Calls of a transactional plugin: several in one transaction, each in a savepoint of its own."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from router.events import Event
from router.failures import Failed
from router.ledger import Counts
from router.lending import Lent
from router.replay_counts import Count
from router.subscriptions import Caller, Undone

SECONDS = 0.005  # that a batch may last
WANTED_SECONDS = 0.002  # likewise, when an append waits; less would not keep up with appends


class Record(Protocol):
    """Writes down what came of an attempt; perhaps again, if its transaction came to nothing."""

    def __call__(self, connection: Connection, failed: Failed | None) -> Count | None:
        """Write it down and return what is to be counted."""


class Attempt(msgspec.Struct, frozen=True):
    """A call that is to be made.

    Attributes:
        number: 1 for the first.
        record: Writes down how it ended.
        must_wait: Whether, when it has failed so, the subject's later events wait.
        settles: Whether its position is settled with it: not where that has been before.
    """

    event: Event
    number: int
    record: Record
    must_wait: Callable[[Failed], bool]
    settles: bool = True


class Ended(msgspec.Struct, frozen=True):
    """What came of an attempt.

    Attributes:
        failed: How the call failed, if it did.
        was_made: False for one whose subject waits, since an earlier event of the batch failed.
    """

    attempt: Attempt
    failed: Failed | None = None
    was_made: bool = True


class Batch:
    """As many of some attempts as fit into one transaction; at least the first.

    Args:
        attempts: In the order in which they are made.
        caller: Calls the handlers.
        monotonic: Seconds of a clock that only goes forward.
        is_wanted: Whether somebody more important waits for the database.

    Attributes:
        ended: What came of those that were dealt with; true once the transaction is committed.
        settled: The positions that need nothing more, likewise.
        counts: What came of how many deliveries, likewise.
    """

    def __init__(
        self,
        attempts: Sequence[Attempt],
        *,
        caller: Caller,
        monotonic: Callable[[], float],
        is_wanted: Callable[[], bool],
    ) -> None:
        self.ended: list[Ended] = []
        self.settled: list[int] = []
        self.counts: Counts = Counter()
        self._attempts = attempts
        self._caller = caller
        self._monotonic = monotonic
        self._is_wanted = is_wanted
        self._undone: dict[int, Failed] = {}  # by position: they have ended their transaction

    def __call__(self, connection: Connection) -> None:
        """Make the calls. One that has ended the transaction before is not made again."""
        self.ended, self.settled, self.counts = [], [], Counter()
        with Lent(connection, rename=self._caller.rename) as lent:
            self._run(lent)

    def _run(self, lent: Lent) -> None:
        waiting: set[str] = set()
        begun = self._monotonic()
        for attempt in self._attempts:
            event = attempt.event
            if event.subject in waiting:
                if not attempt.settles:
                    break  # what is behind is of the same subject
                self._note(Ended(attempt, was_made=False))
                continue
            failed = self._undone.get(event.position) or self._call(lent, attempt)
            count = attempt.record(lent.connection, failed)
            if count is not None:
                self.counts[count] += 1
            if failed is not None and attempt.must_wait(failed):
                waiting.add(event.subject)
            self._note(Ended(attempt, failed))
            limit = WANTED_SECONDS if self._is_wanted() else SECONDS
            if self._monotonic() - begun >= limit:
                break

    def _note(self, ended: Ended) -> None:
        self.ended.append(ended)
        if ended.attempt.settles:
            self.settled.append(ended.attempt.event.position)

    def _call(self, lent: Lent, attempt: Attempt) -> Failed | None:
        event, number = attempt.event, attempt.number
        try:
            return self._caller.call_within(lent, event, attempt=number)
        except Undone as error:
            self._undone[event.position] = error.failed
            raise
