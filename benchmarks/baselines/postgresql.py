"""Those that store on PostgreSQL, prepared, and one that records events with a library."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import NAMESPACE_URL, UUID, uuid5

import psycopg
from eventsourcing.application import Application
from eventsourcing.persistence import IntegrityError, StoredEvent
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from benchmarks.baselines.endpoints import make_endpoint, read_id
from benchmarks.libraries import describe_postgresql

TABLE = "CREATE TABLE IF NOT EXISTS inbox (id text PRIMARY KEY, body bytea NOT NULL)"
INSERT = "INSERT INTO inbox VALUES (%s, %b) ON CONFLICT DO NOTHING"
CONNECTIONS = 16  # of a pool


def on_loop(dsn: str, secret: bytes) -> Starlette:
    """Store on the event loop itself: nothing is handed over, nothing else runs meanwhile."""
    _prepare(dsn)
    connection = psycopg.connect(dsn, autocommit=True)

    async def store(_request: Request, body: bytes) -> None:
        connection.execute(INSERT, (read_id(body), body))

    return make_endpoint(store, secret=secret)


def in_threads(dsn: str, secret: bytes) -> Starlette:
    """Store on Starlette's thread pool, each through a connection of a pool."""
    _prepare(dsn)
    pool = ConnectionPool(dsn, kwargs={"autocommit": True}, max_size=CONNECTIONS, open=True)

    def insert(body: bytes) -> None:
        with pool.connection() as connection:
            connection.execute(INSERT, (read_id(body), body))

    async def store(_request: Request, body: bytes) -> None:
        await run_in_threadpool(insert, body)

    return make_endpoint(store, secret=secret)


def with_async(dsn: str, secret: bytes) -> Starlette:
    """Store through the driver's asynchronous connections, of a pool."""
    _prepare(dsn)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        pool = AsyncConnectionPool(
            dsn, kwargs={"autocommit": True}, max_size=CONNECTIONS, open=False
        )
        async with pool:
            app.state.pool = pool
            yield

    async def store(request: Request, body: bytes) -> None:
        async with request.app.state.pool.connection() as connection:
            await connection.execute(INSERT, (read_id(body), body))

    return make_endpoint(store, secret=secret, lifespan=lifespan)


def with_eventsourcing(dsn: str, secret: bytes) -> Starlette:
    """Record an event of the library ``eventsourcing`` for each message, on the thread pool."""
    application = Application[UUID](env=describe_postgresql(dsn, connections=CONNECTIONS))

    def insert(body: bytes) -> None:
        event = StoredEvent(uuid5(NAMESPACE_URL, read_id(body)), 1, "message", body)
        try:
            application.recorder.insert_events([event])
        except IntegrityError:  # it is there already
            return

    async def store(_request: Request, body: bytes) -> None:
        await run_in_threadpool(insert, body)

    return make_endpoint(store, secret=secret)


def _prepare(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(1)")  # several begin at once
        connection.execute(TABLE)
