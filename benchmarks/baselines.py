"""What a good engineer would write without the router: the endpoints that it is compared with.

Same server, event loop and HTTP parser; same body, read and parsed the same way. The three that
store do so with one INSERT and one COMMIT a request, durably (WAL, synchronous FULL), and know a
message that comes again by its id.
"""

import asyncio
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiosqlite
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Endpoint = Callable[[Request], Awaitable[Response]]
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]

PRAGMAS = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
TABLE = "CREATE TABLE IF NOT EXISTS inbox (id TEXT PRIMARY KEY, body BLOB NOT NULL)"
INSERT = "INSERT OR IGNORE INTO inbox VALUES (?, ?)"


def bare(_file: Path) -> Starlette:
    """Read the body and answer: nothing is parsed, nothing kept."""

    async def receive(request: Request) -> Response:
        await request.body()
        return Response()

    return _app(receive)


def on_loop(file: Path) -> Starlette:
    """Store on the event loop itself: nothing is handed over, nothing else runs meanwhile."""
    connection = _connect(file)

    async def receive(request: Request) -> Response:
        body = await request.body()
        connection.execute(INSERT, (_id_in(body), body))
        connection.commit()
        return Response()

    return _app(receive)


def in_threads(file: Path) -> Starlette:
    """Store on Starlette's thread pool; a lock, since SQLite takes one writer at a time."""
    connection = _connect(file)
    lock = threading.Lock()

    def store(body: bytes) -> None:
        key = _id_in(body)
        with lock:
            connection.execute(INSERT, (key, body))
            connection.commit()

    async def receive(request: Request) -> Response:
        await run_in_threadpool(store, await request.body())
        return Response()

    return _app(receive)


def with_aiosqlite(file: Path) -> Starlette:
    """Store through aiosqlite, which hands each statement to a thread of its own."""
    _connect(file).close()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with aiosqlite.connect(file) as connection:
            await connection.executescript(PRAGMAS)
            app.state.connection, app.state.lock = connection, asyncio.Lock()
            yield

    async def receive(request: Request) -> Response:
        body = await request.body()
        connection: aiosqlite.Connection = request.app.state.connection
        # One transaction a request: those of two requests would run into one another.
        async with request.app.state.lock:
            await connection.execute(INSERT, (_id_in(body), body))
            await connection.commit()
        return Response()

    return _app(receive, lifespan=lifespan)


def _app(receive: Endpoint, *, lifespan: Lifespan | None = None) -> Starlette:
    return Starlette(routes=[Route("/webhooks/wa", receive, methods=["POST"])], lifespan=lifespan)


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, check_same_thread=False)
    connection.executescript(PRAGMAS)
    connection.execute(TABLE)
    return connection


class _Message(msgspec.Struct):
    id: str


class _Body(msgspec.Struct):
    messages: list[_Message]


_decode = msgspec.json.Decoder(_Body).decode


def _id_in(body: bytes) -> str:
    return _decode(body).messages[0].id


BASELINES = {"bare": bare, "loop": on_loop, "threads": in_threads, "aiosqlite": with_aiosqlite}

if __name__ == "__main__":
    name, file, port = sys.argv[1:]
    uvicorn.run(
        BASELINES[name](Path(file)),
        port=int(port),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
