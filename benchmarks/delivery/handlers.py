"""Plugins of the three kinds, each of which hands the events it gets to one plain function."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Literal

from sqlalchemy import Connection

from router import Event, hookimpl

Kind = Literal["async", "plain", "transactional"]
KINDS: tuple[Kind, ...] = ("async", "plain", "transactional")

TABLE = """
CREATE TABLE IF NOT EXISTS message_state (id TEXT PRIMARY KEY, status TEXT, position BIGINT)
"""
UPSERT = """
INSERT INTO message_state VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET
status = excluded.status, position = excluded.position
"""

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


class Upserting:
    """Handles events in the transactions that settle them, with one UPSERT each.

    Args:
        name: Of the plugin.
        handle: What it hands them to afterwards.
        dialect: Of the database.
    """

    def __init__(self, name: str, handle: Handle, *, dialect: str) -> None:
        self.plugin_name = name
        self._handle = handle
        self._upsert = UPSERT if dialect == "sqlite" else UPSERT.replace("?", "%s")

    @hookimpl
    def on_event(self, event: Event, connection: Connection) -> None:
        """Write its state down."""
        state = (event.external_id, event.subtype or event.type, event.position)
        connection.exec_driver_sql(self._upsert, state)
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
