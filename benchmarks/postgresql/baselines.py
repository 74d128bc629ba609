"""What a good engineer would write on PostgreSQL without the router.

The same server, event loop, HTTP parser and JSON parser as the router's. Those that store do so
with one INSERT and one COMMIT a request, prepared, and know a message that comes again by its id;
the last one is a library for event sourcing, used as its documentation shows.
"""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import NAMESPACE_URL, UUID, uuid5

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

TABLE = "CREATE TABLE IF NOT EXISTS inbox (id text PRIMARY KEY, body bytea NOT NULL)"
INSERT = "INSERT INTO inbox VALUES (%s, %b) ON CONFLICT DO NOTHING"
CONNECTIONS = 16  # of a pool


def on_loop(dsn: str) -> Starlette:
    """Store on the event loop itself: nothing is handed over, nothing else runs meanwhile."""
    connection = psycopg.connect(dsn, autocommit=True)

    async def receive(request: Request) -> Response:
        body = await request.body()
        connection.execute(INSERT, (_id_in(body), body))
        return Response()

    return _app(receive)


def in_threads(dsn: str) -> Starlette:
    """Store on Starlette's thread pool, each through a connection of a pool."""
    pool = ConnectionPool(dsn, kwargs={"autocommit": True}, max_size=CONNECTIONS, open=True)

    def store(body: bytes) -> None:
        with pool.connection() as connection:
            connection.execute(INSERT, (_id_in(body), body))

    async def receive(request: Request) -> Response:
        await run_in_threadpool(store, await request.body())
        return Response()

    return _app(receive)


def with_async(dsn: str) -> Starlette:
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
            await connection.execute(INSERT, (_id_in(body), body))
        return Response()

    return _app(receive, lifespan=lifespan)


def with_eventsourcing(dsn: str) -> Starlette:
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


class _Message(msgspec.Struct):
    id: str


class _Body(msgspec.Struct):
    messages: list[_Message]


_decode = msgspec.json.Decoder(_Body).decode


def _id_in(body: bytes) -> str:
    return _decode(body).messages[0].id


BASELINES = {
    "loop": on_loop,
    "threads": in_threads,
    "async": with_async,
    "eventsourcing": with_eventsourcing,
}

if __name__ == "__main__":
    name, dsn, port = sys.argv[1:]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(1)")  # several begin at once
        connection.execute(TABLE)
    uvicorn.run(
        BASELINES[name](dsn),
        port=int(port),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
