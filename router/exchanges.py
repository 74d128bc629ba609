"""What handlers ask by HTTP, written down: method, place, status and time, and no secret."""

import logging
import time
from collections.abc import Callable, Iterator

import httpx2
import msgspec

from router.masks import HIDDEN

MOST = 100  # exchanges of one call of a handler that are kept: the last ones
MAX_URL = 500  # characters

logger = logging.getLogger("router.http")


class Exchange(msgspec.Struct, frozen=True):
    """One request of a handler, and what came of it.

    Attributes:
        url: Without credentials and without the values in its query.
        status: Of the answer; None where there was none.
        duration: Seconds until the head of the answer was there, or the request had failed.
        error: The name of what went wrong; None where there was an answer.
    """

    method: str
    url: str
    status: int | None
    duration: float
    error: str | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.url}: {self.status or self.error} after {self.duration:.3f} s"


class Book:
    """Writes down the exchanges of one call of a handler, and keeps an eye on its time.

    Args:
        exchanges: Where they are written down.
        name: Of the subscription.
        deadline: When the call is late, in seconds since 1970.
        clock: Seconds since 1970.
        monotonic: Seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        exchanges: list[Exchange],
        *,
        name: str,
        deadline: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchanges = exchanges
        self._name = name
        self._deadline = deadline
        self._clock = clock
        self._monotonic = monotonic

    def begin(self, request: httpx2.Request) -> float:
        """Note when a request begins, and let no step of it take longer than the handler may.

        Raises:
            httpx2.ConnectTimeout: The handler's time is over.
        """
        left = self.seconds_left()
        if left <= 0:
            raise httpx2.ConnectTimeout("the handler's time is over", request=request)
        timeouts = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {
            step: left if seconds is None else min(seconds, left)
            for step, seconds in timeouts.items()
        }
        return self._monotonic()

    def end(
        self, request: httpx2.Request, began: float, *, status: int | None, error: str | None = None
    ) -> None:
        """Write down what came of a request that began then."""
        took = self._monotonic() - began
        self._exchanges.append(Exchange(request.method, show(request.url), status, took, error))
        del self._exchanges[:-MOST]
        # Not the path: it may hold a phone number.
        where = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
        text = "%s: %s %s: %s after %.3f s"
        logger.debug(text, self._name, request.method, where, status or error, took)

    def seconds_left(self) -> float:
        """How long the handler still has."""
        return self._deadline - self._clock()


class Noted(httpx2.BaseTransport):
    """Has each request of a plain function written down.

    Nobody can end a plain function that is late, so an answer that comes in bit by bit ends here.
    """

    def __init__(self, inner: httpx2.BaseTransport, book: Book) -> None:
        self._inner = inner
        self._book = book

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send ``request``."""
        began = self._book.begin(request)
        try:
            answer = self._inner.handle_request(request)
        except BaseException as error:
            self._book.end(request, began, status=None, error=type(error).__name__)
            raise
        self._book.end(request, began, status=answer.status_code)
        if isinstance(answer.stream, httpx2.SyncByteStream):
            answer.stream = _Timely(answer.stream, self._book)
        return answer


class AsyncNoted(httpx2.AsyncBaseTransport):
    """Has each request of a coroutine written down."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, book: Book) -> None:
        self._inner = inner
        self._book = book

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send ``request``."""
        began = self._book.begin(request)
        try:
            answer = await self._inner.handle_async_request(request)
        except BaseException as error:
            self._book.end(request, began, status=None, error=type(error).__name__)
            raise
        self._book.end(request, began, status=answer.status_code)
        return answer


class _Timely(httpx2.SyncByteStream):
    """The body of an answer, as far as it comes while the handler has time."""

    def __init__(self, stream: httpx2.SyncByteStream, book: Book) -> None:
        self._stream = stream
        self._book = book

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            if self._book.seconds_left() <= 0:
                raise httpx2.ReadTimeout("the handler's time is over")
            yield part

    def close(self) -> None:
        self._stream.close()


def show(url: httpx2.URL) -> str:
    """Return ``url`` without credentials, without the values in its query, and not too long."""
    where = f"{url.scheme}://{url.netloc.decode('ascii')}{url.raw_path.decode('ascii')}"
    place, mark, query = where.partition("?")
    shown = place + mark + "&".join(_hide(part) for part in query.split("&") if part)
    return shown if len(shown) <= MAX_URL else f"{shown[:MAX_URL]}…"


def _hide(part: str) -> str:
    name, mark, _ = part.partition("=")
    return f"{name}={HIDDEN}" if mark else HIDDEN
