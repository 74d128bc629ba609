"""First attempts: an event is handed over, and parked where that fails."""

from collections.abc import Sequence
from functools import partial

import msgspec
from sqlalchemy import Connection

from router.attempts import Attempts
from router.batches import Attempt
from router.clock import Clock
from router.events import Event
from router.failures import Failed
from router.ledger import Ledger
from router.parking import Parking
from router.replay_counts import Count
from router.verdicts import Verdicts, make_parked


class First(msgspec.Struct, frozen=True):
    """The first attempt at an event.

    Attributes:
        is_behind: Whether its subject was blocked already, by an earlier event.
        chance: A number from 0 to below 1, for the delay if it fails.
    """

    event: Event
    is_behind: bool
    chance: float


class Firsts:
    """Makes first attempts; what succeeds costs no statement but the flush, or its transaction.

    Args:
        attempts: Makes attempts.
        verdicts: Says what a failure means.
    """

    def __init__(
        self,
        *,
        attempts: Attempts,
        ledger: Ledger,
        parking: Parking,
        verdicts: Verdicts,
        clock: Clock,
    ) -> None:
        self._attempts = attempts
        self._ledger = ledger
        self._parking = parking
        self._verdicts = verdicts
        self._clock = clock

    async def deliver(self, event: Event, *, is_behind: bool = False) -> bool:
        """Make the first attempt; whether it failed and the event's subject now waits.

        Args:
            event: The event.
            is_behind: Whether its subject was blocked already, by an earlier event.
        """
        failed = await self._attempts.call(event, number=1)
        if failed is not None:
            return await self.keep(event, failed, is_behind=is_behind)
        self.accept(event, is_behind=is_behind)
        return False

    def accept(self, event: Event, *, is_behind: bool = False) -> None:
        """Note that the first attempt has succeeded."""
        self.note(event, is_behind=is_behind)
        self._ledger.count(((event.type, "done"),))
        self._verdicts.accept()

    def accept_all(self, events: Sequence[Event]) -> None:
        """Note that the first attempts at ``events``, none of which is behind, have succeeded."""
        if events:
            self._ledger.accept(events)
            self._verdicts.accept(len(events))

    async def deliver_together(
        self, events: Sequence[Event], *, is_behind: bool = False
    ) -> tuple[int, bool]:
        """Make first attempts in one transaction.

        Returns:
            How many of the events have been dealt with, and whether a subject of theirs now waits.
        """
        firsts = [self._make_first(event, is_behind=is_behind) for event in events]
        ended = await self._attempts.call_within([self._make_attempt(first) for first in firsts])
        must_wait = False
        for first, one in zip(firsts, ended, strict=False):
            if one.failed is not None:
                self._verdicts.blame(first.event, one.failed)
                must_wait |= self._conclude(first, one.failed)
            elif one.was_made:
                self._verdicts.accept()
            if is_behind:
                self._ledger.blocked[first.event.subject] = first.event.position
        return len(ended), must_wait

    async def keep(self, event: Event, failed: Failed, *, is_behind: bool = False) -> bool:
        """Put on record that the first attempt has failed; whether the subject now waits."""
        self._verdicts.blame(event, failed)
        first = self._make_first(event, is_behind=is_behind)
        await self._ledger.write(
            lambda connection: self._park(connection, first, failed),
            note=partial(self.note, event, is_behind=is_behind),
        )
        return self._conclude(first, failed)

    def _make_first(self, event: Event, *, is_behind: bool) -> First:
        return First(event, is_behind, self._clock.random())

    def _make_attempt(self, first: First) -> Attempt:
        return Attempt(
            first.event,
            1,
            record=partial(self._record, first),
            must_wait=partial(self._must_wait, first),
            settles=not first.is_behind,
        )

    def _record(self, first: First, connection: Connection, failed: Failed | None) -> Count | None:
        event = first.event
        if first.is_behind:
            self._parking.advance(connection, self._ledger.lane, event.subject, event.position)
        return (event.type, "done") if failed is None else self._park(connection, first, failed)

    def _must_wait(self, first: First, failed: Failed) -> bool:
        return self._verdicts.must_wait(self._judge_first(first, failed))

    def _park(self, connection: Connection, first: First, failed: Failed) -> Count | None:
        lane, event, next_at = self._ledger.lane, first.event, self._judge_first(first, failed)
        self._parking.park(connection, lane, event, failure=failed.failure, next_at=next_at)
        if self._verdicts.must_wait(next_at) and not first.is_behind:
            self._parking.block(connection, lane, event)
        return (event.type, "failed") if next_at is None else None

    def note(self, event: Event, *, is_behind: bool) -> None:
        """Note that an event is handled, or on record."""
        if is_behind:
            self._ledger.advance(event.subject, event.position)
        else:
            self._ledger.settle(event.position)

    def _conclude(self, first: First, failed: Failed) -> bool:
        """Go by what is on record of a first attempt that failed; whether the subject waits."""
        event, next_at = first.event, self._judge_first(first, failed)
        if self._verdicts.must_wait(next_at) and not first.is_behind:
            self._ledger.blocked[event.subject] = event.position
        parked = make_parked(event, failed, lane=self._ledger.lane, next_at=next_at)
        return self._verdicts.pronounce(parked, self._attempts.tell(event), failed)

    def _judge_first(self, first: First, failed: Failed) -> int | None:
        parked = make_parked(first.event, failed, lane=self._ledger.lane, next_at=None)
        return self._verdicts.judge(failed, parked, attempts=1, chance=first.chance)
