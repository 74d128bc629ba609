"""Connections to a callback that stay open: one request at a time on each, and its answer."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from router.testing.coreapp.endpoint import Endpoint


class Answered(Protocol):
    """Is told how a request ended.

    Args:
        connection: On which it was sent.
        status: What it was answered; None where it was not.
        reason: Why it was not.
    """

    def __call__(self, connection: "Connection", status: int | None, reason: str) -> None:
        """Take note."""


class Connection(asyncio.Protocol):
    """A connection; it tells of each request just once how it ended.

    Args:
        answered: Is told.
        clock: Seconds.

    Attributes:
        since: When the request under way was sent.
        is_open: Whether another request may be sent.
    """

    def __init__(self, answered: Answered, *, clock: Callable[[], float]) -> None:
        self.since = 0.0
        self.is_open = False
        self._answered = answered
        self._clock = clock
        self._is_busy = False
        self._status: int | None = None
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's do not inherit from it
        self.is_open = True

    def send(self, request: bytes) -> None:
        """Send a request."""
        self.since = self._clock()
        self._is_busy = True
        self._status = None
        if self._transport is not None:
            self._transport.write(request)

    def abort(self, reason: str | None = None) -> None:
        """Break off; whoever waits for an answer is told ``reason``, or nothing without one."""
        self.is_open = False
        if reason is None:
            self._is_busy = False
        elif self._is_busy:
            self._end(None, reason)
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take (a part of) an answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort("the answer is no HTTP")

    def on_headers_complete(self) -> None:
        """Note the status; the parser calls."""
        self._status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        """Tell the answer; the parser calls."""
        if self._status is None or self._status < 200:  # 1xx announces another
            return
        if not self._parser.should_keep_alive():
            self.is_open = False
            if self._transport is not None:
                self._transport.close()
        self._end(self._status, "")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits; an answer without a length ends here."""
        self.is_open = False
        self._end(self._status, "the connection was closed without an answer")

    def _end(self, status: int | None, reason: str) -> None:
        if self._is_busy:
            self._is_busy = False
            self._answered(self, status, reason)


async def connect(
    endpoint: Endpoint,
    answered: Answered,
    *,
    context: ssl.SSLContext | None,
    timeout: float,
) -> Connection:
    """Return an open connection.

    Args:
        endpoint: Where to.
        answered: Is told how each request on it ends.
        context: What verifies it, where it is HTTPS.
        timeout: Seconds that it may take.

    Raises:
        OSError: There is none; what `explain` makes a reason of.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout):
        _, connection = await loop.create_connection(
            lambda: Connection(answered, clock=loop.time),
            endpoint.host,
            endpoint.port,
            ssl=context if endpoint.is_tls else None,
        )
    return connection


def explain(error: Exception) -> str:
    """Return why there is no connection, in the same words for the same cause: they are counted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {error.reason or 'the handshake failed'}"
    if isinstance(error, TimeoutError):
        return "time-out"
    if isinstance(error, ConnectionRefusedError) or "refused" in str(error).lower():
        return "nothing answers: connection refused"
    said = error.strerror if isinstance(error, OSError) else str(error)
    return f"nothing answers: {said or type(error).__name__}"
