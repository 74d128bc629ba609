"""Events for the plugin `timeline`, and its tables in a database of their own."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, select

from router.events import Event, Notification, make_ids
from router.plugins import timeline
from router.plugins.timeline.model import MESSAGES, STEPS
from router.plugins.whatsapp.split import split
from router.rows import make_event
from tests import samples

RECEIVED = datetime(2026, 9, 21, 14, 30, tzinfo=UTC)

Rows = Sequence[Row[Any]]


def at(second: int) -> str:
    """Return a time as WhatsApp writes it: so many seconds after the samples' own."""
    return str(int(samples.MOMENT) + second)


def make_events(body: bytes, *, channel: str = "") -> list[Event]:
    """Return the events in a body of WhatsApp's, as the log would hold them."""
    notification = Notification("wa", RECEIVED, {}, body)
    drafts = split(body, channel=channel)
    ids = make_ids(1, len(drafts))
    return [
        make_event(draft, notification, position=at, id=id_)
        for at, (draft, id_) in enumerate(zip(drafts, ids, strict=True), start=1)
    ]


def statuses(*elements: object) -> list[Event]:
    """Return the events of these statuses, in one notification of the Cloud API."""
    return make_events(samples.as_body(samples.cloud_value(statuses=list(elements))))


def handle(connection: Connection, events: Iterable[Event]) -> None:
    """Call the plugin with each event, as the router would."""
    for event in events:
        is_message = event.type == "message"
        (timeline.on_message if is_message else timeline.on_event)(event, connection)


@contextmanager
def handling(engine: Engine, events: Iterable[Event] = ()) -> Iterator[Connection]:
    """Handle these events in a transaction; what it wrote is undone at the end of the block."""
    with engine.connect() as connection:
        handle(connection, events)
        yield connection
        connection.rollback()


def read_messages(connection: Connection) -> Rows:
    """Return the rows about messages."""
    return connection.execute(select(MESSAGES).order_by(MESSAGES.c.message_id)).all()


def read_steps(connection: Connection) -> Rows:
    """Return the steps of all conversations."""
    return connection.execute(select(STEPS).order_by(STEPS.c.position)).all()
