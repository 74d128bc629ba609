"""The owner's book of one lane: what has come of it since it was last written down."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from router.errors import Unavailable
from router.lanes import Lane, Lanes
from router.parking import Parking
from router.progress import Progress

T = TypeVar("T")
Statement = Callable[[Connection], None]

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
    ahead of another.

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
        self._counts = {"done": 0, "failed": 0}
        self._written: object = None
        self._one_at_a_time = asyncio.Lock()

    def settle(self, position: int) -> None:
        """Note that ``position`` needs nothing more here."""
        self.progress.settle(position)

    def count(self, outcome: str) -> None:
        """Count a delivery as ``done`` or ``failed``."""
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

    async def write(self, *statements: Statement) -> None:
        """Write down all progress, and ``statements`` with it, in one transaction.

        Raises:
            LeaseLost: The lane has another owner; nothing was written.
        """
        async with self._one_at_a_time:
            progress = self.progress
            checkpoint, done = progress.checkpoint, progress.done
            advanced, self._advanced = self._advanced, {}
            released, self._released = self._released, set()
            counts, self._counts = self._counts, {"done": 0, "failed": 0}

            def work() -> None:
                with self._lanes.owning(self.lane, checkpoint=checkpoint, done=done) as connection:
                    self._parking.release(connection, self.lane, sorted(released))
                    for subject, position in advanced.items():
                        self._parking.advance(connection, self.lane, subject, position)
                    for statement in statements:
                        statement(connection)
                    if self._tally is not None:
                        self._tally(connection, done=counts["done"], failed=counts["failed"])

            await self.read(work)
            self._written = (checkpoint, progress.pending, progress.cursor)

    async def flush(self) -> None:
        """Write down progress if there is any."""
        progress = self.progress
        now = (progress.checkpoint, progress.pending, progress.cursor)
        if now != self._written or self._advanced or self._released or any(self._counts.values()):
            await self.write()
