"""What became of each message of the business, and what happened in each conversation.

A read model: two tables that this plugin fills from events, each in the transaction that settles
its event. They end up the same in whatever order the events come, and however often, so that a
replay may fill them from history while live delivery goes on.
"""

from sqlalchemy import Connection, MetaData, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from router import Event, hookimpl
from router.plugins.timeline.facts import is_status, read_status, read_step
from router.plugins.timeline.model import MESSAGES, METADATA, STEPS, Step, make_message, merge


@hookimpl
def tables() -> MetaData:
    """Keep two tables beside the log; `router db upgrade` creates them."""
    return METADATA


@hookimpl
def subscription_options() -> dict[str, object]:
    """Say that it can be tried on history: it calls out to nobody."""
    return {"calls_out": "context.http"}


@hookimpl
def on_message(event: Event, connection: Connection) -> None:
    """Write down that a customer wrote."""
    _save(connection, read_step(event))


@hookimpl
def on_event(event: Event, connection: Connection) -> None:
    """Write down a status or an error, and what a status says of its message."""
    if is_status(event) or event.type == "error":
        _save(connection, read_step(event))
    if is_status(event):
        _follow(connection, event)


def _follow(connection: Connection, event: Event) -> None:
    """Merge what a status says with what is known of its message."""
    told = read_status(event)
    # Statuses of one message may come by two subjects at the same time, if they name the customer
    # in two ways: whoever comes second waits here for what the first has made of it.
    first = _insert(connection, MESSAGES).values(told.as_row()).on_conflict_do_nothing()
    if connection.execute(first.returning(MESSAGES.c.message_id)).first() is not None:
        return
    is_its = [MESSAGES.c.message_id == told.message_id, MESSAGES.c.channel == told.channel]
    row = connection.execute(select(MESSAGES).where(*is_its).with_for_update()).one()
    known = make_message(row)
    merged = merge(known, told)
    if merged != known:
        connection.execute(update(MESSAGES).where(*is_its), merged.as_row())


def _save(connection: Connection, step: Step) -> None:
    """Write a step, over the one that an earlier call for the same event has left."""
    row = step.as_row()
    insert = _insert(connection, STEPS).values(row)
    connection.execute(insert.on_conflict_do_update(index_elements=[STEPS.c.position], set_=row))


def _insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return the engine's own way to insert, which says what is to be done with a row that is."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
