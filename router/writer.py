"""Group commit: one thread appends all that waits in one transaction, and answers each after it.

A commit costs a disk's flush whatever is in it, so the busier the receiver, the cheaper each
notification. Nothing is answered before its own commit has returned.

Under load the next batch is given a moment to become as large as the last. The event loop takes in
a whole wave of requests undisturbed then, where it would otherwise fight with this thread for the
interpreter at each of them: that halved the processor time of a notification (`docs/decisions`).
"""

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from router.errors import RouterError, StoreError, Unavailable, trace
from router.events import Entry, Event
from router.log import EventLog
from router.rows import Appended

MAX_BATCH = 512  # entries a transaction; more would only make the first of them wait longer
FEW = 4  # entries that are worth an append; who sends one at a time does not wait for more
PAUSE = 0.005  # seconds after the beginning of the last append, from when on fewer are, too
STEP = 0.002  # seconds that a batch waits, again and again, to become as large as the last one
SURGE = 4  # entries that must come in each: fewer are no wave, and waiting would make them late
GATHER = 0.006  # seconds that this may take
PATIENCE = 10.0  # seconds that a request waits; a provider takes longer for no answer at all
MAX_EVENTS = 4096  # events a transaction, beyond which no entry is added: others must write, too

logger = logging.getLogger("router.writer")

Result = Appended | RouterError
Loop = asyncio.AbstractEventLoop


class Waiting(NamedTuple):
    """An entry in the queue, and the future of the request that brought it."""

    entry: Entry
    future: asyncio.Future[Appended]


class Appender(Protocol):
    """Appends entries, as `Writer` does."""

    async def append(self, entry: Entry) -> Appended:
        """Append ``entry``; when this returns, it is on disk."""


class Writer:
    """The appender of a process. Submit from any event loop; `start` before, `stop` after.

    Args:
        log: Where entries go.
        max_waiting: Entries that may wait; one more is refused.
        max_bytes: Bytes of bodies that may wait; a single one may be larger.
        on_append: Called in the writer's thread, after they are committed, with the events that
            are new, in their order.
        patience: Seconds that an entry waits for its answer.
        monotonic: Seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        max_waiting: int = 10_000,
        max_bytes: int = 64 * 1024 * 1024,
        on_append: Callable[[Sequence[Event]], None] = lambda events: None,
        patience: float = PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes
        self._on_append = on_append
        self._patience = patience
        self._monotonic = monotonic
        self._queue: deque[Waiting] = deque()
        log.meters.count_waiting = self._queue.__len__
        self._bytes = 0
        self._is_open = False
        self._expected = 1  # entries: as many as came the last time
        self._begun_at = float("-inf")  # when the last append began
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="router-writer", daemon=True)

    def start(self) -> None:
        """Take entries from now on."""
        self._is_open = True
        self._thread.start()

    def stop(self) -> None:
        """Refuse new entries, append those that wait, and end; returns when that is done."""
        with self._changed:
            self._is_open = False
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    async def append(self, entry: Entry) -> Appended:
        """Append ``entry``; when this returns, it is on disk.

        Raises:
            Unavailable: The queue is full, it is stopping, the database does not take it, or has
                not answered in time: nobody knows then whether it will be there.
            StoreError: The entry itself cannot be stored.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Appended] = loop.create_future()
        size = len(entry.notification.body)
        with self._changed:
            if not self._is_open:
                raise Unavailable("the router is stopping or has not been started")
            is_heavy = self._bytes > 0 and self._bytes + size > self._max_bytes
            if len(self._queue) >= self._max_waiting or is_heavy:
                raise Unavailable("more notifications wait to be stored than there is room for")
            self._queue.append(Waiting(entry, future))
            self._bytes += size
            if len(self._queue) in (1, FEW, self._expected):
                self._changed.notify()
        timer = loop.call_later(self._patience, _give_up, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _run(self) -> None:
        while batch := self._take():
            results = self._append([waiting.entry for waiting in batch])
            self._count(batch, results)
            _answer(batch, results)
            events = [event for one in results if isinstance(one, Appended) for event in one.events]
            if events:
                try:
                    self._on_append(events)
                except Exception as error:  # must not cost the thread that all requests wait for
                    logger.error("nobody was told of new events\n%s", trace(error))

    def _take(self) -> list[Waiting]:
        """Wait for entries and take them; none means that the writer has been stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or not self._is_open)
            self._pause()
            self._gather()
            self._begun_at = self._monotonic()
            batch: list[Waiting] = []
            events = 0
            while self._queue and len(batch) < MAX_BATCH and events < MAX_EVENTS:
                waiting = self._queue.popleft()
                batch.append(waiting)
                events += len(waiting.entry.drafts)
                self._bytes -= len(waiting.entry.notification.body)
            self._expected = len(batch)
        return batch

    def _pause(self) -> None:
        """Wait for a few, unless the last append is long past: one costs as much as ten."""
        while self._is_open and len(self._queue) < FEW and self._expected + len(self._queue) > 2:
            left = self._begun_at + PAUSE - self._monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _gather(self) -> None:
        """Wait for the rest of a wave: as many entries as came the last time."""
        end = self._monotonic() + GATHER
        while self._is_open and FEW <= (before := len(self._queue)) < self._expected:
            self._changed.wait(STEP)
            if len(self._queue) - before < SURGE or self._monotonic() >= end:
                return

    def _count(self, batch: Sequence[Waiting], results: Sequence[Result]) -> None:
        """Count a batch before it is answered: who has an answer may look at the sums."""
        took = self._monotonic() - self._begun_at
        known: Counter[str] = Counter()
        for waiting, one in zip(batch, results, strict=True):
            if isinstance(one, Appended) and one.known:
                known[waiting.entry.notification.source] += one.known
        new = [one.events for one in results if isinstance(one, Appended)]
        self._log.meters.append(new, known=known, size=len(batch), took=took)

    def _append(self, entries: Sequence[Entry]) -> list[Result]:
        try:
            return list(self._log.append(entries))
        except Unavailable as error:
            logger.warning("%d notifications not stored: %s", len(entries), error)
            return [Unavailable(str(error)) for _ in entries]
        except Exception as error:
            if len(entries) == 1:
                return [_explain(entries[0], error)]
        # One of them is at fault: ever smaller parts by themselves, until it fails alone.
        half = len(entries) // 2
        return self._append(entries[:half]) + self._append(entries[half:])


def _give_up(future: asyncio.Future[Appended]) -> None:
    if not future.done():
        future.set_exception(Unavailable("the database has not answered in time"))


def _explain(entry: Entry, error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return error
    source = entry.notification.source
    logger.error("a notification of source %r cannot be stored\n%s", source, trace(error))
    return StoreError(f"the notification cannot be stored: {type(error).__name__}")


def _answer(batch: Sequence[Waiting], results: Sequence[Result]) -> None:
    """Hand each request its result: one call into each loop for the whole batch."""
    loops: dict[Loop, list[tuple[asyncio.Future[Appended], Result]]] = {}
    for waiting, result in zip(batch, results, strict=True):
        loops.setdefault(waiting.future.get_loop(), []).append((waiting.future, result))
    for loop, pairs in loops.items():
        try:
            loop.call_soon_threadsafe(_settle, pairs)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.warning("%d answers came after their event loop had ended", len(pairs))


def _settle(pairs: Sequence[tuple[asyncio.Future[Appended], Result]]) -> None:
    for future, result in pairs:
        if future.done():  # the client has gone; the notification is stored all the same
            continue
        if isinstance(result, Appended):
            future.set_result(result)
        else:
            future.set_exception(result)
