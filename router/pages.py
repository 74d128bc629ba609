"""Pages of the log: events in order of position, each body fetched once, none more than fit."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, bindparam, func, select
from sqlalchemy.sql.elements import ColumnElement

from router.events import Event, Notification, from_micros
from router.schema import Tables

_decode_headers = msgspec.json.Decoder(dict[str, str]).decode


class Page(msgspec.Struct, frozen=True):
    """Some events in order of position.

    Attributes:
        reached: Every matching event up to this position is in this page or an earlier one.
        is_last: Whether there was nothing more when it was read.
    """

    events: Sequence[Event]
    reached: int
    is_last: bool


class Pages:
    """Reads events with their notifications.

    Args:
        tables: Those of the log.
    """

    def __init__(self, tables: Tables) -> None:
        event, self._notification = tables.event.c, tables.notification.c
        self._events = select(
            event.position,
            event.id,
            event.type,
            event.subtype,
            event.channel,
            event.subject,
            event.external_id,
            event.occurred_at,
            event.path,
            event.notification_id,
        ).order_by(event.position)
        table = self._notification
        self._sizes = select(table.id, func.length(table.body))
        self._bodies = select_notifications(tables)
        # Made once: most pages hold notifications that follow on one another.
        within = table.id.between(bindparam("first"), bindparam("last"))
        self._size_within = select(func.sum(func.length(table.body))).where(within)
        self._bodies_within = self._bodies.where(within)

    def select(self) -> Select[*tuple[Any, ...]]:
        """Return the query that `read` takes, to be narrowed down."""
        return self._events

    def read(
        self, connection: Connection, query: Select[*tuple[Any, ...]], *, max_bytes: int
    ) -> tuple[list[Event], bool]:
        """Return the events that ``query`` finds, and whether these are all of them.

        Args:
            connection: In a transaction that sees the same throughout.
            query: `select`, narrowed down.
            max_bytes: Of bodies; the first one is returned however large it is.
        """
        rows = connection.execute(query).all()
        ids = dict.fromkeys([row[-1] for row in rows])
        found = self._read_notifications(connection, list(ids), max_bytes=max_bytes) if ids else {}
        events: list[Event] = []
        for row in rows:
            notification = found.get(row[-1])
            if notification is None:  # not this body, so none behind it, lest one be left out
                break
            events.append(_make_event(row, notification))
        return events, len(events) == len(rows)

    def _read_notifications(
        self, connection: Connection, ids: Sequence[int], *, max_bytes: int
    ) -> dict[int, Notification]:
        """Read ``ids`` in their order until ``max_bytes`` are reached."""
        first, last = min(ids), max(ids)
        is_dense = last - first < 2 * len(ids)
        limits = {"first": first, "last": last}
        if is_dense:
            size = connection.execute(self._size_within, limits).scalar_one()
            if size < max_bytes:
                rows = connection.execute(self._bodies_within, limits)
                return {row[0]: make_notification(row) for row in rows}
        sizes = dict(connection.execute(self._sizes.where(self._among(ids))).all())
        fitting = _fit(ids, sizes, max_bytes=max_bytes)
        rows = connection.execute(self._bodies.where(self._among(fitting)))
        return {row[0]: make_notification(row) for row in rows}

    def _among(self, ids: Sequence[int]) -> ColumnElement[bool]:
        return self._notification.id.in_(ids)


def _fit(ids: Sequence[int], sizes: dict[int, int], *, max_bytes: int) -> list[int]:
    fitting: list[int] = []
    total = 0
    for one in ids:
        if fitting and total >= max_bytes:
            break
        fitting.append(one)
        total += sizes[one]
    return fitting


def _make_event(row: Row[*tuple[Any, ...]], notification: Notification) -> Event:
    """Return the event of a row, by place, which is the quickest."""
    position, id_, type_, subtype, channel, subject, external_id, occurred_at, path, _ = row
    return Event(
        position,
        id_,
        type_,
        subtype,
        channel,
        subject,
        external_id,
        None if occurred_at is None else from_micros(occurred_at),
        path,
        notification,
    )


def select_notifications(tables: Tables) -> Select[int, str, int, str, bytes, str | None]:
    """Return the query whose rows `make_notification` takes."""
    table = tables.notification.c
    return select(table.id, table.source, table.received_at, table.headers, table.body, table.trace)


def make_notification(row: Row[int, str, int, str, bytes, str | None]) -> Notification:
    """Return the notification of a row."""
    id_, source, received_at, headers, body, trace = row
    received = from_micros(received_at)
    return Notification(source, received, _decode_headers(headers), body, id_, trace)
