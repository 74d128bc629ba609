"""Servers of a test's own, in a thread, for clients that are not asynchronous."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from router import Router
from router.serving import serving
from router.testing.coreapp.hosting import hosting
from router.tls import ServerTls


@contextmanager
def hosted(app: ASGIApp, *, certificate: ServerTls | None = None) -> Iterator[str]:
    """Serve ``app`` while the block lasts; yields its address."""
    with _in_thread(lambda: hosting(app, certificate=certificate)) as url:
        yield url


@contextmanager
def routing(file: Path, *, tls: ServerTls | None = None) -> Iterator[str]:
    """Serve the router that this `router.toml` configures; yields its address."""

    @asynccontextmanager
    async def serve() -> AsyncIterator[str]:
        router = Router.from_config(file)
        async with serving(router, host="127.0.0.1", port=0, tls=tls) as served:
            yield served.address

    with _in_thread(serve) as url:
        yield url


@contextmanager
def _in_thread(serve: Callable[[], AbstractAsyncContextManager[str]]) -> Iterator[str]:
    started: Future[str] = Future()
    leaving: Future[None] = Future()

    async def work() -> None:
        async with serve() as url:
            started.set_result(url)
            await asyncio.wrap_future(leaving)

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(lambda: asyncio.run(work()))
        either: tuple[Future[Any], ...] = (started, running)
        wait(either, return_when=FIRST_COMPLETED)
        if running.done():
            running.result()  # raises why it could not start
        try:
            yield started.result()
        finally:
            leaving.set_result(None)
            running.result()


@dataclass(slots=True)
class Parrot:
    """Answers everything with the same, and keeps what it was asked.

    Attributes:
        answer: What it says.
        asked: The requests: method, path with query, headers, body.
    """

    answer: Response = field(default_factory=lambda: Response(b"{}", media_type="application/json"))
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        request = Request(scope, receive)
        query = f"?{request.url.query}" if request.url.query else ""
        headers = dict(request.headers)
        body = await request.body()
        self.asked.append((request.method, f"{request.url.path}{query}", headers, body))
        await self.answer(scope, receive, send)

    def say(self, value: object, status: int = 200) -> None:
        """Answer with this JSON from now on."""
        self.answer = Response(json.dumps(value), status, media_type="application/json")

    def say_text(self, text: str, status: int = 200, **headers: str) -> None:
        """Answer with this HTML from now on."""
        self.answer = Response(text, status, headers, media_type="text/html")
