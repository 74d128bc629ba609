"""Attempts to deliver events: each waits for its turn, is called, and gives the turn back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import ExitStack, asynccontextmanager

import msgspec

from router.batches import Attempt, Batch, Ended
from router.events import Event, Replaying
from router.failures import Failed
from router.ledger import Ledger, Statement
from router.subscriptions import Caller
from router.turns import Pace, Places, Turns


class Attempts:
    """Makes attempts: of one subject one at a time, at the agreed pace.

    Args:
        replaying: What handlers are told of the replay; None where it is live.
        turns: Shared by all deliveries of the subscription in this process.
        is_wanted: Whether somebody more important than a transactional plugin waits to write.
        monotonic: Seconds of a clock that only goes forward, by which a batch ends.
    """

    def __init__(
        self,
        *,
        caller: Caller,
        ledger: Ledger,
        turns: Turns,
        pace: Pace,
        replaying: Replaying | None,
        is_wanted: Callable[[], bool],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.caller = caller
        self.turns = turns
        self.pace = pace
        self._ledger = ledger
        self._replaying = replaying
        self._is_wanted = is_wanted
        self._monotonic = monotonic
        self._is_ordered = caller.subscription.options.order == "subject"
        # Of live delivery the slots see to that; replays of one subscription share a room.
        is_bounded = replaying is not None and not caller.subscription.is_plain
        self._room = caller.room if is_bounded else None
        self._in_line: set[asyncio.Task[object]] = set()
        self._is_stopped = False

    def key(self, event: Event) -> str:
        """What calls are made one after another for."""
        return event.subject if self._is_ordered else str(event.position)

    def tell(self, event: Event) -> Event:
        """Return ``event`` as handlers are given it: they see which replay calls them."""
        if event.replay is self._replaying:
            return event  # it was read for them
        return msgspec.structs.replace(event, replay=self._replaying)

    def stop(self) -> None:
        """Make no attempt any more: those that wait for their turn are cancelled."""
        self._is_stopped = True
        for task in self._in_line:
            task.cancel()

    async def call(
        self, event: Event, *, number: int, begin: Statement | None = None
    ) -> Failed | None:
        """Call the handler of ``event`` in its turn, and return how it failed, or None.

        Args:
            event: The event.
            number: Which attempt it is.
            begin: Writes down, before the call, that it is made.

        Raises:
            LeaseLost: Another process has the lane.
        """
        key = self.key(event)
        with ExitStack() as stack:
            await self._take(key)
            stack.callback(self.give_back, key)
            await self._begin(begin)
            give_back = stack.pop_all().close
        return await self.caller.call(self.tell(event), attempt=number, on_return=give_back)

    def try_take(self, event: Event, key: str) -> bool:
        """Take all that a first async call for ``event`` needs, if nothing is to be waited for.

        Returns:
            Whether that was so; then it is to `give_back` when the call is over.
        """
        if self._is_stopped or self.pace.is_limited or not self.caller.is_quick(event):
            return False
        if self._room is not None and not self._room.try_take():
            return False
        if self.turns.try_take(key):
            return True
        if self._room is not None:
            self._room.give_back()
        return False

    def give_back(self, key: str) -> None:
        """Give back what was taken for a call."""
        self.turns.give_back(key)
        if self._room is not None:
            self._room.give_back()

    async def call_within(
        self, attempts: Sequence[Attempt], *, begin: Statement | None = None
    ) -> list[Ended]:
        """Make as many of the ``attempts`` as fit into one transaction, which records them, too.

        So the effects of a plugin that takes the connection are there exactly once.

        Raises:
            LeaseLost: Another process has the lane; there are no effects.
        """
        ready: list[Attempt] = []
        taken: set[str] = set()
        try:
            for attempt in attempts:
                key = self.key(attempt.event)
                if not ready:
                    await self.wait_for_turn(key)
                elif key not in taken and not self.turns.try_take(key):
                    break  # a replay has it, or live delivery: those before it need not wait
                elif not self.pace.try_pass():
                    taken.add(key)
                    break
                taken.add(key)
                ready.append(self._tell_attempt(attempt))
            await self._begin(begin)
            batch = Batch(
                ready, caller=self.caller, monotonic=self._monotonic, is_wanted=self._is_wanted
            )
            await self._ledger.write_with(batch)
            return batch.ended
        finally:
            for key in taken:
                self.turns.give_back(key)

    def _tell_attempt(self, attempt: Attempt) -> Attempt:
        told = self.tell(attempt.event)
        return attempt if told is attempt.event else msgspec.structs.replace(attempt, event=told)

    async def wait_for_turn(self, key: str) -> None:
        """Wait until a call may be made for ``key``, whose turn is to be given back after it."""
        if self._is_stopped:
            raise asyncio.CancelledError
        if not self.pace.is_limited and self.turns.try_take(key):
            return
        is_first = self._replaying is None
        await self._wait(self.pace.keep(first=is_first))
        await self._wait(self.turns.take(key, first=is_first))

    async def _take(self, key: str) -> None:
        """Wait for a place, where they are counted, the pace and the turn."""
        room = self._room
        if room is None:
            await self.wait_for_turn(key)
            return
        async with self._placed(room) as place:
            if self.pace.is_limited:
                await self._wait(self.pace.keep(first=False))
            if self.turns.try_take(key):
                place.pop_all()
                return
        # The place is for other subjects while this one is in a call ...
        await self._wait(self.turns.take(key, first=False))
        if room.try_take():
            return
        self.turns.give_back(key)  # live delivery does not wait for places
        async with self._placed(room) as place:  # ... but not for ever
            await self._wait(self.turns.take(key, first=False))
            place.pop_all()

    @asynccontextmanager
    async def _placed(self, room: Places) -> AsyncIterator[ExitStack]:
        """Wait for a place, and yield what gives it back in the end, unless that is taken away."""
        await self._wait(room.take())
        with ExitStack() as place:
            place.callback(room.give_back)
            yield place

    async def _wait(self, awaited: Coroutine[None, None, object]) -> None:
        """Wait for something until these attempts are stopped."""
        task = asyncio.current_task()
        if task is None or self._is_stopped:
            awaited.close()
            raise asyncio.CancelledError
        self._in_line.add(task)
        try:
            await awaited
        finally:
            self._in_line.discard(task)

    async def _begin(self, statement: Statement | None) -> None:
        if self._is_stopped:
            raise asyncio.CancelledError
        if statement is not None:
            await self._ledger.write(statement)  # it counts from here on: it is made, come what may
