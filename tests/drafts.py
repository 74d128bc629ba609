"""Notifications whose bodies and events are made to measure."""

from collections.abc import Iterable

from router.events import Draft, Entry, Event, Notification
from tests.entries import NOON


def make(body: bytes, *drafts: Draft, trace: str | None = None) -> Entry:
    """Return a notification of these events, received in a trace context."""
    return Entry(Notification("wa", NOON, {}, body, trace=trace), drafts)


def other(path: object = "$", **changes: object) -> Draft:
    """Return an event that says little."""
    return Draft(**{"path": path, "type": "other", "subtype": "", **changes})  # type: ignore[arg-type]


def positions(events: Iterable[Event]) -> list[int]:
    """Where these events stand."""
    return [event.position for event in events]
