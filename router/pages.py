"""Pages of the log: events in order of position, each body fetched once, none more than fit."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, TypedDict

import msgspec
from sqlalchemy import Connection, Select, bindparam, func, select
from sqlalchemy.sql.elements import ColumnElement

from router.events import Event, Notification, Replaying, from_micros
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


class Limits(TypedDict):
    """What a page is bounded by.

    Attributes:
        after: The position to start behind.
        end: The last position.
        limit: How many events at most.
        first: The first shard, where the query asks for it.
        last: The last shard, likewise.
    """

    after: int
    end: int
    limit: int
    first: int
    last: int


class Pages:
    """Reads events with their notifications.

    Args:
        tables: Those of the log.
    """

    def __init__(self, tables: Tables) -> None:
        self._event, self._notification = tables.event.c, tables.notification.c
        table = self._notification
        self._sizes = select(table.id, func.length(table.body))
        self._bodies = select_notifications(tables)
        # Made once: most pages hold notifications that follow on one another.
        within = table.id.between(bindparam("first"), bindparam("last"))
        self._size_within = select(func.sum(func.length(table.body))).where(within)
        self._bodies_within = self._bodies.where(within)

    def select(self, *, is_sharded: bool) -> Select[*tuple[Any, ...]]:
        """Return the query that `read` takes, to be narrowed down and kept: it has the `Limits`."""
        event = self._event
        query = select(
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
        ).where(event.position > bindparam("after"), event.position <= bindparam("end"))
        if is_sharded:
            query = query.where(event.shard.between(bindparam("first"), bindparam("last")))
        return query.order_by(event.position).limit(bindparam("limit"))

    def read(
        self,
        connection: Connection,
        query: Select[*tuple[Any, ...]],
        limits: Limits,
        *,
        max_bytes: int,
        replay: Replaying | None = None,
    ) -> tuple[list[Event], bool]:
        """Return the events that ``query`` finds, and whether these are all of them.

        Args:
            connection: In a transaction that sees the same throughout.
            query: `select`, narrowed down.
            limits: Of the page.
            max_bytes: Of bodies; the first one is returned however large it is.
            replay: What handlers are told of the replay that they are read for.
        """
        rows = _fetch(connection, query, limits)
        ids = list(dict.fromkeys([row[-1] for row in rows]))
        found = self._read_notifications(connection, ids, max_bytes=max_bytes) if ids else {}
        if len(found) < len(ids):  # not this body, so none behind it, lest one be left out
            kept = list(takewhile(lambda row: row[-1] in found, rows))
            return _make_events(kept, found, replay), False
        return _make_events(rows, found, replay), True

    def _read_notifications(
        self, connection: Connection, ids: Sequence[int], *, max_bytes: int
    ) -> dict[int, Notification]:
        """Read ``ids`` in their order until ``max_bytes`` are reached."""
        first, last = min(ids), max(ids)
        if last - first < 2 * len(ids):
            limits = {"first": first, "last": last}
            size = connection.execute(self._size_within, limits).scalar_one()
            if size < max_bytes:
                rows = _fetch(connection, self._bodies_within, limits)
                return {row[0]: make_notification(row) for row in rows}
        sizes = dict(connection.execute(self._sizes.where(self._among(ids))).all())
        fitting = _fit(ids, sizes, max_bytes=max_bytes)
        rows = _fetch(connection, self._bodies.where(self._among(fitting)), {})
        return {row[0]: make_notification(row) for row in rows}

    def _among(self, ids: Sequence[int]) -> ColumnElement[bool]:
        return self._notification.id.in_(ids)


def _fetch(
    connection: Connection, query: Select[*tuple[Any, ...]], limits: Mapping[str, object]
) -> list[tuple[Any, ...]]:
    """Return the rows as the driver has them: to wrap them takes longer than to fetch them.

    For columns of which the drivers that the log uses make Python's own numbers, texts and bytes.
    """
    with connection.execute(query, limits) as result:
        return list(result.cursor.fetchall())


def _fit(ids: Sequence[int], sizes: dict[int, int], *, max_bytes: int) -> list[int]:
    fitting: list[int] = []
    total = 0
    for one in ids:
        if fitting and total >= max_bytes:
            break
        fitting.append(one)
        total += sizes[one]
    return fitting


def _make_events(
    rows: Sequence[tuple[Any, ...]],
    notifications: Mapping[int, Notification],
    replay: Replaying | None,
) -> list[Event]:
    """Return the events of rows, by place, which is the quickest."""
    return [
        Event(
            position,
            id_,
            type_,
            subtype,
            channel,
            subject,
            external_id,
            None if occurred_at is None else from_micros(occurred_at),
            path,
            notifications[notification],
            replay,
        )
        for (
            position,
            id_,
            type_,
            subtype,
            channel,
            subject,
            external_id,
            occurred_at,
            path,
            notification,
        ) in rows
    ]


def select_notifications(tables: Tables) -> Select[int, str, int, str, bytes, str | None]:
    """Return the query whose rows `make_notification` takes."""
    table = tables.notification.c
    return select(table.id, table.source, table.received_at, table.headers, table.body, table.trace)


def make_notification(row: Sequence[Any]) -> Notification:
    """Return the notification of a row."""
    id_, source, received_at, headers, body, trace = row
    received = from_micros(received_at)
    return Notification(source, received, _decode_headers(headers), body, id_, trace)
