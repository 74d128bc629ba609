"""What is traced: the route of the webhooks, the appender and the calls of handlers, each wrapped.

Where nobody traces they are not wrapped at all, and cost what they did.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from msgspec import structs
from sqlalchemy import Connection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.errors import Unreadable
from router.events import Entry, Event, Unsplit
from router.failures import Failed
from router.lending import Lent
from router.rows import Appended
from router.subscriptions import Caller, Undone
from router.tracing import Ended, Tracing
from router.writer import Appender


def trace_webhooks(
    application: ASGIApp, tracing: Tracing | None, *, find_source: Callable[[Scope], str]
) -> ASGIApp:
    """Return ``application`` with a span of each notification.

    Args:
        application: Answers the requests for webhooks.
        tracing: Makes the spans; None leaves it as it is.
        find_source: Names the source that a request is for; "" where there is none.
    """
    if tracing is None:
        return application

    async def traced(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await application(scope, receive, send)
            return
        with tracing.receive(find_source(scope), scope["headers"]) as answered:

            async def tell(message: Message) -> None:
                if message["type"] == "http.response.start":
                    answered(message["status"])
                await send(message)

            await application(scope, receive, tell)

    return traced


def trace_appends(appender: Appender, tracing: Tracing | None) -> Appender:
    """Return ``appender`` with a span of each append, or as it is where nobody traces."""
    return appender if tracing is None else TracedAppender(appender, tracing)


class TracedAppender:
    """Appends notifications with the trace context in which they came.

    Args:
        appender: Appends them.
        tracing: Makes the spans.
    """

    def __init__(self, appender: Appender, tracing: Tracing) -> None:
        self._appender = appender
        self._tracing = tracing

    async def append(self, entry: Entry | Unsplit) -> Appended:
        """Append ``entry``; when this returns, it is on disk."""
        # Of the request, before the span of the append: what is handled later links to it.
        kept = structs.replace(entry.notification, trace=self._tracing.find_context())
        with self._tracing.append(kept.source) as stored:
            try:
                appended = await self._appender.append(structs.replace(entry, notification=kept))
            except Unreadable as error:  # not within the span: who sent it is at fault
                unreadable = error
                stored(None)
            else:
                stored(appended.positions)
                return appended
        raise unreadable


class TracedCaller(Caller):
    """Calls handlers, each call within a span that is the current one there.

    Args:
        tracing: Makes the spans.
        how: As a `Caller` takes it.
    """

    def __init__(self, *args: Any, tracing: Tracing, **how: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **how)
        self._tracing = tracing

    def is_quick(self, event: Event) -> bool:
        """Whether `begin` will do: never, for a span lasts as long as the call."""
        return False

    async def call_async(
        self, event: Event, *, attempt: int, on_return: Callable[[], None]
    ) -> Failed | None:
        """Call an async handler; its task takes over the span that is current here."""
        with self._span(event, attempt) as ended:
            failed = await super().call_async(event, attempt=attempt, on_return=on_return)
            _tell(ended, failed)
        return failed

    def call_plain(
        self, event: Event, connection: Connection | None = None, *, attempt: int
    ) -> Failed | None:
        """Call a plain handler on this very thread, and return how it failed, or None."""
        with self._span(event, attempt) as ended:
            failed = super().call_plain(event, connection, attempt=attempt)
            _tell(ended, failed)
        return failed

    def call_within(self, lent: Lent, event: Event, *, attempt: int) -> Failed | None:
        """Call a transactional handler in a savepoint of its own; for a storage thread."""
        with self._span(event, attempt) as ended:
            try:
                failed = super().call_within(lent, event, attempt=attempt)
            except Undone as error:  # not within the span: it is not what the handler did
                undone = error
                _tell(ended, error.failed)
            else:
                _tell(ended, failed)
                return failed
        raise undone

    def _span(self, event: Event, attempt: int) -> AbstractContextManager[Ended]:
        name = self.subscription.name
        return self._tracing.process(event, subscription=name, attempt=attempt)


def _tell(ended: Ended, failed: Failed | None) -> None:
    if failed is None:
        ended("done", None)
    else:
        ended(failed.failure.outcome.replace(" ", "_"), failed.kind)
