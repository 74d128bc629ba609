"""What became of each message of the business, and what happened in each conversation.

A read model: two tables that this plugin fills from events, each in the transaction that settles
its event. They end up the same in whatever order the events come, and however often, so that a
replay may fill them from history while live delivery goes on.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, MetaData, Table, insert, select, update

from router import Event, hookimpl
from router.plugins.timeline.facts import is_status, read_status, read_step
from router.plugins.timeline.model import MESSAGES, METADATA, STEPS, make_message, merge


@hookimpl
def tables() -> MetaData:
    """Keep two tables beside the log; `router db upgrade` creates them."""
    return METADATA


@hookimpl
def on_message(event: Event, connection: Connection) -> None:
    """Write down that a customer wrote."""
    _save(connection, STEPS, read_step(event).as_row())


@hookimpl
def on_event(event: Event, connection: Connection) -> None:
    """Write down a status or an error, and what a status says of its message."""
    if is_status(event) or event.type == "error":
        _save(connection, STEPS, read_step(event).as_row())
    if is_status(event):
        _follow(connection, event)


def _follow(connection: Connection, event: Event) -> None:
    """Merge what a status says with what is known of its message."""
    told = read_status(event)
    # Locked (on SQLite all is): statuses of one message may come by two subjects at the same time,
    # if they name the customer in two ways.
    query = select(MESSAGES).where(
        MESSAGES.c.message_id == told.message_id, MESSAGES.c.channel == told.channel
    )
    row = connection.execute(query.with_for_update()).one_or_none()
    known = told if row is None else make_message(row)
    merged = merge(known, told)
    if row is None or merged != known:
        _save(connection, MESSAGES, merged.as_row())


def _save(connection: Connection, table: Table, row: Mapping[str, object]) -> None:
    """Write a row over the one that has its key, or beside the others: the same on any engine."""
    is_its = [column == row[column.name] for column in table.primary_key]
    if connection.execute(update(table).where(*is_its), row).rowcount == 0:
        connection.execute(insert(table), row)
