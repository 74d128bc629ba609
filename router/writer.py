"""Group commit: one thread appends all that waits in one transaction, and answers each after it.

A commit costs a disk's flush whatever is in it, so the busier the receiver, the cheaper each
notification. Nothing is answered before its own commit has returned.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from router.errors import RouterError, StoreError, Unavailable
from router.events import Entry
from router.log import EventLog
from router.rows import Appended

MAX_BATCH = 512  # entries a transaction; more would only make the first of them wait longer

logger = logging.getLogger("router.writer")

Result = Appended | RouterError
Loop = asyncio.AbstractEventLoop


class Waiting(NamedTuple):
    """An entry in the queue, and the future of the request that brought it."""

    entry: Entry
    future: asyncio.Future[Appended]


class Writer:
    """The appender of a process. Submit from any event loop; `start` before, `stop` after.

    Args:
        log: Where entries go.
        max_waiting: Entries that may wait; one more is refused.
        max_bytes: Bytes of bodies that may wait.
        on_append: Called in the writer's thread after a commit that added events.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        max_waiting: int = 10_000,
        max_bytes: int = 64 * 1024 * 1024,
        on_append: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = log
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes
        self._on_append = on_append
        self._queue: deque[Waiting] = deque()
        self._bytes = 0
        self._is_open = False
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
            Unavailable: The queue is full, it is stopping, or the database does not take it.
            StoreError: The entry itself cannot be stored.
        """
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        size = len(entry.notification.body)
        with self._changed:
            if not self._is_open:
                raise Unavailable("the router is stopping or has not been started")
            if len(self._queue) >= self._max_waiting or self._bytes + size > self._max_bytes:
                raise Unavailable("more notifications wait to be stored than there is room for")
            self._queue.append(Waiting(entry, future))
            self._bytes += size
            if len(self._queue) == 1:
                self._changed.notify()
        return await future

    def _run(self) -> None:
        while batch := self._take():
            results = self._append([waiting.entry for waiting in batch])
            _answer(batch, results)
            if any(isinstance(result, Appended) and result.positions for result in results):
                self._on_append()

    def _take(self) -> list[Waiting]:
        """Wait for entries and take them; none means that the writer has been stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or not self._is_open)
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
            self._bytes -= sum(len(waiting.entry.notification.body) for waiting in batch)
        return batch

    def _append(self, entries: Sequence[Entry]) -> list[Result]:
        try:
            return list(self._log.append(entries))
        except Unavailable as error:
            logger.warning(
                "%d notifications not stored: %s", len(entries), error.__cause__ or error
            )
            return [error] * len(entries)
        except Exception as error:
            if len(entries) == 1:
                logger.exception("a notification of %r cannot be stored", _source(entries))
                return [StoreError(f"the notification cannot be stored: {type(error).__name__}")]
        # One of them is at fault: each by itself, so that it fails alone.
        return [result for entry in entries for result in self._append([entry])]


def _source(entries: Sequence[Entry]) -> str:
    return entries[0].notification.source


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
