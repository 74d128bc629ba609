"""The owner's book of one lane: what has come of it since it was last written down."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection

from router.errors import Unavailable
from router.events import Event
from router.lane import Lane, Uptime
from router.lanes import Lanes
from router.parking import Parking
from router.progress import Progress
from router.replay_counts import Count

T = TypeVar("T")
Counts = Counter[Count]  # what came of deliveries
Statement = Callable[[Connection], Count | None]  # gives what is to be counted

PATIENCE = 1.0  # seconds between tries while the database does not answer

logger = logging.getLogger("router.ledger")


class Tally(Protocol):
    """Adds to the counts of a replay."""

    def __call__(self, connection: Connection, counts: Counts) -> None:
        """Add ``counts`` within the transaction."""


class Work(Protocol):
    """Calls of handlers within the transaction that settles their events.

    Attributes:
        settled: The positions that need nothing more once the transaction is committed.
        counts: What came of how many deliveries.
    """

    settled: list[int]
    counts: Counts

    def __call__(self, connection: Connection) -> None:
        """Make the calls; perhaps again, if the transaction came to nothing."""


class Changes(NamedTuple):
    """What is to be written down beside the progress.

    Attributes:
        advanced: How far blocked subjects have come.
        released: Subjects that are blocked no more.
        counts: What came of deliveries.
    """

    advanced: dict[str, int]
    released: set[str]
    counts: Counts


class Ledger:
    """Keeps a lane's progress in memory and writes it down, all of it in one transaction each time.

    Every transaction starts with the fence of the lane's epoch and carries the checkpoint, what is
    settled above it, and how far blocked subjects have come; so no crash can leave one of them
    ahead of another. Once a write has failed, the lane begins again from what is on record: the
    ledger writes nothing more.

    Args:
        lane: Whose.
        tally: Writes down the counts of a replay.
        tell: Called with what came of how many deliveries, by outcome, once it is on record.
        storage: The threads that talk to the database.
        sleep: Waits for some seconds.
        patience: Seconds for which a transaction may stand still while a handler computes.

    Attributes:
        lane: Whose.
        progress: How far it has come.
        blocked: Each subject that waits, and the position up to which it is settled.
        suspects: The subjects that former owners had begun to let go on, and that may have been
            their end; they are still to be seen through.
    """

    def __init__(
        self,
        lane: Lane,
        *,
        lanes: Lanes,
        parking: Parking,
        storage: Executor,
        sleep: Callable[[float], Awaitable[None]],
        tally: Tally | None = None,
        tell: Callable[[Counter[str]], None] = lambda outcomes: None,
        patience: float | None = None,
    ) -> None:
        self.lane = lane
        self.progress = Progress(lane.checkpoint, lane.done)
        self.blocked: dict[str, int] = {}
        self.suspects: set[str] = set()
        self._lanes = lanes
        self._parking = parking
        self._storage = storage
        self._sleep = sleep
        self._tally = tally
        self._tell = tell
        self._patience = patience
        self._advanced: dict[str, int] = {}
        self._released: set[str] = set()
        self._counts: Counts = Counter()
        self._written = self.progress.state
        self._uptime = lane.uptime  # on record
        self._tried = lane.uptime  # the highest that any write was to leave there
        self._error: Exception | None = None
        self._one_at_a_time = asyncio.Lock()

    def settle(self, position: int) -> None:
        """Note that ``position`` needs nothing more here."""
        self.progress.settle(position)

    def settle_all(self, events: Sequence[Event]) -> None:
        """Note that ``events`` need nothing more here, as what waits on record."""
        self.progress.settle_all([event.position for event in events])

    def accept(self, events: Sequence[Event]) -> None:
        """Note that ``events`` were handled, and need nothing more."""
        self.settle_all(events)
        self._counts.update([(event.type, "done") for event in events])

    def count(self, counts: Iterable[Count]) -> None:
        """Count deliveries."""
        for one in counts:  # few at a time, for which Counter.update takes longer
            self._counts[one] += 1

    def advance(self, subject: str, position: int) -> None:
        """Note that a blocked ``subject`` is settled up to ``position``."""
        self.blocked[subject] = self._advanced[subject] = position

    def release(self, subject: str) -> None:
        """Note that nothing of ``subject`` waits any more."""
        del self.blocked[subject]
        self._advanced.pop(subject, None)
        self._released.add(subject)

    async def read(self, query: Callable[[], T]) -> T:
        """Run ``query`` on a storage thread, again and again until the database answers."""
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._storage, query)
            except Unavailable as error:
                logger.warning("lane %s waits: %s", self.lane.subscription, error)
                await self._sleep(PATIENCE)

    async def write(self, *statements: Statement, note: Callable[[], None] = lambda: None) -> None:
        """Write down all progress, and ``statements`` with it, in one transaction.

        A cancellation of the caller does not end it.

        Args:
            statements: What else is written. Where the database does not answer they are executed
                again, in another transaction.
            note: Notes what is true with this transaction and not before, such as that what it
                parks is settled.

        Raises:
            LeaseLost: The lane has another owner; nothing was written.
        """
        await self._shielded(self._write(statements, note))

    async def write_with(self, work: Work) -> None:
        """Do ``work`` in a transaction that also writes down all progress, with what it settles.

        A cancellation of the caller does not end it. Where the database does not take it, the work
        is done again in another transaction: the first one has left nothing behind.

        Raises:
            LeaseLost: The lane has another owner; nothing was written.
        """
        await self._shielded(self._write_with(work))

    async def flush(self) -> None:
        """Write down progress if there is any."""
        is_new = self.progress.state != self._written or self._counts
        if is_new or self._advanced or self._released:
            await self.write()

    async def _shielded(self, work: Coroutine[None, None, None]) -> None:
        writing = asyncio.ensure_future(work)
        # Nobody may be left to hear of its failure; those who write later are.
        writing.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(writing)

    async def _write(self, statements: Sequence[Statement], note: Callable[[], None]) -> None:
        async with self._one_at_a_time:
            self._require_sound()
            note()
            progress, changes = self.progress.copy(), self._take_changes()
            counts = changes.counts

            def transact() -> int:
                nonlocal counts
                uptime = self._make_uptime()
                with self._opening(progress, changes, uptime) as connection:
                    found = [statement(connection) for statement in statements]
                    counts = changes.counts + Counter(filter(None, found))
                    self._count(connection, counts)
                return uptime.after

            await self._commit(transact, lambda: counts)
            self._written = progress.state

    async def _write_with(self, work: Work) -> None:
        async with self._one_at_a_time:
            self._require_sound()
            # The loop may go on taking events meanwhile: those are of the next transaction.
            progress, changes = self.progress.copy(), self._take_changes()
            after, counts = progress, changes.counts

            def transact() -> int:
                nonlocal after, counts
                uptime = self._make_uptime()
                with self._opening(progress, changes, uptime, idle=self._patience) as connection:
                    work(connection)
                    after = progress.copy()
                    for position in work.settled:
                        after.settle(position)
                    self._lanes.record(
                        connection,
                        self.lane,
                        checkpoint=after.checkpoint,
                        done=after.done,
                        is_clear=not self.suspects,
                        uptime=uptime,
                    )
                    counts = changes.counts + work.counts
                    self._count(connection, counts)
                return uptime.after

            await self._commit(transact, lambda: counts)
            for position in work.settled:
                self.progress.settle(position)
            self._written = after.state

    @contextmanager
    def _opening(
        self, progress: Progress, changes: Changes, uptime: Uptime, *, idle: float | None = None
    ) -> Iterator[Connection]:
        """Yield a transaction of the lane's owner that begins with what is true by now."""
        with self._lanes.owning(
            self.lane,
            checkpoint=progress.checkpoint,
            done=progress.done,
            is_clear=not self.suspects,
            uptime=uptime,
            idle=idle,
        ) as connection:
            self._parking.release(connection, self.lane, sorted(changes.released))
            for subject, position in changes.advanced.items():
                self._parking.advance(connection, self.lane, subject, position)
            yield connection

    def _count(self, connection: Connection, counts: Counts) -> None:
        if self._tally is not None and counts:
            self._tally(connection, counts)

    def _take_changes(self) -> Changes:
        changes = Changes(self._advanced, self._released, self._counts)
        self._advanced, self._released, self._counts = {}, set(), Counter()
        return changes

    def _make_uptime(self) -> Uptime:
        """Return the mark of the next write; no other try has the same."""
        self._tried = self._lanes.next_uptime(self.lane, above=self._tried)
        return Uptime(self._uptime, self._tried)

    async def _commit(self, transact: Callable[[], int], counts: Callable[[], Counts]) -> None:
        """Carry out a transaction, which returns the uptime that it has written; tell its counts.

        Tried again although it was committed, as happens if the answer was lost, it finds another
        uptime than it expects.
        """
        try:
            self._uptime = await self.read(transact)
        except Exception as error:
            self._error = error
            raise
        outcomes: Counter[str] = Counter()
        for (_type, outcome), number in counts().items():
            outcomes[outcome] += number
        if outcomes:
            self._tell(outcomes)

    def _require_sound(self) -> None:
        if self._error is not None:
            raise self._error
