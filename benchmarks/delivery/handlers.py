"""Plugins of the three kinds, each of which hands the events it gets to one plain function."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Literal

from sqlalchemy import Connection

from router import Event, hookimpl

Kind = Literal["async", "plain", "transactional"]
KINDS: tuple[Kind, ...] = ("async", "plain", "transactional")

Handle = Callable[[Event], None]


class Async:
    """Handles events on the loop."""

    def __init__(self, name: str, handle: Handle, *, seconds: float = 0) -> None:
        self.plugin_name = name
        self._handle = handle
        self._seconds = seconds

    @hookimpl
    async def on_event(self, event: Event) -> None:
        """Handle it, and take some seconds for it."""
        if self._seconds:
            await asyncio.sleep(self._seconds)
        self._handle(event)


class Plain:
    """Handles events on threads."""

    def __init__(self, name: str, handle: Handle, *, seconds: float = 0) -> None:
        self.plugin_name = name
        self._handle = handle
        self._seconds = seconds

    @hookimpl
    def on_event(self, event: Event) -> None:
        """Handle it, and take some seconds for it."""
        if self._seconds:
            time.sleep(self._seconds)
        self._handle(event)


class Transactional:
    """Handles events in the transactions that settle them."""

    def __init__(self, name: str, handle: Handle, *, seconds: float = 0) -> None:
        self.plugin_name = name
        self._handle = handle
        self._seconds = seconds

    @hookimpl
    def on_event(self, event: Event, connection: Connection) -> None:
        """Handle it, and take some seconds for it; the connection is not used."""
        if self._seconds:
            time.sleep(self._seconds)
        self._handle(event)


PLUGINS: Mapping[Kind, type[Async | Plain | Transactional]] = {
    "async": Async,
    "plain": Plain,
    "transactional": Transactional,
}


class Counted:
    """Counts the events it is handed until they are ``total``.

    Attributes:
        positions: Of the events, in the order in which they came.
        began: When the first one came, by `time.perf_counter`.
        ended: When the last one did.
        is_done: Is set then; for the loop that it was made on.
    """

    def __init__(self, total: int) -> None:
        self.positions: list[int] = []
        self.began = self.ended = 0.0
        self.is_done = asyncio.Event()
        self._total = total
        self._loop = asyncio.get_running_loop()

    def __call__(self, event: Event) -> None:
        """Count an event."""
        positions = self.positions
        if not positions:
            self.began = time.perf_counter()
        positions.append(event.position)
        if len(positions) == self._total:
            self.ended = time.perf_counter()
            self._loop.call_soon_threadsafe(self.is_done.set)

    @property
    def rate(self) -> float:
        """Events a second from the first to the last."""
        return len(self.positions) / (self.ended - self.began)
