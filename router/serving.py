"""A router behind an HTTP server of its own, as the command starts it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn

from router.app import Router
from router.listening import address_of, bind
from router.tls import ServerTls

GRACE = 10  # seconds that a stop waits for requests under way


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that takes requests.

    Attributes:
        address: Where, as the beginning of a URL.
    """

    address: str
    _server: uvicorn.Server
    _running: asyncio.Task[None]

    def stop(self) -> None:
        """Close the port, once the requests under way are answered."""
        self._server.should_exit = True

    async def wait(self) -> None:
        """Wait until it has stopped."""
        await asyncio.shield(self._running)


@asynccontextmanager
async def serving(
    router: Router, *, host: str, port: int, tls: ServerTls | None = None
) -> AsyncIterator[Serving]:
    """Run ``router`` and take requests for it; both end with the block.

    Certificates, plugins and database are checked, in this order, before the port is bound. In the
    main thread the server takes over SIGINT and SIGTERM; once it is there, whoever wants them can
    take them back.

    Args:
        router: What to serve.
        host: The address to listen at.
        port: The port; 0 takes one that is free.
        tls: What makes it HTTPS; None serves HTTP.

    Raises:
        ConfigError: A file of ``tls`` is missing or is not what it should be.
        RouterError: The router cannot start, or the port cannot be bound.
    """
    context = tls.make_context() if tls else None
    config = uvicorn.Config(
        router.asgi(),
        lifespan="off",  # it is entered here, so that its errors are told as what they are
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing asks for the client's address
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        ssl_context_factory=(lambda _config, _default: context) if context else None,
    )
    server = uvicorn.Server(config)
    async with router:
        with bind(host, port) as listening:
            running = asyncio.ensure_future(server.serve([listening]))
            while not (server.started or running.done()):
                await asyncio.sleep(0.01)
            scheme = "https" if context else "http"
            served = Serving(address_of(listening, scheme=scheme), server, running)
            try:
                yield served
            finally:
                served.stop()
                await served.wait()
