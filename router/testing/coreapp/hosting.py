"""An ASGI application on a port of its own, for a block, in the event loop of whoever asks."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from router.errors import RouterError

GRACE = 1  # seconds that a stop waits for requests under way


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server proves itself with.

    Attributes:
        certfile: The certificate and what it was signed with, PEM.
        keyfile: Its key, PEM; None where the key is in the same file.
    """

    certfile: Path
    keyfile: Path | None = None


class _Guest(uvicorn.Server):
    """A server that leaves SIGINT and SIGTERM to the program that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def hosting(
    app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0, certificate: Certificate | None = None
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
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        ssl_certfile=certificate.certfile if certificate else None,
        ssl_keyfile=certificate.keyfile if certificate else None,
    )
    try:
        config.load()
    except OSError as error:  # SSLError is one
        raise RouterError(
            f"the certificate cannot be used: {error}; give its file and that of its key, in PEM"
        ) from error
    server = _Guest(config)
    with _bind(host, port) as listening:
        running = asyncio.ensure_future(server.serve([listening]))
        while not (server.started or running.done()):
            await asyncio.sleep(0.005)
        try:
            shown = f"[{host}]" if ":" in host else host
            scheme = "https" if certificate else "http"
            yield f"{scheme}://{shown}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


def _bind(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:  # the latter where the number is no port
        listening.close()
        raise RouterError(
            f"nothing can listen at {host} port {port}, {error}: choose another address or port"
        ) from error
    return listening
