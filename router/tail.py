"""The tail of the log: its newest events, read once for all deliveries of a process."""

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from router.events import Event, Notification
from router.filters import Filter
from router.log import EventLog
from router.pages import Page

BYTES = 16 * 1024 * 1024  # of bodies that are kept
EVENTS = 5_000  # that are kept
PAGE = 500
FRESH_MICROS = 250_000  # for so long a look at the log counts for all who ask, but those woken


class Wanted(NamedTuple):
    """What a reader wants of the tail: these types, and shards from the first to the last."""

    types: tuple[str, ...]
    shards: tuple[int, int] | None

    def includes(self, event: Event) -> bool:
        """Whether ``event`` is wanted."""
        if self.types and event.type not in self.types:
            return False
        return self.shards is None or self.shards[0] <= event.shard <= self.shards[1]


class Tail:
    """Keeps the newest events for those that are close behind; others read for themselves.

    Each reader gets notifications of its own, which it decodes for itself: what a handler does to a
    payload must not be seen by another plugin's.

    Args:
        log: What is read.
        types: The types of event that anybody asks for.
        now: Microseconds since 1970.
        most_bytes: Of bodies that are kept, about.
        most_events: That are kept, about.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        types: tuple[str, ...],
        now: Callable[[], int],
        most_bytes: int = BYTES,
        most_events: int = EVENTS,
    ) -> None:
        self._log = log
        self._matching = Filter(types=types, live=True)
        self._now = now
        self._most_bytes = most_bytes
        self._most_events = most_events
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._positions: list[int] = []
        self._bytes = 0
        self._start: int | None = None  # all matching events behind it are kept ...
        self._end = 0  # ... up to here
        self._looked_at = 0
        self._is_stale = True

    def grow(self, events: Sequence[Event] = ()) -> None:
        """Note, from any thread, that the log has grown.

        Args:
            events: By these, in their order, which are live. If they follow on what is kept without
                a gap, they are kept without being read; if not, or if there are none, the log is
                read.
        """
        # Whoever appends does not wait for readers; that they read for themselves costs less.
        if not events or not self._lock.acquire(blocking=False):
            self._is_stale = True
            return
        try:
            fresh = [event for event in events if event.position > self._end]
            if self._start is None or not _is_next(fresh, self._end):
                self._is_stale = True
            elif fresh:
                self._looked_at = self._now()
                wanted = Wanted(self._matching.types, None)
                self._keep(list(filter(wanted.includes, fresh)), reached=fresh[-1].position)
        finally:
            self._lock.release()

    def read_page(
        self,
        *,
        after: int,
        limit: int,
        until: int | None,
        matching: Filter,
        shards: tuple[int, int] | None,
        max_bytes: int,
    ) -> Page:
        """Return the next events behind ``after``, as `EventLog.read_page` does.

        Args:
            after: The position to start behind.
            limit: How many events at most.
            until: The last position; None is the newest there is.
            matching: What is live, of types that are all among those of the tail.
            shards: The first and last shard; None is all of them.
            max_bytes: Of bodies; the first one is returned however large it is.
        """
        with self._lock:
            if self._start is not None and after >= self._start:
                if after >= self._end:
                    self._read_on()
                if after >= self._start:
                    end = self._end if until is None else min(until, self._end)
                    wanted = Wanted(matching.types, shards)
                    return self._serve(after, end, wanted, limit=limit, max_bytes=max_bytes)
        page = self._log.read_page(
            after=after,
            limit=limit,
            until=until,
            matching=matching,
            shards=shards,
            max_bytes=max_bytes,
        )
        if page.is_last and until is None:
            self._begin(page.reached)
        return page

    def _begin(self, position: int) -> None:
        """Keep what comes behind ``position``, if nothing is kept yet."""
        with self._lock:
            if self._start is None:
                self._start = self._end = position

    def _read_on(self) -> None:
        now = self._now()
        if not self._is_stale and abs(now - self._looked_at) < FRESH_MICROS:
            return
        self._is_stale = False  # before the look: what comes during it may be missed by it
        self._looked_at = now
        page = self._log.read_page(after=self._end, limit=PAGE, matching=self._matching)
        if not page.is_last:
            self._is_stale = True
        self._keep(page.events, reached=page.reached)

    def _keep(self, events: Sequence[Event], *, reached: int) -> None:
        self._events += events
        self._positions += [event.position for event in events]
        self._bytes += sum(_sizes(events))
        self._end = reached
        if self._bytes > self._most_bytes or len(self._events) > self._most_events:
            self._forget()

    def _forget(self) -> None:
        """Keep the newer half."""
        sizes = _sizes(self._events)
        left = sum(sizes)
        most_bytes, most_events = self._most_bytes // 2, self._most_events // 2
        at = 0
        while at < len(sizes) and (left > most_bytes or len(sizes) - at > most_events):
            left -= sizes[at]
            at += 1
        if at:
            self._start = self._positions[at - 1]
            del self._events[:at], self._positions[:at]
        # Counted anew: of a body some events may be gone, and it may have come in two pages.
        self._bytes = sum(_sizes(self._events))

    def _serve(self, after: int, end: int, wanted: Wanted, *, limit: int, max_bytes: int) -> Page:
        found: list[Event] = []
        notification: Notification | None = None
        size = 0
        first, last = bisect_right(self._positions, after), bisect_right(self._positions, end)
        for event in filter(wanted.includes, self._events[first:last]):
            is_new = notification is None or notification.id != event.notification_id
            if len(found) == limit or (is_new and found and size >= max_bytes):
                return Page(found, found[-1].position, is_last=False)
            if is_new:
                notification = msgspec.structs.replace(event.notification)
                size += len(notification.body)
            found.append(msgspec.structs.replace(event, notification=notification))
        return Page(found, max(after, end), is_last=not self._is_stale)


def _is_next(events: Sequence[Event], end: int) -> bool:
    """Whether ``events`` are all there is between ``end`` and the last of them.

    They need not be: of a batch that was appended in parts another process may have come between
    two of them, or the outcome of one may be unknown.
    """
    return all(event.position == at for at, event in enumerate(events, end + 1))


def _sizes(events: Sequence[Event]) -> list[int]:
    """Return the size of each event's body, 0 where an earlier one has the same."""
    seen: set[int] = set()
    sizes = []
    for event in events:
        is_new = event.notification_id not in seen
        seen.add(event.notification_id)
        sizes.append(len(event.notification.body) if is_new else 0)
    return sizes
