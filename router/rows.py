"""How entries become rows of the log, and rows become events again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row

from router import bodies, paths
from router.bulk import Values
from router.events import (
    EVENT_TYPES,
    Draft,
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
    notifications: list[Values]
    events: list[Values]
    keys: list[tuple[bytes, int]]


def check(draft: Draft) -> None:
    """Refuse what one engine or the other, or the view, would choke on.

    Raises:
        ValueError: The type is none of ours, the path cannot be read, or a text holds NUL or half
            of a surrogate pair.
    """
    if draft.type not in EVENT_TYPES:
        raise ValueError("its type is none of " + ", ".join(EVENT_TYPES))
    paths.parse(draft.path)
    text = "".join((draft.path, draft.subtype, draft.subject, draft.external_id or ""))
    if b"\0" in text.encode():
        raise ValueError("it holds a NUL character")


def number(
    entries: Sequence[Entry], keys: Sequence[Sequence[bytes]], *, known: set[bytes], head: int
) -> Batch:
    """Give every event that is not known its position; twins within the batch are known too."""
    batch = Batch([], [], [], [])
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
                batch.events.append(_event_row(draft, key, first + at, ids[at], first))
                batch.keys.append((key, first + at))
        positions = tuple(range(first, first + len(fresh)))
        batch.appended.append(Appended(positions, len(found) - len(fresh)))
    return batch


def _event_row(draft: Draft, key: bytes, position: int, id_: str, notification_id: int) -> Values:
    """In the order of the columns of the table ``event``."""
    subject = draft.subject
    return (
        position,
        id_,
        key,
        notification_id,
        draft.path,
        draft.type,
        draft.subtype,
        draft.channel,
        subject,
        shard_of(subject),
        draft.external_id,
        draft.occurred_at and as_micros(draft.occurred_at),
        False,
    )


def _notification_row(notification: Notification, *, id: int) -> Values:  # noqa: A002
    """In the order of the columns of the table ``notification``."""
    data = notification.data
    is_readable = data is not None  # what cannot be read looks like null: neither has an element
    return (
        id,
        notification.source,
        as_micros(notification.received_at),
        bodies.encode(notification.headers).decode(),
        notification.body,
        is_readable and bodies.is_queryable(notification.body, data),
    )


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
