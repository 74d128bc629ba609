"""Where the HTTP requests of handlers leave the process: guarded, written down, closed at last."""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Sequence

import httpcore2
import httpx2

from router.errors import ConfigError, RouterError
from router.exchanges import AsyncNoted, Book, Exchange, Noted
from router.guard import Guard
from router.reach import Reach, make_reach
from router.threads import Threads
from router.transports import AsyncSending, Recording, Sending

TIMEOUT = httpx2.Timeout(10.0, connect=5.0)  # seconds that each step of a request may take
MAX_REDIRECTS = 5  # for a handler that wants them followed; each is checked like a first request
LOOK_UPS = 8  # at a time

_AGENT = {"user-agent": "notification-router"}


class Outlet:
    """Opens clients for handlers; nothing is there before the first one is asked for.

    Proxies of the environment are not used: they would look up hosts by themselves.

    Args:
        guard: Says which addresses may be called; None is all public ones, and no other.
        trusted: Whose certificates are taken; None is those that the system trusts.
        recording: Takes every request instead of the network, so that nothing is sent.
        clock: Seconds since 1970, by which deadlines are meant.
    """

    def __init__(
        self,
        guard: Guard | None = None,
        *,
        trusted: ssl.SSLContext | None = None,
        recording: Recording | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._guard = guard or Guard(Reach())
        self._trusted = trusted
        self._clock = clock
        self._opening = threading.Lock()
        self._threads: Threads | None = None
        self._plain: httpx2.BaseTransport | None = recording
        self._async: httpx2.AsyncBaseTransport | None = recording
        self._is_closed = False

    def open(self, exchanges: list[Exchange], *, name: str, deadline: float) -> httpx2.Client:
        """Return a client for one call of a plain handler.

        Args:
            exchanges: Where its requests are written down.
            name: Of the subscription.
            deadline: When the call is late, in seconds since 1970.

        Raises:
            RouterError: The router has stopped.
        """
        with self._opening:
            self._require_open()
            if self._plain is None:
                self._plain = Sending(self._guard, trusted=self._trust())
        book = Book(exchanges, name=name, deadline=deadline, clock=self._clock)
        return httpx2.Client(
            transport=Noted(self._plain, book),
            timeout=TIMEOUT,
            max_redirects=MAX_REDIRECTS,
            headers=_AGENT,
            trust_env=False,
        )

    def open_async(
        self, exchanges: list[Exchange], *, name: str, deadline: float
    ) -> httpx2.AsyncClient:
        """Return a client for one call of an async handler; on the loop, else like `open`."""
        with self._opening:
            self._require_open()
            if self._async is None:
                self._threads = Threads(LOOK_UPS, name="router-lookup")
                self._async = AsyncSending(
                    self._guard, trusted=self._trust(), threads=self._threads
                )
        book = Book(exchanges, name=name, deadline=deadline, clock=self._clock)
        return httpx2.AsyncClient(
            transport=AsyncNoted(self._async, book),
            timeout=TIMEOUT,
            max_redirects=MAX_REDIRECTS,
            headers=_AGENT,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections, and open no client any more."""
        with self._opening:
            self._is_closed = True
        if self._async is not None:
            await self._async.aclose()
        if self._plain is not None:
            await asyncio.to_thread(self._plain.close)
        if self._threads is not None:
            self._threads.shutdown()

    def _trust(self) -> ssl.SSLContext:
        """Return whose certificates are taken: read once, for that takes long."""
        if self._trusted is None:
            self._trusted = httpcore2.default_ssl_context()
        return self._trusted

    def _require_open(self) -> None:
        if self._is_closed:
            raise RouterError("the router has stopped: handlers can ask nobody any more")


def make_outlet(allow: Sequence[str], *, clock: Callable[[], float]) -> Outlet:
    """Return an outlet to public addresses and to those in ``allow``.

    Args:
        allow: Networks and hosts besides the public ones.
        clock: Seconds since 1970.

    Raises:
        ConfigError: Something in ``allow`` is neither a network nor a host.
    """
    try:
        guard = Guard(make_reach(allow))
    except ValueError as error:
        raise ConfigError(f"http_allow must be {error}") from error
    return Outlet(guard, clock=clock)
