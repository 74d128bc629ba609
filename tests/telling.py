"""Plugins that tell what span they are in, and a source of events that tell them what to do."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from opentelemetry import trace
from sqlalchemy import Connection, select
from starlette.types import ASGIApp

from router import Reject, Retry
from router.context import Context
from router.errors import Unreadable, Unverified
from router.events import Draft, Event
from router.hookspecs import hookimpl
from router.log import EventLog
from router.sources import Request
from tests.posting import StubSource, ask

PHONE = "5215512345678"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Telling:
    """What a plugin does that is traced: it goes by what the event says.

    Attributes:
        within: The current span of each call.
        url: What it asks where it is told to ask.
    """

    plugin_name = "crm"

    def __init__(self, url: str = "") -> None:
        self.within: list[trace.SpanContext] = []
        self.url = url

    def handle(self, event: Event, attempt: int) -> str:
        """Do as the event says, and return that."""
        self.within.append(trace.get_current_span().get_span_context())
        word = cast("Mapping[str, str]", event.payload)["do"]
        if word == "come again" and attempt == 1:
            raise Retry(f"not yet, {PHONE}", after=0.001)
        if word == "refuse":
            raise Reject(f"never, {PHONE}")
        if word == "break":
            raise ValueError(f"broken: {PHONE}")
        return word

    @hookimpl
    def subscription_options(self) -> Mapping[str, object]:
        """Give up after two attempts."""
        retry = {"first": "1ms", "attempts": 2, "jitter": False}
        return {"retry": retry, "replay": "allow", "timeout": "5s"}


class Plain(Telling):
    """It has a plain handler."""

    @hookimpl
    def on_event(self, event: Event, context: Context) -> None:
        """Take an event."""
        if self.handle(event, context.attempt) == "ask":
            context.http.get(self.url)


class Waiting(Telling):
    """It has an async handler."""

    @hookimpl
    async def on_event(self, event: Event, context: Any) -> None:  # noqa: ANN401  # an AsyncContext
        """Take an event."""
        if self.handle(event, context.attempt) == "ask":
            await context.http.get(self.url)


class Transactional(Telling):
    """It has a transactional handler."""

    @hookimpl
    def on_event(self, event: Event, context: Context, connection: Connection) -> None:
        """Take an event."""
        word = self.handle(event, context.attempt)
        if word == "ask":
            context.http.get(self.url)
        if word == "end it":
            driver = connection.connection.dbapi_connection
            assert driver is not None
            driver.cursor().execute("ROLLBACK")


KINDS = [Plain, Waiting, Transactional]
each_kind = pytest.mark.parametrize("kind", KINDS)


def split(body: bytes) -> Sequence[Draft]:
    """Find an event in each element of a list; each has a conversation of its own."""
    try:
        items = json.loads(body)
    except ValueError as error:
        raise Unreadable("no JSON") from error
    return [
        Draft(f"$[{at}]", "message", "text", channel=PHONE, conversation=f"{item['do']} {at}")
        for at, item in enumerate(items)
    ]


def verify(request: Request) -> None:
    """Refuse who says that it is a stranger."""
    if "stranger" in request.headers:
        raise Unverified("a stranger")


SOURCE = StubSource(splits=split, verifies=verify)


def body_of(*words: str) -> bytes:
    """Return a notification with one event for each of ``words``."""
    return json.dumps([{"do": word, "from": PHONE} for word in words]).encode()


async def post(app: ASGIApp, body: bytes, path: str = "/webhooks/wa", **headers: str) -> int:
    """Post a notification and return the status of the answer."""
    return (await ask(app, path, body=body, headers=list(headers.items()))).status


def stored(log: EventLog) -> list[str | None]:
    """The trace context of each notification, as it stands in the table."""
    table = log.store.tables.notification.c
    with log.store.reading() as connection:
        return list(connection.scalars(select(table.trace).order_by(table.id)))
