"""How requests of handlers go out: over guarded connections, or into a record and nowhere else."""

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import cast

import httpcore2
import httpx2
import msgspec

from router.guard import AsyncCalling, Calling, Guard

KEPT = 100  # connections that wait for another request
KEPT_SECONDS = 5.0  # servers close theirs soon after that

_NAMES = (
    *("ConnectError", "ConnectTimeout", "LocalProtocolError", "NetworkError", "PoolTimeout"),
    *("ProtocolError", "ProxyError", "ReadError", "ReadTimeout", "RemoteProtocolError"),
    *("TimeoutException", "UnsupportedProtocol", "WriteError", "WriteTimeout"),
)
_ERRORS: dict[type[Exception], type[httpx2.TransportError]] = {
    getattr(httpcore2, name): getattr(httpx2, name) for name in _NAMES
}


class Sending(httpx2.BaseTransport):
    """Sends the requests of plain functions.

    Args:
        guard: Says whom to call.
        trusted: Whose certificates are taken.
    """

    def __init__(self, guard: Guard, *, trusted: ssl.SSLContext) -> None:
        # No limit: how many calls there are at a time is the engine's affair, and one target that
        # is slow is not to take the connections of another.
        self._pool = httpcore2.ConnectionPool(
            ssl_context=trusted,
            max_connections=None,
            max_keepalive_connections=KEPT,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=Calling(guard),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send ``request``, and return the answer as soon as its head is there."""
        with _translated():
            answer = self._pool.handle_request(_convert(request))
        stream = _Stream(cast("Iterator[bytes]", answer.stream))
        return httpx2.Response(
            answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class AsyncSending(httpx2.AsyncBaseTransport):
    """Sends the requests of coroutines; for one event loop.

    Args:
        guard: Says whom to call.
        trusted: Whose certificates are taken.
        threads: Where hosts are looked up.
    """

    def __init__(self, guard: Guard, *, trusted: ssl.SSLContext, threads: Executor) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=trusted,
            max_connections=None,
            max_keepalive_connections=KEPT,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=AsyncCalling(guard, threads=threads),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send ``request``, and return the answer as soon as its head is there."""
        with _translated():
            answer = await self._pool.handle_async_request(_convert(request))
        stream = _AsyncStream(cast("AsyncIterator[bytes]", answer.stream))
        return httpx2.Response(
            answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class Sent(msgspec.Struct, frozen=True):
    """A request that was recorded instead of being sent.

    Attributes:
        url: As it was asked for, secrets and all.
        headers: Names in lower case.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


class Recording(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Sends nothing, not even to look a host up: each request is recorded, and then answered.

    Args:
        record: Told of each request.
        status: Of every answer, which has no body.
    """

    def __init__(self, record: Callable[[Sent], None], *, status: int = 200) -> None:
        self._record = record
        self._status = status

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Record the request of a plain function."""
        return self._answer(request, request.read())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Record the request of a coroutine."""
        return self._answer(request, await request.aread())

    def _answer(self, request: httpx2.Request, body: bytes) -> httpx2.Response:
        self._record(Sent(request.method, str(request.url), dict(request.headers), body))
        return httpx2.Response(self._status, stream=_Nothing())


class _Nothing(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The body of an answer that has none, to be read in any way that a handler reads answers."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


class _Stream(httpx2.SyncByteStream):
    def __init__(self, stream: Iterator[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _translated():
            yield from self._stream

    def close(self) -> None:
        self._stream.close()  # type: ignore[attr-defined]  # the pool's streams have it


class _AsyncStream(httpx2.AsyncByteStream):
    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for part in self._stream:
                yield part

    async def aclose(self) -> None:
        await self._stream.aclose()  # type: ignore[attr-defined]  # likewise


def _convert(request: httpx2.Request) -> httpcore2.Request:
    url = request.url
    return httpcore2.Request(
        request.method,
        httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Raise the errors of the pool as those of the client, which handlers know."""
    try:
        yield
    except Exception as error:
        kind = next((_ERRORS[one] for one in type(error).__mro__ if one in _ERRORS), None)
        if kind is None:
            raise
        raise kind(str(error)) from error
