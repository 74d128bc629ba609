"""The intake of a delivery: what it reads of the log, and how much it takes in at a time."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from typing import Protocol

import msgspec

from router.clock import Clock
from router.events import Event, Replaying
from router.filters import Filter
from router.ledger import Ledger
from router.pages import Page
from router.room import WINDOW, Room

PAGE = 500
SHARE = 0.25  # of the room that must be free before more is read: a few events are not worth a page
POLL = 0.5  # seconds; the longest that an event waits when its wake-up is lost


class Span(msgspec.Struct, frozen=True):
    """What part of the log is delivered.

    Attributes:
        matching: Which events.
        until: The last position; None for live delivery, which never ends.
        replay: What handlers are told of the replay.
    """

    matching: Filter
    until: int | None = None
    replay: Replaying | None = None


class Reader(Protocol):
    """Reads a page of events behind a position, as `EventLog.read_page` does."""

    def __call__(
        self,
        *,
        after: int,
        limit: int,
        until: int | None,
        matching: Filter,
        shards: tuple[int, int] | None,
        max_bytes: int,
    ) -> Page:
        """Return it."""


class Intake:
    """Takes events from the log, as far as there is room for them until they are settled.

    Args:
        span: What part of the log is delivered.
        ledger: Knows how far the lane has come.
        read_page: Reads what is new.
        room: How much may be taken and not settled.
    """

    def __init__(
        self, span: Span, *, ledger: Ledger, read_page: Reader, room: Room, clock: Clock
    ) -> None:
        self._span = span
        self._ledger = ledger
        self._read_page = read_page
        self._room = room
        self._clock = clock
        self._may_be_more = True  # events that have not been looked for
        self._looked_at = 0
        # Of each body the first and the last of its events, and its size.
        self._bodies: list[tuple[int, int, int]] = []
        self._bytes = 0  # of all of these

    def wake(self) -> None:
        """Look for new events now."""
        self._may_be_more = True

    @property
    def is_at_end(self) -> bool:
        """Whether all of the span was taken in; live delivery has no end."""
        end = self._span.until
        return end is not None and self._ledger.progress.cursor >= end

    @property
    def is_due(self) -> bool:
        """Whether it is time to look, and there is room for what may be found."""
        free = self._room.events - self._ledger.progress.pending
        if free < SHARE * self._room.events or not self._has_room():
            return False
        waited = abs(self._clock.now() - self._looked_at)
        return self._may_be_more or waited >= POLL * 1_000_000

    @property
    def has_more(self) -> bool:
        """Whether there is more to take, and room for it."""
        return self._may_be_more and self.is_due

    def seconds_to_look(self) -> float:
        """How long until it is time to look again."""
        pause = POLL - abs(self._clock.now() - self._looked_at) / 1_000_000
        return pause if pause > 0 else POLL  # it is time, but there is no room

    async def read(self) -> list[Event]:
        """Take the next page, and return those of its events that are to be handed over now."""
        self._may_be_more = False
        self._looked_at = self._clock.now()
        free = self._room.events - self._ledger.progress.pending
        page = await self._read(limit=max(1, min(free, PAGE)))
        self._may_be_more = self._may_be_more or not page.is_last
        return self._take(page)

    async def read_one(self) -> tuple[list[Event], bool]:
        """Take one event, or none that is to be handed over now; and whether it was the last."""
        page = await self._read(limit=1)
        return self._take(page), page.is_last

    async def _read(self, *, limit: int) -> Page:
        read = partial(
            self._read_page,
            after=self._ledger.progress.cursor,
            until=self._span.until,
            limit=limit,
            matching=self._span.matching,
            shards=self._ledger.lane.shards,
            max_bytes=self._room.bytes - self._bytes,
        )
        return await self._ledger.read(read)

    def _take(self, page: Page) -> list[Event]:
        positions = [event.position for event in page.events]
        taken = self._ledger.progress.take(positions, reached=page.reached)
        fresh = list(page.events)
        if len(taken) < len(positions):
            rest = set(taken)
            fresh = [event for event in fresh if event.position in rest]
        if blocked := self._ledger.blocked:
            self._ledger.settle_all([event for event in fresh if event.subject in blocked])
            fresh = [event for event in fresh if event.subject not in blocked]
        self._keep_sizes(fresh)
        return fresh

    def _keep_sizes(self, events: Sequence[Event]) -> None:
        last: Event | None = None
        for event in events:
            if last is not None and event.notification is last.notification:
                first, _, size = self._bodies.pop()
            else:
                first, size = event.position, len(event.notification.body)
                self._bytes += size
            self._bodies.append((first, event.position, size))
            last = event

    def _has_room(self) -> bool:
        """Whether the bodies of what is taken and not settled leave room for more."""
        most = self._room.bytes
        if self._bytes >= most or len(self._bodies) > 4 * WINDOW:
            progress = self._ledger.progress
            del self._bodies[: bisect_right(self._bodies, progress.checkpoint, key=itemgetter(1))]
            if len(self._bodies) > 2 * WINDOW or self._bytes >= most:
                self._bodies = [one for one in self._bodies if progress.has_pending(*one[:2])]
            self._bytes = sum([size for _, _, size in self._bodies])
        return self._bytes < most
