"""The plugin: writes each message into a table of the application, exactly once."""

from sqlalchemy import Column, Connection, MetaData, String, Table, Text, insert

from router import Event, hookimpl

metadata = MetaData()
messages = Table(
    "crm_message",
    metadata,
    Column("event_id", String(64), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("kind", String(64), nullable=False),
)


@hookimpl
def tables() -> MetaData:
    """Let `Router.create_tables` create them, too."""
    return metadata


@hookimpl
def on_message(event: Event, connection: Connection) -> None:
    """Write within the transaction that settles the event."""
    row = {"event_id": event.id, "subject": event.subject, "kind": event.subtype}
    connection.execute(insert(messages).values(row))
