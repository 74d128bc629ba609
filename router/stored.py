"""Stored notifications of one source, a page at a time, with the keys of what they hold already."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from router.events import Notification
from router.pages import make_notification, select_notifications
from router.periods import find_notifications
from router.store import Store

PAGE = 500  # notifications
PAGE_BYTES = 8 * 1024 * 1024  # of their bodies; the first one is read however large it is


class StoredPage(NamedTuple):
    """Some notifications, in order of their ids.

    Attributes:
        keys: Of events that point to them: of all that each brought along when it was stored, at
            least.
        reached: The id up to which all were looked at.
    """

    notifications: list[Notification]
    keys: set[bytes]
    reached: int


def read_stored(
    store: Store, source: str, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[StoredPage]:
    """Yield the notifications that are stored now; no transaction stays open between two pages.

    One whose first event was pruned is left out: what else it held may have been pruned, too.

    Args:
        store: The database.
        source: Where they came from.
        since: Received at this time or later.
        until: Received before this time.
    """
    with store.reading() as connection:
        first, last = _find_range(connection, store, since, until)
    after = first - 1
    while after < last:
        with store.reading() as connection:
            page = _read_page(connection, store, source, after=after, last=last)
        after = page.reached
        # Told apart here, not by the query: it is to walk along the ids alone.
        found = [
            one
            for one in page.notifications
            if (since is None or one.received_at >= since)
            and (until is None or one.received_at < until)
        ]
        yield StoredPage(found, page.keys, after)


def _find_range(
    connection: Connection, store: Store, since: datetime | None, until: datetime | None
) -> tuple[int, int]:
    """Return the first and the last id between which they all are."""
    if since is None and until is None:
        return 1, connection.scalars(select(store.tables.head.c.position)).one()
    return find_notifications(connection, store.tables, since=since, until=until) or (1, 0)


def _read_page(
    connection: Connection, store: Store, source: str, *, after: int, last: int
) -> StoredPage:
    table, event = store.tables.notification, store.tables.event.c
    query = (
        select_notifications(store.tables)
        .join(store.tables.event, event.position == table.c.id)
        .where(table.c.source == source, table.c.id > after, table.c.id <= last)
        .order_by(table.c.id)
        .limit(PAGE)
    )
    found: list[Notification] = []
    size = 0
    result = connection.execution_options(stream_results=True).execute(query)
    while size < PAGE_BYTES and (row := result.fetchone()) is not None:
        found.append(make_notification(row))
        size += len(row.body)
    result.close()
    if not found:
        return StoredPage([], set(), last)
    # What a notification brought along stands from its id on, up to where the next one begins.
    first, newest = found[0].id, found[-1].id
    end = connection.scalars(select(func.min(table.c.id)).where(table.c.id > newest)).one()
    keys = select(event.key).where(
        event.position >= first, event.notification_id.in_([one.id for one in found])
    )
    if end is not None:
        keys = keys.where(event.position < end)
    is_full = len(found) == PAGE or size >= PAGE_BYTES
    return StoredPage(found, set(connection.scalars(keys)), newest if is_full else last)
