"""Group commit: one thread appends all that waits in one transaction, and answers each after it.

A commit costs a disk's flush whatever is in it, so the busier the receiver, the cheaper each
notification. Nothing is answered before its own commit has returned.

An append begins when the event loop has taken in what there is (`router.waves`), where it would
otherwise fight with this thread for the interpreter at each request. Bodies are split here, one
right after the other, in half the time that each takes within its request (`docs/decisions`).
"""

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

from router.errors import RouterError, StoreError, Unavailable, trace
from router.events import Entry, Event, Notification, Unsplit
from router.log import EventLog
from router.rows import Appended, Prepared, prepare
from router.waves import LONGEST, Loop, Waiting, Wave, Waves, refuse

MAX_BATCH = 512  # entries a transaction; more would only make the first of them wait longer
FEW = 8  # entries that are worth an append; who sends one at a time does not wait for more
PAUSE = 0.008  # seconds after the beginning of the last append, from when on fewer are, too
STEP = 0.002  # seconds in which another must come, or fewer are, too
PATIENCE = 10.0  # seconds that a request waits; a provider takes longer for no answer at all
MAX_EVENTS = 4096  # events a transaction, beyond which no entry is added: others must write, too

logger = logging.getLogger("router.writer")

Result = Appended | RouterError
Ready = tuple[Waiting, Prepared]


class Appender(Protocol):
    """Appends entries, as `Writer` does."""

    async def append(self, entry: Entry | Unsplit) -> Appended:
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
        self._waves = Waves(self._hand_over)
        self._queue: deque[Waiting] = deque()
        log.meters.count_waiting = lambda: len(self._queue) + self._waves.count
        self._bytes = 0
        self._is_open = False
        self._has_ended = False
        self._size = 1  # of the last batch
        self._wanted = 1  # entries for which the thread wakes up; 0 is for the end of any wave
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

    async def append(self, entry: Entry | Unsplit) -> Appended:
        """Append ``entry``; when this returns, it is on disk.

        Raises:
            Unavailable: The queue is full, it is stopping, the database does not take it, or has
                not answered in time: nobody knows then whether it will be there.
            StoreError: The entry itself cannot be stored.
            Unreadable: The body is not in the source's format.
        """
        if not self._is_open:
            raise Unavailable("the router is stopping or has not been started")
        wave = self._waves.begin(asyncio.get_running_loop())
        size, more = self._bytes + wave.size, len(entry.notification.body)
        is_heavy = size > 0 and size + more > self._max_bytes
        if is_heavy or len(self._queue) + len(wave.waiting) >= self._max_waiting:
            raise Unavailable("more notifications wait to be stored than there is room for")
        return await wave.append(entry)

    def _hand_over(self, wave: Wave) -> None:
        """Queue a wave, on its event loop."""
        if wave.waiting:
            wave.give_up_after(self._patience)
        with self._changed:
            if not self._has_ended:
                self._queue.extend(wave.waiting)
                self._bytes += wave.size
            if len(self._queue) >= self._wanted:
                self._changed.notify()
        if self._has_ended:
            refuse(wave.waiting, "the router is stopping")

    def _run(self) -> None:
        while batch := self._take():
            ready: list[Ready] = []
            for waiting, entry in zip(batch, [_prepare(one.entry) for one in batch], strict=True):
                if isinstance(entry, RouterError):
                    self._answer([waiting], [entry])
                else:
                    ready.append((waiting, entry))
            for part in _divide(ready):
                self._append(part)

    def _take(self) -> list[Waiting]:
        """Wait for entries and take them; none means that the writer has been stopped."""
        with self._changed:
            self._wanted = 1
            self._changed.wait_for(lambda: self._queue or not self._is_open)
            self._wanted = FEW
            self._pause()
            self._wanted = 0
            self._gather()
            self._begun_at = self._monotonic()
            self._size = min(len(self._queue), MAX_BATCH)
            batch = [self._queue.popleft() for _ in range(self._size)]
            self._bytes -= sum(len(waiting.entry.notification.body) for waiting in batch)
            self._has_ended = not batch
        return batch

    def _pause(self) -> None:
        """Wait while more come, unless the last append is long past: one costs as much as ten."""
        while self._is_open and len(self._queue) < FEW and self._size + len(self._queue) > 2:
            before, left = len(self._queue), self._begun_at + PAUSE - self._monotonic()
            self._changed.wait(max(0, min(left, STEP)))
            if left <= STEP or len(self._queue) == before:
                return

    def _gather(self) -> None:
        """Wait until the event loops have taken in what there is."""
        end = self._monotonic() + LONGEST
        while not self._waves.are_over and len(self._queue) < MAX_BATCH:
            left = end - self._monotonic()
            if left <= 0:
                self._waves.forget_ended()
                return
            self._changed.wait(left)

    def _append(self, part: Sequence[Ready]) -> None:
        """Append in one transaction, and answer those who brought it."""
        batch, entries = [waiting for waiting, _ in part], [entry for _, entry in part]
        results = self._try(entries)
        self._count(entries, results)
        self._answer(batch, results)
        events = [event for one in results if isinstance(one, Appended) for event in one.events]
        if events:
            try:
                self._on_append(events)
            except Exception as error:  # must not cost the thread that all requests wait for
                logger.error("nobody was told of new events\n%s", trace(error))

    def _try(self, entries: Sequence[Prepared]) -> list[Result]:
        try:
            return list(self._log.append_prepared(entries))
        except Unavailable as error:
            logger.warning("%d notifications not stored: %s", len(entries), error)
            return [Unavailable(str(error)) for _ in entries]
        except Exception as error:
            if len(entries) == 1:
                return [_explain(entries[0].notification, error)]
        # One of them is at fault: ever smaller parts by themselves, until it fails alone.
        half = len(entries) // 2
        return self._try(entries[:half]) + self._try(entries[half:])

    def _count(self, entries: Sequence[Prepared], results: Sequence[Result]) -> None:
        """Count a batch before it is answered: who has an answer may look at the sums."""
        took = self._monotonic() - self._begun_at
        known: Counter[str] = Counter()
        for entry, one in zip(entries, results, strict=True):
            if isinstance(one, Appended) and one.known:
                known[entry.notification.source] += one.known
        new = [one.events for one in results if isinstance(one, Appended)]
        self._log.meters.append(new, known=known, size=len(entries), took=took)

    def _answer(self, batch: Sequence[Waiting], results: Sequence[Result]) -> None:
        """Hand each request its result: one call into each loop for the whole batch."""
        loops: dict[Loop, list[tuple[asyncio.Future[Appended], Result]]] = {}
        for waiting, result in zip(batch, results, strict=True):
            loops.setdefault(waiting.future.get_loop(), []).append((waiting.future, result))
        for loop, pairs in loops.items():
            try:
                self._waves.provoke(loop, partial(_settle, pairs))
            except RuntimeError:  # the loop is closed: nobody waits any more
                logger.warning("%d answers came after their event loop had ended", len(pairs))


def _prepare(entry: Entry | Unsplit) -> Prepared | RouterError:
    """Do what does not need the log; what goes wrong is the entry's own."""
    try:
        return prepare(entry.as_entry() if isinstance(entry, Unsplit) else entry)
    except RouterError as error:
        return error
    except Exception as error:
        return _explain(entry.notification, error)


def _divide(ready: Sequence[Ready]) -> Iterator[Sequence[Ready]]:
    """Yield what goes into one transaction; most often that is all."""
    first = events = 0
    for at, (_, entry) in enumerate(ready):
        if events >= MAX_EVENTS:
            yield ready[first:at]
            first, events = at, 0
        events += len(entry.found)
    if ready:
        yield ready[first:]


def _explain(notification: Notification, error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return error
    source = notification.source
    logger.error("a notification of source %r cannot be stored\n%s", source, trace(error))
    return StoreError(f"the notification cannot be stored: {type(error).__name__}")


def _settle(pairs: Sequence[tuple[asyncio.Future[Appended], Result]]) -> None:
    for future, result in pairs:
        if future.done():  # the client has gone; the notification is stored all the same
            continue
        if isinstance(result, Appended):
            future.set_result(result)
        else:
            future.set_exception(result)
