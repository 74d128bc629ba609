"""The owner's book of one lane: what has come of it since it was last written down."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import Literal, Protocol, TypeVar

from sqlalchemy import Connection

from router.errors import Unavailable
from router.lanes import Lane, Lanes
from router.parking import Parking
from router.progress import Progress

T = TypeVar("T")
Outcome = Literal["done", "failed"]  # of a delivery: handled, or given up
Statement = Callable[[Connection], Outcome | None]  # gives what is to be counted

PATIENCE = 1.0  # seconds between tries while the database does not answer

logger = logging.getLogger("router.ledger")


class Tally(Protocol):
    """Adds to the counts of a replay."""

    def __call__(self, connection: Connection, *, done: int, failed: int) -> None:
        """Add ``done`` and ``failed`` within the transaction."""


class Ledger:
    """Keeps a lane's progress in memory and writes it down, all of it in one transaction each time.

    Every transaction starts with the fence of the lane's epoch and carries the checkpoint, what is
    settled above it, and how far blocked subjects have come; so no crash can leave one of them
    ahead of another. Once a write has failed, the lane begins again from what is on record: the
    ledger writes nothing more.

    Args:
        lane: Whose.
        tally: Writes down the counts of a replay: how many were done and failed.
        storage: The threads that talk to the database.
        sleep: Waits for some seconds.
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
    ) -> None:
        self.lane = lane
        self.progress = Progress(lane.checkpoint, lane.done)
        self.blocked: dict[str, int] = {}  # subject -> settled up to here
        self._lanes = lanes
        self._parking = parking
        self._storage = storage
        self._sleep = sleep
        self._tally = tally
        self._advanced: dict[str, int] = {}
        self._released: set[str] = set()
        self._counts: Counter[Outcome] = Counter()
        self._written = self._state()
        self._error: Exception | None = None
        self._one_at_a_time = asyncio.Lock()

    def settle(self, position: int) -> None:
        """Note that ``position`` needs nothing more here."""
        self.progress.settle(position)

    def count(self, outcome: Outcome) -> None:
        """Count a delivery."""
        self._counts[outcome] += 1

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
        writing = asyncio.ensure_future(self._write(statements, note))
        # Nobody may be left to hear of its failure; those who write later are.
        writing.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(writing)

    async def flush(self) -> None:
        """Write down progress if there is any."""
        is_new = self._state() != self._written or self._counts
        if is_new or self._advanced or self._released:
            await self.write()

    async def _write(self, statements: Sequence[Statement], note: Callable[[], None]) -> None:
        async with self._one_at_a_time:
            if self._error is not None:
                raise self._error
            note()
            state = self._state()
            work = self._make_work(statements)
            try:
                await self.read(work)
            except Exception as error:
                self._error = error
                raise
            self._written = state

    def _make_work(self, statements: Sequence[Statement]) -> Callable[[], None]:
        """Return the transaction that writes down what is true by now."""
        checkpoint, done = self.progress.checkpoint, self.progress.done
        advanced, self._advanced = self._advanced, {}
        released, self._released = self._released, set()
        counts, self._counts = self._counts, Counter()

        def work() -> None:
            with self._lanes.owning(self.lane, checkpoint=checkpoint, done=done) as connection:
                self._parking.release(connection, self.lane, sorted(released))
                for subject, position in advanced.items():
                    self._parking.advance(connection, self.lane, subject, position)
                outcomes = Counter(statement(connection) for statement in statements)
                if self._tally is not None:
                    self._tally(
                        connection,
                        done=counts["done"] + outcomes["done"],
                        failed=counts["failed"] + outcomes["failed"],
                    )

        return work

    def _state(self) -> tuple[int, int]:
        """What tells one state of the progress from every other."""
        return self.progress.cursor, self.progress.pending
