"""Periods: where in the log that stands which came in between two times."""

from datetime import datetime

from sqlalchemy import Connection, func, select

from router.events import as_micros
from router.schema import Tables


def find_notifications(
    connection: Connection, tables: Tables, *, since: datetime | None, until: datetime | None
) -> tuple[int, int] | None:
    """Return the lowest and the highest id of what was received in a period; None without any.

    Between these, others may stand: clocks of machines differ.

    Args:
        connection: To read from.
        tables: Those of the log.
        since: Received at this time or later.
        until: Received before this time.
    """
    table = tables.notification.c
    # Counted, too, though nobody asks how many: without it PostgreSQL would look for the ends by
    # walking along the ids, through all that is older or newer.
    query = select(func.min(table.id), func.max(table.id), func.count())
    if since is not None:
        query = query.where(table.received_at >= as_micros(since))
    if until is not None:
        query = query.where(table.received_at < as_micros(until))
    first, last, _ = connection.execute(query).one()
    return None if first is None else (first, last)


def find_events(
    connection: Connection, tables: Tables, *, since: datetime | None, until: datetime | None
) -> tuple[int, int | None]:
    """Return positions between which all events of a period stand.

    The second is None where they reach up to the end of the log; behind that both are, where there
    are no such events.
    """
    ids = find_notifications(connection, tables, since=since, until=until)
    if ids is None:
        return connection.scalars(select(tables.head.c.position)).one() + 1, None
    first, last = ids
    table, event = tables.notification.c, tables.event.c
    # What a notification brought along stands from its id on, up to where the next one begins;
    # what was found in it later stands above all of that.
    end = connection.scalars(select(func.min(table.id)).where(table.id > last)).one()
    if end is None:
        return first, None
    later = select(func.max(event.position)).where(
        event.reparsed.is_(True), event.notification_id.between(first, last)
    )
    return first, max(end - 1, connection.scalars(later).one() or 0)
