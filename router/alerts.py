"""Alerts on their way to the plugins: told in the background, in order, and never too many."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

MOST = 1_000  # that wait for one listener; an outage must not fill the memory with news of itself

logger = logging.getLogger("router.alerts")

Tell = Callable[[str, Mapping[str, object]], Awaitable[None]]


class Alerts:
    """Tells of dead letters and of subscriptions that change their state.

    Args:
        listeners: Each is told of everything, the next thing when it is done with the last: none
            waits for another. Its failures are its own affair.
    """

    def __init__(self, listeners: Sequence[Tell]) -> None:
        self._listeners = [Listener(tell) for tell in listeners]

    def add(self, hook: str, **given: object) -> None:
        """Tell everybody soon; called on the loop."""
        for one in self._listeners:
            one.add(hook, given)

    async def stop(self, *, seconds: float) -> None:
        """Tell what waits, but no longer than for ``seconds``."""
        telling = [one.telling for one in self._listeners if one.telling is not None]
        if telling:
            _, late = await asyncio.wait(telling, timeout=seconds)
            for task in late:
                task.cancel()


class Listener:
    """A listener, with what it has not been told yet.

    Attributes:
        telling: The task in which it is told; None while there is nothing to tell.
    """

    def __init__(self, tell: Tell) -> None:
        self.telling: asyncio.Task[None] | None = None
        self._tell = tell
        self._waiting: deque[tuple[str, Mapping[str, object]]] = deque()
        self._dropped = 0

    def add(self, hook: str, given: Mapping[str, object]) -> None:
        """Take an alert, unless too many wait."""
        if len(self._waiting) >= MOST:
            self._dropped += 1
            return
        self._waiting.append((hook, given))
        if self.telling is None:
            self.telling = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                hook, given = self._waiting.popleft()
                await self._tell(hook, given)
            if self._dropped:
                logger.warning("%d alerts were dropped: too many waited", self._dropped)
                self._dropped = 0
        finally:
            self.telling = None
