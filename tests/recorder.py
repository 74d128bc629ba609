"""A handler that notes its calls, and fails or waits where a test wants it to."""

import asyncio
from collections.abc import Sequence

from router.context import Context
from router.events import Event
from tests.waiting import until


class Recorder:
    """Handles events on the loop.

    Attributes:
        calls: Position and attempt of each call, as they began.
        handled: The events whose calls succeeded, as they ended.
        most: How many calls were under way at once at most.
        doubled: The subjects that two calls were about at once.
        is_down: Whether every call fails.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self.handled: list[Event] = []
        self.most = 0
        self.doubled: list[str] = []
        self.is_down = False
        self._errors: dict[int, list[BaseException]] = {}
        self._doors: dict[int, asyncio.Event] = {}
        self._underway: list[str] = []

    def fail(self, position: int, *errors: BaseException) -> None:
        """Raise these errors in the next calls with the event at ``position``, one in each."""
        self._errors.setdefault(position, []).extend(errors)

    def hold(self, *positions: int) -> None:
        """Wait in the calls with the events at ``positions`` until they are let go."""
        self._doors |= {position: asyncio.Event() for position in positions}

    def let_go(self, *positions: int) -> None:
        """End the waiting in these calls, under way or to come."""
        for position in positions:
            self._doors.pop(position).set()

    @property
    def underway(self) -> int:
        """How many calls are under way."""
        return len(self._underway)

    @property
    def positions(self) -> list[int]:
        """The positions of the events that were handled."""
        return [event.position for event in self.handled]

    def of(self, conversation: str) -> list[int]:
        """Return the positions of the events of a conversation that were handled."""
        return [one.position for one in self.handled if one.subject == f":{conversation}"]

    async def until_called(self, *calls: tuple[int, int]) -> None:
        """Wait until just these calls were made, in this order.

        Raises:
            AssertionError: There were others.
        """
        await until(lambda: len(self.calls) >= len(calls))
        assert self.calls == list(calls)

    async def until_handled(self, positions: Sequence[int]) -> None:
        """Wait until just the events at ``positions`` were handled, in any order, each once.

        Raises:
            AssertionError: There were others.
        """
        await until(lambda: len(self.handled) >= len(positions))
        assert sorted(self.positions) == sorted(positions)

    async def on_event(self, event: Event, context: Context) -> None:
        """Handle an event."""
        self.calls.append((event.position, context.attempt))
        self._begin(event)
        try:
            if event.position in self._doors:
                await self._doors[event.position].wait()
            if self.is_down:
                raise ConnectionError("nobody answers")
            if self._errors.get(event.position):
                raise self._errors[event.position].pop(0)
            self.handled.append(event)
        finally:
            self._underway.remove(event.subject)

    def _begin(self, event: Event) -> None:
        if event.subject in self._underway:
            self.doubled.append(event.subject)
        self._underway.append(event.subject)
        self.most = max(self.most, len(self._underway))
