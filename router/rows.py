"""How entries become rows of the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from router import bodies, paths
from router.bulk import Values
from router.errors import StoreError, Unreadable
from router.events import (
    EVENT_TYPES,
    Draft,
    Entry,
    Event,
    Notification,
    as_micros,
    key_of,
    make_ids,
    shard_of,
)

MAX_SUBJECT = 2_000  # bytes in UTF-8: a row of a PostgreSQL index holds 2,704, with other columns
MAX_SOURCE = 255  # characters, as its column has it
LIVE = (False, False)  # the last columns of `event`: `reparsed` and `quiet`


class Appended(msgspec.Struct, frozen=True):
    """What became of one entry.

    Attributes:
        events: Its new events, in the order of their positions.
        known: How many of its events were in the log already.
    """

    events: tuple[Event, ...]
    known: int

    @property
    def positions(self) -> tuple[int, ...]:
        """Of its new events, ascending."""
        return tuple(event.position for event in self.events)


class Found(NamedTuple):
    """A draft as a row, but for what its place in the log will tell.

    Attributes:
        key: By which it is known again.
        row: Of the table ``event``, from the path on.
    """

    draft: Draft
    key: bytes
    row: Values


class Prepared(NamedTuple):
    """An entry as rows, but for what its place in the log will tell.

    Attributes:
        row: Of the table ``notification``, without its id and its trace.
    """

    notification: Notification
    row: Values
    found: list[Found]


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one append, and what it tells of each entry."""

    appended: list[Appended]
    notifications: list[Values]
    events: list[Values]
    keys: list[tuple[bytes, int]]


def prepare(entry: Entry) -> Prepared:
    """Do all for ``entry`` that can be done before the log is locked.

    Raises:
        StoreError: The log cannot hold one of its drafts, or the name of its source.
    """
    notification = entry.notification
    if len(notification.source) > MAX_SOURCE:  # one engine would keep it, another cut it off
        raise StoreError(f"the name of a source has no more than {MAX_SOURCE} characters")
    found = find(notification, entry.drafts)
    return Prepared(notification, _notification_row(notification), found)


def find(notification: Notification, drafts: Sequence[Draft]) -> list[Found]:
    """Return ``drafts``, the events inside ``notification``, as rows.

    Raises:
        StoreError: The log cannot hold one of them.
    """
    try:
        for draft in drafts:
            check(draft)
        return [
            Found(draft, key_of(notification.source, draft, notification.body), _event_row(draft))
            for draft in drafts
        ]
    except (ValueError, TypeError, AttributeError) as error:
        # Not what the error says: it may quote what the provider sent.
        raise StoreError(
            f"an event of source {notification.source!r} cannot be stored: the adapter gave it a "
            f"type, a path, a time or a text that is not allowed ({type(error).__name__})"
        ) from error


def check(draft: Draft) -> None:
    """Refuse what one engine or the other, or the view, would choke on.

    Raises:
        StoreError: The subject is longer than `MAX_SUBJECT`.
        ValueError: The type is none of ours, the path cannot be read, or a text holds NUL or half
            of a surrogate pair.
    """
    if draft.type not in EVENT_TYPES:
        raise ValueError("its type is none of " + ", ".join(EVENT_TYPES))
    paths.parse(draft.path)
    subject = draft.subject
    if len(subject) > MAX_SUBJECT or len(subject.encode()) > MAX_SUBJECT:
        raise StoreError(
            f"an event cannot be stored: its channel and conversation have {len(subject)} "
            f"characters, and no more than {MAX_SUBJECT} bytes can be looked up on every engine"
        )
    text = "".join((draft.path, draft.subtype, subject, draft.external_id or ""))
    if b"\0" in text.encode():
        raise ValueError("it holds a NUL character")


def number(entries: Sequence[Prepared], *, known: set[bytes], head: int) -> Batch:
    """Give every event that is not known its position; twins within the batch are known too."""
    batch = Batch([], [], [], [])
    seen = set(known)
    # Nobody traces, most often, and the rows end before that column.
    is_traced = any(entry.notification.trace is not None for entry in entries)
    # At once: what asks the system for noise also lets go of the interpreter, each time.
    ids = make_ids(head + 1, sum(len(entry.found) for entry in entries))
    position = head
    for entry in entries:
        kept, events = None, []
        for draft, key, row in entry.found:
            if key in seen:
                continue
            seen.add(key)
            position += 1
            if kept is None:
                kept = _as_kept(entry.notification, id=position)
                trace = (entry.notification.trace,) if is_traced else ()
                batch.notifications.append((position, *entry.row, *trace))
            id_ = ids[position - head - 1]
            events.append(make_event(draft, kept, position=position, id=id_))
            batch.events.append((position, id_, key, kept.id, *row))
            batch.keys.append((key, position))
        batch.appended.append(Appended(tuple(events), len(entry.found) - len(events)))
    return batch


def _event_row(draft: Draft) -> Values:
    """In the order of the columns of the table ``event``, from the path on."""
    subject = draft.subject
    return (
        draft.path,
        draft.type,
        draft.subtype,
        draft.channel,
        subject,
        shard_of(subject),
        draft.external_id,
        draft.occurred_at and as_micros(draft.occurred_at),
        *LIVE,
    )


def _notification_row(notification: Notification) -> Values:
    """In the order of the columns of the table ``notification``, without the id and the trace."""
    try:
        data = bodies.decode(notification.body)  # not kept, as `data` is: many may wait
    except Unreadable:
        data = None  # as null is: neither has an element
    return (
        notification.source,
        as_micros(notification.received_at),
        bodies.encode(notification.headers).decode(),
        notification.body,
        data is not None and bodies.is_queryable(notification.body, data),
    )


def _as_kept(notification: Notification, *, id: int) -> Notification:  # noqa: A002
    """Return ``notification`` as the log will give it back."""
    return Notification(
        source=notification.source,
        received_at=_in_utc(notification.received_at),
        headers=notification.headers,
        body=notification.body,
        id=id,
        trace=notification.trace,
    )


def make_event(
    draft: Draft,
    notification: Notification,
    *,
    position: int,
    id: str,  # noqa: A002
) -> Event:
    """Return ``draft`` as the log gives it back, once it stands at ``position``."""
    return Event(
        position=position,
        id=id,
        type=draft.type,
        subtype=draft.subtype,
        channel=draft.channel,
        subject=draft.subject,
        external_id=draft.external_id,
        occurred_at=draft.occurred_at and _in_utc(draft.occurred_at),
        path=draft.path,
        notification=notification,
    )


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
