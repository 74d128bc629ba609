"""Entries for the log, made up where it does not matter what a provider would send."""

import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from router.events import Draft, Entry, EventType, Notification
from router.log import EventLog

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

_numbers = itertools.count(1)


def make_entry(
    conversation: str = "ana",
    type_: EventType = "message",
    *,
    subtype: str = "text",
    channel: str = "",
    source: str = "wa",
    received_at: datetime = NOON,
    text: str = "",
) -> Entry:
    """Return a notification with one event that no log knows yet; its payload is {"text": …}."""
    number = next(_numbers)
    body = json.dumps({"text": text, "number": number}).encode()
    draft = Draft(
        path="$",
        type=type_,
        subtype=subtype,
        channel=channel,
        conversation=conversation,
        natural_key=(str(number),),
    )
    return Entry(Notification(source, received_at, {}, body), [draft])


def append(log: EventLog, *entries: Entry) -> list[int]:
    """Append ``entries`` and return the positions of their events."""
    return [at for one in log.append(entries) for at in one.positions]


def append_messages(log: EventLog, conversations: Sequence[str]) -> list[int]:
    """Append a message of each of ``conversations`` and return their positions."""
    return append(log, *(make_entry(one) for one in conversations))
