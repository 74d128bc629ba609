"""An ASGI application on a port of its own, for a block, in the event loop of whoever asks."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from router.listening import address_of, bind
from router.tls import ServerTls

GRACE = 1  # seconds that a stop waits for requests under way


class _Guest(uvicorn.Server):
    """A server that leaves SIGINT and SIGTERM to the program that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def hosting(
    app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0, certificate: ServerTls | None = None
) -> AsyncIterator[str]:
    """Serve ``app`` while the block lasts.

    Args:
        app: What answers.
        host: The address to listen at.
        port: The port; 0 takes one that is free.
        certificate: For HTTPS; without it, it is HTTP.

    Yields:
        Its address, the beginning of a URL.

    Raises:
        RouterError: The port cannot be bound, or the certificate cannot be used.
    """
    context = certificate.make_context() if certificate else None
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        ssl_context_factory=(lambda _config, _default: context) if context else None,
    )
    server = _Guest(config)
    with bind(host, port) as listening:
        running = asyncio.ensure_future(server.serve([listening]))
        while not (server.started or running.done()):
            await asyncio.sleep(0.005)
        try:
            yield address_of(listening, scheme="https" if context else "http")
        finally:
            server.should_exit = True
            await running
