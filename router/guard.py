"""Connections of handlers: a host is looked up, its addresses are checked, then one is called.

It is the checked address that is called, so a name that leads elsewhere a moment later leads
nowhere; and whatever asks for a connection passes here, a redirection like a first request.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor

import httpcore2

from router.reach import Reach

LookUp = Callable[[str, int], Sequence[str]]
Monotonic = Callable[[], float]
Options = Iterable[httpcore2.SOCKET_OPTION] | None

LAST_PORT = 65_535
SHORTEST = 0.001  # seconds: 0 would mean not to wait at all
_FAILURES = (httpcore2.ConnectError, httpcore2.ConnectTimeout)


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of ``host``, the best first.

    Raises:
        OSError: It has none, or nobody knows.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class Guard:
    """Says which addresses a host may be called by.

    Args:
        reach: What may be reached.
        look_up: Returns the addresses of a host.
    """

    def __init__(self, reach: Reach, *, look_up: LookUp = look_up) -> None:
        self._reach = reach
        self._look_up = look_up

    def find(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of ``host``, all of which may be reached.

        Raises:
            OutOfReach: One may not, or the host is not written as hosts are.
            httpcore2.ConnectError: There is no such host.
        """
        self._reach.require_host(host)
        if not 0 < port <= LAST_PORT:
            raise httpcore2.ConnectError(f"there is no port {port}")
        try:
            addresses = self._look_up(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"the host {host} is not found: {error}") from error
        self._reach.require(host, addresses)
        return addresses


class Calling(httpcore2.NetworkBackend):
    """Connections for plain functions. How long a look-up takes is up to the system."""

    def __init__(self, guard: Guard, *, monotonic: Monotonic = time.monotonic) -> None:
        self._guard = guard
        self._monotonic = monotonic
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Options = None,
    ) -> httpcore2.NetworkStream:
        """Call the addresses of ``host`` one after another, and return the first that answers."""
        plan = _Plan(self._guard.find(host, port), timeout, self._monotonic)
        for address in plan:
            try:
                return self._inner.connect_tcp(
                    address, port, plan.seconds, local_address, socket_options or ()
                )
            except _FAILURES:
                if plan.is_over:
                    raise
        raise httpcore2.ConnectError(f"the host {host} has no address")


class AsyncCalling(httpcore2.AsyncNetworkBackend):
    """Connections for coroutines; hosts are looked up on threads of its own.

    Args:
        guard: Says whom to call.
        threads: Where hosts are looked up.
    """

    def __init__(
        self, guard: Guard, *, threads: Executor, monotonic: Monotonic = time.monotonic
    ) -> None:
        self._guard = guard
        self._threads = threads
        self._monotonic = monotonic
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Options = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Call the addresses of ``host`` one after another, and return the first that answers."""
        plan = _Plan(await self._find(host, port, timeout), timeout, self._monotonic)
        for address in plan:
            try:
                return await self._inner.connect_tcp(
                    address, port, plan.seconds, local_address, socket_options or ()
                )
            except _FAILURES:
                if plan.is_over:
                    raise
        raise httpcore2.ConnectError(f"the host {host} has no address")

    async def _find(self, host: str, port: int, seconds: float | None) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        finding = loop.run_in_executor(self._threads, self._guard.find, host, port)
        try:
            return await asyncio.wait_for(finding, seconds)
        except TimeoutError:
            raise httpcore2.ConnectTimeout(f"the host {host} was not found in time") from None


class _Plan:
    """The addresses in turn, each with its share of the time that is left.

    Attributes:
        seconds: How long the current one may take; None is for ever.
        is_over: Whether the current one is the last.
    """

    def __init__(
        self, addresses: Sequence[str], timeout: float | None, monotonic: Monotonic
    ) -> None:
        self.seconds = timeout
        self.is_over = False
        self._addresses = addresses
        self._until = None if timeout is None else monotonic() + timeout
        self._monotonic = monotonic

    def __iter__(self) -> Iterator[str]:
        for left, address in zip(range(len(self._addresses), 0, -1), self._addresses, strict=True):
            self.is_over = left == 1
            if self._until is not None:
                self.seconds = max(SHORTEST, (self._until - self._monotonic()) / left)
            yield address
