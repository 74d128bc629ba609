"""The read model as programs ask for it: one message, or the steps of a conversation."""

from collections.abc import Sequence

from sqlalchemy import Connection, inspect, select

from router.errors import SchemaError, UnknownName
from router.plugins.timeline.model import (
    MESSAGES,
    METADATA,
    STEPS,
    Message,
    Step,
    make_message,
    make_step,
)

SWITCH_ON = (
    "the database holds no timeline: add [plugins.timeline] to router.toml, run `router db "
    "upgrade` and `router serve`; then `router replay start timeline` adds what came before"
)


def require_tables(connection: Connection) -> None:
    """Return where the tables are there.

    Raises:
        SchemaError: They are not; says how to switch the plugin on.
    """
    inspector = inspect(connection)
    if not all(inspector.has_table(name) for name in METADATA.tables):
        raise SchemaError(SWITCH_ON)


def find_message(connection: Connection, message_id: str, *, channel: str | None = None) -> Message:
    """Return what is known of a message that the business sent.

    Args:
        connection: To read from.
        message_id: The provider's id.
        channel: The business's number or account, where several know such an id.

    Raises:
        UnknownName: No status told of it, or it is not plain which message is meant.
    """
    query = select(MESSAGES).where(MESSAGES.c.message_id == message_id)
    if channel is not None:
        query = query.where(MESSAGES.c.channel == channel)
    found = [make_message(row) for row in connection.execute(query.order_by(MESSAGES.c.channel))]
    if not found:
        raise UnknownName(
            f"no status of a message {message_id!r} is in the timeline: it holds messages that the "
            "business sent; `router replay start timeline` adds what came before the plugin"
        )
    if len(found) > 1:
        channels = ", ".join(repr(one.channel) for one in found)
        raise UnknownName(
            f"{message_id!r} is known in the channels {channels}: say which with --channel"
        )
    return found[0]


def list_steps(
    connection: Connection, subject: str, *, limit: int, after: int = 0
) -> Sequence[Step]:
    """Return what happened in a conversation, in order of position.

    Args:
        connection: To read from.
        subject: The conversation, ``channel:conversation``; an unknown one has no steps.
        limit: How many, at most.
        after: The position to start behind.
    """
    query = select(STEPS).where(STEPS.c.subject == subject, STEPS.c.position > after)
    rows = connection.execute(query.order_by(STEPS.c.position).limit(limit))
    return [make_step(row) for row in rows]
