"""How entries become rows of the log, and rows become events again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row

from router import bodies
from router.events import (
    Entry,
    Event,
    Notification,
    as_micros,
    from_micros,
    make_ids,
    shard_of,
)


class Appended(msgspec.Struct, frozen=True):
    """What became of one entry.

    Attributes:
        positions: Of its new events, ascending.
        known: How many of its events were in the log already.
    """

    positions: tuple[int, ...]
    known: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one append, and what it tells of each entry."""

    appended: list[Appended]
    notifications: list[dict[str, object]]
    events: list[dict[str, object]]


def number(
    entries: Sequence[Entry], keys: Sequence[Sequence[bytes]], *, known: set[bytes], head: int
) -> Batch:
    """Give every event that is not known its position; twins within the batch are known too."""
    batch = Batch([], [], [])
    seen = set(known)
    for entry, found in zip(entries, keys, strict=True):
        first = head + len(batch.events) + 1
        fresh = []
        for draft, key in zip(entry.drafts, found, strict=True):
            if key not in seen:
                seen.add(key)
                fresh.append((draft, key))
        if fresh:
            batch.notifications.append(_notification_row(entry.notification, id=first))
            ids = make_ids(first, len(fresh))
            for at, (draft, key) in enumerate(fresh):
                batch.events.append(
                    {
                        "position": first + at,
                        "id": ids[at],
                        "key": key,
                        "notification_id": first,
                        "path": draft.path,
                        "type": draft.type,
                        "subtype": draft.subtype,
                        "channel": draft.channel,
                        "subject": draft.subject,
                        "shard": shard_of(draft.subject),
                        "external_id": draft.external_id,
                        "occurred_at": draft.occurred_at and as_micros(draft.occurred_at),
                        "reparsed": False,
                    }
                )
        positions = tuple(range(first, first + len(fresh)))
        batch.appended.append(Appended(positions, len(found) - len(fresh)))
    return batch


def _notification_row(notification: Notification, *, id: int) -> dict[str, object]:  # noqa: A002
    return {
        "id": id,
        "source": notification.source,
        "received_at": as_micros(notification.received_at),
        "headers": bodies.encode(notification.headers).decode(),
        "body": notification.body,
        "queryable": bodies.is_queryable(notification.body, notification.data),
    }


def make_event(row: Row[*tuple[Any, ...]], notification: Notification) -> Event:
    """Return the event of a row of the table ``event``."""
    return Event(
        position=row.position,
        id=row.id,
        type=row.type,
        subtype=row.subtype,
        channel=row.channel,
        subject=row.subject,
        external_id=row.external_id,
        occurred_at=_moment(row.occurred_at),
        path=row.path,
        notification=notification,
    )


def make_notification(row: Row[*tuple[Any, ...]]) -> Notification:
    """Return the notification of a row of the table ``notification``."""
    return Notification(
        id=row.id,
        source=row.source,
        received_at=from_micros(row.received_at),
        headers=msgspec.json.decode(row.headers),
        body=row.body,
    )


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
