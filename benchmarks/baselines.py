"""What a good engineer would write without the router: the endpoints that it is compared with.

Same server, event loop and HTTP parser; same body, read and parsed the same way. The three that
store do so with one INSERT and one COMMIT a request, durably (WAL, synchronous FULL), and know a
message that comes again by its id.

Those on PostgreSQL do the same there, prepared, and one more uses a library for event sourcing as
its documentation shows.
"""

import asyncio
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import NAMESPACE_URL, UUID, uuid5

import aiosqlite
import msgspec
import psycopg
import uvicorn
from eventsourcing.application import Application
from eventsourcing.persistence import IntegrityError, StoredEvent
from psycopg_pool import AsyncConnectionPool, ConnectionPool
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
PG_TABLE = "CREATE TABLE IF NOT EXISTS inbox (id text PRIMARY KEY, body bytea NOT NULL)"
PG_INSERT = "INSERT INTO inbox VALUES (%s, %b) ON CONFLICT DO NOTHING"
CONNECTIONS = 16  # of a pool


def bare(_place: str) -> Starlette:
    """Read the body and answer: nothing is parsed, nothing kept."""

    async def receive(request: Request) -> Response:
        await request.body()
        return Response()

    return _app(receive)


def on_loop(file: str) -> Starlette:
    """Store on the event loop itself: nothing is handed over, nothing else runs meanwhile."""
    connection = _connect(file)

    async def receive(request: Request) -> Response:
        body = await request.body()
        connection.execute(INSERT, (_id_in(body), body))
        connection.commit()
        return Response()

    return _app(receive)


def in_threads(file: str) -> Starlette:
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


def with_aiosqlite(file: str) -> Starlette:
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


def pg_on_loop(dsn: str) -> Starlette:
    """Store on the event loop itself: nothing is handed over, nothing else runs meanwhile."""
    connection = psycopg.connect(dsn, autocommit=True)

    async def receive(request: Request) -> Response:
        body = await request.body()
        connection.execute(PG_INSERT, (_id_in(body), body))
        return Response()

    return _app(receive)


def pg_in_threads(dsn: str) -> Starlette:
    """Store on Starlette's thread pool, each through a connection of a pool."""
    pool = ConnectionPool(dsn, kwargs={"autocommit": True}, max_size=CONNECTIONS, open=True)

    def store(body: bytes) -> None:
        with pool.connection() as connection:
            connection.execute(PG_INSERT, (_id_in(body), body))

    async def receive(request: Request) -> Response:
        await run_in_threadpool(store, await request.body())
        return Response()

    return _app(receive)


def pg_with_async(dsn: str) -> Starlette:
    """Store through the driver's asynchronous connections, of a pool."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        pool = AsyncConnectionPool(
            dsn, kwargs={"autocommit": True}, max_size=CONNECTIONS, open=False
        )
        async with pool:
            app.state.pool = pool
            yield

    async def receive(request: Request) -> Response:
        body = await request.body()
        async with request.app.state.pool.connection() as connection:
            await connection.execute(PG_INSERT, (_id_in(body), body))
        return Response()

    return _app(receive, lifespan=lifespan)


def pg_with_eventsourcing(dsn: str) -> Starlette:
    """Record an event of the library ``eventsourcing`` for each message, on the thread pool."""
    place = psycopg.conninfo.conninfo_to_dict(dsn)
    application = Application[UUID](
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(place["dbname"]),
            "POSTGRES_HOST": str(place["host"]),
            "POSTGRES_PORT": str(place["port"]),
            "POSTGRES_USER": str(place["user"]),
            "POSTGRES_PASSWORD": "",
            "POSTGRES_POOL_SIZE": str(CONNECTIONS),
        }
    )

    def store(body: bytes) -> None:
        event = StoredEvent(uuid5(NAMESPACE_URL, _id_in(body)), 1, "message", body)
        try:
            application.recorder.insert_events([event])
        except IntegrityError:  # it is there already
            return

    async def receive(request: Request) -> Response:
        await run_in_threadpool(store, await request.body())
        return Response()

    return _app(receive)


def _app(receive: Endpoint, *, lifespan: Lifespan | None = None) -> Starlette:
    return Starlette(routes=[Route("/webhooks/wa", receive, methods=["POST"])], lifespan=lifespan)


def _connect(file: str) -> sqlite3.Connection:
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


def _prepare(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(1)")  # several begin at once
        connection.execute(PG_TABLE)


BASELINES = {"bare": bare, "loop": on_loop, "threads": in_threads, "aiosqlite": with_aiosqlite}
ON_POSTGRESQL = {
    "loop": pg_on_loop,
    "threads": pg_in_threads,
    "async": pg_with_async,
    "eventsourcing": pg_with_eventsourcing,
}

if __name__ == "__main__":
    name, place, port = sys.argv[1:]
    is_server = "dbname=" in place
    if is_server:
        _prepare(place)
    uvicorn.run(
        (ON_POSTGRESQL if is_server else BASELINES)[name](place),
        port=int(port),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
